"""Groups and their members."""

from typing import Any, TypeAlias

from aiohttp import web

from sandbox.okta.api.users import shown as person_shown
from sandbox.okta.call import Call, Route, empty, now_of
from sandbox.okta.errors import Refused
from sandbox.okta.filters import GROUP_SEARCH, Malformed, parse, reach
from sandbox.okta.groups import EVERYONE
from sandbox.okta.paging import limit, seal, unseal
from sandbox.okta.records import thing

Json: TypeAlias = Any
# Admins of some groups are not shown the group of all.
_UNTOLD = {"USER_ADMIN", "GROUP_MEMBERSHIP_ADMIN", "HELP_DESK_ADMIN"}


def shown(call: Call, index: int) -> Json:
    """A group with its links."""
    group = call.tenant.groups.get(index)
    here = f"/api/v1/groups/{group['id']}"
    links = {name: call.href(f"{here}/{name}") for name in ("users", "apps")}
    return {**group, "_links": links}


async def listing(call: Call) -> web.Response:
    """List groups: all, or what a search or filter finds."""
    call.only("limit", "after", "search", "filter", "q", "expand", "sortBy", "sortOrder")
    groups, query = call.tenant.groups, call.query
    if "search" in query and "filter" in query:
        raise Refused("E0000033")
    text = query.get("search") or query.get("filter")
    try:
        wanted = parse(text, GROUP_SEARCH) if text else None
    except Malformed as error:
        raise Refused("E0000031", f"Invalid search criteria. {error}") from error
    word = query.get("q", "").lower()
    size = limit(query, 10_000 if wanted is None else 200, 10_000, clamp=True)
    page: list[Json] = []
    for index in range(int(unseal(query["after"])) if "after" in query else 0, groups.size):
        group = groups.get(index)
        if index == EVERYONE and set(call.who.roles) <= _UNTOLD:
            continue
        if wanted is not None and not wanted.test(lambda path, group=group: reach(group, path)):  # type: ignore[misc]
            continue
        if word and not group["profile"]["name"].lower().startswith(word):
            continue
        if len(page) == size:
            return call.page(page, {**query, "after": seal(index), "limit": str(size)})
        page.append(shown(call, index))
    return call.page(page, None)


async def one(call: Call) -> web.Response:
    """One group."""
    return web.json_response(shown(call, call.group()))


async def members(call: Call) -> web.Response:
    """The users of a group."""
    call.only("limit", "after")
    query, size = call.query, limit(call.query, 1000, 1000, clamp=True)
    start = int(unseal(query["after"])) if "after" in query else 0
    page: list[Json] = []
    for index in call.tenant.groups.members(call.group(), start):
        if len(page) == size:
            return call.page(page, {**query, "after": seal(index), "limit": str(size)})
        page.append(person_shown(call, index))
    return call.page(page, None)


async def apps(call: Call) -> web.Response:
    """The apps of a group: none are assigned to groups here."""
    call.group()
    return call.page([], None)


async def join(call: Call) -> web.Response:
    """Add a user to a group of Okta's own."""
    return _member(call, "add")


async def leave(call: Call) -> web.Response:
    """Remove a user from a group of Okta's own."""
    return _member(call, "remove")


def _member(call: Call, verb: str) -> web.Response:
    index, user, groups = call.group(), call.user(), call.tenant.groups
    if groups.kind(index) != "OKTA_GROUP":
        raise Refused("E0000006")
    changed = (groups.join if verb == "add" else groups.leave)(index, user, now_of(call))
    if changed:
        group = groups.get(index)
        target = thing("UserGroup", group["id"], group["profile"]["name"])
        call.did(f"group.user_membership.{verb}", user, target)
    return empty()


_ONE = "/api/v1/groups/{group}"
ROUTES = (
    Route("GET", "/api/v1/groups", listing, "okta.groups.read", "/api/v1/groups"),
    Route("GET", _ONE, one, "okta.groups.read", "/api/v1/groups/{id}"),
    Route("GET", f"{_ONE}/users", members, "okta.groups.read", "/api/v1/groups/{id}"),
    Route("GET", f"{_ONE}/apps", apps, "okta.groups.read", "/api/v1/groups/{id}"),
    Route("PUT", f"{_ONE}/users/{{user}}", join, "okta.groups.manage", "/api/v1/groups/{id}"),
    Route("DELETE", f"{_ONE}/users/{{user}}", leave, "okta.groups.manage", "/api/v1/groups/{id}"),
)

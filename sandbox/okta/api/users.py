"""Users: list, search, filter, one, and what hangs on one."""

from array import array
from typing import Any, TypeAlias

from aiohttp import web

from sandbox.okta import ids
from sandbox.okta.call import Call, Route, now_of
from sandbox.okta.errors import Refused, invalid
from sandbox.okta.filters import USER_FILTER, USER_SEARCH, Dialect, Malformed, Node, parse, reach
from sandbox.okta.paging import limit, seal, unseal

Json: TypeAlias = Any
_PARAMETERS = (
    "limit",
    "after",
    "filter",
    "search",
    "q",
    "sortBy",
    "sortOrder",
    "contentType",
    "fields",
    "expand",
)
_BARE = ("omitCredentials", "omitCredentialsLinks", "omitTransitioningToStatus", "omitCredentialsSubObjects")


def shown(call: Call, index: int, user: Json = None) -> Json:
    """A user with links, less what the caller's Content-Type asks to omit."""
    user = dict(user or call.tenant.people.get(index))
    omitted = _omitted(call.request.headers.get("Content-Type", ""))
    if "omitCredentials" in omitted:
        user.pop("credentials", None)
    user["_links"] = {"self": call.href(f"/api/v1/users/{user['id']}")}
    return user


def _omitted(content: str) -> set[str]:
    _, _, asked = content.partition("okta-response=")
    names = {one.strip().strip('"') for one in asked.split(",") if one.strip()}
    if not names <= set(_BARE):
        raise Refused("E0000021")
    return names


async def listing(call: Call) -> web.Response:
    """List users: all but the DEPROVISIONED ones, or what a search, filter or `q` finds."""
    call.only(*_PARAMETERS)
    query = call.query
    if "q" in query:
        return _found(call)
    if "search" in query and "filter" in query:
        raise Refused("E0000033")
    if "search" in query:
        return _searched(call, _parsed(query["search"], USER_SEARCH))
    if "sortBy" in query or "sortOrder" in query:
        raise invalid("sortBy", "sorting is only supported with search")
    people, now = call.tenant.people, now_of(call)
    wanted = _parsed(query["filter"], USER_FILTER) if query.get("filter") else None
    size, start = limit(query, 200, 200, clamp=True), int(unseal(query["after"])) if "after" in query else 0
    page: list[Json] = []
    for index in people.matching(wanted, now, search=False, start=start):
        if wanted is None and people.field(index, "status") == "DEPROVISIONED":
            continue
        if len(page) == size:
            return call.page(page, {**query, "after": seal(index), "limit": str(size)})
        page.append(shown(call, index))
    return call.page(page, None)


def _parsed(text: str, dialect: Dialect) -> Node:
    try:
        return parse(text, dialect)
    except Malformed as error:
        raise Refused("E0000031", f"Invalid search criteria. {error}") from error


def _found(call: Call) -> web.Response:
    """`q`: the beginning of a first name, last name or email; no pages, 10 unless a limit is given."""
    word, size = call.query["q"].lower(), limit(call.query, 10, 200, clamp=True)
    people, page = call.tenant.people, list[Json]()
    for index in people.matching(None, now_of(call), search=False):
        profile = people.get(index)["profile"]
        if any(profile[name].lower().startswith(word) for name in ("firstName", "lastName", "email")):
            if people.field(index, "status") != "DEPROVISIONED":
                page.append(shown(call, index))
            if len(page) == size:
                break
    return call.page(page, None)


def _searched(call: Call, wanted: Node) -> web.Response:
    query, people, now = call.query, call.tenant.people, now_of(call)
    size, field = limit(query, 200, 200, clamp=True), query.get("sortBy", "")
    order = query.get("sortOrder", "asc").lower()
    if order not in {"asc", "desc"} or ("sortOrder" in query and not field):
        raise invalid("sortOrder", "asc or desc, with sortBy")
    if field and USER_SEARCH.operators(field) is None:
        raise invalid("sortBy", f"field is not valid: {field}")
    if not field:
        return _in_order(call, wanted, size)
    key = (query["search"], field, order)
    start = 0
    if "after" in query:
        start, begun = unseal(query["after"])
        found = call.tenant.searches.get(key)
        if found is None or found[0] != begun:
            raise invalid("after", "The after cursor is no longer valid")
        numbers = found[1]
    else:
        begun = now

        def value(index: int) -> tuple[str, int]:
            if field in {"created", "lastUpdated", "status", "id"} and index not in people.changed:
                return str(people.field(index, field)), index
            return str((reach(people.indexed(index, now), field) or [""])[0]), index

        ranked = sorted(
            (value(i) for i in people.matching(wanted, now, search=True)), reverse=order == "desc"
        )
        numbers = array("I", (index for _, index in ranked))
        call.tenant.searches[key] = (begun, numbers)
    page = [shown(call, index, people.indexed(index, now)) for index in numbers[start : start + size]]
    more = {**query, "after": seal([start + size, begun]), "limit": str(size)}
    return call.page(page, more if start + size < len(numbers) else None)


def _in_order(call: Call, wanted: Node, size: int) -> web.Response:
    query, people, now = call.query, call.tenant.people, now_of(call)
    start = int(unseal(query["after"])) if "after" in query else 0
    page: list[Json] = []
    for index in people.matching(wanted, now, search=True, start=start):
        if len(page) == size:
            return call.page(page, {**query, "after": seal(index), "limit": str(size)})
        page.append(shown(call, index, people.indexed(index, now)))
    return call.page(page, None)


async def one(call: Call) -> web.Response:
    """One user by id or login: never late."""
    call.only("fields", "expand")
    index = call.user()
    user = shown(call, index)
    here = f"/api/v1/users/{user['id']}"
    verbs = {
        "ACTIVE": ("suspend", "deactivate", "expirePassword", "resetPassword", "resetFactors"),
        "SUSPENDED": ("unsuspend", "deactivate"),
        "LOCKED_OUT": ("unlock", "deactivate"),
    }.get(user["status"], ("activate",))
    words = {
        "expirePassword": "expire_password",
        "resetPassword": "reset_password",
        "resetFactors": "reset_factors",
    }
    for verb in verbs:
        user["_links"][verb] = {**call.href(f"{here}/lifecycle/{words.get(verb, verb)}"), "method": "POST"}
    return web.json_response(user)


async def groups(call: Call) -> web.Response:
    """The groups of a user."""
    call.only("limit", "after")
    found = [call.tenant.groups.get(index) for index in call.tenant.groups.of(call.user())]
    return call.listed(found, default=200, most=200, clamp=True)


async def app_links(call: Call) -> web.Response:
    """The apps on a user's dashboard."""
    call.only("showAll")
    apps, user = call.tenant.apps, call.user()
    links = [
        {
            "id": ids.make("00u", user), "label": app["label"], "appName": app["name"],
            "appInstanceId": app["id"],
            "linkUrl": f"{call.tenant.url}/home/{app['name']}/{app['id']}/1", "logoUrl": None,
            "appAssignmentId": ids.make("0ua", user * 64 + index), "credentialsSetup": False, "hidden": False,
            "sortOrder": place,
        }
        for place, index in enumerate(apps.of(user))
        if (app := apps.get(index))["status"] == "ACTIVE"
    ]  # fmt: skip
    return web.json_response(links)


ROUTES = (
    Route("GET", "/api/v1/users", listing, "okta.users.read", "/api/v1/users"),
    Route("GET", "/api/v1/users/{user}", one, "okta.users.read", "/api/v1/users/{id}"),
    Route("GET", "/api/v1/users/{user}/groups", groups, "okta.users.read", "/api/v1/users/{id}"),
    Route("GET", "/api/v1/users/{user}/appLinks", app_links, "okta.users.read", "/api/v1/users/{id}"),
)

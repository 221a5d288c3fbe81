"""Reading an org: the System Log, and the full lists of users, groups and role assignments.

Sources: Okta Management API, System Log, Users, Groups, Role Assignments; "System Log query".
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from ingest.paging import link_to, linked
from ingest.provider import At, CursorLost, Json, Missing, Page, Refused, Reply, Retry
from ingest.providers.okta.settings import Org

LOG_PAGE: Final = 1000
KEPT: Final = timedelta(days=90)
OVERLAP: Final = timedelta(hours=1)
"""How far behind the last event the log is read again where Okta lost our place."""
MOST_MEMBERS: Final = 5000
"""Members listed in a group's event, which must fit a Kafka record."""
EVERYBODY: Final = 'created gt "2000-01-01T00:00:00.000Z"'
"""A search, unlike a plain list, has deprovisioned users too."""
_HOLDERS: Final = {
    "User": ("user", "/api/v1/users"),
    "Group": ("group", "/api/v1/groups"),
    "Client": ("okta", "/oauth2/v1/clients"),
}
LIGHT: Final = {"Content-Type": "application/json; okta-response=omitCredentials,omitCredentialsLinks"}


def onward_of(reply: Reply) -> str:
    """Find the next page's address: most lists have it in `Link`, that of role assignees in the body."""
    links = reply.json.get("_links") if isinstance(reply.json, dict) else None
    return link_to(reply) or str(((links or {}).get("next") or {}).get("href") or "")


def place(reply: Reply) -> str:
    """Give the next page's address without its host, so that it holds when the org's host changes."""
    parts = urlsplit(onward_of(reply))
    return f"{parts.path}?{parts.query}" if parts.path else ""


async def log(p: Org, at: At) -> AsyncIterator[Page]:
    """Read the log in the order Okta stored it, late events included; the next address never ends.

    Raises:
        CursorLost: Okta does not know the stored address any more.
    """
    cursor = at.cursor or {}
    last = cursor.get("last", "")
    since = cursor.get("since") or stamp(at.until - timedelta(days=p.settings.days))
    first = {"since": since, "limit": LOG_PAGE, "sortOrder": "ASCENDING"}

    def lost(error: Exception) -> CursorLost:
        return _lost(error, last, at.until)

    async for records, onward in _pages(p, "logs", "/api/v1/logs", first, cursor.get("next"), lost=lost):
        if not onward:
            raise Retry("the System Log gave no address to go on from")
        last = max([last, *(str(one.get("published") or "") for one in records if isinstance(one, dict))])
        yield Page(records, cursor={"next": onward, "last": last})
        if len(records) < LOG_PAGE:
            return


def _lost(error: Exception, last: str, now: datetime) -> CursorLost:
    """Begin again an hour before the last event; what Okta has dropped since is a gap."""
    oldest = now - KEPT
    try:
        since = datetime.fromisoformat(last) - OVERLAP
    except ValueError:
        since = oldest
    why = f"the log's next page is not known any more: {error}"
    return CursorLost(why, cursor={"since": stamp(max(since, oldest)), "last": last}, gap=since <= oldest)


def stamp(moment: datetime) -> str:
    """Write a time as Okta's parameters take it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def users(p: Org, at: At) -> AsyncIterator[Page]:
    """List every user, deprovisioned ones too; the search index is some seconds behind."""
    first = {"search": EVERYBODY, "limit": 200}
    async for found, onward in _pages(p, "users", "/api/v1/users", first, at.cursor, headers=LIGHT):
        records = await _with_factors(p, found) if p.settings.factors else found
        yield Page(records, cursor=onward, complete=onward is None)


async def _with_factors(p: Org, people: Sequence[Json]) -> list[Json]:
    found = await asyncio.gather(*(_factors(p, one["id"]) for one in people))
    return [{**one, "factors": each} for one, each in zip(people, found, strict=True)]


async def _factors(p: Org, user: str) -> Json:
    reply = await p.http.call("user", "GET", f"/api/v1/users/{user}/factors", ok=(404,))
    found = reply.json if reply.status == 200 else []
    return [one.get("factorType") for one in found if one.get("status") == "ACTIVE"]


async def groups(p: Org, at: At) -> AsyncIterator[Page]:
    """List every group with its members, up to the number that fits an event."""
    async for found, onward in _pages(p, "groups", "/api/v1/groups", {"limit": 100}, at.cursor):
        members = await asyncio.gather(*(_members(p, one) for one in found))
        both = [{"group": one, "members": each} for one, each in zip(found, members, strict=True)]
        records = [one for one in both if one["members"] is not None]
        yield Page(records, cursor=onward, complete=onward is None)


async def _members(p: Org, group: Json) -> list[Json] | None:
    """List a group's members; None: it is gone meanwhile. Of the group Everyone all accounts are members."""
    if group.get("type") == "BUILT_IN" and (group.get("profile") or {}).get("name") == "Everyone":
        return []
    found, path = list[Json](), f"/api/v1/groups/{group['id']}/users"
    try:
        async for reply in linked(p.http, "group", path, params={"limit": 1000}, headers=LIGHT):
            found += [{"id": one["id"], "login": _login(one)} for one in reply.json]
            if len(found) > MOST_MEMBERS:
                break
    except Missing:
        return None
    return found


async def privileges(p: Org, at: At) -> AsyncIterator[Page]:
    """Read who holds admin roles: users, the groups they hold them through, then service apps.

    Okta lists users with roles, not groups: those that have them are found through their members.
    """
    cursor = at.cursor or {"part": "users"}
    part, begin, through = cursor["part"], cursor.get("next"), set(cursor.get("groups") or ())
    if part == "users":
        path, first = "/api/v1/iam/assignees/users", {"limit": 100}
        async for found, onward in _pages(p, "okta", path, first, begin, items="value"):
            records = await _holders(p, "User", found)
            for one in records:
                through |= await _through(p, one)
            part = "users" if onward else "groups"
            yield Page(records, cursor={"part": part, "next": onward, "groups": sorted(through)})
        begin = None
    if part == "groups":
        records = await _holders(p, "Group", [{"id": one} for one in sorted(through)])
        yield Page(records, cursor={"part": "apps", "next": None, "groups": []})
    async for apps, onward in _pages(p, "okta", "/api/v1/apps", {"limit": 200}, begin):
        records = await _holders(p, "Client", filter(_is_service, apps))
        more = {"part": "apps", "next": onward, "groups": []} if onward else None
        yield Page(records, cursor=more, complete=onward is None)


def _is_service(app: Json) -> bool:
    client = (app.get("settings") or {}).get("oauthClient") or {}
    return client.get("application_type") == "service"


async def _holders(p: Org, kind: str, principals: Iterable[Json]) -> list[Json]:
    """Read the roles of principals, with the groups they are limited to, and leave out who holds none."""
    api, path = _HOLDERS[kind]
    params, found = {} if kind == "Client" else {"expand": "targets/groups"}, []
    for one in principals:
        reply = await p.http.call(api, "GET", f"{path}/{one['id']}/roles", params=params, ok=(404,))
        if reply.status == 200 and isinstance(reply.json, list) and reply.json:
            principal = {"id": one["id"], "type": kind, "name": one.get("label") or _login(one)}
            found.append({"principal": principal, "roles": reply.json})
    return found


async def _through(p: Org, record: Json) -> set[str]:
    """Find the groups that a user's roles may come through: Okta names them, or they are among the user's."""
    roles = [one for one in record["roles"] if one.get("assignmentType") == "GROUP"]
    links = [str((((one.get("_links") or {}).get("assignee")) or {}).get("href") or "") for one in roles]
    found = {href.partition("/groups/")[2].partition("/")[0] for href in links if "/groups/" in href}
    if not all("/groups/" in href for href in links):
        async for reply in linked(p.http, "user", f"/api/v1/users/{record['principal']['id']}/groups"):
            found.update(str(one["id"]) for one in reply.json)
    return found


def _login(user: Json) -> str | None:
    return (user.get("profile") or {}).get("login")


def _lost_list(error: Exception) -> CursorLost:
    return CursorLost(f"the list's next page is not known any more: {error}", gap=False)


async def _pages(
    p: Org, api: str, path: str, params: Json, cursor: str | None, *,
    items: str = "", lost: Callable[[Exception], CursorLost] = _lost_list, **more: Any,
) -> AsyncIterator[tuple[list[Json], str | None]]:  # fmt: skip
    """Follow a list from a stored address; with each page the next one's, None at the end.

    Raises:
        CursorLost: Okta does not know the stored address any more: the list is read from the start.
    """
    onward: str | None = cursor
    try:
        async for reply in linked(
            p.http, api, cursor or path, then=place, params={} if cursor else params, **more
        ):
            onward = place(reply) or None
            yield _listed(reply, items), onward
    except (CursorLost, Missing, Refused) as error:
        if not onward:
            raise
        raise lost(error) from error


def _listed(reply: Reply, items: str) -> list[Json]:
    found = reply.json.get(items) if items and isinstance(reply.json, dict) else reply.json
    if not isinstance(found, list):
        raise Retry("Okta answered with something that is no list")
    return found

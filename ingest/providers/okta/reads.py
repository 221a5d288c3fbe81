"""Reading an org: the System Log, and the full lists of users, groups and role assignments.

Sources: Okta Management API, System Log, Users, Groups, Role Assignments; "System Log query".
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ingest.paging import link_to, linked
from ingest.provider import At, CursorLost, Json, Missing, Page, Refused, Reply, Retry

if TYPE_CHECKING:
    from ingest.providers.okta import Okta

LOG_PAGE: Final = 1000
KEPT: Final = timedelta(days=90)
OVERLAP: Final = timedelta(hours=1)
"""How far behind the last event the log is read again where Okta lost our place."""
MOST_MEMBERS: Final = 5000
"""Members listed in a group's event, which must fit a Kafka record."""
EVERYBODY: Final = 'created gt "2000-01-01T00:00:00.000Z"'
"""A search, unlike a plain list, has deprovisioned users too."""
LIGHT: Final = {"Content-Type": "application/json; okta-response=omitCredentials,omitCredentialsLinks"}


def onward_of(reply: Reply) -> str:
    """Find the next page's address: most lists have it in `Link`, that of role assignees in the body."""
    links = reply.json.get("_links") if isinstance(reply.json, dict) else None
    return link_to(reply) or str(((links or {}).get("next") or {}).get("href") or "")


def place(reply: Reply) -> str:
    """Give the next page's address without its host, so that it holds when the org's host changes."""
    parts = urlsplit(onward_of(reply))
    return f"{parts.path}?{parts.query}" if parts.path else ""


async def read_log(p: "Okta", at: At) -> AsyncIterator[Page]:
    """Read the log in the order Okta stored it, late events included; the next address never ends.

    Raises:
        CursorLost: Okta does not know the stored address any more.
    """
    cursor = at.cursor or {}
    onward, last = cursor.get("next", ""), cursor.get("last", "")
    since = cursor.get("since") or _stamp(at.until - timedelta(days=p.settings.days))
    first = {"since": since, "limit": LOG_PAGE, "sortOrder": "ASCENDING"}
    while True:
        try:
            reply = await p.http.call("logs", "GET", onward or "/api/v1/logs", params={} if onward else first)
        except (CursorLost, Missing, Refused) as error:
            if not onward:
                raise
            raise _lost(error, last, at.until) from error
        records, onward = _listed(reply), place(reply)
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
    return CursorLost(
        f"the log's next page is not known any more: {error}",
        cursor={"since": _stamp(max(since, oldest)), "last": last},
        gap=since <= oldest,
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def read_users(p: "Okta", at: At) -> AsyncIterator[Page]:
    """List every user, deprovisioned ones too; the search index is some seconds behind."""
    first = {"search": EVERYBODY, "limit": 200}
    async for users, onward in _pages(p, "users", "/api/v1/users", first, at.cursor, LIGHT):
        records = await _with_factors(p, users) if p.settings.factors else users
        yield Page(records, cursor=onward, complete=onward is None)


async def _with_factors(p: "Okta", users: Sequence[Json]) -> list[Json]:
    found = await asyncio.gather(*(_factors(p, one["id"]) for one in users))
    return [{**one, "factors": each} for one, each in zip(users, found, strict=True)]


async def _factors(p: "Okta", user: str) -> Json:
    reply = await p.http.call("user", "GET", f"/api/v1/users/{user}/factors", ok=(404,))
    return (
        [one.get("factorType") for one in reply.json if one.get("status") == "ACTIVE"]
        if reply.status == 200
        else []
    )


async def read_groups(p: "Okta", at: At) -> AsyncIterator[Page]:
    """List every group with its members, up to the number that fits an event."""
    async for found, onward in _pages(p, "groups", "/api/v1/groups", {"limit": 100}, at.cursor):
        members = await asyncio.gather(*(_members(p, one) for one in found))
        records = [
            {"group": one, "members": each}
            for one, each in zip(found, members, strict=True)
            if each is not None
        ]
        yield Page(records, cursor=onward, complete=onward is None)


async def _members(p: "Okta", group: Json) -> list[Json] | None:
    """List a group's members; None: it is gone meanwhile. Of the group Everyone all accounts are members."""
    if group.get("type") == "BUILT_IN" and (group.get("profile") or {}).get("name") == "Everyone":
        return []
    found: list[Json] = []
    try:
        async for reply in linked(
            p.http, "group", f"/api/v1/groups/{group['id']}/users", params={"limit": 1000}, headers=LIGHT
        ):
            found += [
                {"id": one["id"], "login": (one.get("profile") or {}).get("login")} for one in reply.json
            ]
            if len(found) > MOST_MEMBERS:
                break
    except Missing:
        return None
    return found


async def read_privileges(p: "Okta", at: At) -> AsyncIterator[Page]:
    """Read who holds admin roles: users, the groups they hold them through, then service apps.

    Okta lists users with roles, not groups: those that have them are found through their members.
    """
    cursor = at.cursor or {"part": "users", "next": None, "groups": []}
    groups = set(cursor["groups"])
    if cursor["part"] == "users":
        first = {"limit": 100}
        async for users, onward in _pages(
            p, "okta", "/api/v1/iam/assignees/users", first, cursor["next"], items="value"
        ):
            records = [
                one
                for user in users
                if (one := await _held(p, "User", f"/api/v1/users/{user['id']}", user["id"]))
            ]
            for one in records:
                groups.update(await _through(p, one))
            part = "users" if onward else "groups"
            yield Page(records, cursor={"part": part, "next": onward, "groups": sorted(groups)})
        cursor = {"part": "groups"}
    if cursor["part"] == "groups":
        records = [
            one
            for group in sorted(groups)
            if (one := await _held(p, "Group", f"/api/v1/groups/{group}", group))
        ]
        cursor = {"part": "apps", "next": None, "groups": []}
        yield Page(records, cursor=cursor)
    async for apps, onward in _pages(p, "okta", "/api/v1/apps", {"limit": 200}, cursor["next"]):
        services = [one for one in apps if _is_service(one)]
        found = [
            await _held(p, "Client", f"/oauth2/v1/clients/{one['id']}", one["id"], one) for one in services
        ]
        more = {"part": "apps", "next": onward, "groups": []} if onward else None
        yield Page([one for one in found if one], cursor=more, complete=onward is None)


def _is_service(app: Json) -> bool:
    client = (app.get("settings") or {}).get("oauthClient") or {}
    return client.get("application_type") == "service"


async def _held(p: "Okta", kind: str, path: str, uid: str, principal: Json = None) -> Json:
    """Read the roles of one principal with the groups they are limited to; None: it holds none."""
    expand = {} if kind == "Client" else {"expand": "targets/groups"}
    api = {"User": "user", "Group": "group", "Client": "okta"}[kind]
    reply = await p.http.call(api, "GET", f"{path}/roles", params=expand, ok=(404,))
    roles = reply.json if reply.status == 200 and isinstance(reply.json, list) else []
    if not roles:
        return None
    name = (principal or {}).get("label") or ((principal or {}).get("profile") or {}).get("login")
    return {"principal": {"id": uid, "type": kind, "name": name}, "roles": roles}


async def _through(p: "Okta", record: Json) -> set[str]:
    """Find the groups that a user's roles may come through: Okta names them, or they are among the user's."""
    roles = [one for one in record["roles"] if one.get("assignmentType") == "GROUP"]
    links = [str((((one.get("_links") or {}).get("assignee")) or {}).get("href") or "") for one in roles]
    found = {href.partition("/groups/")[2].partition("/")[0] for href in links if "/groups/" in href}
    if not all("/groups/" in href for href in links):
        async for reply in linked(p.http, "user", f"/api/v1/users/{record['principal']['id']}/groups"):
            found.update(str(one["id"]) for one in reply.json)
    return found


async def _pages(
    p: "Okta", api: str, path: str, params: Json, cursor: Json, headers: Json = None, *, items: str = ""
) -> AsyncIterator[tuple[Sequence[Json], str | None]]:
    """Follow a list from a stored address; with each page the next one's, None at the end.

    Raises:
        CursorLost: Okta does not know the stored address any more: the list is read from the start.
    """
    onward: str | None = cursor
    while True:
        try:
            reply = await p.http.call(
                api, "GET", onward or path, params={} if onward else params, headers=headers or {}
            )
        except (CursorLost, Missing, Refused) as error:
            if not onward:
                raise
            raise CursorLost(f"the list's next page is not known any more: {error}", gap=False) from error
        onward = place(reply) or None
        yield _listed(reply, items), onward
        if onward is None:
            return


def _listed(reply: Reply, items: str = "") -> list[Json]:
    found = reply.json.get(items) if items and isinstance(reply.json, dict) else reply.json
    if not isinstance(found, list):
        raise Retry("Okta answered with something that is no list")
    return found

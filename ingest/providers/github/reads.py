"""Reading what there is: members, teams, who may do what, apps and tokens; and the audit log.

Lists are read page by page along their links; none tells of changes, so each read is a full one. Sources:
REST API reference, "Organization members", "Teams", "Organization roles", "Collaborators", "Organizations",
"Get the audit log"; GraphQL reference, `OrganizationIdentityProvider`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.provider import At, Axis, Json, Missing, NotAllowed, Page, Refused
from ingest.providers.github.calls import everything, graph, pages, provider_of

if TYPE_CHECKING:
    from ingest.providers.github import GitHub

AT_ONCE: Final = 8
TEAMS: Final = 30
"""Teams or repositories of a page, each with calls of its own, that are lost if it breaks."""


class Part(NamedTuple):
    """One of the organization's lists that make up an inventory; an `optional` one may not be there."""

    kind: str
    path: str
    under: str = ""
    params: Mapping[str, Json] = {}
    optional: bool = False


_PEOPLE: Final = (
    Part("admin", "members", params={"role": "admin"}),
    Part("member", "members", params={"role": "member"}),
    Part("outside", "outside_collaborators"),
    Part("invited", "invitations"),
)
_TEAMS: Final = Part("team", "teams", params={"per_page": TEAMS})
_PLACES: Final = {
    "owners": Part("owner", "members", params={"role": "admin"}),
    "roles": Part("role", "organization-roles", "roles", {"per_page": None}, optional=True),
    "repositories": Part("repo", "repos", params={"type": "all", "sort": "created", "per_page": TEAMS}),
    "teams": _TEAMS,
}
_APPS: Final = {
    "installations": Part("installation", "installations", "installations"),
    "credentials": Part("credential", "credential-authorizations", optional=True),
    "tokens": Part("token", "personal-access-tokens"),
}
_IDENTITIES: Final = """
  pageInfo{hasNextPage endCursor}
  nodes{guid samlIdentity{nameId} user{databaseId organizationVerifiedDomainEmails(login:$org)}}
"""
_OF_ORGANIZATION: Final = (
    "query($org:String!,$after:String){organization(login:$org){samlIdentityProvider{"
    f"externalIdentities(first:100,after:$after,membersOnly:true){{{_IDENTITIES}}}}}}}}}"
)
_OF_ENTERPRISE: Final = (
    "query($slug:String!,$org:String!,$after:String){enterprise(slug:$slug){ownerInfo{samlIdentityProvider{"
    f"externalIdentities(first:100,after:$after){{{_IDENTITIES}}}}}}}}}}}"
)


async def accounts(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Members by role, outside collaborators, pending invitations; with identities where there is SAML."""
    identities, without = await _identities(p), await _without_two_factor(p)

    async def known(kind: str, one: Json) -> list[Json]:
        if kind == "invited":
            return [{"kind": kind, "user": one}]
        two_factor = None if without is None else one["id"] not in without
        identity = identities.get(one["id"])
        return [{"kind": kind, "user": one, "two_factor": two_factor, "identity": identity}]

    async for page in _whole(p, at, _PEOPLE, known):
        yield page


async def _without_two_factor(p: "GitHub") -> set[int] | None:
    """Find who has no second factor; None: only owners may ask."""
    paths = (f"{p.settings.org}/members", f"{p.settings.org}/outside_collaborators")
    try:
        return {one["id"] for path in paths for one in await everything(p, path, filter="2fa_disabled")}
    except (NotAllowed, Refused):
        return None


async def _identities(p: "GitHub") -> dict[int, Json]:
    """Read the linked identities by user; none without SAML, or where they may not be seen."""
    s, found = p.settings, dict[int, Json]()
    asked = [(_OF_ORGANIZATION, {"org": s.organization})]
    if s.enterprise and not s.as_app:
        asked.append((_OF_ENTERPRISE, {"org": s.organization, "slug": s.enterprise}))
    for query, given in asked:
        onward: Json = {"hasNextPage": True}
        while onward.get("hasNextPage"):
            try:
                data = await graph(p, query, after=onward.get("endCursor"), **given)
            except (NotAllowed, Missing):
                break
            listed = provider_of(data).get("externalIdentities") or {}
            onward = listed.get("pageInfo") or {}
            for one in listed.get("nodes") or []:
                if one and one.get("user"):
                    found[one["user"]["databaseId"]] = {
                        "guid": one["guid"],
                        "name_id": (one.get("samlIdentity") or {}).get("nameId"),
                        "emails": one["user"].get("organizationVerifiedDomainEmails") or [],
                    }
    return found


def groups(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Teams with their members; a team is known by its id, as slugs change."""

    async def whole(_: str, team: Json) -> list[Json]:
        return [
            {"team": team, "members": await everything(p, f"{p.settings.org}/teams/{team['slug']}/members")}
        ]

    return _whole(p, at, (_TEAMS,), whole)


async def privilege_axes(p: "GitHub") -> AsyncIterator[Axis]:
    """Owners, roles, collaborators of repositories, repositories of teams: each is whole by itself."""
    del p
    for key in _PLACES:
        yield Axis(key)


async def privileges(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Owners, organization roles, collaborators of repositories, repositories of teams.

    One record a principal and place.
    """
    outside = set[int]()
    if at.axis.key == "repositories":
        outside = {one["id"] for one in await everything(p, f"{p.settings.org}/outside_collaborators")}
    async for page in _whole(p, at, (_PLACES[at.axis.key],), partial(_held, p, outside)):
        yield page


async def _held(p: "GitHub", outside: set[int], kind: str, one: Json) -> list[Json]:
    org, found = p.settings.org, list[Json]()
    match kind:
        case "owner":
            found = [{"user": one}]
        case "role":
            for who in ("user", "team"):
                holders = await everything(p, f"{org}/organization-roles/{one['id']}/{who}s")
                found += [{"role": one, who: holder} for holder in holders]
        case "repo":
            direct = await everything(p, f"/repos/{one['full_name']}/collaborators", affiliation="direct")
            place = {"id": one["id"], "full_name": one["full_name"], "visibility": one.get("visibility")}
            found = [{"repo": place, "user": user, "outside": user["id"] in outside} for user in direct]
        case _:
            repos = await everything(p, f"{org}/teams/{one['slug']}/repos")
            found = [{"team": one, "repo": repo} for repo in repos]
    return [{"kind": kind, **held} for held in found]


async def app_axes(p: "GitHub") -> AsyncIterator[Axis]:
    """Installed Apps, credentials authorized for single sign-on, fine-grained tokens (shown to Apps only)."""
    for key in _APPS:
        if key != "tokens" or p.settings.as_app:
            yield Axis(key)


def apps(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Apps and tokens with what they were granted; without SAML there are no authorized credentials."""

    async def granted(kind: str, one: Json) -> list[Json]:
        return [{"kind": kind, **one}]

    return _whole(p, at, (_APPS[at.axis.key],), granted)


def audit(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """The audit log with git events; GitHub names no bound to its lateness."""
    return _log(p, at)


def latecomers(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """The audit log again, once a day, from a day before the last such read: for what came late."""
    return _log(p, at)


async def _log(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """A window, web and git events, oldest first, by whole seconds; none if told so."""
    if p.settings.audit_log is False:
        return
    start, end = at.since.replace(microsecond=0), at.until.replace(microsecond=0)
    phrase = f"created:>={start:%Y-%m-%dT%H:%M:%SZ} created:<={end:%Y-%m-%dT%H:%M:%SZ}"
    elsewhere = p.elsewhere() if p.settings.enterprise and not p.settings.as_app else frozenset()
    async for found, _ in pages(p, p.settings.log, grows=True, phrase=phrase, include="all", order="asc"):
        yield Page([one for one in found if str(one.get("org_id")) not in elsewhere] if elsewhere else found)


async def _whole(
    p: "GitHub", at: At, parts: tuple[Part, ...], details: Callable[[str, Json], Awaitable[list[Json]]]
) -> AsyncIterator[Page]:
    """Read lists one after the other, and of each entry, several at once, what it comes to.

    What was deleted meanwhile comes to nothing. The cursor is the part and the link to its next page.
    """
    places = asyncio.Semaphore(AT_ONCE)

    async def detailed(kind: str, one: Json) -> list[Json]:
        async with places:
            try:
                return await details(kind, one)
            except Missing:
                return []

    start, link = (at.cursor["part"], at.cursor["link"]) if at.cursor else (0, "")
    for number, part in enumerate(parts[start:], start):
        path = link or f"{p.settings.org}/{part.path}"
        after = {"part": number + 1, "link": ""} if number + 1 < len(parts) else None
        try:
            async for found, onward in pages(p, path, part.under, **part.params):
                cursor = {"part": number, "link": onward} if onward else after
                records = await asyncio.gather(*(detailed(part.kind, one) for one in found))
                yield Page([one for many in records for one in many], cursor, complete=cursor is None)
        except Missing:
            if not part.optional:
                raise
            yield Page([], after, complete=after is None)
        link = ""

"""Reading what there is: members, teams, who may do what, apps and tokens.

Lists are read page by page along their links; none tells of changes, so each read is a full one. Sources:
REST API reference, "Organization members", "Teams", "Organization roles", "Collaborators", "Organizations";
GraphQL reference, `OrganizationIdentityProvider`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

from ingest.provider import At, Axis, Json, Missing, NotAllowed, Page, Refused
from ingest.providers.github.calls import Part, chained, everything, graph, pages

if TYPE_CHECKING:
    from ingest.providers.github import GitHub

AT_ONCE: Final = 8
TEAMS: Final = 30
"""Teams or repositories of a page, each with calls of its own, that are lost if it breaks."""

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


async def read_accounts(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Members by role, outside collaborators, pending invitations; with identities where there is SAML."""
    org = f"/orgs/{p.settings.organization}"
    parts = (
        Part("admin", f"{org}/members", params={"role": "admin"}),
        Part("member", f"{org}/members", params={"role": "member"}),
        Part("outside", f"{org}/outside_collaborators"),
        Part("invited", f"{org}/invitations"),
    )
    identities = await _identities(p)
    without = await _without_two_factor(p, org)
    async for name, found, cursor in chained(p, parts, at.cursor):
        records = [
            {
                "kind": name, "user": one,
                "two_factor": None if without is None or name == "invited" else one["id"] not in without,
                "identity": identities.get(one["id"]) if name != "invited" else None,
            }
            for one in found
        ]  # fmt: skip
        yield Page(records, cursor, complete=cursor is None)


async def _without_two_factor(p: "GitHub", org: str) -> set[int] | None:
    """Find who has no second factor; None: only owners may ask."""
    try:
        lists = [
            await everything(p, f"{org}/{path}", filter="2fa_disabled")
            for path in ("members", "outside_collaborators")
        ]
    except (NotAllowed, Refused):
        return None
    return {one["id"] for found in lists for one in found}


async def _identities(p: "GitHub") -> dict[int, Json]:
    """Read the linked identities by user; none without SAML, or where they may not be seen."""
    s, found = p.settings, dict[int, Json]()
    for query, given in ((_OF_ORGANIZATION, {}), (_OF_ENTERPRISE, {"slug": s.enterprise})):
        if query is _OF_ENTERPRISE and (not s.enterprise or s.as_app):
            continue
        after = None
        try:
            while True:
                data = await graph(p, query, org=s.organization, after=after, **given)
                page = _provider(data).get("externalIdentities")
                if not page:
                    break
                found |= {
                    one["user"]["databaseId"]: {
                        "guid": one["guid"], "name_id": (one.get("samlIdentity") or {}).get("nameId"),
                        "emails": one["user"].get("organizationVerifiedDomainEmails") or [],
                    }
                    for one in page["nodes"] if one and one.get("user")
                }  # fmt: skip
                if not page["pageInfo"]["hasNextPage"]:
                    break
                after = page["pageInfo"]["endCursor"]
        except (NotAllowed, Missing):
            continue
    return found


def _provider(data: Json) -> Json:
    """Find the identity provider in an answer, in which whatever may not be seen is null."""
    owner = data.get("organization") or (data.get("enterprise") or {}).get("ownerInfo") or {}
    return owner.get("samlIdentityProvider") or {}


async def read_groups(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Teams with their members; a team is known by its id, as slugs change."""
    org = f"/orgs/{p.settings.organization}"

    async def whole(team: Json) -> Json:
        return {"team": team, "members": await everything(p, f"{org}/teams/{team['slug']}/members")}

    teams = (Part("teams", f"{org}/teams", params={"per_page": TEAMS}),)
    async for _, found, cursor in chained(p, teams, at.cursor):
        records = [one for one in await _each(found, whole) if one]
        yield Page(records, cursor, complete=cursor is None)


async def privilege_axes(p: "GitHub") -> AsyncIterator[Axis]:
    """Owners, roles, collaborators of repositories, repositories of teams: each is whole by itself."""
    del p
    for key in ("owners", "roles", "repositories", "teams"):
        yield Axis(key)


async def read_privileges(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Who holds what, one record a principal and place."""
    org = f"/orgs/{p.settings.organization}"
    details: Callable[[Json], Awaitable[Json]]
    match at.axis.key:
        case "owners":
            part, details = Part("owner", f"{org}/members", params={"role": "admin"}), _owner
        case "roles":
            unpaged = {"per_page": None}
            part = Part("role", f"{org}/organization-roles", "roles", unpaged, optional=True)
            details = _holders(p, f"{org}/organization-roles")
        case "repositories":
            part = Part("repo", f"{org}/repos", params={"type": "all", "sort": "created", "per_page": TEAMS})
            outside = await everything(p, f"{org}/outside_collaborators")
            details = _collaborators(p, {one["id"] for one in outside})
        case _:
            part = Part("team", f"{org}/teams", params={"per_page": TEAMS})
            details = _repositories(p, f"{org}/teams")
    async for _, found, cursor in chained(p, (part,), at.cursor):
        records = [one for many in await _each(found, details) for one in many or []]
        yield Page(records, cursor, complete=cursor is None)


async def _owner(user: Json) -> list[Json]:
    return [{"kind": "owner", "user": user}]


def _holders(p: "GitHub", path: str) -> Callable[[Json], Awaitable[Json]]:
    async def read(role: Json) -> list[Json]:
        users = await everything(p, f"{path}/{role['id']}/users")
        teams = await everything(p, f"{path}/{role['id']}/teams")
        held = [{"kind": "role", "role": role, "user": one} for one in users]
        return held + [{"kind": "role", "role": role, "team": one} for one in teams]

    return read


def _collaborators(p: "GitHub", outside: set[int]) -> Callable[[Json], Awaitable[Json]]:
    async def read(repo: Json) -> list[Json]:
        path = f"/repos/{repo['full_name']}/collaborators"
        direct = await everything(p, path, affiliation="direct")
        place = {"id": repo["id"], "full_name": repo["full_name"], "visibility": repo.get("visibility")}
        return [
            {"kind": "repo", "repo": place, "user": one, "outside": one["id"] in outside} for one in direct
        ]

    return read


def _repositories(p: "GitHub", path: str) -> Callable[[Json], Awaitable[Json]]:
    async def read(team: Json) -> list[Json]:
        repos = await everything(p, f"{path}/{team['slug']}/repos")
        return [{"kind": "team", "team": team, "repo": one} for one in repos]

    return read


async def app_axes(p: "GitHub") -> AsyncIterator[Axis]:
    """Installed Apps, credentials authorized for single sign-on, fine-grained tokens (shown to Apps only)."""
    yield Axis("installations")
    yield Axis("credentials")
    if p.settings.as_app:
        yield Axis("tokens")


async def read_apps(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Apps and tokens with what they were granted; without SAML there are no authorized credentials."""
    org = f"/orgs/{p.settings.organization}"
    match at.axis.key:
        case "installations":
            part = Part("installation", f"{org}/installations", "installations")
        case "credentials":
            part = Part("credential", f"{org}/credential-authorizations", optional=True)
        case _:
            part = Part("token", f"{org}/personal-access-tokens")
    async for kind, found, cursor in chained(p, (part,), at.cursor):
        yield Page([{"kind": kind, **one} for one in found], cursor, complete=cursor is None)


async def read_log(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """A window of the audit log, web and git events, oldest first, by whole seconds; none if told so."""
    if p.settings.audit_log is False:
        return
    start, end = at.since.replace(microsecond=0), at.until.replace(microsecond=0)
    phrase = f"created:>={start:%Y-%m-%dT%H:%M:%SZ} created:<={end:%Y-%m-%dT%H:%M:%SZ}"
    elsewhere = p.elsewhere() if p.settings.enterprise and not p.settings.as_app else frozenset()
    async for found, _ in pages(p, p.settings.log, phrase=phrase, include="all", order="asc"):
        yield Page([one for one in found if str(one.get("org_id")) not in elsewhere] if elsewhere else found)


async def _each(found: list[Json], read: Callable[[Json], Awaitable[Json]]) -> list[Json]:
    """Read something of each, several at once; what was deleted meanwhile has nothing."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(given: Json) -> Json:
        async with places:
            try:
                return await read(given)
            except Missing:
                return None

    return list(await asyncio.gather(*map(one, found)))

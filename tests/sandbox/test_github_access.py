"""The simulated GitHub's door: tokens, rights, manners and faults."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import jwt
import pytest

from sandbox.github.access import new_app
from sandbox.github.faults import FAULTS
from sandbox.github.seed import connect, owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import PERMISSIONS, GitHubTenant

PERSON = ("acme-owner", 1_000_001)


@pytest.fixture(scope="module")
async def tenant() -> AsyncIterator[GitHubTenant]:
    """A small organisation."""
    async with running(seed(members=12, repos=30, events=4)) as tenant:
        yield tenant


@pytest.fixture(scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain client."""
    async with aiohttp.ClientSession() as session:
        yield session


def signed(tenant: GitHubTenant, key: str = "", **claims: Any) -> dict[str, str]:
    """Headers with an App's JWT as the documentation makes it, but for what is given."""
    now = int(tenant.clock.now())
    told = {"iat": now - 60, "exp": now + 540, "iss": tenant.access.app.client_id, **claims}
    token = jwt.encode(
        {k: v for k, v in told.items() if v is not None}, key or tenant.access.app.private, "RS256"
    )
    return {"Authorization": f"Bearer {token}"}


def bearer(token: str) -> dict[str, str]:
    """Headers with a token."""
    return {"Authorization": f"token {token}"}


def installed(tenant: GitHubTenant, **permissions: str) -> dict[str, str]:
    """Headers with an installation's token of some permissions."""
    own = tenant.org.installations[int(connect(tenant)["installation_id"])]
    return bearer(tenant.access.install(own, permissions, tenant.clock.now(), "sluice-connect[bot]")[0])


@pytest.mark.parametrize(
    ("claims", "status", "told"),
    [
        ({}, 200, ""),
        ({"exp": "far"}, 401, "too far in the future"),
        ({"exp": "past"}, 401, "'Expiration time' claim"),
        ({"exp": None}, 401, "'Expiration time' claim"),
        ({"iat": "ahead"}, 401, "'Issued at' claim"),
        ({"iat": None}, 401, "'Issued at' claim"),
        ({"iss": "77"}, 404, "Integration not found"),
        ({"iss": None}, 404, "Integration not found"),
    ],
)
async def test_a_jwt_lives_ten_minutes(
    tenant: GitHubTenant, session: aiohttp.ClientSession, claims: Mapping[str, Any], status: int, told: str
) -> None:
    """Only a JWT with iat in the past and exp at most ten minutes ahead, of a known App, is taken."""
    now = int(tenant.clock.now())
    words = {"far": now + 700, "past": now - 1, "ahead": now + 120}
    headers = signed(tenant, **{name: words.get(str(value), value) for name, value in claims.items()})
    async with session.get(tenant.url + "/app", headers=headers) as answer:
        body = await answer.json()
        assert answer.status == status
    assert told in body.get("message", "")


async def test_a_jwt_of_another_key_or_algorithm(
    tenant: GitHubTenant, session: aiohttp.ClientSession
) -> None:
    """Neither another App's key, nor a shared secret, nor no signature at all opens the door."""
    now = int(tenant.clock.now())
    claims = {"iat": now - 60, "exp": now + 60, "iss": str(tenant.access.app.id)}
    other = new_app(1, "other", {}, []).private
    tokens = [
        jwt.encode(claims, other, "RS256"),
        jwt.encode(claims, "k" * 40, "HS256"),
        jwt.encode(claims, "", "none"),
        "a.b.c",
    ]
    for token in tokens:
        async with session.get(tenant.url + "/app", headers={"Authorization": f"Bearer {token}"}) as answer:
            assert answer.status == 401
            assert (await answer.json())["message"] == "A JSON web token could not be decoded"


async def test_an_installation_token_lives_an_hour(session: aiohttp.ClientSession) -> None:
    """It has the asked permissions and no more, and ends after an hour."""
    async with running(seed(members=3)) as tenant:
        where = f"{tenant.url}/app/installations/31001/access_tokens"
        async with session.post(
            where, headers=signed(tenant), json={"permissions": {"members": "read"}}
        ) as answer:
            assert answer.status == 201
            made = await answer.json()
        assert made["permissions"] == {"members": "read"}
        headers = bearer(made["token"])
        members, hooks = f"{tenant.url}/orgs/acme/members", f"{tenant.url}/orgs/acme/installations"
        async with session.get(members, headers=headers) as answer:
            assert answer.status == 200
        async with session.get(hooks, headers=headers) as answer:
            assert answer.status == 403
            assert answer.headers["X-Accepted-GitHub-Permissions"] == "organization_administration=read"
        tenant.clock.advance(3_600)
        async with session.get(members, headers=headers) as answer:
            assert (answer.status, (await answer.json())["message"]) == (401, "Bad credentials")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"permissions": {"members": "admin"}}, 422),
        ({"permissions": {"issues": "read"}}, 422),
        ({"permissions": "members"}, 422),
        ({"scope": "all"}, 422),
        ([1], 400),
    ],
)
async def test_more_than_was_granted_is_refused(
    tenant: GitHubTenant, session: aiohttp.ClientSession, asked: Any, status: int
) -> None:
    """A token cannot have what the installation has not, and nonsense is told apart."""
    where = f"{tenant.url}/app/installations/31001/access_tokens"
    async with session.post(where, headers=signed(tenant), json=asked) as answer:
        assert answer.status == status
    async with session.post(where.replace("31001", "25381"), headers=signed(tenant)) as answer:
        assert answer.status == 404


async def test_the_wrong_kind_of_token(tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
    """Each endpoint takes the tokens that its documentation names."""
    app, person = installed(tenant), bearer(owner_token(tenant))
    cases = [
        ("/app", app, 401),
        ("/orgs/acme/members", signed(tenant), 401),
        ("/orgs/acme/members", {}, 401),
        ("/orgs/acme/personal-access-tokens", person, 403),
        ("/orgs/acme/personal-access-tokens", app, 200),
        ("/user", app, 403),
        ("/user", person, 200),
        ("/enterprises/acme-inc/audit-log", app, 403),
        ("/enterprises/acme-inc/audit-log", person, 200),
        ("/orgs/other/members", person, 404),
        ("/meta", {}, 200),
    ]
    for path, headers, status in cases:
        async with session.get(tenant.url + path, headers=headers) as answer:
            assert (path, answer.status) == (path, status)


async def test_scopes_of_people(tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
    """A token without the scope is refused, hooks are hidden from it, and both headers tell why."""
    poor = bearer(tenant.access.person(*PERSON, "read:user"))
    async with session.get(tenant.url + "/orgs/acme/members", headers=poor) as answer:
        assert answer.status == 403
        assert answer.headers["X-OAuth-Scopes"] == "read:user"
        assert answer.headers["X-Accepted-OAuth-Scopes"] == "read:org"
    async with session.get(tenant.url + "/orgs/acme/hooks", headers=poor) as answer:
        assert answer.status == 404
    rich = bearer(tenant.access.person(*PERSON, "admin:org"))
    async with session.get(tenant.url + "/orgs/acme/members", headers=rich) as answer:
        assert answer.status == 200


async def test_single_sign_on_is_asked_of_a_token(
    tenant: GitHubTenant, session: aiohttp.ClientSession
) -> None:
    """A token that was not authorised for SAML gets 403 and the address where to do it."""
    token = tenant.access.person(*PERSON, "admin:org", sso=False)
    async with session.get(tenant.url + "/orgs/acme/members", headers=bearer(token)) as answer:
        assert answer.status == 403
        assert answer.headers["X-GitHub-SSO"].startswith("required; url=")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/orgs/acme/members", {"User-Agent": ""}, 403),
        ("/orgs/acme/members", {"X-GitHub-Api-Version": "2020-01-01"}, 400),
        ("/orgs/acme/members", {"X-GitHub-Api-Version": "2022-11-28"}, 200),
        ("/orgs/acme/members", {"Accept": "text/html"}, 415),
        ("/orgs/acme/members", {"Accept": "application/vnd.github+json"}, 200),
        ("/orgs/acme/members?roles=admin", {}, 422),
        ("/orgs/acme/members?role=owner", {}, 422),
        ("/orgs/acme/members?per_page=1000&page=-1", {}, 200),
        ("/orgs/acme/hooks/one", {}, 404),
        ("/api/v3/orgs/acme/members", {}, 200),
        ("/api/orgs/acme/members", {}, 404),
    ],
)
async def test_manners(
    tenant: GitHubTenant, session: aiohttp.ClientSession, path: str, headers: dict[str, str], status: int
) -> None:
    """A user agent, a known version, an acceptable format and known parameters are asked for."""
    async with session.get(tenant.url + path, headers=installed(tenant) | headers) as answer:
        assert answer.status == status


async def test_one_link_header_of_several_rels(tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
    """Pages lead on by absolute links under the organisation's number, in the form that was called."""
    headers, seen = installed(tenant), list[int]()
    where = f"{tenant.url}/api/v3/orgs/acme/members?per_page=5"
    rels = list[set[str]]()
    while where:
        async with session.get(where, headers=headers) as answer:
            seen += [one["id"] for one in await answer.json()]
            assert len(answer.headers.getall("Link")) == 1
            rels.append({str(rel) for rel in answer.links})
            where = str(answer.links["next"]["url"]) if "next" in answer.links else ""
        assert not where or where.startswith(f"{tenant.url}/api/v3/organizations/{tenant.org.id}/members?")
    assert seen == list(tenant.org.members)
    assert rels == [{"next", "last"}, {"prev", "next", "last", "first"}, {"prev", "first"}]


async def test_what_was_not_changed_costs_nothing(
    tenant: GitHubTenant, session: aiohttp.ClientSession
) -> None:
    """304 comes for a tag that the same token was given, and only then is the hourly limit left alone."""
    headers, where = installed(tenant), f"{tenant.url}/orgs/acme/teams"
    async with session.get(where, headers=headers) as answer:
        tag, used = answer.headers["ETag"], int(answer.headers["X-RateLimit-Used"])
    async with session.get(where, headers=headers | {"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
        assert int(answer.headers["X-RateLimit-Used"]) == used
        assert "Link" not in answer.headers
    async with session.get(where, headers=installed(tenant) | {"If-None-Match": tag}) as answer:
        assert (answer.status, answer.headers["ETag"] == tag) == (200, False)
        assert int(answer.headers["X-RateLimit-Used"]) == used + 1
    next(iter(tenant.org.teams.values())).name += "!"
    async with session.get(where, headers=headers | {"If-None-Match": tag}) as answer:
        assert answer.status == 200
        assert int(answer.headers["X-RateLimit-Used"]) == used + 2


@pytest.mark.parametrize("fault", [one for one in FAULTS if one[:3].isdecimal()])
async def test_faults_with_a_status(tenant: GitHubTenant, session: aiohttp.ClientSession, fault: str) -> None:
    """Each ordered status comes once, with its headers, and the next call works."""
    tenant.order("/orgs/acme/teams", fault)
    async with session.get(tenant.url + "/orgs/acme/teams", headers=installed(tenant)) as answer:
        assert answer.status == int(fault[:3])
        assert ("Retry-After" in answer.headers) == (fault in {"403 secondary", "429"})
        assert (answer.headers.get("X-RateLimit-Remaining") == "0") == (fault in {"403 rate", "429 bare"})
        assert (await answer.json())["message"]
    async with session.get(tenant.url + "/orgs/acme/teams", headers=installed(tenant)) as answer:
        assert answer.status == 200


async def test_faults_of_the_wire(tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
    """Half JSON, HTML, a cut connection and a hanging answer."""
    where, headers = tenant.url + "/orgs/acme/teams", installed(tenant)
    tenant.order("/orgs", "truncated", "html", "html ok", "cut", "hang")
    async with session.get(where, headers=headers) as answer:
        with pytest.raises(json.JSONDecodeError):
            await answer.json()
    for status in (502, 200):
        async with session.get(where, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (status, "text/html")
    with pytest.raises(aiohttp.ClientPayloadError):
        async with session.get(where, headers=headers) as answer:
            await answer.read()
    with pytest.raises(TimeoutError):
        async with session.get(where, headers=headers, timeout=aiohttp.ClientTimeout(total=0.2)) as answer:
            await answer.read()
    with pytest.raises(ValueError, match="choose one of"):
        tenant.order("/orgs", "flood")


async def test_a_missing_permission_names_itself(session: aiohttp.ClientSession) -> None:
    """An App that was not given a permission is told which one the endpoint wants."""
    fewer = {name: level for name, level in PERMISSIONS.items() if name != "organization_hooks"}
    blind = seed(GitHubTenant(permissions=fewer), members=3)
    async with (
        running(blind) as tenant,
        session.get(tenant.url + "/orgs/acme/hooks", headers=installed(tenant)) as answer,
    ):
        assert answer.status == 404
        assert answer.headers["X-Accepted-GitHub-Permissions"] == "organization_hooks=read"

"""What is done to the simulated organisation: preconditions, effects, jobs, and what the log tells of it."""

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import pytest

from sandbox.github.call import ROUTES
from sandbox.github.seed import connect, owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant


@pytest.fixture
async def tenant() -> AsyncIterator[GitHubTenant]:
    """A small organisation, all of whose jobs take a second."""
    async with running(seed(members=8, repos=12, events=0)) as tenant:
        yield tenant


class Hand:
    """Calls as the App's installation."""

    def __init__(self, tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
        self._tenant, self._session = tenant, session
        own = tenant.org.installations[int(connect(tenant)["installation_id"])]
        self.token = tenant.access.install(own, {}, tenant.clock.now(), "sluice-connect[bot]")[0]

    async def __call__(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        """Status and body of a call."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        url = self._tenant.url + path
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json() if await answer.read() else None


@pytest.fixture
async def call(tenant: GitHubTenant) -> AsyncIterator[Hand]:
    """The App's hand."""
    async with aiohttp.ClientSession() as session:
        yield Hand(tenant, session)


def plain(tenant: GitHubTenant) -> str:
    """The login of a member who is not an owner."""
    return next(tenant.org.users[one].login for one, role in tenant.org.members.items() if role == "member")


def last(tenant: GitHubTenant) -> Any:
    """The newest entry of the log."""
    return tenant.log.entries[-1].record


async def test_remove_and_invite_again(tenant: GitHubTenant, call: Hand) -> None:
    """A removed member is gone from teams too; putting the membership back only invites."""
    login = plain(tenant)
    number = tenant.org.logins[login]
    assert await call("DELETE", f"/orgs/acme/memberships/{login}") == (204, None)
    assert (await call("GET", f"/orgs/acme/memberships/{login}"))[0] == 404
    assert all(number not in team.people for team in tenant.org.teams.values())
    told = last(tenant)
    assert (told["action"], told["user"], told["actor"]) == (
        "org.remove_member",
        login,
        "sluice-connect[bot]",
    )
    status, body = await call("PUT", f"/orgs/acme/memberships/{login}", {"role": "member"})
    assert (status, body["state"]) == (200, "pending")
    assert (await call("GET", "/orgs/acme/invitations"))[1][-1]["login"] == login
    assert (await call("DELETE", f"/orgs/acme/memberships/{login}"))[0] == 204
    assert (await call("DELETE", f"/orgs/acme/memberships/{login}"))[0] == 404
    assert (await call("DELETE", "/orgs/acme/memberships/no-such-login"))[0] == 404


async def test_the_last_owner_stays(tenant: GitHubTenant, call: Hand) -> None:
    """Neither removal nor demotion takes the last owner away."""
    first, second = (tenant.org.users[one].login for one in tenant.org.admins())
    assert (await call("PUT", f"/orgs/acme/memberships/{second}", {"role": "member"}))[0] == 200
    assert (await call("DELETE", f"/orgs/acme/memberships/{first}"))[0] == 403
    assert (await call("PUT", f"/orgs/acme/memberships/{first}", {"role": "member"}))[0] == 403
    assert (await call("PUT", f"/orgs/acme/outside_collaborators/{first}"))[0] == 403
    assert tenant.org.admins() == [tenant.org.logins[first]]


async def test_demotion_at_once_and_as_a_job(tenant: GitHubTenant, call: Hand) -> None:
    """204 is done, 202 is promised: the job is done later."""
    login = plain(tenant)
    number = tenant.org.logins[login]
    assert await call("PUT", f"/orgs/acme/outside_collaborators/{login}", {"async": True}) == (202, {})
    assert number in tenant.org.members
    tenant.clock.advance(2)
    assert (await call("GET", f"/orgs/acme/members/{login}"))[0] == 404
    assert number in tenant.org.outsiders
    assert (await call("PUT", f"/orgs/acme/outside_collaborators/{login}"))[0] == 403
    other = plain(tenant)
    assert (await call("PUT", f"/orgs/acme/outside_collaborators/{other}"))[0] == 204
    assert tenant.org.logins[other] in tenant.org.outsiders


async def test_outsiders_and_collaborators(tenant: GitHubTenant, call: Hand) -> None:
    """Outsiders lose every repository at once, collaborators one; members are not outsiders."""
    login = plain(tenant)
    assert (await call("DELETE", f"/orgs/acme/outside_collaborators/{login}"))[0] == 422
    outsider = tenant.org.users[next(iter(tenant.org.outsiders))]
    where = f"/repos/acme/ledger-0/collaborators/{outsider.login}"
    assert (await call("PUT", where, {"permission": "push"}))[0] == 204
    reach = "/repos/acme/ledger-0/collaborators?affiliation=outside"
    assert [(one["id"], one["role_name"]) for one in (await call("GET", reach))[1]] == [
        (outsider.id, "write")
    ]
    assert (await call("DELETE", where))[0] == 204
    assert last(tenant)["action"] == "repo.remove_member"
    assert (await call("PUT", where))[0] == 204
    assert (await call("DELETE", f"/orgs/acme/outside_collaborators/{outsider.login}"))[0] == 204
    assert (await call("GET", reach))[1] == []


async def test_block(tenant: GitHubTenant, call: Hand) -> None:
    """Blocking removes, works twice, and an owner cannot be blocked."""
    login = plain(tenant)
    for _ in range(2):
        assert (await call("PUT", f"/orgs/acme/blocks/{login}"))[0] == 204
    assert (await call("GET", f"/orgs/acme/members/{login}"))[0] == 404
    assert (await call("PUT", f"/orgs/acme/memberships/{login}"))[0] == 422
    assert (await call("PUT", "/orgs/acme/blocks/acme-owner"))[0] == 422
    for _ in range(2):
        assert (await call("DELETE", f"/orgs/acme/blocks/{login}"))[0] == 204
    assert [e.record["action"] for e in tenant.log.entries][-2:] == ["org.block_user", "org.unblock_user"]


async def test_make_private(tenant: GitHubTenant, call: Hand) -> None:
    """The repository's visibility changes, and the log has both; a renamed one redirects by its number."""
    repo = tenant.org.estate.find("ledger-0") or pytest.fail("no such repository")
    tenant.org.estate.change(repo, visibility="public")
    status, body = await call("PATCH", "/repos/acme/ledger-0", {"visibility": "private"})
    assert (status, body["visibility"], body["private"]) == (200, "private", True)
    assert (last(tenant)["previous_visibility"], last(tenant)["visibility"]) == ("public", "private")
    assert (await call("PATCH", "/repos/acme/ledger-0", {"visibility": "secret"}))[0] == 422
    tenant.org.estate.renamed["old-name"] = repo.id
    status, body = await call("GET", "/repos/acme/old-name")
    assert (status, body["name"]) == (200, "ledger-0")


async def test_credentials(tenant: GitHubTenant, call: Hand) -> None:
    """One goes at once, all of a member by a job; without SAML there is no list."""
    first, *_ = held = list(tenant.org.credentials)
    assert (await call("DELETE", f"/orgs/acme/credential-authorizations/{first}"))[0] == 204
    assert (await call("DELETE", f"/orgs/acme/credential-authorizations/{first}"))[0] == 404
    login = tenant.org.credentials[held[1]]["login"]
    assert (await call("POST", f"/orgs/acme/credential-authorizations/{login}/revoke"))[0] == 202
    assert (await call("GET", f"/orgs/acme/credential-authorizations?login={login}"))[1]
    tenant.clock.advance(2)
    assert (await call("GET", f"/orgs/acme/credential-authorizations?login={login}"))[1] == []
    tenant.org.saml = False
    assert (await call("GET", "/orgs/acme/credential-authorizations"))[0] == 404


async def test_fine_grained_tokens(tenant: GitHubTenant, call: Hand) -> None:
    """A grant is revoked once; what was used lately can be asked for."""
    number = next(iter(tenant.org.grants))
    where = f"/orgs/acme/personal-access-tokens/{number}"
    assert (await call("POST", where, {"action": "delete"}))[0] == 422
    assert (await call("POST", where, {"action": "revoke"}))[0] == 204
    assert (await call("POST", where, {"action": "revoke"}))[0] == 404
    assert last(tenant)["action"] == "personal_access_token.access_revoked"
    assert (await call("GET", "/orgs/acme/personal-access-tokens?last_used_after=2999-01-01T00:00:00Z"))[
        1
    ] == []


async def test_an_own_installation_is_suspended(tenant: GitHubTenant, call: Hand) -> None:
    """Its tokens end at once, no new one is given, and resuming undoes it."""
    app, now = tenant.access.app, int(tenant.clock.now())
    own = jwt.encode({"iat": now, "exp": now + 500, "iss": str(app.id)}, app.private, "RS256")
    where = "/app/installations/31001"
    assert (await call("PUT", where + "/suspended", token=own))[0] == 204
    assert (await call("GET", "/orgs/acme/members"))[0] == 401
    assert (await call("POST", where + "/access_tokens", token=own))[0] == 403
    assert (await call("GET", where, token=own))[1]["suspended_at"]
    assert (await call("DELETE", where + "/suspended", token=own))[0] == 204
    assert (await call("POST", where + "/access_tokens", token=own))[0] == 201
    assert (await call("PUT", "/app/installations/25381/suspended", token=own))[0] == 404


async def test_scim_of_the_organisation_is_an_end(tenant: GitHubTenant, call: Hand) -> None:
    """active=false removes the member and the identity."""
    one = tenant.org.users[tenant.org.logins[plain(tenant)]]
    where = f"/scim/v2/organizations/acme/Users/{one.scim}"
    off = {"Operations": [{"op": "replace", "value": {"active": False}}]}
    assert (await call("GET", where))[1]["userName"] == one.name_id
    assert (await call("PATCH", where, {"Operations": []}))[0] == 400
    status, body = await call("PATCH", where, off)
    assert (status, body["active"]) == (200, False)
    assert one.id not in tenant.org.members
    status, body = await call("GET", where)
    assert (status, body["schemas"]) == (404, ["urn:ietf:params:scim:api:messages:2.0:Error"])


async def test_scim_of_a_managed_enterprise_suspends(tenant: GitHubTenant, call: Hand) -> None:
    """active=false hides login and address and can be undone; unmanaged enterprises have no such list."""
    token, off = owner_token(tenant), {"Operations": [{"op": "replace", "path": "active", "value": False}]}
    one = tenant.org.users[tenant.org.logins[plain(tenant)]]
    login, where = one.login, f"/scim/v2/enterprises/acme-inc/Users/{one.scim}"
    assert (await call("PATCH", where, off, token))[0] == 404
    tenant.org.managed = True
    assert (await call("PATCH", where, off, token))[1]["active"] is False
    assert one.login != login
    assert tenant.log.entries[-1].enterprise
    off["Operations"][0]["value"] = True
    assert (await call("PATCH", where, off, token))[1]["active"] is True
    assert one.login == login


async def test_leaked_tokens_are_ended_by_anybody(tenant: GitHubTenant, call: Hand) -> None:
    """The call must come without a token; the leaked one works until the job is done."""
    leaked = {"credentials": [call.token]}
    assert (await call("POST", "/credentials/revoke", leaked))[0] == 403
    async with aiohttp.ClientSession() as session:
        async with session.post(tenant.url + "/credentials/revoke", json=leaked) as answer:
            assert answer.status == 202
        async with session.post(tenant.url + "/credentials/revoke", json={"credentials": []}) as answer:
            assert answer.status == 422
    assert (await call("GET", "/orgs/acme/teams"))[0] == 200
    tenant.clock.advance(2)
    assert (await call("GET", "/orgs/acme/teams"))[0] == 401


async def test_an_app_is_removed_by_the_enterprise(tenant: GitHubTenant, call: Hand) -> None:
    """Only the enterprise's owners can uninstall somebody else's App."""
    where = "/enterprises/acme-inc/apps/organizations/acme/installations/25382"
    assert (await call("DELETE", where))[0] == 403
    assert (await call("DELETE", where, token=owner_token(tenant)))[0] == 204
    assert 25_382 not in tenant.org.installations
    assert last(tenant)["action"] == "integration_installation.destroy"


@pytest.mark.parametrize("value", [None, -1, True, [], ["x"], {"a": 1}, "", "x" * 300, [{}], 1e99])
async def test_hostile_bodies_are_refused(tenant: GitHubTenant, call: Hand, value: Any) -> None:
    """Whatever type a member has, the answer is a refusal or a success, never a server's failure."""
    names = (
        "role permission permissions visibility action pat_ids name config events url secret content_type"
        " credential_type async Operations repositories"
    )
    rules = tenant.limits.rules
    rules.writes = rules.points = rules.user = 100_000
    owner = owner_token(tenant)
    places = {
        "org": "acme", "enterprise": "acme-inc", "owner": "acme", "repo": "ledger-0", "team_slug": "platform",
        "username": plain(tenant), "hook_id": tenant.app_hook.id, "pat_id": next(iter(tenant.org.grants)),
    }  # fmt: skip
    for one in ROUTES:
        if one.method in {"POST", "PUT", "PATCH"} and one.only != ("app",):
            path = re.sub(r"\{(\w+)\}", lambda name: str(places.get(name[1], 1)), one.template)
            token = call.token if one.only == ("installation",) else owner
            for body in (
                dict.fromkeys(names.split(), value),
                [value],
                {"config": {"url": value, "secret": value}},
            ):
                status, _ = await call(one.method, path, body, token)
                assert 200 <= status < 500, (one.method, path)

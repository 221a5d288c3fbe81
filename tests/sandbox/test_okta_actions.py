"""What admins do in the simulated Okta org: preconditions, effects, and the events that tell of it."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sandbox.okta import ids
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant

Json = Any
ALL = (
    "STAGED",
    "PROVISIONED",
    "ACTIVE",
    "RECOVERY",
    "PASSWORD_EXPIRED",
    "LOCKED_OUT",
    "SUSPENDED",
    "DEPROVISIONED",
)


@pytest.fixture
async def org() -> AsyncIterator[OktaTenant]:
    """Run an org."""
    async with running(OktaTenant(users=60, limits=LOOSE)) as tenant:
        yield tenant


@pytest.fixture
async def http(org: OktaTenant) -> AsyncIterator[aiohttp.ClientSession]:
    """Call it with its API token."""
    async with aiohttp.ClientSession(org.url, headers={"Authorization": f"SSWS {org.api_token}"}) as session:
        yield session


async def ask(http: aiohttp.ClientSession, method: str, path: str, **more: Json) -> tuple[int, Json]:
    """Call and read the answer."""
    async with http.request(method, f"/api/v1{path}", **more) as answer:
        return answer.status, await answer.json() if answer.status != 204 else None


@pytest.mark.parametrize(
    ("verb", "fit", "becomes", "kind", "refusal"),
    [
        ("suspend", {"ACTIVE"}, "SUSPENDED", "user.lifecycle.suspend", (400, "E0000001")),
        ("unsuspend", {"SUSPENDED"}, "ACTIVE", "user.lifecycle.unsuspend", (400, "E0000001")),
        ("unlock", {"LOCKED_OUT"}, "ACTIVE", "user.account.unlock_by_admin", (403, "E0000032")),
        ("deactivate", set(ALL) - {"DEPROVISIONED"}, "DEPROVISIONED", "user.lifecycle.deactivate", (403,
        "E0000038")),
        (
            "expire_password", {"STAGED", "ACTIVE", "LOCKED_OUT", "RECOVERY", "PASSWORD_EXPIRED"},
            "PASSWORD_EXPIRED",
            "user.account.expire_password", (403, "E0000038"),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", ALL)
async def test_only_from_the_right_status(
    org: OktaTenant,
    http: aiohttp.ClientSession,
    status: str,
    verb: str,
    fit: set[str],
    becomes: str,
    kind: str,
    refusal: tuple[int, str],
) -> None:
    """A fitting user changes and the log says who did it; any other is refused and stays."""
    org.people.change(30, org.clock.now(), status=status)
    user = ids.make("00u", 30)
    answer, told = await ask(http, "POST", f"/users/{user}/lifecycle/{verb}")
    _, now = await ask(http, "GET", f"/users/{user}")
    if status in fit:
        assert (answer, now["status"]) == (200, becomes)
        last = org.truth[-1]
        assert (last.kind, last.actor, last.targets[0]) == (kind, ids.make("00u", 1), user)
    else:
        assert (answer, told["errorCode"]) == refusal
        assert now["status"] == status
        assert not org.truth


async def test_the_log_tells_by_which_token(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """The filter of the guide by requestApiTokenId finds what a token did."""
    org.people.change(20, org.clock.now(), status="ACTIVE")
    await ask(http, "POST", f"/users/{ids.make('00u', 20)}/lifecycle/suspend")
    _, (token,) = await ask(http, "GET", "/api-tokens")
    text = f'transaction.detail.requestApiTokenId eq "{token["id"]}"'
    _, found = await ask(http, "GET", "/logs", params={"filter": text})
    assert [one["eventType"] for one in found] == ["user.lifecycle.suspend"]


async def test_activation(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """An ACTIVE user can't be activated; a deactivated one comes back without apps."""
    user = ids.make("00u", 30)
    org.people.change(30, org.clock.now(), status="ACTIVE")
    assert org.apps.of(30)
    assert (await ask(http, "POST", f"/users/{user}/lifecycle/activate"))[1]["errorCode"] == "E0000016"
    await ask(http, "POST", f"/users/{user}/lifecycle/deactivate?sendEmail=false")
    status, told = await ask(http, "POST", f"/users/{user}/lifecycle/activate?sendEmail=false")
    assert (status, set(told)) == (200, {"activationUrl", "activationToken"})
    assert told["activationToken"] in org.issued()
    assert (await ask(http, "GET", f"/users/{user}/appLinks"))[1] == []


async def test_deactivation_may_take_its_time(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """With `Prefer: respond-async` the user is on the way first."""
    user = ids.make("00u", 20)
    org.people.change(20, org.clock.now(), status="ACTIVE")
    path = f"/users/{user}/lifecycle/deactivate"
    assert (await ask(http, "POST", path, headers={"Prefer": "respond-async"}))[0] == 200
    _, told = await ask(http, "GET", f"/users/{user}")
    assert (told["status"], told["transitioningToStatus"]) == ("ACTIVE", "DEPROVISIONED")
    org.clock.advance(3)
    _, told = await ask(http, "GET", f"/users/{user}")
    assert (told["status"], "transitioningToStatus" in told) == ("DEPROVISIONED", False)


async def test_passwords(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """A reset needs sendEmail; what is told in the answer is a secret."""
    org.people.change(20, org.clock.now(), status="ACTIVE")
    path = f"/users/{ids.make('00u', 20)}/lifecycle"
    assert (await ask(http, "POST", f"{path}/reset_password"))[1]["errorCode"] == "E0000028"
    assert (await ask(http, "POST", f"{path}/reset_password?sendEmail=yes"))[1]["errorCode"] == "E0000001"
    _, told = await ask(http, "POST", f"{path}/reset_password?sendEmail=false&revokeSessions=true")
    assert told["resetPasswordUrl"].rpartition("/")[2] in org.issued()
    assert [one.kind for one in org.truth] == ["user.account.reset_password", "user.session.clear"]
    assert org.people.field(20, "status") == "RECOVERY"
    _, told = await ask(http, "POST", f"{path}/expire_password_with_temp_password?revokeSessions=true")
    assert told["tempPassword"] in org.issued()


async def test_factors_are_reset(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """What a user enrolled is listed, until it is reset."""
    for index in range(12):
        user = f"/users/{ids.make('00u', index)}"
        if (await ask(http, "GET", f"{user}/factors"))[1]:
            break
    assert (await ask(http, "POST", f"{user}/lifecycle/reset_factors"))[0] == 200
    assert (await ask(http, "GET", f"{user}/factors"))[1] == []
    assert [one.kind for one in org.truth] == ["user.mfa.factor.reset_all"]


async def test_sessions_end(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """204 again and again; with oauthTokens refresh tokens are gone too."""
    user = ids.make("00u", 3)
    tokens = f"/users/{user}/clients/{ids.make('0oa', 2)}/tokens"
    assert len((await ask(http, "GET", tokens))[1]) == 1
    assert (await ask(http, "DELETE", f"/users/{user}/sessions"))[0] == 204
    assert len((await ask(http, "GET", tokens))[1]) == 1
    assert (await ask(http, "DELETE", f"/users/{user}/sessions?oauthTokens=true&forgetDevices=true"))[
        0
    ] == 204
    assert (await ask(http, "GET", tokens))[1] == []
    assert [one.kind for one in org.truth] == ["user.session.clear"] * 2


async def test_grants_and_tokens(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Consents go one by one or all, tokens by app; revoking nothing is fine."""
    user = f"/users/{ids.make('00u', 3)}"
    _, grants = await ask(http, "GET", f"{user}/grants?limit=200")
    assert (await ask(http, "DELETE", f"{user}/grants/{grants[0]['id']}"))[0] == 204
    assert (await ask(http, "DELETE", f"{user}/grants/{grants[0]['id']}"))[0] == 404
    assert len((await ask(http, "GET", f"{user}/grants?limit=200"))[1]) == len(grants) - 1
    assert [(await ask(http, "DELETE", f"{user}/grants"))[0] for _ in range(2)] == [204, 204]
    assert (await ask(http, "GET", f"{user}/grants"))[1] == []
    _, clients = await ask(http, "GET", f"{user}/clients")
    app = clients[0]["client_id"]
    _, held = await ask(http, "GET", f"/apps/{app}/tokens")
    assert (await ask(http, "DELETE", f"{user}/clients/{app}/tokens"))[0] == 204
    assert len((await ask(http, "GET", f"/apps/{app}/tokens"))[1]) == len(held) - 1
    assert (await ask(http, "DELETE", f"/apps/{app}/tokens"))[0] == 204
    assert (await ask(http, "GET", f"/apps/{app}/tokens"))[1] == []


async def test_group_membership(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Only groups of Okta's own can be changed; a change that changes nothing is no event."""
    user, own, foreign = ids.make("00u", 30), ids.make("00g", 3), ids.make("00g", 4)
    for _ in range(2):
        assert (await ask(http, "PUT", f"/groups/{own}/users/{user}"))[0] == 204
    for _ in range(2):
        assert (await ask(http, "DELETE", f"/groups/{own}/users/{user}"))[0] == 204
    assert [one.kind for one in org.truth] == ["group.user_membership.add", "group.user_membership.remove"]
    assert (await ask(http, "DELETE", f"/groups/{foreign}/users/{user}"))[1]["errorCode"] == "E0000006"


async def test_roles(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Roles by group count; `revoke` is told when none is left, `grant` before; a last super admin stays."""
    admin = ids.make("00u", 2)
    _, held = await ask(http, "GET", f"/users/{admin}/roles")
    assert {(one["type"], one["assignmentType"]) for one in held} == {
        ("ORG_ADMIN", "USER"),
        ("HELP_DESK_ADMIN", "GROUP"),
    }
    _, listed = await ask(http, "GET", "/iam/assignees/users?limit=3")
    assert len(listed["value"]) == 3
    assert "next" in listed["_links"]
    assert (await ask(http, "DELETE", f"/users/{admin}/roles/{held[0]['id']}"))[0] == 204
    assert org.truth[-1].kind == "user.account.privilege.grant"
    reader = ids.make("00u", 5)
    _, held = await ask(http, "GET", f"/users/{reader}/roles")
    assert (await ask(http, "DELETE", f"/users/{reader}/roles/{held[0]['id']}"))[0] == 204
    assert org.truth[-1].kind == "user.account.privilege.revoke"
    status, made = await ask(http, "POST", f"/users/{reader}/roles", json={"type": "REPORT_ADMIN"})
    assert (status, made["type"]) == (201, "REPORT_ADMIN")
    owner, service = ids.make("00u", 0), ids.make("00u", 1)
    _, (role,) = await ask(http, "GET", f"/users/{owner}/roles")
    assert (await ask(http, "DELETE", f"/users/{owner}/roles/{role['id']}"))[0] == 204
    _, (role,) = await ask(http, "GET", f"/users/{service}/roles")
    assert (await ask(http, "DELETE", f"/users/{service}/roles/{role['id']}"))[1]["errorCode"] == "E0000006"


async def test_unassigning_an_app(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """An assignment of its own goes, one by a group is there again."""
    app = ids.make("0oa", 0)
    _, assigned = await ask(http, "GET", f"/apps/{app}/users?limit=500")
    for how, after in (("USER", 404), ("GROUP", 200)):
        user = next(one["id"] for one in assigned if one["scope"] == how)
        assert (await ask(http, "DELETE", f"/apps/{app}/users/{user}"))[0] == 204
        assert (await ask(http, "GET", f"/apps/{app}/users/{user}"))[0] == after


async def test_deleting_takes_two_calls(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """The first deactivates, the second deletes."""
    org.people.change(20, org.clock.now(), status="ACTIVE")
    user = f"/users/{ids.make('00u', 20)}"
    assert (await ask(http, "DELETE", user))[0] == 204
    assert (await ask(http, "GET", user))[1]["status"] == "DEPROVISIONED"
    assert (await ask(http, "DELETE", user))[0] == 204
    assert (await ask(http, "GET", user))[0] == 404


async def test_api_tokens(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """They are listed without their values, and end when revoked."""
    value = org.issue_token("old script")
    _, listed = await ask(http, "GET", "/api-tokens")
    assert value not in str(listed)
    key = next(one["id"] for one in listed if one["name"] == "old script")
    assert (await ask(http, "DELETE", f"/api-tokens/{key}"))[0] == 204
    status, _ = await ask(http, "GET", "/org", headers={"Authorization": f"SSWS {value}"})
    assert status == 401

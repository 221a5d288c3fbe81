"""Governance of users against the simulated org: planned, done, seen to be done, taken back, refused."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import pytest

from ingest.errors import NotAllowed
from ingest.provider import Ref, Refused, Reply
from ingest.providers.okta.actions import ACTIONS
from ingest.providers.okta.lifecycle_actions import ResetFactors

Org: TypeAlias = Any
SUPER, OWNER, USER = 0, 1, 20


def user(org: Org, number: int = USER) -> Ref:
    """Name a person."""
    return Ref("user", org.uid(number))


async def set_status(org: Org, status: str, number: int = USER) -> None:
    """Put a person into a status behind our back."""
    org.tenant.people.change(number, org.tenant.clock.now(), status=status)


LIFECYCLE: Final = [
    ("suspend-user", "ACTIVE", "SUSPENDED", "user.lifecycle.suspend"),
    ("unsuspend-user", "SUSPENDED", "ACTIVE", "user.lifecycle.unsuspend"),
    ("expire-password", "ACTIVE", "PASSWORD_EXPIRED", "user.account.expire_password"),
    ("reset-password", "ACTIVE", "RECOVERY", "user.account.reset_password"),
    ("unlock-user", "LOCKED_OUT", "ACTIVE", "user.account.unlock_by_admin"),
    ("deactivate-user", "ACTIVE", "DEPROVISIONED", "user.lifecycle.deactivate"),
]


@pytest.mark.parametrize(("name", "before", "after", "kind"), LIFECYCLE)
async def test_a_status_is_changed_once(org: Org, name: str, before: str, after: str, kind: str) -> None:
    """A plan changes nothing, doing it changes the status, and then nothing is left to do."""
    await set_status(org, before)
    assert len(await org.plan(name, user(org))) == 1
    assert org.status(USER) == before
    await org.act(name, user(org))
    assert org.status(USER) == after
    assert [one.kind for one in org.tenant.truth].count(kind) == 1
    assert await org.plan(name, user(org)) == []


@pytest.mark.parametrize(
    ("name", "status"),
    [("suspend-user", "STAGED"), ("suspend-user", "DEPROVISIONED"), ("unsuspend-user", "LOCKED_OUT"),
     ("expire-password", "SUSPENDED"), ("reset-password", "DEPROVISIONED"), ("unlock-user", "SUSPENDED")],
)  # fmt: skip
async def test_a_status_that_does_not_fit_is_refused(org: Org, name: str, status: str) -> None:
    """What Okta would answer with an error is refused before anything is called, naming the status."""
    await set_status(org, status)
    with pytest.raises(Refused, match=status):
        await org.plan(name, user(org))


async def test_the_last_super_admin_is_spared(connect: Any) -> None:
    """Of two super admins one may go; then the other can't be suspended, deactivated or stripped."""
    org = await connect({"oauth": True})
    assert await org.plan("suspend-user", user(org, SUPER))
    await set_status(org, "SUSPENDED", OWNER)
    for name in ("suspend-user", "deactivate-user", "remove-admin-role"):
        with pytest.raises(Refused, match="last super admin"):
            await org.plan(name, user(org, SUPER))


async def test_ourselves_are_spared(org: Org) -> None:
    """The principal Sluice acts as is never a target."""
    (me,) = org.provider.instance.ourselves
    for action in ACTIONS:
        with pytest.raises(Refused, match="itself"):
            await org.plan(action.name, Ref("user", me), {"group": "00g1", "app": "0oa1"})


@pytest.mark.parametrize("uid", ["nobody@acme.example", "../groups/00g1", "", "a/b", "x" * 99])
async def test_a_target_is_an_id(org: Org, uid: str) -> None:
    """A login is somebody else's tomorrow, and no text of a policy's may become an address."""
    for action in ACTIONS:
        with pytest.raises(Refused):
            await org.plan(action.name, Ref("user", uid), {"group": "00g1", "app": "0oa1"})


async def test_sessions_are_cleared_and_the_log_tells(org: Org) -> None:
    """The second call within minutes does nothing, unless the user signed in since."""
    from sandbox.okta.records import person  # noqa: PLC0415 the tenant's word for a user

    await org.act("clear-sessions", user(org))
    assert await org.plan("clear-sessions", user(org)) == []
    org.tenant.clock.advance(2)
    org.tenant.note("user.session.start", person(org.tenant.people.get(USER)))
    assert len(await org.plan("clear-sessions", user(org))) == 1


async def test_a_group_is_left_and_joined_again(org: Org) -> None:
    """A member is removed; undo puts it back; who is no member is left alone."""
    groups = [n for n in range(2, 10) if n % 5 != 4 and org.tenant.groups.members(n)]
    number = groups[0]
    group = org.tenant.groups.get(number)["id"]
    member = user(org, next(one for one in org.tenant.groups.members(number) if one > 11))
    options = {"group": group}
    before, done = await org.act("remove-from-group", member, options)
    assert await org.plan("remove-from-group", member, options) == []
    assert org.tenant.people.number(member.id) not in org.tenant.groups.members(number)
    assert await org.take_back("remove-from-group", member, before, done, options)
    assert org.tenant.people.number(member.id) in org.tenant.groups.members(number)


async def test_members_from_elsewhere_are_refused(org: Org) -> None:
    """The members of an app's group are the app's, those of Everyone are all."""
    number = next(n for n in range(10) if n % 5 == 4)
    member = user(org, next(iter(org.tenant.groups.members(number))))
    with pytest.raises(Refused, match="APP_GROUP"):
        await org.plan("remove-from-group", member, {"group": org.tenant.groups.get(number)["id"]})
    with pytest.raises(Refused, match="BUILT_IN"):
        await org.plan("remove-from-group", user(org), {"group": org.tenant.groups.get(0)["id"]})


@pytest.mark.parametrize(("name", "options"), [("remove-from-group", {}), ("unassign-app", {"app": "a/b"})])
async def test_options_are_checked(org: Org, name: str, options: Mapping[str, str]) -> None:
    """Without the option it needs, or with one that is no id, an action says which."""
    with pytest.raises(Refused, match="option"):
        await org.plan(name, user(org), options)


async def test_an_admin_role_is_taken_and_given_back(org: Org) -> None:
    """A role held directly and without limits comes back by undo."""
    org.tenant.roles.assign(org.uid(USER), "REPORT_ADMIN")
    before, done = await org.act("remove-admin-role", user(org), {"role": "REPORT_ADMIN"})
    assert await org.plan("remove-admin-role", user(org)) == []
    steps = await org.take_back("remove-admin-role", user(org), before, done)
    assert steps is not None
    assert len(steps) == 1
    assert [step.data["type"] for step in steps] == ["REPORT_ADMIN"]
    assert len(await org.plan("remove-admin-role", user(org))) == 1


async def test_a_role_through_a_group_is_refused(org: Org) -> None:
    """Such a role can't be taken from the user."""
    with pytest.raises(Refused, match="through a group"):
        await org.plan("remove-admin-role", user(org, 9))


def test_a_limited_role_is_not_given_back() -> None:
    """Given back it would have no limit for a moment: there is no way back."""
    action: Any = next(one for one in ACTIONS if one.name == "remove-admin-role")
    role = {"id": "r1", "type": "HELP_DESK_ADMIN", "role": None, "set": None, "limited": True}
    before: Any = {"roles": [role], "through": []}
    now: Any = {"roles": [], "through": []}
    assert action.undo(before, now, {"remove:r1": None}) is None
    assert action.undo(before, before, {"remove:r1": None}) == []


async def test_grants_and_tokens_are_revoked(org: Org) -> None:
    """Grants go first, then the refresh tokens; then nothing is left."""
    number, steps = await _granted(org)
    assert [one.do.partition(":")[0] for one in steps] == sorted(one.do.partition(":")[0] for one in steps)
    await org.act("revoke-grants", user(org, number))
    assert await org.plan("revoke-grants", user(org, number)) == []


async def _granted(org: Org) -> Any:
    for number in range(12, 40):
        if org.status(number) == "ACTIVE" and (steps := await org.plan("revoke-grants", user(org, number))):
            return number, steps
    raise AssertionError("nobody granted anything")


async def test_an_app_is_taken_away(org: Org) -> None:
    """An app assigned to the user itself is unassigned; one through a group is refused."""
    scopes: dict[str, Any] = {}
    for app in (await org.run(org.one.client.call("okta", "GET", "/api/v1/apps"))).json:
        assigned = await org.run(org.one.client.call("okta", "GET", f"/api/v1/apps/{app['id']}/users"))
        for one in assigned.json:
            scopes.setdefault(one["scope"], (one["id"], {"app": app["id"]}))
    uid, options = scopes["USER"]
    await org.act("unassign-app", Ref("user", uid), options)
    assert await org.plan("unassign-app", Ref("user", uid), options) == []
    if "GROUP" in scopes:
        with pytest.raises(Refused, match="through a group"):
            await org.plan("unassign-app", Ref("user", scopes["GROUP"][0]), scopes["GROUP"][1])


def test_factors_are_reset_if_there_are_any() -> None:
    """Email enrols itself again, so alone it is nothing to reset."""
    action = ResetFactors()
    (step,) = action.plan({"factors": ["push", "token:software:totp"]}, {})
    assert step.do == "reset_factors"
    assert action.plan({"factors": []}, {}) == []


class Factors:
    """A user with factors."""

    def __init__(self, uid: str) -> None:
        self.uid, self.kinds, self.asked = uid, ["push", "email", "sms"], list[str]()

    async def call(self, api: str, method: str, path: str, **more: Any) -> Reply:
        """Answer as Okta does."""
        del api, more
        self.asked.append(f"{method} {path}")
        if path.endswith("/lifecycle/reset_factors"):
            self.kinds = ["email"]
            return Reply(200, {}, b"{}", {})
        if path.endswith("/factors"):
            return Reply(200, {}, b"", [{"factorType": one, "status": "ACTIVE"} for one in self.kinds])
        return Reply(200, {}, b"", {"id": self.uid, "status": "ACTIVE"})


async def test_factors_are_reset_once(org: Org) -> None:
    """What the factors were is planned in words; after the reset nothing is left to do."""
    org.provider.http = http = Factors(org.uid(USER))
    (step,) = await org.plan("reset-factors", user(org))
    assert step.say == "take away the user's factors: push, sms"
    await org.act("reset-factors", user(org))
    assert await org.plan("reset-factors", user(org)) == []
    assert http.asked.count(f"POST /api/v1/users/{org.uid(USER)}/lifecycle/reset_factors") == 1


async def test_a_missing_scope_is_said(connect: Any) -> None:
    """Without the manage scope the change is not allowed; reading was."""
    org = await connect({"oauth": True, "scopes": ["okta.users.read", "okta.roles.read"]})
    assert await org.plan("suspend-user", user(org))
    with pytest.raises(NotAllowed):
        await org.act("suspend-user", user(org))
    assert org.status(USER) == "ACTIVE"


async def test_no_answer_with_a_secret_is_kept(org: Org) -> None:
    """What Okta answers to a reset may hold a link or a password, so results are empty."""
    _, done = await org.act("reset-password", user(org))
    assert list(done.values()) == [None]

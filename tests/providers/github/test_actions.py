"""Actions at the simulated organization: done twice they are done once, verified, taken back, refused."""

from collections.abc import Callable
from typing import Any

import pytest

from ingest.provider import Missing, Ref, Refused
from ingest.providers.github.actions import ACTIONS
from sandbox.github.seed import owner_token
from sandbox.github.tenant import GitHubTenant

Open = Callable[..., Any]


def user(uid: Any) -> Ref:
    """Name a person."""
    return Ref("user", str(uid))


def member(org: Any, place: int = 4) -> int:
    """Give an ordinary member's number."""
    return int([one for one, role in org.tenant.org.members.items() if role == "member"][place])


async def managed(opened: Open) -> Any:
    """Connect as an enterprise owner, with managed users."""

    def change(tenant: GitHubTenant) -> None:
        tenant.org.managed = True

    return await opened(lambda one: {"enterprise": "acme-inc", "token": owner_token(one)}, change=change)


@pytest.mark.parametrize("name", ["remove-member", "demote-member"])
async def test_a_membership_ends_and_is_offered_again(org: Any, name: str) -> None:
    """The person is out at once; undo invites in the role of before, once."""
    uid = member(org)
    before, now, _ = await org.act(name, user(uid))
    assert (before["state"], now["state"]) == ("active", "")
    assert uid not in org.tenant.org.members
    assert (uid in org.tenant.org.outsiders) is (name == "demote-member")
    again = await org.back(name, user(uid), before, now)
    assert (again["role"], again["state"]) == ("member", "pending")
    assert await org.back(name, user(uid), before, again) == again


async def test_an_invitation_is_taken_back(org: Any) -> None:
    """Who is only invited is not any more; undo offers nothing that was not theirs."""
    before, now, _ = await org.act("remove-member", user("invited-one"))
    assert (before["state"], now["state"]) == ("pending", "")
    assert (await org.back("remove-member", user("invited-one"), before, now))["state"] == ""


async def test_blocked_and_back(org: Any) -> None:
    """Blocking is undone by unblocking, and the other way round."""
    uid = next(iter(org.tenant.org.outsiders))
    before, now, _ = await org.act("block-user", user(uid))
    assert uid in org.tenant.org.blocked
    unblocked = await org.act("unblock-user", user(uid))
    assert uid not in org.tenant.org.blocked
    assert (await org.back("unblock-user", user(uid), *unblocked[:2]))["blocked"]
    assert not (await org.back("block-user", user(uid), before, now))["blocked"]


async def test_an_outside_collaborator_is_gone(org: Any) -> None:
    """Off all repositories; there is no way back."""
    uid = next(iter(org.tenant.org.outsiders))
    await org.act("remove-outside-collaborator", user(uid))
    assert uid not in org.tenant.org.outsiders


async def test_off_one_repository_and_invited_again(org: Any) -> None:
    """The role of before is offered again; a repository elsewhere is refused."""
    grants = [one for one in await org.read("privileges")
              if one["user"].get("account", {}).get("labels") == ["outside"]]  # fmt: skip
    (place,) = grants[0]["user"]["groups"]
    who, options = user(grants[0]["user"]["uid"]), {"repo": place["name"]}
    name = "remove-repository-collaborator"
    before, now, _ = await org.act(name, who, options)
    assert ([before["role"]], now["role"]) == (place["privileges"], "")
    await org.back(name, who, before, now, options)
    for repo in ("", "other/portal-1", "acme/../x", "acme", "acme/.."):
        with pytest.raises(Refused, match="owner/name"):
            await org.act(name, who, {"repo": repo})


async def test_a_managed_user_is_suspended_and_back(opened: Open) -> None:
    """The login is obfuscated meanwhile, the number stays."""
    org = await managed(opened)
    uid = member(org)
    before, now, _ = await org.act("suspend-user", user(uid))
    assert not org.tenant.org.users[uid].active
    assert now["login"] != before["login"]
    assert (await org.back("suspend-user", user(uid), before, now))["active"]
    assert org.tenant.org.users[uid].active


async def test_credentials_and_tokens_are_revoked(org: Any) -> None:
    """An authorization and a grant end; what is not there is left."""
    credential, token = next(iter(org.tenant.org.credentials)), next(iter(org.tenant.org.grants))
    for _ in range(2):
        await org.act("revoke-credential", Ref("app", f"credential:{credential}"))
        await org.act("revoke-token", Ref("app", f"token:{token}"))
    assert credential not in org.tenant.org.credentials
    assert token not in org.tenant.org.grants


async def test_our_own_app_is_suspended_and_resumed(org: Any) -> None:
    """The App's key works while its installation is suspended."""
    target = Ref("app", "installation:31001")
    before, now, _ = await org.act("suspend-app", target)
    assert now["suspended"]
    assert not (await org.back("suspend-app", target, before, now))["suspended"]


async def test_an_app_is_uninstalled_by_the_enterprise(opened: Open) -> None:
    """Any App's installation, as an enterprise owner."""
    org = await managed(opened)
    await org.act("remove-app", Ref("app", "installation:25381"))
    assert 25381 not in org.tenant.org.installations


@pytest.mark.parametrize(
    ("name", "target", "why"),
    [
        ("suspend-app", "installation:25381", "our own App"),
        ("remove-app", "installation:25381", "enterprise"),
        ("remove-app", "credential:1", "installation:123"),
        ("revoke-credential", "credential:x", "credential:123"),
        ("revoke-token", "7", "token:123"),
        ("suspend-user", "acme-owner", "managed users"),
    ],
)
async def test_what_can_not_be_done_is_refused(org: Any, name: str, target: str, why: str) -> None:
    """A refusal says what would be needed."""
    with pytest.raises(Refused, match=why):
        await org.act(name, Ref("app" if ":" in target else "user", target))


async def test_we_do_not_act_on_ourselves_nor_on_nobody(opened: Open) -> None:
    """The account we sign in with is refused; unknown people are missing."""
    org = await opened(lambda tenant: {"token": owner_token(tenant)})
    with pytest.raises(Refused, match="itself"):
        await org.act("remove-member", user("acme-owner"))
    for nobody in ("nobody-here", "999999999", "../../user"):
        with pytest.raises((Missing, Refused)):
            await org.act("remove-member", user(nobody))


async def test_the_last_owner_stays(opened: Open) -> None:
    """GitHub declines; that is an outcome."""

    def alone(tenant: GitHubTenant) -> None:
        owners = [one for one, role in tenant.org.members.items() if role == "admin"]
        for one in owners[1:]:
            tenant.org.members[one] = "member"

    org = await opened(change=alone)
    with pytest.raises(Refused, match="owner"):
        await org.act("demote-member", user("acme-owner"))


async def test_looking_changes_nothing(org: Any) -> None:
    """A dry run makes no call that writes."""
    before = len(org.tenant.truth)
    targets = {"user": user(member(org)), "app": Ref("app", "installation:31001")}
    for action in ACTIONS:
        try:
            state = await org.run(action.look(org.provider, targets[action.on], None))
        except Refused:
            continue
        action.plan(state, None)
    assert len(org.tenant.truth) == before

"""What is read equals what the simulated organization has, and what happened in it."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from ingest.provider import Axis, NotAllowed, Page
from ingest.windows import windows
from sandbox.github.seed import owner_token, seed
from sandbox.github.tenant import PERMISSIONS, GitHubTenant
from schemas.events import Event

Open = Callable[..., Any]


def by_id(events: list[Event]) -> dict[str, Event]:
    """Put events by their entity."""
    return {one["metadata"]["original_event_uid"]: one for one in events}


async def test_accounts_are_all_people(org: Any) -> None:
    """Members with role, second factor and identity; outside collaborators; invitations."""
    held, found = org.tenant.org, by_id(await org.read("accounts"))
    people = {str(one) for one in [*held.members, *held.outsiders]}
    assert set(found) == people | {f"invitation:{one}" for one in held.invitations}
    for number, role in held.members.items():
        user, known = found[str(number)]["user"], held.users[number]
        assert user["name"] == known.login
        assert user["has_mfa"] is known.two_factor
        assert user["groups"] == [{"name": "owner" if role == "admin" else "member", "type": "role"}]
        assert user["email_addr"] == known.name_id
    for number in held.outsiders:
        assert found[str(number)]["user"]["account"]["labels"] == ["outside"]
    assert found["invitation:6001"]["user"]["account"]["labels"] == ["pending"]


async def test_accounts_without_single_sign_on(opened: Open) -> None:
    """Where there is no SAML there are no identities and no authorized credentials, which is no error."""

    def plain(tenant: GitHubTenant) -> None:
        tenant.org.saml = False

    org = await opened(change=plain)
    assert not any("email_addr" in one["user"] for uid, one in by_id(await org.read("accounts")).items()
                   if not uid.startswith("invitation"))  # fmt: skip
    assert not any(uid.startswith("credential") for uid in by_id(await org.read("apps")))


async def test_groups_are_teams_with_members(org: Any) -> None:
    """Each team with everybody in it."""
    found = by_id(await org.read("groups"))
    assert set(found) == {str(one) for one in org.tenant.org.teams}
    for number, team in org.tenant.org.teams.items():
        (resource,) = found[str(number)]["resources"]
        assert {one["uid"] for one in resource["data"]["members"]} >= {str(one) for one in team.people}


async def test_privileges(org: Any) -> None:
    """Owners, holders of roles, collaborators (outside ones marked), repositories of teams."""
    held, found = org.tenant.org, by_id(await org.read("privileges"))
    owners = {uid for uid in found if uid.startswith("owner/")}
    assert owners == {f"owner/user:{one}" for one, role in held.members.items() if role == "admin"}
    for role in held.roles.values():
        assert {f"role:{role.id}/user:{one}" for one in role.users} <= set(found)
        assert {f"role:{role.id}/team:{one}" for one in role.teams} <= set(found)
    for team in held.teams.values():
        for repo, permission in team.repos.items():
            (group,) = found[f"repository:{repo}/team:{team.id}"]["user"]["groups"]
            assert group["privileges"] == [permission]
    outside = [one for one in found.values() if one["user"].get("account", {}).get("labels") == ["outside"]]
    assert {int(one["user"]["uid"]) for one in outside} <= set(held.outsiders)
    assert outside


async def test_apps_and_tokens(org: Any) -> None:
    """Installations with permissions, credentials with scopes, fine-grained tokens; no part of a secret."""
    held, found = org.tenant.org, by_id(await org.read("apps"))
    expected = {f"installation:{one}" for one in held.installations}
    expected |= {f"credential:{one}" for one in held.credentials} | {f"token:{one}" for one in held.grants}
    assert set(found) == expected
    (resource,) = found["installation:25381"]["resources"]
    assert resource["data"]["scopes"] == ["checks:write", "contents:read", "metadata:read"]
    for number, one in held.credentials.items():
        assert one.get("token_last_eight", "no part") not in str(found[f"credential:{number}"])


async def test_the_log_has_all_that_happened(org: Any) -> None:
    """Every occurrence of the last days, git events too, once each by its own id."""
    since = org.tenant.clock.now() - 18 * 3600
    wanted = {one.id for one in org.tenant.truth if one.id and one.time >= since and not one.business}
    found = [one["metadata"]["original_event_uid"] for one in await org.read("audit")]
    assert wanted <= set(found)
    assert len(found) == len(set(found))


async def test_the_enterprises_log_leaves_out_who_is_connected(opened: Open) -> None:
    """With a token and an enterprise its log is read, without organizations that have a connection."""

    def settings(tenant: GitHubTenant) -> dict[str, str]:
        return {"enterprise": "acme-inc", "token": owner_token(tenant)}

    org = await opened(settings)
    org.tenant.happen("org.rename", "acme-owner", ago=60, org_id=77)
    org.one.until = int(org.tenant.clock.now() * 1000)
    before = by_id(await org.read("audit"))
    org.provider.elsewhere = lambda: frozenset({"77"})
    after = by_id(await org.read("audit"))
    assert len(before) == len(after) + 1


async def test_lists_that_did_not_change_cost_nothing(opened: Open) -> None:
    """With a token the second reading is answered by 304s, free of charge; what changed comes anew."""
    org = await opened(lambda tenant: {"token": owner_token(tenant)})

    async def inventories() -> list[dict[str, Event]]:
        return [by_id(await org.read(feed)) for feed in ("accounts", "groups", "privileges", "apps")]

    first = await inventories()
    (cell,) = (cell for key, cell in org.one.client._pace._cells.items() if key[1] == "primary")
    asked, counted, spent = org.tenant.requests["core"], used(org, "core"), cell.used
    assert await inventories() == first
    assert org.tenant.requests["core"] > asked + 20
    assert (used(org, "core"), cell.used) == (counted, spent)
    team = next(iter(org.tenant.org.teams.values()))
    team.name += "!"
    assert by_id(await org.read("groups"))[str(team.id)]["resources"][0]["name"] == team.name
    # Its details name it too.
    assert counted < used(org, "core") <= counted + 2


def used(org: Any, bucket: str) -> int:
    """Tell how many calls of the owner the tenant counted."""
    windows = org.tenant.limits._windows.items()
    return sum(one.used for (key, name), one in windows if name == bucket and not key.startswith("app"))


async def test_an_app_asks_plainly(org: Any) -> None:
    """GitHub's tags are a token's own, and an App's token changes each hour: nothing is remembered."""
    assert org.provider.lists is org.provider.http


async def test_the_log_is_on_a_budget_of_its_own(org: Any) -> None:
    """Its calls, 1,750 an hour, are counted by us as by GitHub, and none of them on the other hour."""
    cells = {key[1]: cell for key, cell in org.one.client._pace._cells.items()}
    before = cells["primary"].used
    await org.read("audit")
    assert cells["audit"].used == used(org, "audit_log") > 3
    assert cells["primary"].used == before


async def test_what_shows_late_is_found_by_the_daily_reading(org: Any) -> None:
    """An event that appears most of a day after it happened is in the day that is read again, once."""
    feed = org.provider.feeds()["latecomers"]
    now = org.one.until = int(org.tenant.clock.now() * 1000)
    late = org.tenant.happen("repo.create", "acme-owner", ago=23 * 3600, late=22.9 * 3600).id
    last = now - 24 * 3600 * 1000
    spans = list(windows(feed, last, now))
    assert spans[0].since == last - 24 * 3600 * 1000
    assert spans[-1].until == now
    assert all(one.until == other.since for one, other in pairwise(spans))
    found = [
        uid for span in spans for uid in org.one.ids(feed.name, await org.one.pages(feed.name, Axis(), span))
    ]
    assert len(found) == len(set(found))
    (expected,) = (one for one in org.one.events("audit", [Page([record(org, late)])]))
    assert expected["metadata"]["uid"] in found


def record(org: Any, uid: str) -> Any:
    """Find an entry of the log."""
    return next(one.record for one in org.tenant.log.entries if one.id == uid)


async def test_limits_are_kept(org: Any) -> None:
    """Reading everything runs into no limit, and never makes many calls at once."""
    for feed in org.provider.feeds():
        await org.read(feed)
    assert not org.tenant.limits.exceeded
    assert org.tenant.limits.most <= 20


async def test_our_echo_is_known(org: Any) -> None:
    """What the App did is by its bot."""
    assert org.provider.ours({"actor": {"user": {"name": "sluice-connect[bot]"}}})
    assert not org.provider.ours({"actor": {"user": {"name": "octocat", "uid": "1"}}})
    assert not org.provider.ours({})


async def test_the_probe_names_what_is_missing(opened: Open) -> None:
    """An App without a permission: the capability that needs it names it as GitHub does."""
    less = {name: level for name, level in PERMISSIONS.items() if name != "organization_custom_org_roles"}
    org = await opened(tenant=seed(GitHubTenant(permissions=less), members=5, repos=3, teams=2))

    async def grants() -> dict[str, tuple[str, ...]]:
        return {one.capability: one.missing async for one in org.provider.probe()}

    found = await org.run(grants())
    assert found["accounts"] == ()
    assert "organization_custom_org_roles" in " ".join(found["privileges"])


async def test_a_lost_permission_rests_its_feed_alone(opened: Open) -> None:
    """A token with few scopes reads teams; what it may not is an error that names the scope."""
    org = await opened(lambda tenant: {"token": owner_token(tenant, "read:org")})
    assert await org.read("groups")
    with pytest.raises(NotAllowed, match="admin:org"):
        await org.read("accounts")


async def test_the_first_read_goes_back_as_the_settings_say(org: Any) -> None:
    """`days` is the log's, other feeds have their own."""
    feeds = org.provider.feeds()
    assert org.provider.lookback(feeds["audit"]) == timedelta(days=7)
    assert org.provider.lookback(feeds["webhooks"]) == timedelta(days=3)

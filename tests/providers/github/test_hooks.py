"""The organization's webhook: made once, repaired, rotated, removed; what failed to arrive is found."""

from datetime import UTC, datetime
from typing import Any

from github_site import HOOK

from ingest.provider import Axis, Wanted
from ingest.providers.github.hooks import OrganizationHook
from ingest.providers.github.kinds import EVENTS
from sandbox.github.seed import owner_token

ADDRESS = "https://sluice.example/v1/github/changed/3f9a"
KIND = OrganizationHook()


def wanted(secret: str = "first", address: str = ADDRESS) -> Wanted:
    """Make what the core wants registered."""
    return Wanted("3f9a", address, secret, Axis(), datetime(2027, 1, 1, tzinfo=UTC))


async def ours(org: Any) -> dict[str, Any]:
    """List what is registered, by number."""

    async def listed() -> dict[str, Any]:
        return {one.id: one async for one in KIND.listed(org.provider)}

    found: dict[str, Any] = await org.run(listed())
    return found


async def test_it_is_made_once(org: Any) -> None:
    """A second call with the same wish changes nothing but the secret, which can't be compared."""
    made = await org.run(KIND.create(org.provider, wanted()))
    again = await org.run(KIND.create(org.provider, wanted()))
    assert made.id == again.id
    assert made.data == {"address": ADDRESS}
    hook = org.tenant.webhooks.hooks[int(made.id)]
    assert (hook.content_type, hook.secret, hook.insecure, hook.active) == ("json", "first", "0", True)
    assert set(hook.events) == set(EVENTS)
    assert sum(one.url == ADDRESS for one in org.tenant.webhooks.hooks.values()) == 1


async def test_it_is_rotated_and_removed(org: Any) -> None:
    """The secret is set anew in place; removing twice is as once; what others made stays."""
    made = await org.run(KIND.create(org.provider, wanted()))
    renewed = await org.run(KIND.renew(org.provider, made, wanted("second"), None))
    assert renewed is not None
    assert org.tenant.webhooks.hooks[int(made.id)].secret == "second"
    others = set(org.tenant.webhooks.hooks) - {int(made.id)}
    for _ in range(2):
        await org.run(KIND.remove(org.provider, made))
    assert set(org.tenant.webhooks.hooks) == others
    assert await org.run(KIND.renew(org.provider, made, wanted(), None)) is None


async def test_what_was_tampered_with_is_unhealthy(org: Any) -> None:
    """Switched off, fewer events, no secret: each is seen and repaired by making it again."""
    made = await org.run(KIND.create(org.provider, wanted()))
    hook = org.tenant.webhooks.hooks[int(made.id)]
    for name, wrong in (("active", False), ("events", ["push"]), ("secret", ""), ("content_type", "form")):
        right = getattr(hook, name)
        setattr(hook, name, wrong)
        assert not (await ours(org))[made.id].healthy
        await org.run(KIND.create(org.provider, wanted()))
        assert (await ours(org))[made.id].healthy
        assert sorted(getattr(hook, name)) == sorted(right) if name == "events" else getattr(hook, name)


async def test_failed_deliveries_are_read(org: Any) -> None:
    """What could not be delivered is read from the list, of the kinds that the log lacks, once each."""
    org.provider.audited = True
    events = await org.read("webhooks")
    assert [one["metadata"]["event_code"] for one in events] == ["issues.opened"] * 4
    owner = next(iter(org.tenant.org.users.values()))
    org.tenant.send("member", "added", {"member": {"login": "x", "id": 5}}, owner)
    await org.tenant.webhooks.drained()
    org.one.until = int(org.tenant.clock.now() * 1000) + 2000
    assert len(await org.read("webhooks")) == 4
    org.provider.audited = False
    codes = sorted(one["metadata"]["event_code"] for one in await org.read("webhooks"))
    assert codes == ["issues.opened"] * 4 + ["member.added"]


async def test_a_pushed_and_a_recovered_delivery_are_one(org: Any) -> None:
    """Pushed later or read from the list, an event has the same id: the GUID."""
    (first, *_) = await org.read("webhooks")
    sent = next(
        one for one in org.tenant.webhooks.sent if one.guid == first["metadata"]["original_event_uid"]
    )
    assert sent.url == HOOK
    record = {"guid": sent.guid, "event": sent.event, "request": {"payload": sent.payload}}
    (pushed,) = org.provider.feeds()["webhooks"].to[""](record, org.provider.instance)
    assert pushed["metadata"]["original_event_uid"] == sent.guid
    assert pushed["unmapped"] == first["unmapped"]


async def test_only_sure_events_accuse_the_webhook(org: Any) -> None:
    """Of what a poll finds, only actions that a delivery surely goes with, here, are expected."""
    cloud = {"account": {"uid": "1"}, "org": {"uid": "1"}}
    sure = {"metadata": {"log_name": "audit", "event_code": "repo.create"}, "cloud": cloud}
    assert KIND.expects(sure)
    assert not KIND.expects({**sure, "metadata": {"log_name": "audit", "event_code": "git.clone"}})
    assert not KIND.expects({**sure, "cloud": {**cloud, "org": {"uid": "2"}}})
    assert KIND.expects({"metadata": {"log_name": "webhooks"}})


async def test_without_a_log_webhooks_are_published(opened: Any) -> None:
    """A token that may not read the log: the sign-in notices, and deliveries are published."""
    org = await opened(lambda tenant: {"token": owner_token(tenant, "read:org", "admin:org_hook")})
    assert not org.provider.audited

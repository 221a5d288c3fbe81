"""A provider in the real core on the real Kafka: connected in order, everything published once."""

import pytest
import rig
from core import Core, Process
from sites import SITES, START
from tenants import PAST, ToySite
from toy.provider import ToySettings

from schemas.topics import TOPICS, is_inventory

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
OCCURRENCES = ("activities", "logons")
INVENTORIES = tuple(name for name in TOPICS if is_inventory(name))


async def test_a_first_connection_goes_in_order(core: Core, toy: ToySite) -> None:
    """Checked and its permissions saved, then the users, then what they do, then the files."""
    wish = await core.connect("first", "toy", toy.settings)
    async with Process(core):
        await core.published(PAST, *OCCURRENCES)
        await core.published(5, "files")
        await core.reached(wish, "running")

    statuses = await core.statuses("first")
    states = [one.state for one in statuses]
    assert list(dict.fromkeys(states)) == ["checking", "first users", "running"]
    assert statuses[states.index("first users")].grants == {"accounts": ()}
    asked = [path for _, path in toy.tenant.calls if path not in {"/me", "/hooks"}]
    firsts = [asked.index(path) for path in ("/users", "/activity", "/files")]
    assert firsts == sorted(firsts)
    assert asked.index("/files") > max(place for place, path in enumerate(asked) if path == "/users")
    assert [one["status_code"] for one in await core.events("health") if one["class_uid"] == 6008] == []


@pytest.mark.parametrize("name", sorted(SITES))
async def test_each_occurrence_is_published_once_over_two_lives(core: Core, name: str) -> None:
    """What a first life published, a second does not publish again, and nothing is missing."""
    async with START[name]() as site:
        wish = await core.connect("twice", name, site.settings)
        async with Process(core) as first:
            await core.reached(wish, "running")
            before = await settled(core)
            await first.crash()
        async with Process(core):
            await core.reached(wish, "running")
            feeds = [feed.name for feed in site.kind.feeds().values() if feed.every is not None]
            await core.nudge(wish, *feeds, restart=True)
            await core.settled(wish)
            after = await settled(core)
        assert after == before
        assert await core.events("dead-letters") == []


async def settled(core: Core) -> dict[str, list[str]]:
    """Read every public topic until nothing more comes, and name each event by its id."""
    found: dict[str, list[str]] = {}

    async def met() -> bool:
        now = {topic: await _ids(core, topic) for topic in (*OCCURRENCES, *INVENTORIES)}
        same = now == found and all(now[topic] for topic in ("accounts", "activities"))
        found.update(now)
        return same

    await rig.until(met, every=1.2)
    for ids in found.values():
        assert len(set(ids)) == len(ids)
    return found


async def _ids(core: Core, topic: str) -> list[str]:
    return sorted(one["metadata"]["uid"] for one in await core.events(topic))


async def test_what_vanished_is_deleted_once(core: Core, toy: ToySite) -> None:
    """A user and a file that the next full read does not see are deleted, everything else stays."""
    wish = await core.connect("vanish", "toy", toy.settings)
    async with Process(core):
        await core.published(8, "accounts")
        await core.published(5, "files")
        await core.reached(wish, "running")
        user, file = list(toy.tenant.users)[3], list(toy.tenant.files)[2]
        del toy.tenant.users[user], toy.tenant.files[file]
        await core.nudge(wish, "users", "files", restart=True)

        async def gone() -> bool:
            left = await core.table("accounts") | await core.table("files")
            return not left & {user, file}

        await rig.until(gone, every=0.1)
    assert await core.table("accounts") == set(toy.tenant.users)
    assert await core.table("files") == set(toy.tenant.files)
    for topic in ("accounts", "files"):
        assert sum(one.value() is None for one in await rig.read(core.cluster, topic)) == 1


async def test_disabled_enabled_disconnected(core: Core, toy: ToySite) -> None:
    """Disabled, it asks nothing more; enabled, it goes on at its cursor; disconnected, nothing is left."""
    tenant = toy.tenant
    wish = await core.connect("pausing", "toy", toy.settings)
    async with Process(core):
        before = await core.published(PAST, *OCCURRENCES)
        await core.reached(wish, "running")
        off = await core.change(wish, enabled=False)
        await core.reached(off, "disabled")
        calls = len(tenant.calls)
        missed = tenant.act()
        await core.nudge(off, "activity")
        await core.settled(off)
        assert len(tenant.calls) == calls

        on = await core.change(off, enabled=True)
        found = await core.published(PAST + 1, *OCCURRENCES)
        assert found - before == {missed["id"]: 1}
        assert set(found.values()) == {1}

        await core.change(on, removing=True)
        await core.reached(on.model_copy(update={"revision": on.revision + 1}), "removed")
    for topic in ("seen", "members", "subscriptions", "credentials"):
        assert rig.latest(await rig.read(core.cluster, topic)) == {}
    assert set(rig.latest(await rig.read(core.cluster, "cursors"))) <= {"pausing/@status", "@inbox/0"}


async def test_settings_that_lead_elsewhere_are_refused(core: Core, toy: ToySite) -> None:
    """A connector never goes on in another account than it was connected to."""
    wish = await core.connect("elsewhere", "toy", toy.settings, instance="another")
    async with Process(core):
        status = await core.reached(wish, "degraded")
    assert "toy-1" in status.why
    assert await core.events("activities") == []


async def test_wrong_secrets_are_told_without_them(core: Core, toy: ToySite) -> None:
    """A refused sign-in is shown with what to do; the secret is on no topic in clear."""
    settings = ToySettings.model_validate({"url": toy.tenant.url, "client_secret": "wrong-secret-5e1d"})
    wish = await core.connect("refused", "toy", settings)
    async with Process(core):
        status = await core.reached(wish, "degraded")
    assert "client credentials" in status.why
    for topic in TOPICS:
        for one in await rig.read(core.cluster, topic):
            assert b"wrong-secret-5e1d" not in (one.value() or b"")

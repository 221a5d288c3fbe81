"""Push and poll reconcile: whichever way an occurrence comes first, it is published once."""

import orjson
import pytest
from core import Core, Process
from tenants import PAST, ToySite

from schemas.control import DeadLetter, Wish

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
TOPICS = ("activities", "logons")


async def ready(core: Core, toy: ToySite) -> Wish:
    """Connect, and wait until the past is published."""
    wish = await core.connect("pushed", "toy", toy.settings)
    await core.published(PAST, *TOPICS)
    await core.reached(wish, "running")
    return wish


async def test_a_redelivery_to_the_next_owner(core: Core, toy: ToySite) -> None:
    """What one process published from a delivery, the next does not publish again."""
    async with Process(core) as one:
        wish = await ready(core, toy)
        record = toy.tenant.act()
        body = orjson.dumps({"entries": [record]})
        await core.deliver(wish, "changed", body)
        await core.published(PAST + 1, *TOPICS)
        await one.crash()
    async with Process(core):
        await core.deliver(wish, "changed", body)
        await core.reached(wish, "running")
        await core.nudge(wish, "activity")
        await core.settled(wish)
        found = await core.published(PAST + 1, *TOPICS)
    assert set(found.values()) == {1}


async def test_a_delivery_while_nobody_works(core: Core, toy: ToySite) -> None:
    """What was stored while no owner ran is worked off by the next one; the poll adds nothing to it."""
    async with Process(core):
        wish = await ready(core, toy)
    record = toy.tenant.act()
    await core.deliver(wish, "changed", orjson.dumps({"entries": [record]}))
    async with Process(core):
        found = await core.published(PAST + 1, *TOPICS)
        await core.reached(wish, "running")
        await core.settled(wish)
        found = await core.published(PAST + 1, *TOPICS)
    assert found[record["id"]] == 1
    assert set(found.values()) == {1}


HOSTILE = (
    b"", b"{", b"[]", b"null", b"\xff" * 4096, b'{"entries": 7}',
    b'{"entries": [null, {}, {"type": "dance"}]}',
)  # fmt: skip


async def test_a_hostile_delivery_stops_nothing(core: Core, toy: ToySite) -> None:
    """A delivery nobody can use is a dead letter or nothing; the ones behind it are worked off."""
    async with Process(core):
        wish = await ready(core, toy)
        await core.deliver(wish, "nobody", b"{}")
        for body in HOSTILE:
            await core.deliver(wish, "changed", body)
        record = toy.tenant.act()
        await core.deliver(wish, "changed", orjson.dumps({"entries": [record]}))
        found = await core.published(PAST + 1, *TOPICS)
        await core.settled(wish)
    assert found[record["id"]] == 1
    letters = [DeadLetter.load(one) for one in await core.values("dead-letters")]
    assert [one.source for one in letters].count("topic") == len(HOSTILE) - 1
    assert [one.source for one in letters].count("record") == 3


async def test_a_delivery_for_an_earlier_connection_is_left(core: Core, toy: ToySite) -> None:
    """A delivery stored for a connector that was disconnected since does not reach its successor."""
    async with Process(core):
        wish = await ready(core, toy)
        record = toy.tenant.act()
        old = wish.model_copy(update={"incarnation": "an earlier one"})
        toy.tenant.stream.pop()
        await core.deliver(old, "changed", orjson.dumps({"entries": [record]}))
        await core.settled(wish)
        found = await core.published(PAST, *TOPICS)
    assert found[record["id"]] == 0


async def test_without_an_address_nothing_is_registered(core: Core, toy: ToySite) -> None:
    """Where nobody can reach us, no provider is told to; polls go on alone."""
    async with Process(core):
        wish = await ready(core, toy)
        await core.settled(wish)
    assert toy.tenant.hooks == {}

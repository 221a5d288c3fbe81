"""Every provider that pushes, in the real core on the real Kafka: its registrations, and what they bring."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest
import pytest_asyncio
import rig
from core import Core
from lives import Shifted, life, passing, receiving
from practice import Practice
from sites import PRACTICES, SITES

from schemas.control import Registration, Wish

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]
TOPICS = ("activities", "logons")
OVERLAP = 1.2 * 3600
"""Seconds until an address that has moved is taken away, and a bit."""


class Deployed(NamedTuple):
    """A deployment with two receivers, at one of which providers are told to call, and a tenant."""

    core: Core
    name: str
    practice: Practice
    addresses: tuple[str, str]
    clock: Shifted
    foreign: Mapping[str, str]

    async def connect(self) -> Wish:
        """Connect the tenant."""
        return await self.core.connect("kept", self.name, self.practice.sites[""].settings)


@pytest_asyncio.fixture(loop_scope="session")
async def deployed(core: Core, request: pytest.FixtureRequest) -> AsyncIterator[Deployed]:
    """Give a deployment and a tenant of its own."""
    async with AsyncExitStack() as stack:
        practice = await stack.enter_async_context(PRACTICES[request.param].start())
        one, other = [await stack.enter_async_context(receiving(core)) for _ in range(2)]
        core.public_url = one
        foreign = await practice.registrations()
        yield Deployed(core, request.param, practice, (one, other), Shifted(), foreign)


async def ours(it: Deployed) -> dict[str, str]:
    """List what is registered beside what was there before."""
    found = await it.practice.registrations()
    assert it.foreign.items() <= found.items()
    return {name: address for name, address in found.items() if name not in it.foreign}


async def registered(it: Deployed) -> dict[str, str]:
    """Wait until all that is wanted is registered, known to be well, and delivers to an address of ours."""
    found: dict[str, str] = {}

    async def met() -> bool:
        found.clear()
        found.update(await ours(it))
        stored = rig.latest(await rig.read(it.core.cluster, "subscriptions")).values()
        kept = [Registration.model_validate(one) for one in stored]
        well = [one for one in kept if one.state == "active" and one.healthy]
        mine = [one for one in found.values() if not one or one.startswith(it.core.public_url)]
        return bool(kept) and len(well) == len(kept) == len(mine) == len(found)

    try:
        await rig.until(met, seconds=40, every=0.3)
    except AssertionError:
        raise AssertionError(f"not registered under {it.core.public_url}: {found}") from None
    return found


PUSHED = sorted(name for name, one in PRACTICES.items() if one.guarded)
REGISTERED = sorted(name for name, site in SITES.items() if site.kind.subscriptions)


@pytest.mark.parametrize("deployed", REGISTERED, indirect=True)
async def test_registered_and_repaired_and_removed(deployed: Deployed) -> None:
    """Made once over two lives, made again when deleted behind our back, taken away at disconnect."""
    it = deployed
    wish = await it.connect()
    async with life(it.core, it.clock):
        await it.core.reached(wish, "running")
        first = await registered(it)
    async with life(it.core, it.clock):
        await it.core.reached(wish, "running")
        await it.core.settled(wish)
        assert await registered(it) == first
    await it.practice.forget()
    assert await ours(it) == {}
    async with life(it.core, it.clock):
        await it.core.reached(wish, "running")
        again = await registered(it)
        assert len(again) == len(first)
        gone = await it.core.change(wish, removing=True)
        await it.core.reached(gone, "removed")
    assert await ours(it) == {}
    assert rig.latest(await rig.read(it.core.cluster, "subscriptions")) == {}


@pytest.mark.parametrize("deployed", PUSHED, indirect=True)
async def test_a_rotation_loses_nothing(deployed: Deployed) -> None:
    """A fresh address with a secret of its own delivers at once; an hour later it is the only one."""
    it, other = deployed, deployed.addresses[1]
    wish = await it.connect()
    async with life(it.core, it.clock):
        await it.core.reached(wish, "running")
        first = await registered(it)
    it.core.public_url = other
    async with life(it.core, it.clock):
        await it.core.reached(wish, "running")
        await rig.until(lambda: _moved(it, other), seconds=40, every=0.3)
        happened = await it.practice.happen()
        assert set(await happened.send()) <= {200, 204}
        await published(it, happened.id)
        shift = it.clock.shift
        await passing(it.clock, OVERLAP, lambda: it.clock.shift > shift + OVERLAP)
        last = await registered(it)
    assert len(last) == len(first)
    assert set(last.values()).isdisjoint(first.values())


async def _moved(it: Deployed, to: str) -> bool:
    return any(address.startswith(to) for address in (await ours(it)).values())


async def published(it: Deployed, uid: str, wish: Wish | None = None) -> Counter[str]:
    """Wait until an occurrence is published; with the connector, by its polls: one may come too soon."""
    found: Counter[str] = Counter()
    polls = {feed for one in SITES[it.name].kind.subscriptions for feed in one.speeds_up}

    async def met() -> bool:
        if wish is not None:
            await it.core.nudge(wish, *polls)
        found.clear()
        found.update(await it.core.published(1, *TOPICS))
        return uid in found

    await rig.until(met, every=0.1 if wish is None else 0.7)
    return found


@pytest.mark.parametrize("first", ["push", "poll"])
@pytest.mark.parametrize("deployed", PUSHED, indirect=True)
async def test_push_and_poll_of_one_occurrence(deployed: Deployed, first: str) -> None:
    """Sent by the tenant, twice, and found by the poll, in either order: taken each time, published once."""
    it = deployed
    wish = await it.connect()
    async with life(it.core, it.clock):
        await it.core.reached(wish, "running")
        await registered(it)
        await it.core.settled(wish)
        happened = await it.practice.happen()
        if first == "poll":
            await published(it, happened.id, wish)
        for _ in range(2):
            answers = await happened.send()
            assert answers
            assert set(answers) <= {200, 204}
        await published(it, happened.id)
        behind = await it.practice.happen()
        await published(it, behind.id, wish)
        await it.core.settled(wish)
        found = await published(it, behind.id)
    assert {found[happened.id], found[behind.id]} == {1}
    assert set(found.values()) == {1}
    assert await it.core.events("dead-letters") == []

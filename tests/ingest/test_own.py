"""Ownership on the real Kafka: partitions spread and move; one that fails stops no other."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from rig import until

from ingest.cluster import Cluster
from ingest.consuming import Membership
from ingest.own import Ownership
from ingest.producing import BrokenError, Outgoing, Transactions
from ingest.publish import Bytes
from sluice.broker import Broker

pytestmark = pytest.mark.kafka


class Holder:
    """What a test runs on a partition: it notes what happens to it."""

    def __init__(self, house: "House", membership: Membership, partition: int) -> None:
        self.partition, self.house, self._membership = partition, house, membership
        self.started = asyncio.Event()

    async def run(self) -> None:
        """Check that it is ours, then stay until cancelled or told to break."""
        if not await self._membership.holds(self.partition):
            raise BrokenError("another process owns it")
        self.house.starts.append(self.partition)
        self.house.running.add(self.partition)
        self.started.set()
        try:
            await self.house.breaks[self.partition].wait()
            self.house.breaks[self.partition].clear()
            raise self.house.error
        finally:
            self.house.running.discard(self.partition)
            await asyncio.sleep(0)

    def pause(self) -> None:
        """Note it."""
        self.house.paused += 1

    def resume(self) -> None:
        """Note it."""
        self.house.resumed += 1


class House:
    """One process's share."""

    def __init__(self, cluster: Cluster, group: str = "own") -> None:
        self.starts: list[int] = []
        self.running: set[int] = set()
        self.breaks = {number: asyncio.Event() for number in range(cluster.owners)}
        self.error: Exception = BrokenError("on purpose")
        self.paused = self.resumed = 0
        self.ownership = Ownership(cluster, "inbox", group, self._make)

    def _make(self, membership: Membership, cap: Bytes, partition: int) -> Holder:
        return Holder(self, membership, partition)

    @asynccontextmanager
    async def lives(self) -> AsyncIterator["House"]:
        """Own for the length of the block."""
        task = asyncio.create_task(self.ownership.run())
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_partitions_spread_and_come_back(cluster: Cluster) -> None:
    """A second process gets a share; when it leaves, the first has all again, within two seconds."""
    first, second = House(cluster), House(cluster)
    async with first.lives():
        await until(lambda: first.running == {0, 1})
        async with second.lives():
            await until(lambda: len(first.running) == len(second.running) == 1)
            kept = set(first.running)
            assert first.running | second.running == {0, 1}
        left = time.monotonic()
        await until(lambda: first.running == {0, 1})
        took = time.monotonic() - left

    assert took < 2.0
    assert not first.running
    # What stayed was not started again: a rebalance is no reason to begin anew.
    assert [first.starts.count(number) for number in kept] == [1]
    assert first.paused
    assert first.resumed


@pytest.mark.parametrize("error", [BrokenError("on purpose"), ValueError("unforeseen")])
async def test_a_partition_that_fails_begins_again_alone(cluster: Cluster, error: Exception) -> None:
    """Whatever one partition dies of, it is started again, and its neighbour does not notice."""
    house = House(cluster)
    house.error = error
    async with house.lives():
        await until(lambda: house.running == {0, 1})
        for count in (2, 3):
            house.breaks[0].set()
            await until(lambda count=count: house.starts.count(0) == count and 0 in house.running)  # type: ignore[misc]

    assert house.starts.count(1) == 1


async def test_says_what_it_waits_for(cluster: Cluster) -> None:
    """Not ready is told by partition; ready is silence."""
    house = House(cluster)
    async with house.lives():
        await until(lambda: house.running == {0, 1})
        ready = house.ownership.waiting()
        for tenure, _ in house.ownership._tenures.values():
            tenure.started.clear()
        late = house.ownership.waiting()

    assert ready == ""
    assert late == "taking over partitions 0, 1"


async def test_a_group_that_the_broker_forgot_is_joined_again(kafka: Broker, cluster: Cluster) -> None:
    """After a broker that was killed and started again every partition runs, without anyone's doing."""
    first, second = House(cluster), House(cluster)
    async with first.lives(), second.lives():
        await until(lambda: len(first.running) == len(second.running) == 1)
        await kafka.kill()
        for each in (first, second):
            for number in list(each.running):
                each.breaks[number].set()
        await kafka.start()
        back = time.monotonic()
        await until(lambda: first.running | second.running == {0, 1}, 30)
        took = time.monotonic() - back

    assert took < 15.0


async def test_a_group_of_many_partitions_is_taken_over_at_once(cluster: Cluster) -> None:
    """Sixteen transactional producers started in parallel are ready in a few seconds."""
    producers = [Transactions(cluster, f"many-{number}") for number in range(16)]
    begun = time.monotonic()
    await asyncio.gather(*(each.start() for each in producers))
    took = time.monotonic() - begun
    await asyncio.gather(*(each.commit([Outgoing("activities", 0, b"", b"x")]) for each in producers))
    await asyncio.gather(*(each.stop() for each in producers))

    assert took < 5.0

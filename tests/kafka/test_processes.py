"""Real processes that join, leave, freeze and die, and a Kafka that does: nothing lost, nothing twice."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
from rig import Watch, ids, read, store, topics, until

from ingest.cluster import Cluster
from ingest.producing import Outgoing
from schemas.control import Wish
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(110)]
SESSION = 2.0
CONNECTORS = 4
RATE = 150.0
_WORKER = Path(__file__).with_name("worker.py")


class Fleet:
    """Worker processes on one cluster, and the log they read."""

    def __init__(
        self, cluster: Cluster, folder: Path, connectors: int = CONNECTORS, rate: float = RATE
    ) -> None:
        self.cluster, self.began, self._end = cluster, time.time(), folder / "end"
        self.connectors, self._rate = connectors, rate
        self.alive: list[Process] = []
        self._errors = (folder / "errors").open("wb")

    async def join(self) -> Process:
        """Start one more."""
        config = self.cluster.config
        environment = {
            **os.environ, "SLUICE_KAFKA": self.cluster.bootstrap, "SLUICE_PREFIX": config.prefix,
            "SLUICE_PARTITIONS": str(self.connectors), "SLUICE_SESSION_SECONDS": str(SESSION),
        }  # fmt: skip
        arguments = [str(_WORKER), str(self.began), str(self._rate), str(self._end)]
        made = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, stdout=self._errors, stderr=self._errors
        )
        self.alive.append(made)
        return made

    async def kill(self, one: Process) -> None:
        """End it as a crash would."""
        one.kill()
        await one.wait()
        self.alive.remove(one)

    async def leave(self, one: Process) -> None:
        """Let it end cleanly."""
        one.send_signal(signal.SIGINT)
        await asyncio.wait_for(one.wait(), 15)
        self.alive.remove(one)

    def finish(self) -> int:
        """End the log a second from now, so that nobody has read beyond it, and tell its length."""
        length = int((time.time() + 1.0 - self.began) * self._rate)
        written = self._end.with_suffix(".new")
        written.write_text(str(length))
        written.rename(self._end)
        return length

    async def close(self) -> None:
        """Leave no process behind."""
        for one in self.alive:
            one.send_signal(signal.SIGCONT)
            one.kill()
        await asyncio.gather(*(one.wait() for one in self.alive))
        self._errors.close()


@asynccontextmanager
async def fleet_of(
    kafka: Broker, prefix: str, folder: Path, connectors: int = CONNECTORS, rate: float = RATE
) -> AsyncIterator[Fleet]:
    """Give a fleet of none, and a connector in each partition."""
    cluster = await topics(kafka.bootstrap, prefix, partitions=connectors, session_seconds=SESSION)
    for number in range(connectors):
        wish = Wish(name=f"c{number}", provider="clockwork", incarnation="1", partition=number)
        await store(cluster, Outgoing("connectors", number, wish.name.encode(), wish.dump()))
    made = Fleet(cluster, folder, connectors, rate)
    try:
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(kafka: Broker, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Give a fleet for four connectors."""
    async with fleet_of(kafka, topic_prefix, tmp_path) as made:
        yield made


async def _judge(fleet: Fleet, watch: Watch) -> None:
    length = fleet.finish()
    expected = {f"c{number}-{line}" for number in range(fleet.connectors) for line in range(length)}
    await until(lambda: len(watch.values) >= len(expected), 30)
    found = ids(await read(fleet.cluster, "activities"))
    lost, twice = len(expected - set(found)), len(found) - len(set(found))

    assert (lost, twice) == (0, 0)
    assert set(found) == expected


class Gaps:
    """How long each partition's connector was silent, as a reader saw it."""

    def __init__(self, watch: Watch, connectors: int = CONNECTORS) -> None:
        self._watch, self._connectors = watch, connectors

    def longest(self, since: float, end: float) -> float:
        """Tell the longest silence of any connector between two moments, in seconds."""
        worst = 0.0
        for number in range(self._connectors):
            mark = f'"c{number}-'.encode()
            pairs = zip(list(self._watch.times), list(self._watch.values), strict=False)
            moments = [since, *(at for at, value in pairs if since <= at <= end and mark in value), end]
            worst = max(worst, *(b - a for a, b in pairwise(moments)))
        return worst

    async def flowing(self, seconds: float = 20.0) -> float:
        """Wait until every connector publishes from now on; tell how long that took."""
        begun = time.monotonic()
        start = len(self._watch.values)

        def met() -> bool:
            fresh = b"".join(self._watch.values[start:])
            return all(f'"c{number}-'.encode() in fresh for number in range(self._connectors))

        await until(met, seconds, every=0.02)
        return time.monotonic() - begun


async def test_ten_cycles_of_joins_leaves_and_kills(fleet: Fleet) -> None:
    """Two or three processes; one is killed, leaves, or is frozen and thawed, ten times."""
    chance = Random(5)
    figures: dict[str, list[float]] = {}
    with Watch(fleet.cluster, "activities") as watch:
        gaps = Gaps(watch)
        await fleet.join()
        await fleet.join()
        await gaps.flowing(30)
        for what in ("kill", "leave", "freeze", "kill", "kill", "leave", "kill", "freeze", "kill", "kill"):
            victim = chance.choice(fleet.alive)
            begun = time.monotonic()
            if what == "kill":
                await fleet.kill(victim)
                await gaps.flowing()
                await fleet.join()
            elif what == "leave":
                await fleet.leave(victim)
                await gaps.flowing()
                await fleet.join()
            else:
                victim.send_signal(signal.SIGSTOP)
                # Beyond the session: the others have its partitions when it wakes up.
                await until(lambda begun=begun: time.monotonic() > begun + SESSION + 1.5)  # type: ignore[misc]
                victim.send_signal(signal.SIGCONT)
                await gaps.flowing()
            await gaps.flowing()
            figures.setdefault(what, []).append(round(gaps.longest(begun, time.monotonic()), 2))
        await _judge(fleet, watch)
    print("longest silence of a connector, by cycle:", figures)  # noqa: T201 the figure is wanted

    assert max(figures["leave"]) < SESSION + 1
    # A kill may fall into the rebalance of the join before it: two in a row.
    assert max(figures["kill"]) < 2 * SESSION + 3
    assert max(figures["freeze"]) < SESSION + 5


async def test_kafka_is_away_for_ten_seconds(kafka: Broker, fleet: Fleet) -> None:
    """Kafka is killed under load and is back ten seconds later: everything goes on, nothing twice."""
    with Watch(fleet.cluster, "activities") as watch:
        gaps = Gaps(watch)
        await fleet.join()
        await fleet.join()
        await gaps.flowing(30)
        await kafka.kill()
        gone = time.monotonic()
        await until(lambda: time.monotonic() > gone + 10)
        await kafka.start()
        took = await gaps.flowing(40)
        await _judge(fleet, watch)
    print(f"flowing again {took:.1f} s after Kafka was back")  # noqa: T201 the figure is wanted

    assert all(one.returncode is None for one in fleet.alive)
    assert took < 20


async def test_kafka_is_frozen_for_four_seconds(kafka: Broker, fleet: Fleet) -> None:
    """A Kafka that stops answering, connections up, breaks transactions but loses and doubles nothing."""
    with Watch(fleet.cluster, "activities") as watch:
        gaps = Gaps(watch)
        await fleet.join()
        await gaps.flowing(30)
        kafka.freeze()
        frozen = time.monotonic()
        try:
            await until(lambda: time.monotonic() > frozen + 4)
        finally:
            kafka.thaw()
        took = await gaps.flowing(30)
        await _judge(fleet, watch)
    print(f"flowing again {took:.1f} s after Kafka was thawed")  # noqa: T201 the figure is wanted

    assert took < 15


async def test_64_partitions_are_taken_over_at_once(kafka: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """One process is killed; the other starts all that it had, nothing lost, nothing twice."""
    async with fleet_of(kafka, topic_prefix, tmp_path, connectors=64, rate=5.0) as fleet:
        with Watch(fleet.cluster, "activities") as watch:
            gaps = Gaps(watch, 64)
            victim = await fleet.join()
            await gaps.flowing(40)
            await fleet.join()
            await gaps.flowing(40)
            begun = time.monotonic()
            await fleet.kill(victim)
            await gaps.flowing(40)
            await gaps.flowing(40)
            figure = gaps.longest(begun, time.monotonic())
            await _judge(fleet, watch)
    print(f"longest silence of one of 64 connectors: {figure:.1f} s")  # noqa: T201 the figure is wanted

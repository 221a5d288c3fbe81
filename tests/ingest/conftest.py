"""A provider without a network, and a core around it on the real Kafka."""

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import pytest
import pytest_asyncio
from confluent_kafka import Consumer, Message, TopicPartition

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.connectors import Services, WallClock
from ingest.consuming import Follower
from ingest.credentials import Keyring
from ingest.links import Link
from ingest.producing import Outgoing, Sender
from ingest.provider import (
    At,
    BadRecord,
    Gone,
    Grant,
    Instance,
    Json,
    Mapped,
    Page,
    Provider,
    Ref,
    Settings,
    feed,
)
from ingest.tenure import ingest
from schemas.control import Wish
from schemas.events import event
from sluice.broker import Broker


@dataclass
class World:
    """What the simulated source holds; tests change it while it is read."""

    log: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    late: list[dict[str, Any]] = field(default_factory=list)
    reads: int = 0
    denied: bool = False


def acted(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map a line of the log; one that says so is bad."""
    if record.get("bad"):
        raise BadRecord("it says it is bad")
    if record.get("gone"):
        yield Gone("file", record["gone"])
        return
    if record.get("share"):
        yield from listed({"id": record["share"], "state": record["state"]}, instance)
        return
    yield event(
        6003, 1, record["time"], log_name="log", source_id=str(record["id"]),
        actor={"user": {"uid": record.get("who", "u1")}}, api={"operation": "Create"},
        src_endpoint={"name": "unknown"}, unmapped={"pad": record.get("pad", "")},
    )  # fmt: skip


def listed(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map a file of the listing, and ask for its scan."""
    del instance
    yield event(
        5023, 2, record.get("time", 1_700_000_000_000), log_name="files", source_id=record["id"],
        resources=[{"uid": record["id"], "name": record["id"], "type": "file", "data": {"s": record["state"]}}],
    )  # fmt: skip
    yield Ref("file", record["id"], record["state"])


class Plain(Provider[Settings]):
    """A source in memory: an endless log by position, a window, a full listing."""

    name = "plain"
    settings_type = Settings

    def __init__(self, world: World, *rest: Any) -> None:
        super().__init__(*rest)
        self.world = world

    async def probe(self) -> AsyncIterator[Grant]:
        """Say that all is granted."""
        yield Grant("logons")

    @feed("user_activity", to=acted, every=timedelta(seconds=0.05), repeats=timedelta(hours=1))
    async def log(self, at: At) -> AsyncIterator[Page]:
        """Read the log from a position, three records a page."""
        place = at.cursor or 0
        while place < len(self.world.log):
            step = self.world.log[place : place + 3]
            place += len(step)
            yield Page(step, cursor=place)

    @feed("admin_activity", to=acted, every=timedelta(seconds=0.1), late=timedelta(minutes=10),
          lookback=timedelta(hours=1), newest_first=True)  # fmt: skip
    async def window(self, at: At) -> AsyncIterator[Page]:
        """Read a window, newest first."""
        low, high = at.since.timestamp() * 1000, at.until.timestamp() * 1000
        found = [one for one in self.world.late if low <= one["time"] < high]
        for one in sorted(found, key=lambda each: -each["time"]):
            yield Page([one])

    @feed("dlp_backlog", to=listed, every=timedelta(seconds=0.2))
    async def files(self, at: At) -> AsyncIterator[Page]:
        """List all files, two a page."""
        names = [] if self.world.denied else sorted(self.world.files)
        start = at.cursor or 0
        self.world.reads += 1
        while True:
            step = names[start : start + 2]
            start += len(step)
            last = start >= len(names)
            yield Page(
                [{"id": name, "state": self.world.files[name]} for name in step if name in self.world.files],
                cursor=None if last else start, complete=last,
            )  # fmt: skip
            if last:
                return


class Bench:
    """Links to the provider in memory, and one running core a `process`."""

    def __init__(self, cluster: Cluster, world: World) -> None:
        self.cluster, self.world = cluster, world
        self.keyring = Keyring([os.urandom(32)])

    def kind(self, name: str) -> type[Provider[Any]]:
        """Give the one provider there is."""
        del name
        return Plain

    @asynccontextmanager
    async def open(self, wish: Wish) -> AsyncIterator[Link]:
        """Connect at once."""
        instance = Instance(f"i-{wish.name}")
        yield Link(Plain(self.world, Settings(), None, instance), instance)

    def process(self) -> "Process":
        """Make a core that can be started and stopped."""
        return Process(self)

    async def wish(self, name: str, **more: Any) -> Wish:
        """Ask for a connector."""
        made = Wish(name=name, provider="plain", incarnation=more.pop("incarnation", "1"),
                    partition=more.pop("partition", 0), **more)  # fmt: skip
        async with Sender(self.cluster, "test") as sender:
            await sender.write([Outgoing("connectors", made.partition, name.encode(), made.dump())])
        return made


class Process:
    """What `sluice run ingest` is, as a task."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def __aenter__(self) -> Self:

        bench = self._bench
        self.follower = Follower(bench.cluster)
        await self.follower.start()
        services = Services(bench.cluster, bench, bench.keyring, WallClock(), "test")  # type: ignore[arg-type]
        self.ownership = ingest(services, self.follower)
        self._task = asyncio.create_task(self.ownership.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:

        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self.follower.stop()


@pytest.fixture
def world() -> World:
    """Give an empty source."""
    return World()


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(kafka: Broker, topic_prefix: str) -> Cluster:
    """Give a cluster with topics of its own, two partitions each."""
    key = base64.b64encode(os.urandom(32)).decode()
    made = Cluster(
        Config(
            kafka=kafka.bootstrap,
            prefix=topic_prefix,
            partitions=2,
            replication=1,
            session_seconds=2.0,
            key=key,
        )  # type: ignore[arg-type]
    )
    await made.create_topics()
    await made.ready()
    await made.learn()
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def bench(cluster: Cluster, world: World) -> Bench:
    """Give a core around the source."""
    return Bench(cluster, world)


Read = Callable[[str], Awaitable[list[Message]]]


@pytest.fixture
def read(cluster: Cluster) -> Read:
    """Give an independent read-committed reader (librdkafka) of a topic, from its start to its end."""

    def whole(topic: str) -> list[Message]:
        consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap,
                "group.id": "judge",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
            }
        )
        name = cluster.name(topic)
        open_parts = set(range(cluster.counts[topic]))
        consumer.assign([TopicPartition(name, number, 0) for number in open_parts])
        found: list[Message] = []
        while open_parts:
            message = consumer.poll(10.0)
            assert message is not None, "the judge waits for the end of the topic"
            if message.error():
                open_parts.discard(message.partition())
            else:
                found.append(message)
        consumer.close()
        return found

    async def away(topic: str) -> list[Message]:
        return await asyncio.to_thread(whole, topic)

    return away

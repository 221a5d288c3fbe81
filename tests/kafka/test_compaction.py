"""State topics that the broker compacts as hard as it can: a take-over reads the same as before."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import rig
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from bench import Bench, World
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from rig import ids, latest, until

from ingest.cluster import Cluster
from ingest.consuming import Place, ends, read_to_end
from ingest.producing import Outgoing
from ingest.state import STATE_TOPICS, ConnectorState, PartitionState
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(110)]
HARD = {
    "cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "200", "delete.retention.ms": "0",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    """Run a Kafka whose cleaner looks ten times a second instead of every 15 seconds."""
    properties = {"log.cleaner.backoff.ms": "100", "log.cleaner.threads": "2"}
    broker = Broker(Path(tmp_path_factory.mktemp("compacting")), properties=properties)
    await broker.start()
    yield broker
    await broker.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(kafka: Broker, topic_prefix: str) -> Cluster:
    """Give topics of which the state's are compacted hard."""
    made = await rig.topics(kafka.bootstrap, topic_prefix)
    admin = await made.admin()
    try:
        await admin.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, made.name(topic), configs=HARD)
                for topic in STATE_TOPICS
            ]
        )
    finally:
        await admin.close()
    return made


def everything(cluster: Cluster, topic: str, partition: int) -> list[Message]:
    """Read what is left of a partition, whether committed or not."""
    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap, "group.id": "any", "isolation.level": "read_uncommitted",
         "enable.partition.eof": True, "log_level": 0}
    )  # fmt: skip
    consumer.assign([TopicPartition(cluster.name(topic), partition, 0)])
    found: list[Message] = []
    while (message := consumer.poll(10.0)) is not None:
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            break
        assert error is None
        found.append(message)
    consumer.close()
    return found


async def compacted(cluster: Cluster, topic: str) -> list[Message]:
    """Wait until every key is there once and no deletion is any more; what follows closes the segment."""
    found: list[Message] = []

    async def met() -> bool:
        await rig.store(cluster, Outgoing(topic, 0, b"@nobody/x/y", None))
        found[:] = [one for one in everything(cluster, topic, 0) if one.key() != b"@nobody/x/y"]
        keys = {one.key() for one in found}
        return len(keys) == len(found) and all(one.value() is not None for one in found)

    await until(met, 40, every=0.3)
    return found


def told(state: ConnectorState) -> dict[str, Any]:
    """Write down what is known of a connector, but for what changes with every report."""
    return {
        "cursors": dict(state.cursors),
        "seen": sorted(key for bucket in state.seen._buckets.values() for key in bucket),
        "members": {
            place: (scope.topic, list(scope.members), list(scope.running), scope.pages, scope.finished_began)
            for place, scope in state.inventory.scopes.items()
        },
        "contents": {name: state.inventory.content("files", name) for name in _names(state)},
        "registrations": dict(state.registrations),
        "keys": {place for place in state.keys if not place[1].endswith(b"@status")},
    }


def _names(state: ConnectorState) -> list[int]:
    return sorted({one for scope in state.inventory.scopes.values() for one in scope.members})


async def read_back(cluster: Cluster, partition: int = 0) -> PartitionState:
    """Read a partition's state as a take-over does."""
    state = PartitionState(partition)
    await read_to_end(cluster, state.places(), state.take)
    state.settle()
    return state


async def test_a_take_over_reads_the_same(bench: Bench, world: World, read: Any, cluster: Cluster) -> None:
    """Hundreds of cursors and pages later only each key's last is left, and that is enough."""
    now = int(time.time() * 1000)
    world.log = [{"id": number, "time": now, "who": f"u{number % 3}"} for number in range(600)]
    world.files = {f"f{number}": "a" for number in range(9)}
    world.late = [{"id": f"w{number}", "time": now - 1000 * number} for number in range(20)]
    await bench.wish("kept", provider="registering")
    async with bench.process() as process:
        await until(lambda: _count(cluster, 620))
        for round_ in range(4):
            reads = world.reads
            world.files[f"f{round_}"] = f"changed {round_}"
            world.files.pop(f"f{8 - round_}")
            await until(lambda reads=reads: world.reads > reads + 1)  # type: ignore[misc]
        await until(lambda: len(world.registered) == 1)
        await until(lambda: _settled(process, world))
        held: Any = process.ownership._tenures[0][0]
        mine = held._state.connectors["kept"]
    known = told(mine)
    written = {topic: (await _end(cluster, topic)) for topic in ("cursors", "seen", "members")}
    left = {topic: len(await compacted(cluster, topic)) for topic in written}
    state = await read_back(cluster)
    found = told(state.connectors["kept"])
    print("offsets written", written, "records left", left)  # noqa: T201 the figure is wanted

    assert written["cursors"] > 3 * left["cursors"]
    assert found == known
    before = sorted(ids(await read("activities")))
    async with bench.process():
        world.log.append({"id": 600, "time": now, "who": "u1"})
        await until(lambda: _count(cluster, 621))
    assert sorted(ids(await read("activities"))) == sorted([*before, "600"])
    assert {name.split("/", 3)[3] for name in latest(await read("files"))} == set(world.files)


async def _settled(process: Any, world: World) -> bool:
    """Whether the listing as it is now has been finished."""
    cursor = process.ownership._tenures[0][0]._state.connectors["kept"].cursors.get(("files", ""))
    return cursor is not None and cursor.finished_at >= cursor.started_at and not cursor.finishing


async def _count(cluster: Cluster, wanted: int) -> bool:
    return len(await rig.read(cluster, "activities")) == wanted


async def _end(cluster: Cluster, topic: str) -> int:
    return (await ends(cluster, [Place(topic, 0)]))[Place(topic, 0)]


async def test_what_was_removed_does_not_come_back(
    bench: Bench, world: World, read: Any, cluster: Cluster
) -> None:
    """A connector's tombstones are cleaned away in their turn: nothing of it is known any more."""
    world.log = [{"id": number, "time": int(time.time() * 1000), "who": "u1"} for number in range(30)]
    world.files = {"f1": "a"}
    await bench.wish("gone", provider="registering")
    async with bench.process():
        await until(lambda: _count(cluster, 30))
        await until(lambda: len(world.registered) == 1)
        removing = await bench.wish("gone", provider="registering", removing=True, revision=2)
        await until(lambda: not world.registered)
        await until(lambda: _removed(cluster))
        await bench.forget(removing)
        await until(lambda: _nothing(cluster))
    for topic in ("cursors", "seen", "members", "subscriptions"):
        left = await compacted(cluster, topic)
        keys = [one.key() for one in left if (one.key() or b"").startswith(b"gone/")]
        assert keys == []
    state = await read_back(cluster)
    assert state.connectors == {}
    assert state.names() == set()
    await bench.wish("gone", provider="registering", incarnation="2")
    async with bench.process():
        await until(lambda: _count(cluster, 60))


async def _nothing(cluster: Cluster) -> bool:
    """Whether even the last report has been taken away."""
    return not any(name.startswith("gone/") for name in latest(await rig.read(cluster, "cursors")))


async def _removed(cluster: Cluster) -> bool:
    return b'"removed"' in b"".join(one.value() or b"" for one in await rig.read(cluster, "cursors"))

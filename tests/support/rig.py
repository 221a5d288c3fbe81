"""What the scenarios on a real Kafka share: a judge, topics of a test's own, bounded waiting."""

import asyncio
import base64
import os
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.producing import Outgoing, Sender, Transactions

LONGEST_TRANSACTION = 8.0
"""Seconds: the time-out of a transaction, and the broker's look at it."""


async def topics(bootstrap: str, prefix: str, **settings: Any) -> Cluster:
    """Make all topics under a prefix of the test's own, two partitions each unless told otherwise."""
    key = base64.b64encode(os.urandom(32)).decode()
    chosen = {"partitions": 2, "replication": 1, "session_seconds": 2.0, "key": key, **settings}
    made = Cluster(Config(kafka=bootstrap, prefix=prefix, **chosen))
    await made.create_topics()
    await made.ready()
    await made.learn()
    return made


async def until(
    met: Callable[[], Awaitable[bool] | bool], seconds: float = 20.0, every: float = 0.05
) -> None:
    """Wait, within bounds, for something that happens by itself."""
    end = time.monotonic() + seconds
    while True:
        found = met()
        if (await found) if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(every)


async def store(cluster: Cluster, *records: Outgoing) -> None:
    """Write records as an operator's tool would."""
    async with Sender(cluster, "test") as sender:
        await sender.write(records)


async def limit(cluster: Cluster, topic: str, size: int) -> None:
    """Set the largest batch a topic takes, and wait until the broker goes by it."""
    admin = await cluster.admin()
    name = "max.message.bytes"
    resource = ConfigResource(ConfigResourceType.TOPIC, cluster.name(topic), configs={name: str(size)})
    try:
        await admin.alter_configs([resource])
    finally:
        await admin.close()

    async def goes_by_it() -> bool:
        """Try both sides of the limit, in transactions that are aborted."""
        trial = Transactions(cluster, f"trial-{uuid4().hex}")
        await trial.start()
        try:
            for over, refused in ((-500, False), (500, True)):
                record = Outgoing(topic, 0, b"", os.urandom(size + over))
                if await trial.refuses([record]) != refused:
                    return False
        finally:
            await trial.stop()
        return True

    await until(goes_by_it)


def _reader(cluster: Cluster, isolation: str = "read_committed") -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "judge",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "log_level": 0,
        }
    )


def _end(consumer: Consumer, part: TopicPartition) -> int:
    """Ask for the end of a partition; one that was just made may have no leader yet."""
    end = time.monotonic() + 20
    while True:
        try:
            return consumer.get_watermark_offsets(part, timeout=20)[1]
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > end:
                raise
            time.sleep(0.05)


def _ends(cluster: Cluster, parts: list[TopicPartition]) -> dict[int | None, int]:
    """Ask where the log of each partition ends, open transactions included."""
    consumer = _reader(cluster, "read_uncommitted")
    try:
        return {one.partition: _end(consumer, one) for one in parts}
    finally:
        consumer.close()


def whole(cluster: Cluster, topic: str) -> list[Message]:
    """Read a topic from its start to its end with librdkafka, committed records only.

    A commit is answered before its markers are written, so a reader right behind it may see an end that is
    too early: it waits for the transactions it finds open, as long as Kafka lets one be open.
    """
    consumer = _reader(cluster)
    parts = [TopicPartition(cluster.name(topic), number, 0) for number in range(cluster.counts[topic])]
    ends, decided = _ends(cluster, parts), time.monotonic() + LONGEST_TRANSACTION
    consumer.assign(parts)
    found: list[Message] = []
    reached: dict[int | None, int | None] = {}
    while len(reached) < len(parts) or any((reached.get(number) or 0) < end for number, end in ends.items()):
        message = consumer.poll(10.0 if len(reached) < len(parts) else 0.1)
        if message is None:
            assert len(reached) == len(parts), "the judge waits for the end of the topic"
        elif (error := message.error()) is None:
            found.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            reached[message.partition()] = message.offset()
        if len(reached) == len(parts) and time.monotonic() > decided:
            break
    consumer.close()
    return found


async def read(cluster: Cluster, topic: str) -> list[Message]:
    """Do the same without holding the loop up."""
    return await asyncio.to_thread(whole, cluster, topic)


def ids(messages: list[Message]) -> list[str]:
    """Name what was published, in the order of each partition; deletions are left out."""
    values = [one.value() for one in messages]
    return [orjson.loads(value)["metadata"]["original_event_uid"] for value in values if value]


def latest(messages: list[Message]) -> dict[str, Any]:
    """Read a compacted topic as a table: key to the latest value, without what was deleted."""
    table = {(one.key() or b"").decode(): one.value() for one in messages}
    return {key: orjson.loads(value) for key, value in table.items() if value}


class Watch:
    """A read-committed reader that follows one topic in a thread and notes when each record arrived."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster, self._topic = cluster, topic
        self._stop = threading.Event()
        self.values: list[bytes] = []
        self.times: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        consumer = _reader(self._cluster)
        name, count = self._cluster.name(self._topic), self._cluster.counts[self._topic]
        consumer.assign([TopicPartition(name, number, 0) for number in range(count)])
        while not self._stop.is_set():
            message = consumer.poll(0.05)
            value = None if message is None or message.error() is not None else message.value()
            if value is not None:
                self.times.append(time.monotonic())
                self.values.append(value)
        consumer.close()

    def longest_stall(self, since: float, until_: float) -> float:
        """Tell the longest time without a new record between two moments, in seconds."""
        moments = [since, *(at for at in list(self.times) if since <= at <= until_), until_]
        return max(b - a for a, b in pairwise(moments))

"""How fast a trail is polled: gzipped files in memory → committed, validated, de-duplicated events on Kafka.

The product's own path, one process and one partition's owner: unpack, parse, map, stamp, validate, encode,
headers, key, seen, group commit with the cursor. Beside it, in interleaved rounds on the same files, a plain
aiokafka script that maps and commits a transaction a page, but neither validates nor de-duplicates nor writes
headers. Both run on uvloop on one core, Kafka on the other.
Run: ``python benchmarks/poll.py``; ``--json`` prints one JSON document, ``--quick`` takes seconds.
"""

import argparse
import asyncio
import gc
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import orjson
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, TopicPartition
from lab import rig
from lab.events import HERE, ORIGIN, mapped, outgoing, stamped
from lab.records import PAGE, Trail

from ingest.cluster import Cluster
from ingest.connectors import WallClock
from ingest.feeds import AxisFeed, Owner
from ingest.hashes import from_hex
from ingest.mapping import Preparation
from ingest.producing import Outgoing, Transactions
from ingest.providers.aws import Aws
from ingest.providers.aws.events import trail_record
from ingest.providers.aws.trail import unpack
from ingest.publish import Bytes, Committer
from ingest.reads import At, Axis, Event, Page
from ingest.seen import SeenWindow
from ingest.state import PartitionState
from schemas.control import Wish
from schemas.envelope import headers
from schemas.events import entity_of
from schemas.topics import topic_of
from schemas.validation import all_checked

Files = list[tuple[str, bytes]]


class Ours:
    """A partition's owner with one connector whose trail feed reads what `files` holds."""

    def __init__(self, cluster: Cluster, producer: Transactions) -> None:
        """Put the feed together as a connector does."""
        clock = WallClock()
        wish = Wish(name="bench", provider="aws", tenant="acme", partition=0, incarnation="1")
        partition = PartitionState(0)
        state = partition.of(wish)
        feed = Aws.feeds()["trail"]
        self.files: Files = []
        self.committer = Committer(producer, Bytes(cluster.config.in_flight_bytes))
        preparation = Preparation(cluster, wish, ORIGIN, HERE, state, clock.now)
        owner = Owner(
            wish, partition, state, self.committer, preparation, clock, "aws",
            repeats=int(feed.repeats.total_seconds() * 1000),
        )  # fmt: skip
        self.feed = AxisFeed(owner, feed, self._read, Axis())

    async def _read(self, at: At) -> AsyncIterator[Page]:
        """Read the files as the provider does: unpacked in a thread, 1,000 records a page."""
        for name in at.fresh([name for name, _ in self.files]):
            records = await asyncio.to_thread(unpack, dict(self.files)[name])
            for start in range(0, len(records), PAGE):
                last = start + PAGE >= len(records)
                yield Page(records[start : start + PAGE], mapper="trail", done=[name] if last else [])

    async def poll(self, files: Files) -> int:
        """Read files to their end; all is committed then. Returns how many events."""
        before = self.feed.progress.published
        self.files = files
        await self.feed.read_once()
        return self.feed.progress.published - before


@asynccontextmanager
async def ours(cluster: Cluster) -> AsyncIterator[Ours]:
    """Take partition 0 over."""
    producer = Transactions(cluster, "owner-0")
    await producer.start()
    made = Ours(cluster, producer)
    task = asyncio.create_task(made.committer.run())
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await producer.stop()


class Plain:
    """The script one would write: a page, a transaction, a send an event, the cursor with it."""

    def __init__(self, cluster: Cluster) -> None:
        """Make its producer; compression and batch size are ours, the defaults are far slower."""
        self._cluster = cluster
        self._producer = AIOKafkaProducer(
            bootstrap_servers=cluster.bootstrap, transactional_id="plain", compression_type="zstd",
            max_batch_size=512 * 1024, max_request_size=16 * 1024 * 1024,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        """Start."""
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self._producer.stop()

    async def poll(self, files: Files) -> int:
        """Read files, all committed."""
        count, producer, name_of = 0, self._producer, self._cluster.name
        for name, packed in files:
            records = await asyncio.to_thread(unpack, packed)
            for start in range(0, len(records), PAGE):
                async with producer.transaction():
                    for record in records[start : start + PAGE]:
                        for event in trail_record(record, HERE):
                            value, key = orjson.dumps(event), entity_of(event).encode()
                            await producer.send(name_of(topic_of(event)), value, key=key)
                            count += 1
                    await producer.send(name_of("cursors"), orjson.dumps({"file": name}), key=b"plain")
        return count


def window(events: Sequence[Event]) -> SeenWindow:
    """Look a page up among the seen, and take it in."""
    seen = SeenWindow()
    found = [(from_hex(event["metadata"]["uid"]), event["time"]) for event in events]
    fresh = [pair for pair in found if not seen.has(*pair)]
    number, record = seen.page(fresh, "1", 0)
    record.dump()
    seen.add(number, record)
    return seen


async def stages(cluster: Cluster, producer: Transactions, packed: bytes) -> dict[str, float]:
    """Measure each stage alone on one page: CPU in µs an event."""
    text = zlib.decompress(packed, 31)
    raw = orjson.loads(text)["Records"]
    events = stamped(mapped(packed))
    keys = [ORIGIN.key(entity_of(event)).encode() for event in events]
    found = {
        "gunzip": rig.spent(lambda: None, lambda _: zlib.decompress(packed, 31)),
        "parse": rig.spent(lambda: None, lambda _: orjson.loads(text)),
        "map": rig.spent(lambda: None, lambda _: [list(trail_record(record, HERE)) for record in raw]),
        "stamp": rig.spent(lambda: mapped(packed), stamped),
        "encode, check": rig.spent(
            lambda: None, lambda _: [all_checked(events[n : n + 25]) for n in range(0, len(events), 25)]
        ),
        "headers": rig.spent(
            lambda: None,
            lambda _: [headers(event, ORIGIN, topic="activities", entity="e") for event in events],
        ),
        "topic, entity, key": rig.spent(
            lambda: None,
            lambda _: [
                (topic_of(event), ORIGIN.key(entity_of(event)).encode(), cluster.partition("activities", key))
                for event, key in zip(events, keys, strict=True)
            ],
        ),
        "seen": rig.spent(lambda: None, lambda _: window(events)),
    }
    found["produce"] = await _produce(producer, outgoing(cluster, events))
    return {name: seconds / len(events) * 1e6 for name, seconds in found.items()}


async def _produce(producer: Transactions, records: list[Outgoing], rounds: int = 5) -> float:
    with rig.Meter() as meter:
        for _ in range(rounds):
            await producer.commit(records)
    return meter.cpu / rounds


def stored(cluster: Cluster, topics: Sequence[str]) -> int:
    """Count what a read-committed reader of another make (librdkafka) finds."""
    reader = Consumer(
        {"bootstrap.servers": cluster.bootstrap, "group.id": "judge", "isolation.level": "read_committed",
         "enable.auto.commit": False, "enable.partition.eof": True, "queued.max.messages.kbytes": 16_384}
    )  # fmt: skip
    places = [
        TopicPartition(cluster.name(topic), n, 0) for topic in topics for n in range(cluster.counts[topic])
    ]
    reader.assign(places)
    count, left = 0, len(places)
    while left:
        for message in reader.consume(1000, 10.0):
            if message.error():
                left -= 1
            else:
                count += bool(message.headers())  # the plain script's have none
    reader.close()
    return count


async def measure(rounds: int, files: int, partitions: int) -> dict[str, Any]:
    """Run all of it."""
    trail, meters = Trail(), {"sluice": rig.Meter(), "plain aiokafka": rig.Meter()}
    counts, memory = dict.fromkeys(meters, 0), []
    async with rig.kafka(partitions) as cluster, ours(cluster) as sluice, Plain(cluster) as plain:
        warm = trail.files(0, 3)
        await sluice.poll(warm)
        await plain.poll(warm)
        number = len(warm)
        for _ in range(rounds):
            batch = trail.files(number, files)
            number += files
            gc.collect()
            for name, each in (("sluice", sluice), ("plain aiokafka", plain)):
                with meters[name]:
                    counts[name] += await each.poll(batch)
                if name == "sluice":
                    memory.append(round(rig.rss(), 1))
        assert counts["sluice"] == rounds * files * PAGE
        judged = await asyncio.to_thread(stored, cluster, ("activities", "logons"))
        assert judged == counts["sluice"] + len(warm) * PAGE
        producer = Transactions(cluster, "stages")
        await producer.start()
        table = await stages(cluster, producer, trail.file(number))
        await producer.stop()
    return {
        "record": f"{trail.size:.0f} bytes, {PAGE} a file",
        "partitions": partitions,
        "loop": "uvloop",
        "memory after each round, MB": memory,
        "read back by librdkafka": judged,
        "rates": rates(meters, counts),
        "stages": shares(table, meters["sluice"].cpu / counts["sluice"] * 1e6),
    }


def rates(meters: dict[str, rig.Meter], counts: dict[str, int]) -> list[dict[str, Any]]:
    """Make the table of rates."""
    return [
        {"by": name, "events": counts[name], "events/s of wall": counts[name] / meter.wall,
         "events/s of CPU": counts[name] / meter.cpu, "µs of CPU an event": meter.cpu / counts[name] * 1e6}
        for name, meter in meters.items()
    ]  # fmt: skip


def shares(table: dict[str, float], whole: float) -> list[dict[str, Any]]:
    """Make the table of stages; what they leave of the whole is the rest."""
    parts = {**table, "rest": whole - sum(table.values()), "whole": whole}
    return [
        {"stage": name, "µs of CPU an event": value, "share, %": value / whole * 100}
        for name, value in parts.items()
    ]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON document")
    options.add_argument("--quick", action="store_true", help="only see that it works")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--files", type=int, default=60, help="files of 1,000 records a round")
    options.add_argument("--partitions", type=int, default=8, help="of each topic; the embedded Kafka has 8")
    chosen = options.parse_args()
    rounds, files = (2, 2) if chosen.quick else (chosen.rounds, chosen.files)
    found = rig.run(measure(rounds, files, chosen.partitions))
    rig.show(found, ("rates", "stages"), as_json=chosen.json)


if __name__ == "__main__":
    main()

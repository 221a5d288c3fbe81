"""What exactly once costs: the same events in transactions, in plain idempotent batches, and one by one.

Groups of 100, 1,000 and 2,000 prepared OCSF events with their headers, in interleaved rounds of one run:
`Transactions.commit`, `Sender.write` of the same batches, and aiokafka's own idempotent `send` a record.
Each group is awaited before the next, as a feed does. Then pages of 1,000 by four feeds of one partition at
once, as they come in the product: through its `Committer`, which puts the pages that wait into one
transaction, and as idempotent batches.
Run: ``python benchmarks/publish.py``; ``--json`` prints one JSON document, ``--quick`` takes seconds.
"""

import argparse
import asyncio
import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from lab import rig
from lab.events import made
from lab.records import Trail

from ingest.cluster import Cluster
from ingest.producing import Outgoing, Sender, Transactions
from ingest.publish import Bytes, Committer, Unit
from ingest.tasks import ended

Write = Callable[[Sequence[Outgoing]], Awaitable[None]]
PLAIN = "idempotent batches"
WAYS = ("transactions", PLAIN, "aiokafka send, idempotent")
GROUPS = (100, 1000, 2000)
TOGETHER = "group commit"
PAGE = 1000
FEEDS = 4


def one_by_one(cluster: Cluster, producer: AIOKafkaProducer) -> Write:
    """Send each record by itself and await all."""

    async def write(records: Sequence[Outgoing]) -> None:
        sent = [
            await producer.send(
                cluster.name(one.topic), one.value, one.key, partition=one.partition, headers=one.headers
            )
            for one in records
        ]
        await asyncio.gather(*sent)

    return write


async def measure(rounds: int, events: int, partitions: int) -> dict[str, Any]:
    """Run all of it; each way writes `events` events a round and size of group."""
    trail = Trail()
    meters = {(way, group): list[rig.Meter]() for group in GROUPS for way in WAYS}
    async with rig.kafka(partitions) as cluster:
        records = [one for n in (0, 1) for one in made(cluster, trail.file(n))]
        transactions = Transactions(cluster, "bench")
        single = AIOKafkaProducer(
            bootstrap_servers=cluster.bootstrap, enable_idempotence=True, acks="all", compression_type="zstd",
            max_batch_size=512 * 1024, max_request_size=16 * 1024 * 1024,
        )  # fmt: skip
        await transactions.start()
        await single.start()
        try:
            async with Sender(cluster, "bench") as sender:
                writes = (transactions.commit, sender.write, one_by_one(cluster, single))
                ways: dict[str, Write] = dict(zip(WAYS, writes, strict=True))
                for write in ways.values():
                    await write(records)
                for number in range(rounds):
                    # Whoever comes first finds Kafka rested: each way does in turn.
                    order = [WAYS[(number + place) % len(WAYS)] for place in range(len(WAYS))]
                    for group in GROUPS:
                        for way in order:
                            meters[way, group].append(await written(ways[way], records[:group], events))
            table = await pages(cluster, records[:PAGE], rounds, events)
        finally:
            await transactions.stop()
            await single.stop()
    size = sum(one.size for one in records) / len(records)
    return {
        "event": f"{size:.0f} bytes with key and headers",
        "partitions": partitions,
        "loop": "uvloop",
        "rounds": rounds,
        "cost": [row(meters, way, group, events) for group in GROUPS for way in WAYS],
        "pages": table,
    }


async def pages(cluster: Cluster, page: Sequence[Outgoing], rounds: int, events: int) -> list[dict[str, Any]]:
    """Let feeds write a page after the other, all at once, both ways in turn."""
    producer = Transactions(cluster, "pages")
    await producer.start()
    committer = Committer(producer, Bytes(cluster.config.in_flight_bytes))
    task = asyncio.create_task(committer.run())
    meters = {(way, PAGE): list[rig.Meter]() for way in (TOGETHER, PLAIN)}

    async def feed(write: Write) -> None:
        for _ in range(max(1, 4 * events // len(page) // FEEDS)):
            await write(page)

    async def commit(records: Sequence[Outgoing]) -> None:
        await committer.commit(Unit(list(records)))

    try:
        async with Sender(cluster, "pages") as sender:
            ways: list[tuple[str, Write]] = [(TOGETHER, commit), (PLAIN, sender.write)]
            for _ in range(rounds):
                ways.reverse()
                for way, write in ways:
                    gc.collect()
                    with rig.Meter() as meter:
                        await asyncio.gather(*(feed(write) for _ in range(FEEDS)))
                    meters[way, PAGE].append(meter)
    finally:
        await ended(task)
        await producer.stop()
    return [row(meters, way, PAGE, 4 * events) for way in (TOGETHER, PLAIN)]


async def written(write: Write, group: Sequence[Outgoing], events: int) -> rig.Meter:
    """Write a group again and again, until there are enough events."""
    gc.collect()
    with rig.Meter() as meter:
        for _ in range(max(1, events // len(group))):
            await write(group)
    return meter


def row(meters: dict[tuple[str, int], list[rig.Meter]], way: str, group: int, events: int) -> dict[str, Any]:
    """Make a line: medians of the rounds, and of the rounds' ratios to the plain batches."""
    count = max(1, events // group) * group
    mine, plain = meters[way, group], meters[PLAIN, group]
    pairs = list(zip(mine, plain, strict=True))
    return {
        "group": group,
        "way": way,
        "µs of CPU an event": statistics.median(meter.cpu for meter in mine) / count * 1e6,
        "events/s of wall": count / statistics.median(meter.wall for meter in mine),
        "CPU, times plain": statistics.median(a.cpu / b.cpu for a, b in pairs),
        "wall, times plain": statistics.median(a.wall / b.wall for a, b in pairs),
    }


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON document")
    options.add_argument("--quick", action="store_true", help="only see that it works")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--events", type=int, default=10_000, help="of each way, a round and size of group")
    options.add_argument("--partitions", type=int, default=8, help="of each topic; the embedded Kafka has 8")
    chosen = options.parse_args()
    rounds, events = (1, 2000) if chosen.quick else (chosen.rounds, chosen.events)
    rig.show(rig.run(measure(rounds, events, chosen.partitions)), ("cost", "pages"), as_json=chosen.json)


if __name__ == "__main__":
    main()

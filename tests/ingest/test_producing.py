"""Transactions and plain sends on the real Kafka: all or nothing, bounded, refused records named."""

import asyncio
import os
import time
from typing import Any

import pytest
from rig import limit

from ingest.cluster import Cluster
from ingest.producing import (
    BATCH_BYTES,
    BrokenError,
    FencedError,
    Outgoing,
    RefusedError,
    Sender,
    Transactions,
)
from sluice.broker import Broker

pytestmark = pytest.mark.kafka


def out(value: bytes, topic: str = "activities", partition: int = 0) -> Outgoing:
    """Make a record whose value is its name."""
    return Outgoing(topic, partition, b"k", value)


async def test_batches_beyond_the_limit_keep_their_order(cluster: Cluster, read: Any) -> None:
    """Three batches' worth of one partition in one transaction arrive whole and in order."""
    size = 1000
    count = 3 * BATCH_BYTES // size
    values = [b"%06d" % n + os.urandom(size - 6) for n in range(count)]
    producer = Transactions(cluster, "big")
    await producer.start()
    await producer.commit([out(value) for value in values])
    await producer.stop()

    assert [one.value() for one in await read("activities")] == values


async def test_a_single_record_larger_than_a_batch(cluster: Cluster, read: Any) -> None:
    """A record of 900 KB travels alone between small ones."""
    large = os.urandom(900_000)
    producer = Transactions(cluster, "large")
    await producer.start()
    await producer.commit([out(b"a"), out(large), out(b"b")])
    await producer.stop()

    assert [one.value() for one in await read("activities")] == [b"a", large, b"b"]


async def test_headers_tombstones_and_partitions(cluster: Cluster, read: Any) -> None:
    """Headers, an absent value and the chosen partition arrive as given."""
    async with Sender(cluster, "heads") as sender:
        await sender.write(
            [Outgoing("files", 1, b"k", None, [("ce_id", b"1")]), Outgoing("files", 0, b"k", b"v")]
        )
    found = {(one.partition(), one.value()): one.headers() for one in await read("files")}

    assert found == {(1, None): [("ce_id", b"1")], (0, b"v"): None}


async def test_a_refused_record_takes_the_transaction_back(cluster: Cluster, read: Any) -> None:
    """Nothing of a transaction with a refused record is readable, and the same producer goes on."""
    await limit(cluster, "logons", 2000)
    producer = Transactions(cluster, "refused")
    await producer.start()
    bad = out(os.urandom(5000), "logons")
    with pytest.raises(RefusedError) as caught:
        await producer.commit([out(b"neighbour"), bad])
    for number in range(3):
        await producer.commit([out(b"after-%d" % number), out(b"small-%d" % number, "logons")])
    await producer.stop()

    assert caught.value.records == [bad]
    assert [one.value() for one in await read("activities")] == [b"after-0", b"after-1", b"after-2"]
    assert [one.value() for one in await read("logons")] == [b"small-0", b"small-1", b"small-2"]


async def test_what_follows_a_refused_batch_is_not_blamed(cluster: Cluster, read: Any) -> None:
    """Of several batches of one partition only the refused one is named, and the producer goes on."""
    await limit(cluster, "logons", BATCH_BYTES + 50_000)
    batches = [out(os.urandom(n), "logons") for n in (400_000, BATCH_BYTES + 100_000, 400_000, 300_000)]
    producer = Transactions(cluster, "middle")
    await producer.start()
    with pytest.raises(RefusedError) as caught:
        await producer.commit(batches)
    await producer.commit([batches[0], batches[2], batches[3]])
    await producer.stop()

    assert caught.value.records == [batches[1]]
    assert [one.value() for one in await read("logons")] == [
        one.value for one in batches if one is not batches[1]
    ]


async def test_trying_whether_records_are_refused_writes_nothing(cluster: Cluster, read: Any) -> None:
    """A trial is always aborted, whatever it finds, and can be repeated."""
    await limit(cluster, "logons", 2000)
    producer = Transactions(cluster, "trial")
    await producer.start()
    found = [await producer.refuses([out(os.urandom(n), "logons")]) for n in (5000, 10, 4000, 20)]
    await producer.commit([out(b"at last", "logons")])
    await producer.stop()

    assert found == [True, False, True, False]
    assert [one.value() for one in await read("logons")] == [b"at last"]


async def test_a_plain_send_names_the_refused(cluster: Cluster, read: Any) -> None:
    """Without a transaction the others are stored, and the sender goes on after a refusal."""
    await limit(cluster, "logons", 2000)
    bad = out(os.urandom(5000), "logons", 1)
    async with Sender(cluster, "plain") as sender:
        with pytest.raises(RefusedError) as caught:
            await sender.write([out(b"good", "logons", 0), bad])
        await sender.write([out(b"later", "logons", 1)])

    assert caught.value.records == [bad]
    assert sorted(one.value() for one in await read("logons")) == [b"good", b"later"]


async def test_a_successor_fences(cluster: Cluster, read: Any) -> None:
    """Who starts with the same id takes over: the predecessor's next commit is refused and unread."""
    first, second = Transactions(cluster, "same"), Transactions(cluster, "same")
    await first.start()
    await first.commit([out(b"1")])
    await second.start()
    with pytest.raises(FencedError):
        await first.commit([out(b"lost")])
    await second.commit([out(b"2")])
    await first.stop()
    await second.stop()

    assert [one.value() for one in await read("activities")] == [b"1", b"2"]


async def test_a_successor_aborts_what_was_left_open(cluster: Cluster, read: Any) -> None:
    """An open transaction does not hold readers back once the successor has started."""
    first, second = Transactions(cluster, "open"), Transactions(cluster, "open")
    await first.start()
    await first._producer.begin_transaction()
    await first.send([out(b"open")])
    begun = time.monotonic()
    await second.start()
    took = time.monotonic() - begun
    await second.commit([out(b"done")])
    found = [one.value() for one in await read("activities")]
    await first.stop()
    await second.stop()

    assert found == [b"done"]
    assert took < 2.0


async def test_a_frozen_broker_breaks_a_transaction_in_time(
    kafka: Broker, cluster: Cluster, read: Any
) -> None:
    """The watchdog gives up within three seconds; a new producer goes on, nothing is half there."""
    producer = Transactions(cluster, "frozen")
    await producer.start()
    await producer.commit([out(b"before")])
    kafka.freeze()
    begun = time.monotonic()
    try:
        with pytest.raises(BrokenError):
            await producer.commit([out(b"a"), out(b"b", "logons")])
        took = time.monotonic() - begun
    finally:
        kafka.thaw()
    stopping = time.monotonic()
    await producer.stop()
    stopped = time.monotonic() - stopping
    again = Transactions(cluster, "frozen")
    await again.start()
    await again.commit([out(b"after")])
    await again.stop()

    activities = [one.value() for one in await read("activities")]
    logons = [one.value() for one in await read("logons")]

    assert took < 3.0
    assert stopped < 2.0
    assert activities in ([b"before", b"after"], [b"before", b"a", b"after"])
    assert (b"a" in activities) == (b"b" in logons)


async def test_a_frozen_broker_breaks_a_plain_send(kafka: Broker, cluster: Cluster) -> None:
    """A send does not wait longer than it was told."""
    async with Sender(cluster, "plain") as sender:
        await sender.write([out(b"before")])
        kafka.freeze()
        begun = time.monotonic()
        try:
            with pytest.raises(BrokenError):
                await sender.write([out(b"a")], seconds=0.5)
            took = time.monotonic() - begun
        finally:
            kafka.thaw()

    assert took < 1.0


async def test_a_cancelled_commit_leaves_nothing_open(cluster: Cluster, read: Any) -> None:
    """A commit that is cancelled half-way holds no reader back for longer than a moment."""
    producer = Transactions(cluster, "cancelled")
    await producer.start()
    await producer.commit([out(b"0")])
    for number in range(10):
        records = [out(os.urandom(200_000)) for _ in range(5)]
        task = asyncio.create_task(producer.commit(records))
        for _ in range(number * 3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, BrokenError)):
            await task
        await producer.stop()
        producer = Transactions(cluster, "cancelled")
        await producer.start()
    begun = time.monotonic()
    await producer.commit([out(b"end")])
    found = await read("activities")
    took = time.monotonic() - begun
    await producer.stop()

    assert found[0].value() == b"0"
    assert found[-1].value() == b"end"
    assert (len(found) - 2) % 5 == 0
    assert took < 2.0

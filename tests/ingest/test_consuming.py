"""Reading on the real Kafka: to the true end, following without loss, membership that can't lie."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from rig import store, until

from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Membership, Place, UnreadableError, ends, read_to_end
from ingest.producing import Outgoing, Transactions

pytestmark = pytest.mark.kafka


def out(value: str, partition: int = 0, topic: str = "cursors") -> Outgoing:
    """Make a record whose value is its name."""
    return Outgoing(topic, partition, b"k", value.encode())


async def test_reads_several_partitions_to_their_end(cluster: Cluster) -> None:
    """Every record of every partition is taken in order; an empty partition is no obstacle."""
    await store(cluster, *(out(str(n), n % 2) for n in range(20)))
    places = [Place("cursors", 0), Place("cursors", 1), Place("seen", 0)]
    found: list[Incoming] = []
    reached = await read_to_end(cluster, places, found.append)

    assert [one.value for one in found if one.partition == 0] == [b"%d" % n for n in range(0, 20, 2)]
    assert [one.value for one in found if one.partition == 1] == [b"%d" % n for n in range(1, 20, 2)]
    assert reached == {Place("cursors", 0): 10, Place("cursors", 1): 10, Place("seen", 0): 0}


async def test_the_end_may_be_all_markers_and_aborted_records(cluster: Cluster) -> None:
    """A partition that ends in aborted transactions and their markers is read to its end."""
    producer = Transactions(cluster, "ends")
    await producer.start()
    await producer.commit([out("kept")])
    for number in range(3):
        await producer.refuses([out(f"aborted-{number}")])
    await producer.stop()
    found: list[Incoming] = []
    reached = await read_to_end(cluster, [Place("cursors", 0)], found.append, seconds=5)

    assert [one.value for one in found] == [b"kept"]
    assert reached[Place("cursors", 0)] == 8


async def test_a_strangers_open_transaction_is_not_the_end(cluster: Cluster) -> None:
    """While a transaction is open the end is not reached: not ready, never empty; once aborted it is."""
    mine, stranger = Transactions(cluster, "mine"), Transactions(cluster, "stranger")
    await mine.start()
    await stranger.start()
    await stranger._producer.begin_transaction()
    await stranger.send([out("open")])
    await mine.commit([out("later")])
    place = Place("cursors", 0)

    assert (await ends(cluster, [place]))[place] == 3
    with pytest.raises(UnreadableError, match="cursors-0"):
        await read_to_end(cluster, [place], lambda _: None, seconds=1.0)
    found: list[Incoming] = []
    reading = asyncio.create_task(read_to_end(cluster, [place], found.append, seconds=10.0))
    await stranger._producer.abort_transaction()
    await reading
    await mine.stop()
    await stranger.stop()

    assert [one.value for one in found] == [b"later"]


async def test_a_cluster_that_is_away_is_unreadable(cluster: Cluster) -> None:
    """No answer ends in an error that says so, not in an empty state."""
    away = Cluster(cluster.config, "127.0.0.1:1")
    away.counts = cluster.counts

    with pytest.raises(UnreadableError):
        await read_to_end(away, [Place("cursors", 0)], lambda _: None, seconds=2.0)


async def test_follows_through_joins_leaves_and_holds(cluster: Cluster) -> None:
    """Partitions that come, go and are held at random are each delivered whole, in order, once."""
    chance = random.Random(7)
    places = [Place(topic, number) for topic in ("cursors", "seen", "members") for number in (0, 1)]
    follower = Follower(cluster)
    await follower.start()
    got: dict[Place, list[int]] = {place: [] for place in places}
    following: set[Place] = set()

    def deliver(place: Place) -> Callable[[list[Incoming]], None]:
        return lambda records: got[place].extend(int(one.value or b"") for one in records)

    written = 0
    producer = Transactions(cluster, "flow")
    await producer.start()
    for _ in range(80):
        place = chance.choice(places)
        match chance.randrange(4):
            case 0 if place in following:
                follower.leave(place)
                following.discard(place)
            case 1:
                follower.hold(place, held=chance.random() < 0.5)
            case _ if place not in following:
                # Transactions leave a marker each: the record's offset is twice its number.
                follower.follow(place, 2 * len(got[place]), deliver(place))
                following.add(place)
            case _:
                pass
        await producer.commit([out(str(written), each.partition, each.topic) for each in places])
        written += 1
    for place in places:
        follower.hold(place, held=False)
        if place not in following:
            follower.follow(place, 2 * len(got[place]), deliver(place))
    await until(lambda: all(len(each) == written for each in got.values()))
    await follower.stop()
    await producer.stop()

    assert got == {place: list(range(written)) for place in places}


async def test_following_again_from_further_back(cluster: Cluster) -> None:
    """A partition left and followed again from an earlier place is delivered whole from there."""
    await store(cluster, *(out(str(n)) for n in range(50)))
    follower, place = Follower(cluster), Place("cursors", 0)
    await follower.start()
    chance = random.Random(3)
    for _ in range(12):
        start, first, second = chance.randrange(50), list[int](), list[int]()

        def into(found: list[int]) -> Callable[[list[Incoming]], None]:
            return lambda records: found.extend(one.offset for one in records)

        follower.follow(place, 40, into(first))
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        follower.leave(place)
        follower.follow(place, start, into(second))
        await until(lambda second=second: bool(second) and second[-1] == 49, every=0.002)  # type: ignore[misc]
        assert second == list(range(start, 50))
        follower.leave(place)
    await follower.stop()


async def test_all_held_then_let_go(cluster: Cluster) -> None:
    """While everything is held nothing comes; let go, it goes on where it was."""
    follower, place = Follower(cluster), Place("cursors", 0)
    await follower.start()
    got: list[int] = []
    follower.follow(place, 0, lambda records: got.extend(one.offset for one in records))
    await store(cluster, *(out(str(n)) for n in range(5)))
    await until(lambda: len(got) == 5)
    follower.hold(place, held=True)
    await store(cluster, *(out(str(n)) for n in range(5)))
    other: list[int] = []
    follower.follow(Place("seen", 0), 0, lambda records: other.extend(one.offset for one in records))
    await store(cluster, out("x", 0, "seen"))
    await until(lambda: len(other) == 1)
    held = list(got)
    follower.hold(place, held=False)
    await until(lambda: len(got) == 10)
    await follower.stop()

    assert held == [0, 1, 2, 3, 4]
    assert got == list(range(10))


async def test_a_listener_that_fails_does_not_end_the_others(cluster: Cluster) -> None:
    """One partition's mistake leaves the rest followed."""
    follower = Follower(cluster)
    await follower.start()
    got: list[int] = []

    def broken(records: list[Incoming]) -> None:
        raise ValueError(len(records))

    follower.follow(Place("seen", 0), 0, broken)
    follower.follow(Place("cursors", 0), 0, lambda records: got.extend(one.offset for one in records))
    await store(cluster, out("x", 0, "seen"), out("y"))
    await until(lambda: len(got) == 1)
    await store(cluster, out("z"))
    await until(lambda: len(got) == 2, seconds=5)
    await follower.stop()

    assert got == [0, 1]


async def _poll(member: Membership) -> None:
    while True:
        await member.poll(0.1)


async def test_membership_moves_and_tells_who_holds(cluster: Cluster) -> None:
    """A second member gets its share within a second or two; what was given away is no longer held."""
    one = Membership(cluster, "inbox", "g", 2.0)
    two = Membership(cluster, "inbox", "g", 2.0)
    await one.start()
    polls = [asyncio.create_task(_poll(one))]
    await until(lambda: one.assigned == {0, 1} and not one.rebalancing)
    assert await one.holds(0)
    assert await one.holds(1)
    await two.start()
    polls.append(asyncio.create_task(_poll(two)))
    await until(lambda: len(one.assigned) == len(two.assigned) == 1 and not two.rebalancing)
    (mine,), (other,) = one.assigned, two.assigned
    await until(lambda: one.holds(mine))

    assert mine != other
    assert await two.holds(other)
    assert not await one.holds(other)
    for each in polls:
        each.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await one.stop()
    await two.stop()


async def test_rebalance_callbacks_return_at_once(cluster: Cluster) -> None:
    """Who looks at the flags may take its time: the callbacks only set them, so heartbeats go on.

    With an aiokafka listener that takes longer than the session the member is thrown out for ever.
    """
    one = Membership(cluster, "inbox", "slow", 1.0)
    await one.start()
    polls = [asyncio.create_task(_poll(one))]
    await until(lambda: one.assigned == {0, 1})
    spans: list[float] = []
    moves: tuple[list[int] | None, ...] = (None, [], None)
    for assigned in moves:
        begun = time.monotonic()
        one._set(assigned)
        spans.append(time.monotonic() - begun)
    two = Membership(cluster, "inbox", "slow", 1.0)
    await two.start()
    polls.append(asyncio.create_task(_poll(two)))
    await until(lambda: len(two.assigned) == 1 and len(one.assigned) == 1)
    mine = next(iter(one.assigned))
    # Nobody reacts to the flags for two sessions: membership holds.
    end = time.monotonic() + 2.5
    await until(lambda: time.monotonic() > end)
    held = await one.holds(mine)
    for each in polls:
        each.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await one.stop()
    await two.stop()

    assert held
    assert max(spans) < 0.01


async def test_a_week_of_cursors(cluster: Cluster, bench: Any) -> None:
    """Fifty thousand cursor records that were never compacted cost a take-over seconds at most."""
    producer = Transactions(cluster, "week")
    await producer.start()
    value = b'{"v":1,"incarnation":"1","position":"' + b"x" * 150 + b'"}'
    for batch in range(25):
        keys = (b"connector/feed/%d" % (number % 500) for number in range(batch * 1000, batch * 1000 + 1000))
        records = [Outgoing("cursors", number % 2, key, value) for number, key in enumerate(keys)]
        await producer.commit(records)
        await producer.commit(records)
    await producer.stop()
    count = 0

    def take(_: Incoming) -> None:
        nonlocal count
        count += 1

    begun = time.monotonic()
    await read_to_end(cluster, [Place("cursors", 0), Place("cursors", 1)], take)
    took = time.monotonic() - begun
    begun = time.monotonic()
    async with bench.process() as process:
        tenures = process.ownership._tenures
        await until(lambda: len(tenures) == 2 and process.ownership.waiting() == "", every=0.01)
        whole = time.monotonic() - begun
    print(f"50,000 cursors: read back {took:.2f} s, joined and taken over {whole:.2f} s")  # noqa: T201 wanted

    assert count == 50_000
    assert whole < 10.0

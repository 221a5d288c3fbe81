"""Group commit: whole units in order, one transaction at a time, and nothing noted that is not in."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.producing import BrokenError, Outgoing, RefusedError
from ingest.publish import MOST_BYTES, MOST_RECORDS, Bytes, Committer, StoppedError, Unit
from schemas.control import DeadLetter


class Broker:
    """What stands in for the transactional producer: commits to a list, refuses and breaks to order."""

    def __init__(self, bad: Callable[[Outgoing], bool] = lambda _: False) -> None:
        self.transactions: list[list[Outgoing]] = []
        self.bad, self.tried = bad, 0
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0

    async def commit(self, records: Sequence[Outgoing]) -> None:
        """Take all or nothing."""
        self.waiting += 1
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        if refused := [one for one in records if self.bad(one)]:
            # As the real one: whole batches are named, so that innocents are among them.
            places = {(one.topic, one.partition) for one in refused}
            raise RefusedError([one for one in records if (one.topic, one.partition) in places], "TooLarge")
        self.transactions.append(list(records))

    async def refuses(self, records: Sequence[Outgoing]) -> bool:
        """Try and take back."""
        self.tried += 1
        return any(self.bad(one) for one in records)


def record(name: str, size: int = 0, topic: str = "t") -> Outgoing:
    """Make a record."""
    return Outgoing(topic, 0, name.encode(), b"x" * size)


@asynccontextmanager
async def running(broker: Broker, cap: int = 10**9) -> AsyncIterator[Committer]:
    """Run a committer."""
    committer = Committer(broker, Bytes(cap))  # type: ignore[arg-type]  # an object with its interface
    task = asyncio.create_task(committer.run())
    try:
        yield committer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def dead(one: Outgoing, why: str) -> Outgoing:
    """Make the dead letter of a record."""
    letter = DeadLetter(id="x", source="topic", connector="c", reason=why, raw=(one.value or b"").decode())
    return Outgoing("dead-letters", 0, one.key, letter.dump())


async def test_what_queues_up_goes_together_in_order() -> None:
    """While one transaction commits the next fills; units stay whole and in order."""
    broker, noted = Broker(), list[int]()
    broker.open.clear()
    async with running(broker) as committer:
        units = [
            Unit([record(f"{n}a"), record(f"{n}b")], [lambda n=n: noted.append(n)])  # type: ignore[misc]
            for n in range(50)
        ]
        callers = [asyncio.create_task(committer.commit(unit)) for unit in units]
        await settle()
        assert not noted
        broker.open.set()
        await asyncio.gather(*callers)
    assert len(broker.transactions) <= 2
    keys = [one.key.decode() for all_ in broker.transactions for one in all_]
    assert keys == [f"{n}{part}" for n in range(50) for part in "ab"]
    assert noted == list(range(50))


@given(st.lists(st.integers(1, 900), min_size=1, max_size=12))
@settings(max_examples=25)
def test_a_group_has_its_limits(sizes: list[int]) -> None:
    """No transaction holds more than the most records, unless one unit alone does."""

    async def go() -> None:
        broker = Broker()
        broker.open.clear()
        async with running(broker) as committer:
            callers = [
                asyncio.create_task(committer.commit(Unit([record(f"{n}") for _ in range(size)])))
                for n, size in enumerate(sizes)
            ]
            await settle()
            broker.open.set()
            await asyncio.gather(*callers)
        assert sum(map(len, broker.transactions)) == sum(sizes)
        for one in broker.transactions:
            assert len(one) <= MOST_RECORDS
            for unit in {each.key for each in one}:
                assert sum(each.key == unit for each in one) == sizes[int(unit)]

    asyncio.run(go())


async def test_a_group_has_a_limit_in_bytes_and_large_units_go_alone() -> None:
    """Bytes bound a transaction too; a unit beyond the bounds is committed whole."""
    broker = Broker()
    broker.open.clear()
    async with running(broker) as committer:
        small = [
            asyncio.create_task(committer.commit(Unit([record("s", MOST_BYTES // 3)]))) for _ in range(4)
        ]
        large = asyncio.create_task(committer.commit(Unit([record("l")] * (MOST_RECORDS + 1))))
        await settle()
        broker.open.set()
        await asyncio.gather(*small, large)
    assert all(sum(r.size for r in one) <= MOST_BYTES for one in broker.transactions[:-1])
    assert len(broker.transactions[-1]) == MOST_RECORDS + 1


async def test_an_empty_unit_needs_no_transaction() -> None:
    """Without records what is to be noted is noted at once."""
    broker, noted = Broker(), list[int]()
    async with running(broker) as committer:
        await committer.commit(Unit([], [lambda: noted.append(1)]))
    assert (noted, broker.transactions) == ([1], [])


@given(st.sets(st.integers(0, 29), min_size=1, max_size=5))
@settings(max_examples=25)
def test_only_what_is_refused_becomes_a_dead_letter(bad: set[int]) -> None:
    """Neighbours, their cursors and the dead letters leave in one transaction, in place."""

    async def go() -> None:
        broker = Broker(lambda one: one.topic == "t" and int(one.key) in bad)
        async with running(broker) as committer:
            units = [Unit([record(str(n * 10 + i)) for i in range(10)], replace=dead) for n in range(3)]
            for unit in units:
                unit.records.append(Outgoing("cursors", 0, b"c", b"1"))
            await asyncio.gather(*(committer.commit(unit) for unit in units))
        flat = [one for all_ in broker.transactions for one in all_]
        assert [int(one.key) for one in flat if one.topic == "dead-letters"] == sorted(bad)
        assert [int(one.key) for one in flat if one.topic == "t"] == sorted(set(range(30)) - bad)
        for one in broker.transactions:
            assert sum(r.topic != "cursors" for r in one) == 10 * sum(r.topic == "cursors" for r in one)

    asyncio.run(go())


async def test_a_refused_record_without_a_letter_stops_all() -> None:
    """State that the broker refuses is no dead letter: nothing is committed, nobody is told otherwise."""
    broker, noted = Broker(lambda _: True), list[int]()
    committer = Committer(broker, Bytes(100))  # type: ignore[arg-type]  # an object with its interface
    task = asyncio.create_task(committer.run())
    with pytest.raises(StoppedError):
        await committer.commit(Unit([record("a")], [lambda: noted.append(1)]))
    with pytest.raises(BrokenError, match="refuses a record of t"):
        await task
    assert noted == []


async def test_a_letter_that_is_refused_goes_without_its_raw_record() -> None:
    """A dead letter too large for its topic is sent without what made it large, and says so."""
    broker = Broker(lambda one: one.topic == "t" or len(one.value or b"") > 1000)
    unit = Unit([record("a", 5000), record("b", topic="cursors")], replace=dead)
    async with running(broker) as committer:
        await committer.commit(unit)
    (sent,) = broker.transactions
    letter = DeadLetter.load(sent[0].value or b"")
    assert (sent[0].topic, letter.raw, letter.truncated) == ("dead-letters", "", True)
    assert sent[1].topic == "cursors"


async def test_a_letter_that_can_not_be_written_breaks_the_producer() -> None:
    """When even the bare dead letter is refused the end is a declared error that names the topic."""
    committer = Committer(Broker(lambda _: True), Bytes(100))  # type: ignore[arg-type]  # its interface
    task = asyncio.create_task(committer.run())
    with pytest.raises(StoppedError):
        await committer.commit(Unit([record("a")], replace=dead))
    with pytest.raises(BrokenError, match="dead-letters"):
        await task


async def test_a_batch_that_is_refused_though_none_of_its_records_is() -> None:
    """A topic with a small limit refuses whole batches: smaller ones are tried, not the same for ever."""

    class Small(Broker):
        """Takes so many records in a batch; told to narrow, the producer makes smaller ones."""

        size, most = 100, 2

        async def commit(self, records: Sequence[Outgoing]) -> None:
            if self.size > self.most:
                raise RefusedError(list(records), "TooLarge")
            await super().commit(records)

        async def refuses(self, records: Sequence[Outgoing]) -> bool:
            return len(records) > self.most

        def narrow(self) -> None:
            if self.size <= 1:
                raise BrokenError("as small as they get")
            self.size //= 4

    small = Small()
    async with running(small) as committer:
        await committer.commit(Unit([record(str(n)) for n in range(9)], replace=dead))
    assert [one.key for one in small.transactions[0]] == [str(n).encode() for n in range(9)]

    never = Small()
    never.most = 0
    never.refuses = super(Small, never).refuses  # type: ignore[method-assign]  # one by one it takes them
    committer = Committer(never, Bytes(100))  # type: ignore[arg-type]  # its interface
    task = asyncio.create_task(committer.run())
    with pytest.raises(StoppedError):
        await committer.commit(Unit([record("a"), record("b")], replace=dead))
    with pytest.raises(BrokenError, match="small"):
        await task


async def test_a_broken_producer_fails_all_who_wait() -> None:
    """Those in the transaction, those queued and those who come later learn it; nothing is noted."""
    broker, noted = Broker(), list[int]()
    broker.open.clear()
    committer = Committer(broker, Bytes(10**6))  # type: ignore[arg-type]  # an object with its interface
    task = asyncio.create_task(committer.run())
    first = asyncio.create_task(committer.commit(Unit([record("a")], [lambda: noted.append(1)])))
    await settle()
    second = asyncio.create_task(committer.commit(Unit([record("b")], [lambda: noted.append(2)])))
    await settle()
    broker.fault = BrokenError("cut off")
    broker.open.set()
    for caller in (first, second):
        with pytest.raises(StoppedError):
            await caller
    with pytest.raises(BrokenError):
        await task
    with pytest.raises(StoppedError):
        await committer.commit(Unit([record("c")], [lambda: noted.append(3)]))
    assert (noted, broker.transactions) == ([], [])


async def test_stopping_fails_all_who_wait() -> None:
    """A committer that is cancelled leaves nobody waiting."""
    broker = Broker()
    broker.open.clear()
    committer = Committer(broker, Bytes(10**6))  # type: ignore[arg-type]  # an object with its interface
    task = asyncio.create_task(committer.run())
    caller = asyncio.create_task(committer.commit(Unit([record("a")])))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(StoppedError):
        await caller


async def test_a_note_that_fails_leaves_nobody_waiting() -> None:
    """Should noting ever raise, the others of the group are told that all will be read again."""
    broker = Broker()
    broker.open.clear()
    committer = Committer(broker, Bytes(10**6))  # type: ignore[arg-type]  # an object with its interface
    task = asyncio.create_task(committer.run())

    def wrong() -> None:
        raise KeyError

    callers = [asyncio.create_task(committer.commit(Unit([record(n)], [wrong]))) for n in "ab"]
    await settle()
    broker.open.set()
    with pytest.raises(KeyError):
        await task
    await settle()
    assert [caller.done() for caller in callers] == [True, True]
    for caller in callers:
        with pytest.raises(StoppedError):
            await caller


async def test_pause_begins_nothing_and_resume_goes_on() -> None:
    """The transaction under way is finished; the next waits until told."""
    broker = Broker()
    broker.open.clear()
    async with running(broker) as committer:
        first = asyncio.create_task(committer.commit(Unit([record("a")])))
        await settle()
        assert committer.busy
        committer.pause()
        second = asyncio.create_task(committer.commit(Unit([record("b")])))
        broker.open.set()
        await first
        await settle()
        assert not second.done()
        assert not committer.busy
        assert len(broker.transactions) == 1
        committer.resume()
        await second
    assert [one.key for all_ in broker.transactions for one in all_] == [b"a", b"b"]


async def test_a_caller_that_goes_away_does_not_take_its_unit_back() -> None:
    """What is queued is committed and noted, whoever stopped waiting."""
    broker, noted = Broker(), list[int]()
    broker.open.clear()
    async with running(broker) as committer:
        caller = asyncio.create_task(committer.commit(Unit([record("a")], [lambda: noted.append(1)])))
        await settle()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        broker.open.set()
        await committer.commit(Unit([record("b")]))
    assert noted == [1]
    assert [one.key for all_ in broker.transactions for one in all_] == [b"a", b"b"]


async def test_a_caller_that_goes_away_before_there_is_room_does_not_either() -> None:
    """A prepared unit counts as on its way, so it must get there also when its caller left at the cap."""
    broker, noted = Broker(), list[int]()
    broker.open.clear()
    async with running(broker, cap=100) as committer:
        first = asyncio.create_task(committer.commit(Unit([record("a", 90)])))
        await settle()
        caller = asyncio.create_task(committer.commit(Unit([record("b", 90)], [lambda: noted.append(1)])))
        await settle()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        broker.open.set()
        await first
        await settle()
        await settle()
    assert noted == [1]


async def test_the_cap_holds_callers_back() -> None:
    """Beyond the cap nothing is queued until what is in flight is committed."""
    broker = Broker()
    broker.open.clear()
    async with running(broker, cap=300) as committer:
        callers = [asyncio.create_task(committer.commit(Unit([record("k", 100)]))) for _ in range(6)]
        await settle()
        broker.open.set()
        await asyncio.gather(*callers)
    assert all(len(one) <= 2 for one in broker.transactions)
    assert sum(map(len, broker.transactions)) == 6


@given(st.lists(st.tuples(st.integers(1, 120), st.booleans()), max_size=25), st.randoms())
@settings(max_examples=60)
def test_the_cap_is_never_exceeded_and_first_come_first_served(
    wants: list[tuple[int, bool]], chance: Random
) -> None:
    """With takers that leave while they wait, room is never overdrawn, never lost, and given in order."""

    async def go() -> None:
        cap, holding, order = Bytes(100), deque[int](), list[int]()

        async def take(number: int, size: int) -> None:
            await cap.take(size)
            holding.append(size)
            order.append(number)

        tasks = []
        for number, (size, _) in enumerate(wants):
            tasks.append(asyncio.create_task(take(number, size)))
            await asyncio.sleep(0)
        left = set[int]()
        pending = [number for number, (_, leaves) in enumerate(wants) if leaves]
        chance.shuffle(pending)
        while True:
            assert sum(holding) <= 100 or len(holding) == 1
            if pending and chance.random() < 0.5:
                number = pending.pop()
                if not tasks[number].done():
                    tasks[number].cancel()
                    left.add(number)
            elif holding:
                cap.give(holding.popleft())
            elif not pending:
                break
            await settle()
        assert order == sorted(order)
        assert {*order, *left} == set(range(len(wants)))
        await asyncio.wait_for(cap.take(100), 1)
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(go())

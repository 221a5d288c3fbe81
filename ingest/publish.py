"""Group commit: whole pages, as queued, in one transaction with the cursors that follow them.

While one transaction commits, the next one fills: the commit's own duration is the batching.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from ingest import metrics
from ingest.producing import BrokenError, Outgoing, RefusedError, Transactions
from schemas.control import DeadLetter

MOST_RECORDS = 4000
MOST_BYTES = 12 * 1024 * 1024
"""A transaction's own cost, about a millisecond, is shared by what goes into it."""
_log = structlog.get_logger(part="publish")


class StoppedError(Exception):
    """Nothing is committed here any more: the partition was handed over or must be read again."""


@dataclass(slots=True)
class Unit:
    """Records that are committed together or not at all, and what to note in memory afterwards.

    `replace` turns a record that the broker refused into a dead letter.
    """

    records: list[Outgoing]
    committed: list[Callable[[], None]] = field(default_factory=list)
    replace: Callable[[Outgoing, str], Outgoing] | None = None
    size: int = 0

    def measured(self) -> "Unit":
        """Fill in the size, in bytes."""
        self.size = sum(record.size for record in self.records)
        return self


class Bytes:
    """A process-wide cap on what waits for Kafka, in bytes; one unit larger than the cap passes alone."""

    def __init__(self, cap: int) -> None:
        self._cap, self._used = cap, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait until there is room."""
        if self._waiting or (self._used and self._used + size > self._cap):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give(size)
                else:
                    self._waiting = deque(pair for pair in self._waiting if pair[1] is not turn)
                raise
            return
        self._used += size
        metrics.in_flight.set(self._used)

    def give(self, size: int) -> None:
        """Give room back."""
        self._used -= size
        while self._waiting:
            wanted, turn = self._waiting[0]
            if self._used and self._used + wanted > self._cap:
                break
            self._waiting.popleft()
            if not turn.done():
                self._used += wanted
                turn.set_result(None)
        metrics.in_flight.set(self._used)


class Committer:
    """Commits what one partition's connectors queue, in order, through its transactional producer."""

    def __init__(self, producer: Transactions, cap: Bytes) -> None:
        self._producer, self._cap = producer, cap
        self._queue: deque[tuple[Unit, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()
        self._failed: Exception | None = None
        self.busy = False

    async def commit(self, unit: Unit) -> None:
        """Queue a unit and wait until it is committed; what it notes in memory has been noted then.

        Raises:
            StoppedError: It was not committed, or it is unknown: the state will be read again.
        """
        unit.measured()
        if not unit.records:
            for note in unit.committed:
                note()
            return
        try:
            await self._cap.take(unit.size)
        except asyncio.CancelledError:
            # Its ids count as published from when it was prepared: it goes out, with its caller or without.
            self._put(unit)
            raise
        try:
            await asyncio.shield(self._put(unit))
        finally:
            self._cap.give(unit.size)

    def _put(self, unit: Unit) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._failed is not None:
            done.set_exception(StoppedError(str(self._failed)))
            done.exception()
        else:
            self._queue.append((unit, done))
            self._wake.set()
        return done

    def pause(self) -> None:
        """Begin no transaction until told to go on; the one under way is finished."""
        self._go.clear()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    async def run(self) -> None:
        """Commit until something breaks.

        Raises:
            BrokenError: The producer must be replaced.
        """
        error: Exception = StoppedError("stopped")
        try:
            while True:
                await self._wake.wait()
                await self._go.wait()
                group = self._next()
                if not group:
                    self._wake.clear()
                    continue
                self.busy = True
                try:
                    await self._together([unit for unit, _ in group])
                except BaseException:
                    self._queue.extendleft(reversed(group))
                    raise
                finally:
                    self.busy = False
                try:
                    for unit, done in group:
                        for note in unit.committed:
                            note()
                        if not done.done():
                            done.set_result(None)
                except BaseException:
                    self._queue.extendleft(reversed([pair for pair in group if not pair[1].done()]))
                    raise
        except Exception as caught:
            error = caught
            raise
        finally:
            self._fail(error)

    def _next(self) -> list[tuple[Unit, asyncio.Future[None]]]:
        group: list[tuple[Unit, asyncio.Future[None]]] = []
        records = size = 0
        while self._queue:
            unit = self._queue[0][0]
            full = records + len(unit.records) > MOST_RECORDS or size + unit.size > MOST_BYTES
            if group and full:
                break
            records += len(unit.records)
            size += unit.size
            group.append(self._queue.popleft())
        return group

    async def _together(self, units: Sequence[Unit]) -> None:
        records = [record for unit in units for record in unit.records]
        begun = time.monotonic()
        while True:
            try:
                await self._producer.commit(records)
                break
            except RefusedError as refused:
                await self._without(units, refused)
                records = [record for unit in units for record in unit.records]
        metrics.transaction_seconds.observe(time.monotonic() - begun)
        metrics.transaction_records.observe(len(records))

    async def _without(self, units: Sequence[Unit], refused: RefusedError) -> None:
        """Find what the broker refuses, by halves in transactions that are aborted, and replace just that."""
        guilty = await self._find(refused.records)
        if not guilty:
            self._producer.narrow()
        for unit in units:
            for index, record in enumerate(unit.records):
                if any(record is one for one in guilty):
                    unit.records[index] = _replaced(unit, record, refused.why)

    async def _find(self, records: list[Outgoing]) -> list[Outgoing]:
        if not await self._producer.refuses(records):
            return []
        if len(records) == 1:
            return records
        half = len(records) // 2
        return await self._find(records[:half]) + await self._find(records[half:])

    def _fail(self, error: Exception) -> None:
        self._failed = error
        for _, done in self._queue:
            if not done.done():
                done.set_exception(StoppedError(str(error)))
                # Nobody may be waiting any more; that is fine.
                done.exception()
        self._queue.clear()


def _replaced(unit: Unit, record: Outgoing, why: str) -> Outgoing:
    """Make what goes out instead of a refused record: its dead letter, or a letter without the raw record."""
    _log.warning("record refused", topic=record.topic, why=why)
    if record.topic == "dead-letters" and record.value is not None:
        letter = DeadLetter.load(record.value)
        if letter.raw:
            return record._replace(value=letter.model_copy(update={"raw": "", "truncated": True}).dump())
    elif unit.replace is not None:
        return unit.replace(record, why)
    raise BrokenError(f"the broker refuses a record of {record.topic}: {why}")

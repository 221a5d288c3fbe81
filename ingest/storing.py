"""Deliveries into the inbox: what arrived meanwhile is written together, and nothing waits for long.

A few writes are under way at a time; all that comes in the meantime is the next. So a burst costs one batch a
partition, a lone delivery no waiting, and the producer's price is paid by the round and not by the delivery.
Nothing is compressed here: rounds are small, and it cost more than all else that is done with a delivery.
"""

import asyncio
from collections import deque
from typing import Literal, TypeAlias

import structlog

from ingest import metrics
from ingest.cluster import Cluster
from ingest.producing import BrokenError, Outgoing, RefusedError, Sender

Outcome: TypeAlias = Literal["stored", "late", "refused"]
PATIENCE_SECONDS = 1.5
"""How long a delivery waits for Kafka before its sender is told to come again."""
_ROUND_BYTES = 4 * 1024 * 1024
_AT_ONCE = 3
_AGAIN_SECONDS = 0.5
_log = structlog.get_logger(part="storing")


class _Round:
    """What is written together, and who waits for it."""

    __slots__ = ("records", "size", "timer", "waiting")

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.waiting: list[asyncio.Future[Outcome]] = []
        self.size = 0
        self.timer: asyncio.TimerHandle | None = None

    def tell(self, outcome: Outcome, refused: frozenset[int] = frozenset()) -> None:
        """Tell everybody; the records at these places were refused."""
        if self.timer is not None:
            self.timer.cancel()
        for place, one in enumerate(self.waiting):
            if not one.done():
                one.set_result("refused" if place in refused else outcome)


class Store:
    """The way into the inbox, with a cap on what waits."""

    def __init__(self, cluster: Cluster, most_bytes: int) -> None:
        self._cluster, self._most = cluster, most_bytes
        self._rounds: deque[_Round] = deque()
        self._some = asyncio.Event()
        self._bytes = 0
        self.away = "Kafka has not answered yet"

    def put(self, record: Outgoing) -> "asyncio.Future[Outcome] | None":
        """Queue a record; None: Kafka is away, or too much waits already."""
        size = record.size
        if self.away or self._bytes + size > self._most:
            return None
        loop = asyncio.get_running_loop()
        if not self._rounds or self._rounds[-1].size >= _ROUND_BYTES:
            self._rounds.append(made := _Round())
            made.timer = loop.call_later(PATIENCE_SECONDS, self._give_up, made)
            self._some.set()
        latest = self._rounds[-1]
        future: asyncio.Future[Outcome] = loop.create_future()
        latest.records.append(record)
        latest.waiting.append(future)
        latest.size += size
        self._bytes += size
        return future

    async def run(self) -> None:
        """Write until cancelled; a producer that failed is replaced.

        Raises:
            Misconfigured: The topic is missing, or this user may not write it.
        """
        while True:
            try:
                async with Sender(self._cluster, "receive", compression_type=None) as sender:
                    self._back()
                    await self._rounds_by(sender)
            except BrokenError as error:
                self._gone(str(error))
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _rounds_by(self, sender: Sender) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await turns.acquire()
                    while not self._rounds:  # given up, it may be, between the sign and our turn
                        await self._some.wait()
                    round_ = self._rounds.popleft()
                    if not self._rounds:
                        self._some.clear()
                    task = group.create_task(self._write(sender, round_))
                    task.add_done_callback(lambda _: turns.release())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _write(self, sender: Sender, round_: _Round) -> None:
        refused = frozenset[int]()
        try:
            try:
                await sender.write(round_.records)
            except RefusedError as error:
                refused = await self._singly(sender, round_, error)
        except BaseException:
            round_.tell("late")
            raise
        finally:
            self._forget(round_)
        round_.tell("stored", refused)
        self._back()

    async def _singly(self, sender: Sender, round_: _Round, error: RefusedError) -> frozenset[int]:
        """Find which record the broker does not take: the others were only in its batch."""
        suspects, refused = {id(one) for one in error.records}, set[int]()
        for place, record in enumerate(round_.records):
            if id(record) in suspects:
                try:
                    await sender.write([record])
                except RefusedError:
                    refused.add(place)
        return frozenset(refused)

    def _give_up(self, round_: _Round) -> None:
        round_.tell("late")
        if round_ in self._rounds:
            self._rounds.remove(round_)
            self._forget(round_)
        self._gone("it does not take deliveries")

    def _forget(self, round_: _Round) -> None:
        self._bytes -= round_.size
        round_.records = []
        metrics.in_flight.set(self._bytes)
        if not self._rounds:
            self._some.clear()

    def _gone(self, why: str) -> None:
        if not self.away:
            _log.warning("Kafka is away: deliveries are to be sent again", why=why)
        self.away = f"Kafka is away: {why}"
        while self._rounds:
            self._rounds[0].tell("late")
            self._forget(self._rounds.popleft())

    def _back(self) -> None:
        if self.away:
            _log.info("Kafka takes deliveries")
        self.away = ""

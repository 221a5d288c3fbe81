"""The exactly-once runner: work that ends out of order, results and position in one transaction.

Per partition: fence ► check that it is ours ► read the state to its true end ► follow the lanes from the
position found there ► handle. The position, with a bitmap of what is done beyond it, is a record on the
consumer's own state topic: it can't expire, and it is written with the results.

A record that kills the whole process is found out: after an unclean end the window that was under way is
worked off one at a time, each start counted durably first; the third start makes it a dead letter.
"""

import asyncio
import base64
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from pydantic import Field

from ingest import metrics
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Membership, Place, read_to_end
from ingest.errors import Retry
from ingest.log import redact
from ingest.own import Ownership
from ingest.producing import BrokenError, FencedError, Outgoing, Transactions
from ingest.publish import Bytes, Committer, StoppedError, Unit
from ingest.windows import now_ms
from schemas.control import DeadLetter, Record

WINDOW = 256
"""Records of a lane under way or done beyond the position."""
_ATTEMPTS = 3
_RETRIES = 8
_POSITION = "@position"


class Position(Record):
    """How far a lane of a partition is worked off: all below `offset`, and those of the bitmap beyond it.

    Not `clean`: a process runs it, or died while it did. `attempts` counts careful starts by offset.
    """

    offset: int = 0
    done: str = ""
    clean: bool = True
    attempts: dict[int, int] = Field(default_factory=dict)


class Job(Protocol):
    """What a consumer does with a partition's records; made anew for each time the partition is ours."""

    def take(self, record: Incoming) -> None:
        """Take in one record of the state while it is read back."""
        ...

    def ready(self, commit: "Commit") -> None:
        """The state is whole; `commit` writes records in a transaction of their own (intents)."""
        ...

    async def handle(self, record: Incoming) -> Sequence[Outgoing]:
        """Work one record off and return what to write with its position; the state is ours to change after.

        Raises:
            Retry: Try again later.
        """
        ...

    def committed(self, record: Incoming) -> None:
        """The results of `handle` are written."""
        ...

    async def close(self) -> None:
        """The partition is handed over."""
        ...


class Commit(Protocol):
    """Writes records in a transaction of their own and returns when they are in."""

    async def __call__(self, records: list[Outgoing]) -> None:
        """Write them.

        Raises:
            StoppedError: The partition was handed over.
        """
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """A consumer: its group, its lanes (the first decides who owns a partition), its state, its share.

    `at_once` bounds what one process handles at a time, by lane.
    """

    group: str
    lanes: tuple[str, ...]
    state: str
    at_once: dict[str, int]


@dataclass(slots=True)
class _Lane:
    """One lane of one partition: what waits, what runs, what is done."""

    topic: str
    position: Position
    waiting: deque[Incoming] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    running: set[bytes] = field(default_factory=set)
    careful_until: int = 0
    highest: int = -1
    some: asyncio.Event = field(default_factory=asyncio.Event)


class PartitionRun:
    """Works off one partition of all lanes until something breaks or it is cancelled."""

    def __init__(
        self, cluster: Cluster, spec: Spec, follower: Follower, membership: Membership,
        limits: dict[str, asyncio.Semaphore], cap: Bytes, make: Callable[[int], Job], partition: int,
    ) -> None:  # fmt: skip
        self._cluster, self._spec, self._follower, self._membership = cluster, spec, follower, membership
        self._limits, self._cap, self._make, self.partition = limits, cap, make, partition
        self._job = make(partition)
        self._lanes: dict[str, _Lane] = {}
        self._committer: Committer | None = None
        self.started = asyncio.Event()
        self._log = structlog.get_logger(part=spec.group, partition=partition)

    def pause(self) -> None:
        """Begin no transaction for now."""
        if self._committer is not None:
            self._committer.pause()

    def resume(self) -> None:
        """Go on."""
        if self._committer is not None:
            self._committer.resume()

    async def run(self) -> None:
        """Take over and run.

        Raises:
            BrokenError: The producer broke, or the partition is another's.
            UnreadableError: The state's end was not reached.
        """
        self._job = self._make(self.partition)
        self._lanes = {topic: _Lane(topic, Position()) for topic in self._spec.lanes}
        producer = Transactions(self._cluster, f"{self._spec.group}-{self.partition}")
        try:
            await producer.start()
            if not await self._membership.holds(self.partition):
                raise BrokenError("another process owns it")
            await read_to_end(self._cluster, [Place(self._spec.state, self.partition)], self._take)
            await self._work(producer)
        except FencedError:
            metrics.fenced.inc()
            raise
        finally:
            await self._job.close()
            await producer.stop()

    def _take(self, record: Incoming) -> None:
        name = record.key.decode("utf-8", "replace")
        topic = name.removeprefix(f"{_POSITION}/")
        if name != topic:
            if record.value is not None and topic in self._lanes:
                self._lanes[topic].position = Position.load(record.value)
            return
        self._job.take(record)

    async def _work(self, producer: Transactions) -> None:
        self._committer = committer = Committer(producer, self._cap)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(committer.run())
                self._job.ready(self._commit)
                for lane in self._lanes.values():
                    self._resume(lane)
                await self._commit([self._mark(lane, clean=False) for lane in self._lanes.values()])
                for lane in self._lanes.values():
                    group.create_task(self._pump(lane, group))
                self.started.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    with contextlib.suppress(Exception):
                        async with asyncio.timeout(1.0):
                            await self._commit([self._mark(one, clean=True) for one in self._lanes.values()])
                    raise
        except* BrokenError as errors:
            raise BrokenError(str(errors.exceptions[0])) from None
        except* StoppedError:
            raise BrokenError("handed over") from None
        finally:
            for lane in self._lanes.values():
                self._follower.leave(Place(lane.topic, self.partition))
            self._committer = None

    def _resume(self, lane: _Lane) -> None:
        bits = base64.b64decode(lane.position.done)
        start = lane.position.offset
        lane.done = {
            start + 8 * n + bit for n, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1
        }
        lane.highest = max(lane.done, default=start - 1)
        if not lane.position.clean:
            lane.careful_until = start + WINDOW
        place = Place(lane.topic, self.partition)
        self._follower.follow(place, start, lambda records: self._deliver(lane, records))

    def _deliver(self, lane: _Lane, records: list[Incoming]) -> None:
        lane.waiting.extend(records)
        lane.some.set()
        if len(lane.waiting) >= WINDOW:
            self._follower.hold(Place(lane.topic, self.partition), held=True)

    # ---- one record after another

    async def _pump(self, lane: _Lane, group: asyncio.TaskGroup) -> None:
        place = Place(lane.topic, self.partition)
        while True:
            record = self._next(lane)
            if record is None:
                lane.some.clear()
                await lane.some.wait()
                continue
            if len(lane.waiting) < WINDOW // 2:
                self._follower.hold(place, held=False)
            if record.offset < lane.careful_until:
                await self._carefully(lane, record)
                continue
            await self._limits[lane.topic].acquire()
            lane.running.add(record.key)
            group.create_task(self._one(lane, record))

    def _next(self, lane: _Lane) -> Incoming | None:
        """Pick the first record whose key is not under way; None if the window is full or nothing waits."""
        for index, record in enumerate(lane.waiting):
            if record.offset < lane.position.offset or record.offset in lane.done:
                del lane.waiting[index]
                return self._next(lane)
            if record.offset >= lane.position.offset + WINDOW:
                return None
            if not any(record.key in one.running for one in self._lanes.values()):
                del lane.waiting[index]
                lane.open.add(record.offset)
                return record
        return None

    async def _carefully(self, lane: _Lane, record: Incoming) -> None:
        count = lane.position.attempts.get(record.offset, 0) + 1
        attempts = {**lane.position.attempts, record.offset: count}
        lane.position = lane.position.model_copy(update={"attempts": attempts})
        if count > _ATTEMPTS:
            self._log.error("poison", topic=record.topic, offset=record.offset)
            await self._done(
                lane, record, [self._letter(record, "poison", "it ended the process three times")]
            )
            return
        await self._commit([self._mark(lane, clean=False)])
        await self._limits[lane.topic].acquire()
        lane.running.add(record.key)
        await self._one(lane, record)

    async def _one(self, lane: _Lane, record: Incoming) -> None:
        try:
            results = await self._results(record)
            await self._done(lane, record, results)
            self._job.committed(record)
        finally:
            lane.running.discard(record.key)
            self._limits[lane.topic].release()
            for one in self._lanes.values():
                one.some.set()

    async def _results(self, record: Incoming) -> Sequence[Outgoing]:
        failures = 0
        while True:
            try:
                return await self._job.handle(record)
            except (StoppedError, BrokenError):
                raise
            except Retry as error:
                pause = error.after if error.after is not None else 2.0 ** min(failures, 8)
                failures += 1
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 jitter
            except Exception as error:  # noqa: BLE001 one record's failure is a dead letter, not the end
                failures += 1
                if failures < _RETRIES and isinstance(error, OSError | TimeoutError):
                    await asyncio.sleep(min(2.0**failures, 30.0))
                    continue
                self._log.exception("record can't be handled", topic=record.topic, offset=record.offset)
                why = f"{type(error).__name__}: {redact(str(error))[:200]}"
                return [self._letter(record, "handling-failed", why)]

    # ---- position

    async def _done(self, lane: _Lane, record: Incoming, results: Sequence[Outgoing]) -> None:
        lane.open.discard(record.offset)
        lane.done.add(record.offset)
        lane.highest = max(lane.highest, record.offset)
        self._advance(lane)
        await self._commit([*results, self._mark(lane, clean=False)])

    def _advance(self, lane: _Lane) -> None:
        """Move the position to the first record that is not done; gaps in the log count as done."""
        first = min((r.offset for r in lane.waiting), default=lane.highest + 1)
        offset = max(lane.position.offset, min([first, *lane.open]))
        lane.done = {one for one in lane.done if one >= offset}
        attempts = {one: n for one, n in lane.position.attempts.items() if one >= offset}
        lane.position = lane.position.model_copy(update={"offset": offset, "attempts": attempts})

    def _mark(self, lane: _Lane, *, clean: bool) -> Outgoing:
        bits = bytearray()
        for beyond in sorted(one - lane.position.offset for one in lane.done):
            bits += bytes(beyond // 8 + 1 - len(bits))
            bits[beyond // 8] |= 1 << beyond % 8
        done = base64.b64encode(bytes(bits)).decode()
        lane.position = position = lane.position.model_copy(update={"done": done, "clean": clean})
        return Outgoing(
            self._spec.state, self.partition, f"{_POSITION}/{lane.topic}".encode(), position.dump()
        )

    async def _commit(self, records: list[Outgoing]) -> None:
        if self._committer is None:
            raise StoppedError("handed over")
        await self._committer.commit(Unit(records, replace=self._refused))

    def _refused(self, record: Outgoing, why: str) -> Outgoing:
        incoming = Incoming(record.topic, record.partition, 0, record.key, record.value, record.headers, 0)
        return self._letter(incoming, "refused", f"Kafka refused it: {why}")

    def _letter(self, record: Incoming, reason: str, detail: str) -> Outgoing:
        metrics.dead_letters.labels("", self._spec.group, reason).inc()
        letter = DeadLetter(
            id=f"{record.topic}-{record.partition}-{record.offset}", source="topic", connector="",
            partition=self.partition, topic=record.topic, key=base64.b64encode(record.key).decode(),
            headers={name: value.decode("utf-8", "replace") for name, value in record.headers},
            reason=reason, detail=detail, raw=base64.b64encode(record.value or b"").decode(), binary=True,
            at=now_ms(),
        )  # fmt: skip
        return Outgoing("dead-letters", self.partition, letter.id.encode(), letter.dump())


def consumer(cluster: Cluster, spec: Spec, follower: Follower, make: Callable[[int], Job]) -> Ownership:
    """Put a consumer together: run the result until cancelled."""
    limits = {topic: asyncio.Semaphore(spec.at_once[topic]) for topic in spec.lanes}

    def hold(membership: Membership, cap: Bytes, partition: int) -> PartitionRun:
        return PartitionRun(cluster, spec, follower, membership, limits, cap, make, partition)

    return Ownership(cluster, spec.lanes[0], spec.group, hold)

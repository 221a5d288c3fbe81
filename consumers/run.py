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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Protocol

import structlog

from consumers.lanes import WINDOW, Lane, Position
from ingest import metrics
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Membership, Place, read_to_end
from ingest.errors import Retry
from ingest.log import redact
from ingest.own import Ownership, check, fenced
from ingest.producing import BrokenError, Outgoing, Transactions
from ingest.publish import Bytes, Committer, StoppedError, Unit
from ingest.windows import now_ms
from schemas.control import DeadLetter

_STARTS = 3
_RETRIES = 8
_POSITION = "@position"


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


@dataclass(frozen=True, slots=True)
class Shares:
    """What a process handles at a time, over all its partitions; suspects one by one."""

    lanes: dict[str, asyncio.Semaphore]
    careful: asyncio.Lock


class PartitionRun:
    """Works off one partition of all lanes until something breaks or it is cancelled."""

    def __init__(
        self, cluster: Cluster, spec: Spec, follower: Follower, membership: Membership,
        shares: Shares, cap: Bytes, make: Callable[[int], Job], partition: int,
    ) -> None:  # fmt: skip
        self._cluster, self._spec, self._follower, self._membership = cluster, spec, follower, membership
        self._shares, self._cap, self._make, self.partition = shares, cap, make, partition
        self._job = make(partition)
        self._lanes: dict[str, Lane] = {}
        self._busy: set[bytes] = set()
        self._committer: Committer | None = None
        self._ran = self._ending = False
        self.started = asyncio.Event()
        self._log = structlog.get_logger(part=spec.group, partition=partition)

    def pause(self) -> None:
        """Begin no transaction until told to go on."""
        if self._committer is not None:
            self._committer.pause()

    def resume(self) -> None:
        """Go on."""
        if self._committer is not None:
            self._committer.resume()

    async def run(self) -> None:
        """Take over and run; called again after it broke, it begins anew.

        Raises:
            BrokenError: The producer broke, or the partition is another's.
            UnreadableError: The state's end was not reached.
        """
        self._job, self._busy, self._ending = self._make(self.partition), set(), False
        self._lanes = {topic: Lane(topic) for topic in self._spec.lanes}
        try:
            async with fenced(self._cluster, self._membership, self._spec.group, self.partition) as producer:
                await read_to_end(self._cluster, [Place(self._spec.state, self.partition)], self._take)
                first = self._lanes[self._spec.lanes[0]].position.offset
                await check(self._membership, self.partition, first)
                await self._work(producer)
        finally:
            await self._job.close()

    def _take(self, record: Incoming) -> None:
        name = record.key.decode("utf-8", "replace")
        topic = name.removeprefix(f"{_POSITION}/")
        if name == topic:
            self._job.take(record)
        elif record.value is not None and topic in self._lanes:
            self._lanes[topic].position = Position.load(record.value)

    async def _work(self, producer: Transactions) -> None:
        self._committer = committer = Committer(producer, self._cap)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(committer.run())
                self._job.ready(self._commit_as_is)
                # Only a process that died is suspected of poison, not one that lost its broker for a while.
                starts = {lane.topic: lane.resume(careful=not self._ran) for lane in self._lanes.values()}
                self._ran = True
                await self._commit([self._mark(lane) for lane in self._lanes.values()])
                for lane in self._lanes.values():
                    deliver = partial(self._deliver, lane)
                    self._follower.follow(Place(lane.topic, self.partition), starts[lane.topic], deliver)
                    group.create_task(self._pump(lane, group))
                self.started.set()
                await self._until_cancelled(committer)
        except* BrokenError as errors:
            raise BrokenError(str(errors.exceptions[0])) from None
        except* StoppedError:
            raise BrokenError("handed over") from None
        finally:
            for lane in self._lanes.values():
                self._follower.leave(Place(lane.topic, self.partition))
            self._committer = None

    async def _until_cancelled(self, committer: Committer) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # A clean end, also in a rebalance: whoever took over meanwhile has fenced this producer.
            self._ending = True
            committer.resume()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    await self._commit([self._mark(lane) for lane in self._lanes.values()])
            raise

    def _deliver(self, lane: Lane, records: list[Incoming]) -> None:
        lane.deliver(records)
        if len(lane.waiting) >= WINDOW:
            self._follower.hold(Place(lane.topic, self.partition), held=True)

    # ---- one record after another

    async def _pump(self, lane: Lane, group: asyncio.TaskGroup) -> None:
        place = Place(lane.topic, self.partition)
        while True:
            record = lane.next(self._busy)
            if len(lane.waiting) < WINDOW // 2:
                self._follower.hold(place, held=False)
            if record is None:
                lane.some.clear()
                await lane.some.wait()
                continue
            self._busy.add(record.key)
            if record.offset < lane.careful_until:
                async with self._shares.careful:
                    await self._carefully(lane, record)
                continue
            share = self._shares.lanes[lane.topic]
            await share.acquire()
            task = group.create_task(self._one(lane, record))
            task.add_done_callback(partial(_release, share))

    async def _carefully(self, lane: Lane, record: Incoming) -> None:
        """Work off a record that may have ended the process: alone, and counted first."""
        if lane.attempt(record.offset) >= _STARTS:
            self._log.error("poison", topic=record.topic, offset=record.offset)
            letter = self._letter(record, "poison", f"it ended the process {_STARTS} times")
            await self._done(lane, record, [letter])
            return
        await self._commit([self._mark(lane)])
        await self._one(lane, record)

    async def _one(self, lane: Lane, record: Incoming) -> None:
        results = await self._results(record)
        await self._done(lane, record, results)
        self._job.committed(record)

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

    async def _done(self, lane: Lane, record: Incoming, results: Sequence[Outgoing]) -> None:
        lane.finish(record.offset)
        await self._commit([*results, self._mark(lane)])
        self._busy.discard(record.key)
        for one in self._lanes.values():
            one.some.set()

    def _mark(self, lane: Lane) -> Outgoing:
        name = f"{_POSITION}/{lane.topic}".encode()
        return Outgoing(self._spec.state, self.partition, name, lane.marked(clean=self._ending).dump())

    async def _commit(self, records: list[Outgoing]) -> None:
        if self._committer is None:
            raise StoppedError("handed over")
        await self._committer.commit(Unit(records, replace=self._refused))

    async def _commit_as_is(self, records: list[Outgoing]) -> None:
        """Commit an intent: a dead letter in its place would not be one."""
        if self._committer is None:
            raise StoppedError("handed over")
        await self._committer.commit(Unit(records))

    def _refused(self, record: Outgoing, why: str) -> Outgoing:
        # Results have no offset: their content tells their letters apart.
        digest = int.from_bytes(blake2b(record.key + (record.value or b""), digest_size=6).digest(), "big")
        incoming = Incoming(
            record.topic, record.partition, digest, record.key, record.value, record.headers, 0
        )
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
    shares = Shares({topic: asyncio.Semaphore(spec.at_once[topic]) for topic in spec.lanes}, asyncio.Lock())

    def hold(membership: Membership, cap: Bytes, partition: int) -> PartitionRun:
        return PartitionRun(cluster, spec, follower, membership, shares, cap, make, partition)

    return Ownership(cluster, spec.lanes[0], spec.group, hold)


def _release(share: asyncio.Semaphore, _: object) -> None:
    share.release()

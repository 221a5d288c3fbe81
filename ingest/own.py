"""Which partitions this process owns: join the group, take over, pause while it rebalances, hand over.

The group is membership only: its offsets are for lag tools. A partition that can't start does not stop the
others.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias

import structlog

from ingest import metrics
from ingest.cluster import Cluster
from ingest.consuming import Membership, UnreadableError
from ingest.errors import Misconfigured
from ingest.producing import BrokenError, FencedError, Transactions
from ingest.publish import Bytes
from ingest.tasks import ended

_AT_ONCE = 8
_log = structlog.get_logger(part="own")


class Held(Protocol):
    """One partition while it is ours; `run` is called again after it ended."""

    partition: int
    started: asyncio.Event

    async def run(self) -> None:
        """Take over and run until cancelled.

        Raises:
            BrokenError: The producer broke, or the partition is another's.
            UnreadableError: The state's end was not reached.
        """
        ...

    def pause(self) -> None:
        """Begin no transaction: a rebalance is under way and may take the partition from us."""
        ...

    def resume(self) -> None:
        """Go on with the same producer: it was not fenced, so nobody was in between."""
        ...


Make: TypeAlias = Callable[[Membership, Bytes, int], Held]


async def check(membership: Membership, partition: int, position: int = 0) -> None:
    """Ask the group whether a partition is ours; `position` is what lag tools show.

    Raises:
        BrokenError: It is another process's.
    """
    if not await membership.holds(partition, position):
        raise BrokenError("another process owns it")


@asynccontextmanager
async def fenced(
    cluster: Cluster, membership: Membership, name: str, partition: int
) -> AsyncIterator[Transactions]:
    """Start the partition's transactional producer, which fences the predecessor's.

    Raises:
        BrokenError: The partition is another's, or the producer does not start.
    """
    producer = Transactions(cluster, f"{name}-{partition}")
    try:
        # Asked before as well: a start fences, and a process that was frozen is not to fence the owner.
        await check(membership, partition)
        await producer.start()
        await check(membership, partition)
        yield producer
    except FencedError:
        metrics.fenced.inc()
        raise
    finally:
        await producer.stop()


class Ownership:
    """Runs the partitions that the group gives this process."""

    def __init__(self, cluster: Cluster, topic: str, group: str, make: Make) -> None:
        """Join `group` on `topic`; `make` makes what runs a partition."""
        config = cluster.config
        self._make, self._group = make, group
        self._membership = Membership(cluster, topic, group, config.session_seconds, config.worker)
        self._cap = Bytes(config.in_flight_bytes)
        self._tenures: dict[int, tuple[Held, asyncio.Task[None]]] = {}
        self._starting = asyncio.Semaphore(_AT_ONCE)
        self._why: dict[int, str] = {}

    def waiting(self) -> str:
        """Tell why this process is not ready, or nothing."""
        late = [str(p) for p, (tenure, _) in sorted(self._tenures.items()) if not tenure.started.is_set()]
        why = [f"{p}: {told}" for p, told in sorted(self._why.items()) if str(p) in late]
        return "; ".join([f"taking over partitions {', '.join(late)}", *why]) if late else ""

    async def run(self) -> None:
        """Own until cancelled; then hand everything over within a second.

        Raises:
            UnreadableError: Kafka did not answer at the start.
        """
        await self._membership.start()
        poll = asyncio.create_task(self._poll())
        try:
            while True:
                await self._membership.changed.wait()
                self._membership.changed.clear()
                await self._settle()
        finally:
            await ended(poll, 1.0)
            await asyncio.gather(*(self._drop(partition) for partition in list(self._tenures)))
            await self._membership.stop()

    async def _poll(self) -> None:
        while True:
            try:
                await self._membership.poll()
            except Exception as error:  # noqa: BLE001 the group's client recovers by itself
                _log.warning("group poll failed", why=type(error).__name__)
                await asyncio.sleep(0.5)

    async def _settle(self) -> None:
        if self._membership.rebalancing:
            for tenure, _ in self._tenures.values():
                tenure.pause()
            return
        assigned = self._membership.assigned
        await asyncio.gather(*(self._drop(partition) for partition in set(self._tenures) - assigned))
        for partition in assigned:
            if partition in self._tenures and await self._resumed(partition):
                continue
            if not self._membership.rebalancing:
                tenure = self._make(self._membership, self._cap, partition)
                self._tenures[partition] = (tenure, asyncio.create_task(self._hold(tenure)))
        self._count()

    def _count(self) -> None:
        running = sum(tenure.started.is_set() for tenure, _ in self._tenures.values())
        metrics.owned.labels(self._group).set(running)

    async def _resumed(self, partition: int) -> bool:
        """Let a partition go on that ran before; if in doubt drop it: its new start checks, and at once."""
        tenure, task = self._tenures[partition]
        if not task.done() and tenure.started.is_set() and await self._membership.holds(partition):
            tenure.resume()
            return True
        await self._drop(partition)
        return False

    async def _hold(self, tenure: Held) -> None:
        """Run a tenure again and again while the partition is assigned to us."""
        failures = 0
        while True:
            try:
                async with self._starting:
                    # Only the start is limited: the semaphore is given back once it runs or fails.
                    run = asyncio.create_task(tenure.run())
                    started = asyncio.create_task(tenure.started.wait())
                    try:
                        await asyncio.wait({started, run}, return_when=asyncio.FIRST_COMPLETED)
                    except asyncio.CancelledError:
                        await ended(run, 3.0)
                        raise
                    finally:
                        started.cancel()
                self._count()
                try:
                    await asyncio.shield(run)
                except asyncio.CancelledError:
                    await ended(run, 3.0)
                    raise
            except (BrokenError, UnreadableError, Misconfigured) as error:
                self._why[tenure.partition] = str(error)
                _log.warning("partition stopped", partition=tenure.partition, why=str(error))
            except Exception:  # noqa: BLE001 whatever it is, the other partitions go on
                _log.exception("partition crashed", partition=tenure.partition)
            failures = 0 if tenure.started.is_set() else failures + 1
            tenure.started.clear()
            self._count()
            await asyncio.sleep(min(0.1 * 2**failures, 5.0) * random.uniform(0.5, 1.0))  # noqa: S311 jitter
            if tenure.partition not in self._membership.assigned and not self._membership.rebalancing:
                return

    async def _drop(self, partition: int) -> None:
        _, task = self._tenures.pop(partition)
        await ended(task, 3.5)

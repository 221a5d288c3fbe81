"""How the product reads Kafka: to the true end, following, membership in a group."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, KafkaError

from ingest.cluster import Cluster
from ingest.tasks import bounded, ended, whole

FETCH_WAIT_MS = 200
"""A change of what is followed waits for the fetch under way, at most so long."""
_log = structlog.get_logger(part="consuming")


class Place(NamedTuple):
    """A partition of a topic; the topic's name without prefix."""

    topic: str
    partition: int


class Incoming(NamedTuple):
    """One record as read; `at` is Kafka's time in ms; `value` None is a tombstone."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    at: int


class UnreadableError(Exception):
    """The end of a partition was not reached in time: not ready, which is never the same as empty."""


def _consumer(cluster: Cluster, client: str, **settings: Any) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **cluster.arguments(client),
        enable_auto_commit=False,
        isolation_level=settings.pop("isolation_level", "read_committed"),
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        request_timeout_ms=10_000,
        retry_backoff_ms=50,
        **settings,
    )


def _incoming(cluster: Cluster, record: Any) -> Incoming:
    return Incoming(
        cluster.bare(record.topic), record.partition, record.offset, record.key or b"", record.value,
        record.headers, record.timestamp,
    )  # fmt: skip


async def ends(cluster: Cluster, places: Iterable[Place]) -> dict[Place, int]:
    """Tell the true end of partitions, open transactions included.

    A read-committed client would name the last stable offset instead and hide records of our own.
    """
    consumer = _consumer(cluster, "ends", isolation_level="read_uncommitted")
    try:
        async with asyncio.timeout(10):
            await whole(consumer.start())
            found = await consumer.end_offsets([TopicPartition(cluster.name(t), p) for t, p in places])
    except (KafkaError, TimeoutError, OSError) as error:
        raise UnreadableError(f"Kafka does not tell the ends ({type(error).__name__})") from None
    finally:
        await _stop(consumer)
    return {Place(cluster.bare(tp.topic), tp.partition): offset for tp, offset in found.items()}


async def read_to_end(
    cluster: Cluster,
    places: Collection[Place],
    take: Callable[[Incoming], None],
    seconds: float = 60.0,
) -> dict[Place, int]:
    """Read partitions from their start to the end they have now; return where to go on.

    Raises:
        UnreadableError: A transaction stays open, or Kafka does not answer, for `seconds`.
    """
    goal = await ends(cluster, places)
    consumer = _consumer(cluster, "state", auto_offset_reset="earliest")
    waiting = {place for place, end in goal.items() if end > 0}
    try:
        async with asyncio.timeout(seconds):
            await whole(consumer.start())
            parts = {TopicPartition(cluster.name(t), p): Place(t, p) for t, p in waiting}
            consumer.assign(list(parts))
            if parts:
                await consumer.seek_to_beginning(*parts)
            while waiting:
                fetched = await consumer.getmany(timeout_ms=100)
                for records in fetched.values():
                    for record in records:
                        take(_incoming(cluster, record))
                for tp, place in parts.items():
                    if place in waiting and await consumer.position(tp) >= goal[place]:
                        waiting.discard(place)
    except TimeoutError:
        stuck = ", ".join(f"{cluster.name(t)}-{p}" for t, p in sorted(waiting))
        raise UnreadableError(f"the end of {stuck} was not reached in {seconds:.0f} s") from None
    except (KafkaError, OSError) as error:
        raise UnreadableError(f"the state can't be read ({type(error).__name__})") from None
    finally:
        await _stop(consumer)
    return goal


class Follower:
    """One consumer without a group that follows many partitions, each from where it is told.

    `deliver` gets a partition's new records in order, on the loop, and must not block. Positions are kept
    here: adding a partition re-assigns all, and each goes on where its last delivery ended.
    """

    def __init__(self, cluster: Cluster, client: str = "follow") -> None:
        self._cluster = cluster
        self._client = client
        self._deliver: dict[TopicPartition, Callable[[list[Incoming]], None]] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._held: set[TopicPartition] = set()
        self._rounds: dict[TopicPartition, int] = {}
        self._round = 0
        self._changed = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow; survives Kafka being away."""
        self._task = asyncio.create_task(self._run(), name="follower")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            await ended(self._task, 5.0)

    def follow(self, place: Place, offset: int, deliver: Callable[[list[Incoming]], None]) -> None:
        """Follow a partition from an offset on."""
        tp = TopicPartition(self._cluster.name(place.topic), place.partition)
        self._round += 1
        self._deliver[tp], self._positions[tp], self._rounds[tp] = deliver, offset, self._round
        self._changed.set()

    def leave(self, place: Place) -> None:
        """Stop following a partition."""
        tp = TopicPartition(self._cluster.name(place.topic), place.partition)
        self._deliver.pop(tp, None)
        self._positions.pop(tp, None)
        self._held.discard(tp)
        self._changed.set()

    def hold(self, place: Place, held: bool) -> None:
        """Deliver nothing of a partition for a while; the queue behind it is full."""
        tp = TopicPartition(self._cluster.name(place.topic), place.partition)
        if tp in self._deliver and held != (tp in self._held):
            (self._held.add if held else self._held.discard)(tp)
            self._changed.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(0.5)
            except Exception:  # noqa: BLE001 nothing would follow any more
                _log.exception("follower failed and starts again")
                await asyncio.sleep(0.5)
            finally:
                if self._consumer is not None:
                    await _stop(self._consumer)
                    self._consumer = None

    async def _follow(self) -> None:
        self._consumer = consumer = _consumer(self._cluster, self._client, auto_offset_reset="earliest")
        async with asyncio.timeout(20):
            await whole(consumer.start())
        self._changed.set()
        while True:
            if self._changed.is_set():
                self._changed.clear()
                self._assign(consumer)
            if not (set(self._positions) - self._held):
                await self._changed.wait()
                continue
            asked = dict(self._rounds)
            fetch = asyncio.ensure_future(consumer.getmany(timeout_ms=2000))
            change = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({fetch, change}, return_when=asyncio.FIRST_COMPLETED)
                fetched = await fetch if fetch.done() else {}
            finally:
                for each in (fetch, change):
                    each.cancel()
            for tp, records in fetched.items():
                deliver = self._deliver.get(tp)
                if deliver is None or tp in self._held or records[-1].offset < self._positions[tp]:
                    continue
                if asked.get(tp) != self._rounds[tp]:  # left and followed anew since: from another place
                    continue
                fresh = [_incoming(self._cluster, r) for r in records if r.offset >= self._positions[tp]]
                self._positions[tp] = records[-1].offset + 1
                deliver(fresh)

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        parts = [tp for tp in self._positions if tp not in self._held]
        consumer.assign(parts)
        for tp in parts:
            consumer.seek(tp, self._positions[tp])


class Membership:
    """A process's place in a consumer group, which says who owns which partition and nothing else.

    Heartbeats start only after a rebalance callback returns, so callbacks just set flags.
    """

    def __init__(
        self, cluster: Cluster, topic: str, group: str, session_seconds: float, worker: str = ""
    ) -> None:
        self._cluster, self._topic = cluster, topic
        self.assigned: frozenset[int] = frozenset()
        self.rebalancing = True
        self.changed = asyncio.Event()
        self._asking = asyncio.Lock()
        self._consumer = _consumer(
            cluster,
            f"member-{group}",
            group_id=f"{cluster.config.prefix}{group}",
            group_instance_id=worker or None,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=int(session_seconds * 1000),
            heartbeat_interval_ms=int(session_seconds * 1000 / 4),
            max_poll_interval_ms=600_000,
            rebalance_timeout_ms=int(session_seconds * 1000),
            auto_offset_reset="latest",
        )

    async def start(self) -> None:
        """Join the group.

        Raises:
            UnreadableError: Kafka does not answer.
        """
        self._consumer.subscribe([self._cluster.name(self._topic)], listener=_Flags(self))
        try:
            async with asyncio.timeout(20):
                await whole(self._consumer.start())
        except (KafkaError, TimeoutError, OSError) as error:
            await _stop(self._consumer)
            raise UnreadableError(f"no membership: {type(error).__name__}") from None

    async def stop(self) -> None:
        """Leave the group."""
        await _stop(self._consumer)

    async def poll(self, seconds: float = 0.5) -> None:
        """Show the group that we live; what is fetched is not ours to read here."""
        if mine := self._consumer.assignment():
            self._consumer.pause(*mine)
        await self._consumer.getmany(timeout_ms=int(seconds * 1000))

    async def holds(self, partition: int, position: int = 0) -> bool:
        """Ask the group, generation-checked, whether a partition is ours.

        The local assignment lies after a freeze; a refused commit does not. `position` is what lag tools
        show.
        """
        tp = TopicPartition(self._cluster.name(self._topic), partition)
        try:
            async with asyncio.timeout(5), self._asking:
                # Never while it joins: the refusal of a commit from before would take back the new place in
                # the group, and leave there a member that nobody is, for a session. An empty group would
                # even accept it.
                if self.rebalancing or partition not in self.assigned:
                    return False
                await self._consumer.commit({tp: OffsetAndMetadata(position, "")})
        except CommitFailedError:
            self._set(None)  # the client joins anew by itself
            return False
        except (KafkaError, TimeoutError, OSError):
            return False
        return not self.rebalancing

    def _set(self, assigned: Iterable[Any] | None) -> None:
        self.rebalancing = assigned is None
        if assigned is not None:
            self.assigned = frozenset(tp.partition for tp in assigned)
        self.changed.set()


class _Flags(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        del revoked
        self._membership._set(None)  # noqa: SLF001 the listener is a part of it

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self._membership._set(assigned)  # noqa: SLF001 the listener is a part of it


async def _stop(consumer: AIOKafkaConsumer) -> None:
    await bounded(consumer.stop(), 2.0)


def by_partition(records: Mapping[Place, int], topic: str) -> dict[int, int]:
    """Pick one topic's partitions from a mapping of places."""
    return {place.partition: value for place, value in records.items() if place.topic == topic}

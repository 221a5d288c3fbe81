"""What reaches a partition's owner from outside: deliveries, nudges, dead letters to try again.

Its position is a cursor of ours, committed with the events a record led to, not the group's offset.
"""

import asyncio
import base64
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import orjson
import structlog

from ingest import metrics
from ingest.apis import Json
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Place
from ingest.hashes import from_hex
from ingest.mapping import Source, letter_record
from ingest.producing import Outgoing
from ingest.publish import Committer, Unit
from ingest.push import Broken, Delivery, Held, Pushed
from ingest.reads import Event, Instance, Mapped, Nudge
from ingest.state import INBOX, PartitionState, key
from ingest.windows import now_ms
from schemas.control import DeadLetter, Inbox, Record, UnreadableRecordError
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from ingest.connectors import Connector

_MOST_WAITING = 1000
_CONNECT_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_log = structlog.get_logger(part="inbox")


class InboxWorker:
    """Works off one partition of the inbox, in order."""

    def __init__(
        self,
        cluster: Cluster,
        state: PartitionState,
        committer: Committer,
        follower: Follower,
        connectors: Mapping[str, "Connector"],
    ) -> None:
        self._cluster, self._state, self._committer = cluster, state, committer
        self._follower, self._connectors = follower, connectors
        self._place = Place("inbox", state.partition)
        self._waiting: deque[Incoming] = deque()
        self._some = asyncio.Event()
        self._in_vain: set[str] = set()

    async def run(self) -> None:
        """Follow the partition and work off what comes.

        Raises:
            StoppedError: The partition was handed over.
        """
        self._follower.follow(self._place, self._state.inbox.offset, self._deliver)
        try:
            while True:
                await self._some.wait()
                record = self._waiting.popleft()
                if not self._waiting:
                    self._some.clear()
                if len(self._waiting) < _MOST_WAITING // 2:
                    self._follower.hold(self._place, held=False)
                await self._work(record)
        finally:
            self._follower.leave(self._place)

    def _deliver(self, records: list[Incoming]) -> None:
        self._waiting.extend(records)
        self._some.set()
        if len(self._waiting) >= _MOST_WAITING:
            self._follower.hold(self._place, held=True)

    async def _work(self, record: Incoming) -> None:
        unit, after = Unit([]), list[Callable[[], None]]()
        try:
            await self._sort(Inbox.load(record.value or b""), unit, after)
        except UnreadableRecordError as error:
            _log.warning("inbox record can't be read", offset=record.offset, why=str(error))
            unit.records.append(_lost(record, str(error)))
        except Exception as error:  # noqa: BLE001 one record's failure is a dead letter, not the partition's end
            _log.warning("inbox record can't be handled", offset=record.offset, kind=type(error).__name__)
            # What was prepared until then goes out: its ids count as published already.
            unit.records.append(_lost(record, type(error).__name__))
        cursor = self._state.inbox.model_copy(update={"offset": record.offset + 1})
        unit.records.append(self._cursor(cursor))
        unit.committed.append(lambda: setattr(self._state, "inbox", cursor))
        await self._committer.commit(unit)
        for each in after:
            each()

    async def _sort(self, wanted: Inbox, unit: Unit, after: list[Callable[[], None]]) -> None:
        letter = _letter(wanted)
        if wanted.kind == "discard":
            unit.records.append(_done(self._state.partition, wanted.hook))
            return
        if letter is not None and letter.source == "topic":
            self._put_back(letter, unit)
            return
        wish = self._state.wishes.get(wanted.connector)
        if wanted.incarnation and wish is not None and wish.incarnation != wanted.incarnation:
            # It was meant for a connection that was taken away since.
            metrics.webhook_deliveries.labels("", "skipped").inc()
            return
        connector = await self._connected(wanted.connector)
        if connector is None or connector.owner is None or not connector.wish.enabled:
            # What can't be handled now is recovered by the poll, or stays a dead letter.
            metrics.webhook_deliveries.labels("", "skipped").inc()
        elif wanted.kind == "nudge":
            nudge = Nudge(wanted.feed, wanted.axis, wanted.hint, wanted.restart)
            after.append(partial(connector.nudge, nudge))
        elif letter is not None:
            self._redrive(connector, letter, unit)
        else:
            self._delivery(connector, wanted, unit, after)

    async def _connected(self, name: str) -> "Connector | None":
        """Find the connector, giving one that is about to connect a while; in vain only once."""

        def wished() -> bool:
            wish = self._state.wishes.get(name)
            return wish is not None and wish.enabled and not wish.removing

        end = asyncio.get_running_loop().time() + (0.0 if name in self._in_vain else _CONNECT_SECONDS)
        while wished():
            connector = self._connectors.get(name)
            if connector is not None and connector.connected.is_set():
                self._in_vain.discard(name)
                return connector
            if asyncio.get_running_loop().time() >= end:
                self._in_vain.add(name)
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return self._connectors.get(name)

    def _cursor(self, cursor: Record) -> Outgoing:
        partition = self._state.partition
        return Outgoing("cursors", partition, key(INBOX, str(partition)), cursor.dump())

    def _delivery(
        self, connector: "Connector", wanted: Inbox, unit: Unit, after: list[Callable[[], None]]
    ) -> None:
        delivery = Delivery(
            wanted.method, wanted.headers, wanted.query, base64.b64decode(wanted.body), wanted.axis or ""
        )
        told: list[tuple[str, Collection[int] | None]] = []
        for each in connector.deliver(wanted.hook, delivery):
            match each:
                case Pushed():
                    told.append((each.feed, self._pushed(connector, each, unit)))
                case Nudge():
                    told.append((each.feed, None))
                    after.append(partial(connector.nudge, each))
                case Broken():
                    after += [partial(keeper.broken, each) for keeper in connector.keepers()]
                case Held():
                    _log.warning("not acted on", connector=wanted.connector, what=type(each).__name__)
        after += [
            partial(keeper.heard, wanted.hook, wanted.axis or "", told) for keeper in connector.keepers()
        ]

    def _pushed(self, connector: "Connector", pushed: Pushed, unit: Unit) -> list[int]:
        """Prepare what a delivery carries, and tell which occurrences that are, published before or not."""
        owner, feed = connector.owned(), connector.kind.feeds()[pushed.feed]
        mapper, mapped = feed.to[pushed.mapper], list[Event]()

        def noting(record: Json, instance: Instance) -> Iterator[Mapped]:
            for one in mapper(record, instance):
                if one.__class__ is dict:
                    mapped.append(one)
                yield one

        source = Source(feed.name, pushed.axis, noting, pushed.mapper)
        runner = connector.any_axis(feed.name, pushed.axis)
        prepared = owner.preparation.prepare(pushed.records, source)
        made = runner.unit(prepared, source, (0, 0))
        unit.records += made.records
        unit.committed += made.committed
        unit.replace = made.replace
        # Preparing an event stamps its id on it.
        ids = [one.get("metadata", {}).get("uid") for one in mapped]
        return [from_hex(uid) for uid in ids if uid]

    def _put_back(self, letter: DeadLetter, unit: Unit) -> None:
        """Put a record back on its topic; if the broker refuses it again, it is a dead letter again."""
        row = TOPICS.get(letter.topic)
        if row is None or row.role not in {"public", "work"}:
            _log.warning("redrive passed over: there is no such topic to put it back on", topic=letter.topic)
            return
        raw_key = base64.b64decode(letter.key)
        place = letter.partition if row.spread == "owner" else self._cluster.partition(letter.topic, raw_key)
        headers = [(name, value.encode()) for name, value in letter.headers.items()]
        again = Outgoing(letter.topic, place, raw_key, base64.b64decode(letter.raw), headers)
        unit.records += [_done(letter.partition, letter.id), again]
        unit.replace = lambda _record, why: letter_record(
            letter.model_copy(update={"attempts": letter.attempts + 1, "detail": f"Kafka refused it: {why}"})
        )

    def _redrive(self, connector: "Connector", letter: DeadLetter, unit: Unit) -> None:
        """Map a record again; its dead letter is gone if that works."""
        owner, feed = connector.owned(), connector.kind.feeds().get(letter.feed)
        if feed is None or letter.mapper not in feed.to:
            return
        source = Source(feed.name, letter.axis, feed.to[letter.mapper], letter.mapper)
        try:
            record = orjson.loads(letter.raw)
        except orjson.JSONDecodeError:
            return
        prepared = owner.preparation.prepare([record], source, retry=letter)
        if not prepared.letters:
            unit.records.append(_done(letter.partition, letter.id))
        made = connector.any_axis(feed.name, letter.axis).unit(prepared, source, (0, 0))
        unit.records += made.records
        unit.committed += made.committed
        unit.replace = made.replace


def _letter(wanted: Inbox) -> DeadLetter | None:
    if wanted.kind != "redrive":
        return None
    try:
        return DeadLetter.load(orjson.dumps(wanted.letter))
    except UnreadableRecordError as error:
        _log.warning("redrive passed over", why=str(error))
        return None


def _done(partition: int, letter: str) -> Outgoing:
    return Outgoing("dead-letters", partition, letter.encode(), None)


def _lost(record: Incoming, kind: str) -> Outgoing:
    metrics.dead_letters.labels("", "inbox", "handling-failed").inc()
    letter = DeadLetter(
        id=f"inbox-{record.partition}-{record.offset}",
        source="topic",
        connector=record.key.decode("utf-8", "replace"),
        partition=record.partition,
        topic="inbox",
        key=base64.b64encode(record.key).decode(),
        reason="handling-failed",
        detail=kind,
        raw=base64.b64encode(record.value or b"").decode(),
        binary=True,
        at=now_ms(),
    )
    return letter_record(letter)

"""What reaches a partition's owner from outside: deliveries, nudges, dead letters to try again.

Its position is a cursor of ours, committed with the events a record led to, not the group's offset.
"""

import asyncio
import base64
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import orjson
import structlog

from ingest import metrics
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Place
from ingest.mapping import Source, letter_record
from ingest.producing import Outgoing
from ingest.publish import Committer, Unit
from ingest.push import Broken, Delivery, Held, Pushed
from ingest.reads import Nudge
from ingest.state import INBOX, PartitionState, key
from schemas.control import DeadLetter, Inbox, InboxCursor, Record, UnreadableRecordError
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from ingest.connectors import Connector

_MOST_WAITING = 1000
_CONNECT_SECONDS = 30.0
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
            wanted = Inbox.load(record.value or b"")
        except UnreadableRecordError as error:
            _log.warning("inbox record passed over", offset=record.offset, why=str(error))
        else:
            letter = _letter(wanted)
            connector = await self._connected(wanted.connector)
            if wanted.kind == "discard":
                unit.records.append(_done(self._state.partition, wanted.hook))
            elif letter is not None and letter.source == "topic":
                self._put_back(letter, unit)
            elif connector is None or connector.owner is None or not connector.wish.enabled:
                # What can't be handled now is recovered by the poll, or stays a dead letter.
                metrics.webhook_deliveries.labels("", "skipped").inc()
            elif wanted.kind == "nudge":
                nudge = Nudge(wanted.feed, wanted.axis, wanted.hint, wanted.restart)
                after.append(partial(connector.nudge, nudge))
            elif letter is not None:
                self._redrive(connector, letter, unit)
            else:
                self._delivery(connector, wanted, unit, after)
        cursor = InboxCursor(offset=record.offset + 1)
        unit.records.append(self._cursor(cursor))
        unit.committed.append(lambda: setattr(self._state, "inbox", cursor))
        await self._committer.commit(unit)
        for each in after:
            each()

    async def _connected(self, name: str) -> "Connector | None":
        """Find the connector, giving one that is about to connect a while."""
        connector = self._connectors.get(name)
        if connector is None and name in self._state.wishes:
            # Right after a take-over its task is not there yet.
            await asyncio.sleep(0)
            connector = self._connectors.get(name)
        if connector is None or not connector.wish.enabled:
            return connector
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connector.connected.wait()
        return connector

    def _cursor(self, cursor: Record) -> Outgoing:
        partition = self._state.partition
        return Outgoing("cursors", partition, key(INBOX, str(partition)), cursor.dump())

    def _delivery(
        self, connector: "Connector", wanted: Inbox, unit: Unit, after: list[Callable[[], None]]
    ) -> None:
        delivery = Delivery(
            wanted.method, wanted.headers, wanted.query, base64.b64decode(wanted.body), wanted.axis or ""
        )
        for each in connector.deliver(wanted.hook, delivery):
            match each:
                case Pushed():
                    self._pushed(connector, each, unit)
                case Nudge():
                    after.append(partial(connector.nudge, each))
                case Broken() | Held():
                    _log.warning("not acted on", connector=wanted.connector, what=type(each).__name__)

    def _pushed(self, connector: "Connector", pushed: Pushed, unit: Unit) -> None:
        owner, feed = connector.owned(), connector.kind.feeds()[pushed.feed]
        source = Source(feed.name, pushed.axis, feed.to[pushed.mapper], pushed.mapper)
        runner = connector.any_axis(feed.name, pushed.axis)
        prepared = owner.preparation.prepare(pushed.records, source)
        made = runner.unit(prepared, source, (0, 0))
        unit.records += made.records
        unit.committed += made.committed
        unit.replace = made.replace

    def _put_back(self, letter: DeadLetter, unit: Unit) -> None:
        """Put a record back on its topic; if the broker refuses it again, it is a dead letter again."""
        raw_key = base64.b64decode(letter.key)
        spread = TOPICS[letter.topic].spread
        place = letter.partition if spread == "owner" else self._cluster.partition(letter.topic, raw_key)
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

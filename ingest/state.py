"""What the owner of a partition knows of its connectors: read from the state topics, kept after commits.

Keys: `cursors` connector/feed/axis, `seen` connector/page, `members` connector/feed/axis/snapshot/page,
`subscriptions` connector/kind/axis, `credentials` connector. The partition is the connector's own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

import structlog

from ingest.consuming import Incoming, Place
from ingest.inventory import Inventory
from ingest.producing import Outgoing
from ingest.seen import SeenWindow
from schemas.control import (
    Cursor,
    InboxCursor,
    Members,
    Record,
    Registration,
    Seen,
    Status,
    Token,
    UnreadableRecordError,
    Wish,
)

STATE_TOPICS = ("cursors", "seen", "members", "subscriptions", "credentials")
STATUS = "@status"
INBOX = "@inbox"
_log = structlog.get_logger(part="state")


def key(*parts: str) -> bytes:
    """Join a state key; parts may hold anything."""
    return "/".join(quote(part, safe="@:.-_ ") for part in parts).encode()


def parts_of(raw: bytes) -> list[str]:
    """Take a state key apart."""
    return [unquote(part) for part in raw.decode("utf-8", "replace").split("/")]


@dataclass(slots=True)
class ConnectorState:
    """Everything durable about one connector."""

    incarnation: str = ""
    cursors: dict[tuple[str, str], Cursor] = field(default_factory=dict)
    seen: SeenWindow = field(default_factory=SeenWindow)
    inventory: Inventory = field(default_factory=Inventory)
    registrations: dict[tuple[str, str], Registration] = field(default_factory=dict)
    token: Token | None = None
    status: Status | None = None
    keys: set[tuple[str, bytes]] = field(default_factory=set)


class PartitionState:
    """The state of all connectors of one partition."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.connectors: dict[str, ConnectorState] = {}
        self.wishes: dict[str, Wish] = {}
        self.inbox = InboxCursor(offset=0)
        self.unreadable: str = ""
        self._members: dict[bytes, Members] = {}
        self._stale: set[tuple[str, bytes]] = set()

    def places(self) -> list[Place]:
        """List the partitions to read before anything runs."""
        return [Place(topic, self.partition) for topic in ("connectors", *STATE_TOPICS)]

    def take(self, record: Incoming) -> None:
        """Take in one record while reading back."""
        if record.topic == "connectors":
            self.wish(record)
            return
        parts = parts_of(record.key)
        if parts[0] == INBOX:
            self._take_inbox(record)
            return
        mine = self.connectors.setdefault(parts[0], ConnectorState())
        if record.value is None:
            mine.keys.discard((record.topic, record.key))
            self._members.pop(record.key, None)
            self._forget(record.topic, parts, mine)
            return
        mine.keys.add((record.topic, record.key))
        try:
            if record.topic == "members":
                # In the order of the last writing: a later page overrules an earlier one.
                self._members.pop(record.key, None)
                self._members[record.key] = Members.load(record.value)
            else:
                self._load(record.topic, parts, record.value, mine)
        except UnreadableRecordError as error:
            self.unreadable = f"{record.topic} {record.key.decode('utf-8', 'replace')}: {error}"

    def _take_inbox(self, record: Incoming) -> None:
        try:
            if record.value is not None:
                self.inbox = InboxCursor.load(record.value)
        except UnreadableRecordError as error:
            self.unreadable = f"the inbox position: {error}"

    def wish(self, record: Incoming) -> str:
        """Take in a wish and return the connector's name; a damaged one is passed over with a warning."""
        name = record.key.decode("utf-8", "replace")
        if record.value is None:
            self.wishes.pop(name, None)
            return name
        try:
            self.wishes[name] = Wish.load(record.value)
        except UnreadableRecordError as error:
            _log.warning("wish passed over", connector=name, why=str(error))
        return name

    def _load(self, topic: str, parts: list[str], value: bytes, mine: ConnectorState) -> None:
        match topic:
            case "cursors" if parts[1] == STATUS:
                mine.status = Status.load(value)
            case "cursors":
                mine.cursors[parts[1], parts[2]] = Cursor.load(value)
            case "seen":
                mine.seen.add(int(parts[1]), Seen.load(value))
            case "subscriptions":
                mine.registrations[parts[1], parts[2]] = Registration.load(value)
            case "credentials":
                mine.token = Token.load(value)
            case _:
                raise KeyError(topic)

    def _forget(self, topic: str, parts: list[str], mine: ConnectorState) -> None:
        match topic:
            case "cursors" if parts[1] != STATUS:
                mine.cursors.pop((parts[1], parts[2]), None)
            case "seen":
                mine.seen.drop([int(parts[1])])
            case "subscriptions":
                mine.registrations.pop((parts[1], parts[2]), None)
            case "credentials":
                mine.token = None
            case _:
                pass

    def settle(self) -> None:
        """Put inventories together once all is read: which snapshot runs is known only from the cursors."""
        for raw, page in self._members.items():
            name, feed, axis, snapshot, number = parts_of(raw)
            mine = self.connectors[name]
            cursor = mine.cursors.get((feed, axis))
            running = cursor.snapshot if cursor and cursor.started_at > cursor.finished_at else -1
            mine.inventory.take(feed, axis, (int(snapshot), int(number)), page, running)
        self._members = {}

    def of(self, wish: Wish) -> ConnectorState:
        """Get a connector's state; that of an earlier incarnation is laid aside for removal."""
        mine = self.connectors.get(wish.name)
        found = None
        if mine is not None:
            found = mine.incarnation or _incarnation(mine)
        if mine is None or (found and found != wish.incarnation):
            if mine is not None:
                self._stale |= mine.keys
            mine = self.connectors[wish.name] = ConnectorState()
        mine.incarnation = wish.incarnation
        return mine

    def leftovers(self, name: str, *, whole: bool = False) -> list[Outgoing]:
        """List tombstones for what an earlier incarnation left, or for all of a connector that is removed."""
        gone = {pair for pair in self._stale if parts_of(pair[1])[0] == name}
        self._stale -= gone
        if whole and (mine := self.connectors.pop(name, None)):
            gone |= mine.keys
        return [Outgoing(topic, self.partition, raw, None) for topic, raw in sorted(gone)]

    def record(self, topic: str, mine: ConnectorState, raw: bytes, value: Record | None) -> Outgoing:
        """Make a state record for this partition and remember its key."""
        (mine.keys.add if value is not None else mine.keys.discard)((topic, raw))
        return Outgoing(topic, self.partition, raw, None if value is None else value.dump())


def _incarnation(mine: ConnectorState) -> str:
    for cursor in mine.cursors.values():
        return cursor.incarnation
    for registration in mine.registrations.values():
        return registration.incarnation
    if mine.token is not None:
        return mine.token.incarnation
    return mine.status.incarnation if mine.status else ""


Committed = Callable[[], None]

"""What the owner of a partition knows of its connectors: read from the state topics, kept after commits.

Keys: `cursors` connector/feed/axis, `seen` connector/page, `members` connector/feed/axis/snapshot/page,
`subscriptions` connector/kind/axis, `credentials` connector. The partition is the connector's own.
"""

from dataclasses import dataclass, field
from urllib.parse import quote, unquote

import structlog

from ingest.consuming import Incoming, Place
from ingest.errors import Misconfigured
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


_KINDS: dict[str, type[Record]] = {
    "cursors": Cursor,
    "seen": Seen,
    "members": Members,
    "subscriptions": Registration,
    "credentials": Token,
}


class PartitionState:
    """The state of all connectors of one partition."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.connectors: dict[str, ConnectorState] = {}
        self.wishes: dict[str, Wish] = {}
        self.inbox = InboxCursor(offset=0)
        self.unreadable: str = ""
        self._unread: set[str] = set()
        self._raw: dict[tuple[str, bytes], bytes] = {}
        self._stale: set[tuple[str, bytes]] = set()

    def places(self) -> list[Place]:
        """List the partitions to read before anything runs."""
        return [Place(topic, self.partition) for topic in ("connectors", *STATE_TOPICS)]

    def take(self, record: Incoming) -> None:
        """Take in one record while reading back."""
        if record.topic == "connectors":
            self.wish(record)
            return
        place = (record.topic, record.key)
        # In the order of the last writing: a later page overrules an earlier one.
        self._raw.pop(place, None)
        if record.value is not None:
            self._raw[place] = record.value

    def wish(self, record: Incoming) -> str:
        """Take in a wish and return the connector's name; a damaged one is passed over with a warning."""
        name = record.key.decode("utf-8", "replace")
        self._unread.discard(name)
        if record.value is None:
            self.wishes.pop(name, None)
            return name
        try:
            self.wishes[name] = Wish.load(record.value)
        except UnreadableRecordError as error:
            # Its state is left alone until the wish can be read again.
            self._unread.add(name)
            _log.error("wish passed over", connector=name, why=str(error))
        return name

    def settle(self) -> None:
        """Put the state together once all is read: only then it is known whose it is.

        Raises:
            Misconfigured: Some of it is damaged or was written by a newer release: it stays as it is.
        """
        raw, self._raw = self._raw, {}
        pages: list[tuple[list[str], Members]] = []
        for place, value in raw.items():
            try:
                self._load(place, parts_of(place[1]), value, pages)
            except (UnreadableRecordError, ValueError, LookupError) as error:
                name = place[1].decode("utf-8", "replace")
                self.unreadable = f"{place[0]} {name}: {error}"
        for parts, page in pages:
            try:
                self._member(parts, page)
            except (ValueError, LookupError) as error:
                self.unreadable = f"members {'/'.join(parts)}: {error}"
        for mine in self.connectors.values():
            for (feed, axis), cursor in mine.cursors.items():
                if cursor.finished_at:
                    mine.inventory.scope(feed, axis).finished_began = cursor.finished_began
        if self.unreadable:
            raise Misconfigured(f"this release can't read all of the state: {self.unreadable}")

    def _member(self, parts: list[str], page: Members) -> None:
        name, feed, axis, snapshot, number = parts
        mine = self.connectors[name]
        cursor = mine.cursors.get((feed, axis))
        running = cursor.snapshot if cursor and cursor.started_at > cursor.finished_at else -1
        mine.inventory.take(feed, axis, (int(snapshot), int(number)), page, running)

    def _load(
        self, place: tuple[str, bytes], parts: list[str], value: bytes, pages: list[tuple[list[str], Members]]
    ) -> None:
        topic = place[0]
        if parts[0] == INBOX:
            self.inbox = InboxCursor.load(value)
            return
        if parts[0] in self._unread:
            return
        kind = Status if topic == "cursors" and parts[1] == STATUS else _KINDS[topic]
        record = kind.load(value)
        wish = self.wishes.get(parts[0])
        if wish is None or getattr(record, "incarnation", "") != wish.incarnation:
            self._stale.add(place)
            return
        mine = self.connectors.setdefault(parts[0], ConnectorState(wish.incarnation))
        mine.keys.add(place)
        match record:
            case Status():
                mine.status = record
            case Cursor():
                mine.cursors[parts[1], parts[2]] = record
            case Seen():
                mine.seen.add(int(parts[1]), record)
            case Members():
                pages.append((parts, record))
            case Registration():
                mine.registrations[parts[1], parts[2]] = record
            case Token():
                mine.token = record
            case _:
                raise KeyError(topic)

    def of(self, wish: Wish) -> ConnectorState:
        """Get a connector's state; that of an earlier incarnation is laid aside for removal."""
        mine = self.connectors.get(wish.name)
        if mine is not None and mine.incarnation != wish.incarnation:
            self._stale |= mine.keys
            mine = None
        if mine is None:
            mine = self.connectors[wish.name] = ConnectorState(wish.incarnation)
        return mine

    def names(self) -> set[str]:
        """Name every connector that is wished for or left something."""
        return {*self.wishes, *self.connectors, *(parts_of(raw)[0] for _, raw in self._stale)}

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

"""The reading half of the provider contract: instances, axes, feeds and their pages."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from ingest.apis import Json

Event: TypeAlias = dict[str, Any]

Capability: TypeAlias = Literal[
    "accounts",
    "groups",
    "privileges",
    "logons",
    "user_activity",
    "admin_activity",
    "user_governance",
    "app_permissions",
    "revoke_app_permissions",
    "dlp_backlog",
    "dlp_realtime",
    "sharing_control",
    "file_governance",
    "labels",
]

F = TypeVar("F", bound=Callable[..., Any])


class Instance(NamedTuple):
    """The customer's account at the provider.

    `id` is the provider's own and unique: a second connection to it is refused. `ourselves` are our
    principals there, so that our own actions are recognised when they come back; `domains` count as internal.
    """

    id: str
    name: str = ""
    ourselves: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()


class Grant(NamedTuple):
    """One line of the permission probe: what is missing for a capability; nothing missing means it works."""

    capability: Capability
    missing: tuple[str, ...] = ()
    note: str = ""


class Axis(NamedTuple):
    """One of the things a feed runs over (user, bucket, account and region); cursor and limits are per axis.

    `key` is stable over restarts. `data` is whatever the feed needs to reach it; it is not stored.
    """

    key: str = ""
    acting_as: str | None = None
    tags: frozenset[str] = frozenset()
    data: Json = None


Kind: TypeAlias = Literal["file", "user", "group", "role", "app", "space"]


class Ref(NamedTuple):
    """Enough to fetch or change a thing from any process; a mapper that yields a file's asks for its scan.

    `id` equals the entity's uid in the events about it. `data` is small JSON.
    """

    kind: Kind
    id: str
    version: str = ""
    acting_as: str | None = None
    data: Json = None


class Gone(NamedTuple):
    """An entity that no longer exists."""

    kind: Kind
    id: str


class Nudge(NamedTuple):
    """Run a feed now, on one axis (by key or tag) or on all (None); `restart` begins a full read anew."""

    feed: str
    axis: str | None = None
    hint: Json = None
    restart: bool = False


class At(NamedTuple):
    """Where to read.

    After `cursor`; without one, everything from `since`. A windowed feed reads [since, until), both UTC.
    `fresh` drops the containers (files, objects) that were already read whole, see `Page.done`.
    """

    axis: Axis
    cursor: Json
    since: datetime
    until: datetime
    hints: Sequence[Json] = ()
    fresh: Callable[[Iterable[str]], list[str]] = list


class Page(NamedTuple):
    """Raw records and the cursor after them, committed together; then `ack` is awaited.

    `complete` ends a full read that began without a cursor: what it did not see is gone. `done` names
    containers read whole with this page. `mapper` picks one of the feed's mappers by name.
    """

    records: Sequence[Json]
    cursor: Json = None
    complete: bool = False
    done: Sequence[str] = ()
    ack: Callable[[], Awaitable[None]] | None = None
    mapper: str = ""


Mapped: TypeAlias = Event | Ref | Gone | Nudge
Mapper: TypeAlias = Callable[[Json, Instance], Iterable[Mapped]]
"""Pure: what one raw record means. `BadRecord` (or any error) costs this record alone."""

Axes: TypeAlias = Callable[[Any], AsyncIterator[Axis]]


@dataclass(frozen=True)
class Feed:
    """What `@feed` says about a feed; times are durations.

    Attributes:
        name: The method's name; part of cursor keys, so it is never renamed.
        covers: The capabilities it serves.
        to: Mappers by name; the single mapper's name is "".
        every: The pause between polls; None is a stream, which does not end by itself.
        per: The axes; None is one axis with an empty key.
        component: The selectable component it belongs to.
        lookback: How far the first read goes back.
        late: Set: the feed is windowed, and records may show up this much after their time.
        widest: The longest window one read may ask for.
        newest_first: Pages run backwards in time: a broken window is read again whole.
        repeats: For how long the source may deliver an occurrence again; at least `late`.
        silence: A stream without a page for this long is closed and started again.
    """

    name: str
    covers: tuple[Capability, ...]
    to: Mapping[str, Mapper]
    every: timedelta | None
    per: Axes | None = None
    component: str = ""
    lookback: timedelta = timedelta(days=7)
    late: timedelta | None = None
    widest: timedelta | None = None
    newest_first: bool = False
    repeats: timedelta = timedelta()
    silence: timedelta | None = None

    @property
    def reads_all(self) -> bool:
        """Whether it begins with a full read, whose end tells what is gone."""
        return self.late is None and self.every is not None and not _INVENTORIES.isdisjoint(self.covers)


_INVENTORIES: frozenset[Capability] = frozenset(
    {"accounts", "groups", "privileges", "app_permissions", "dlp_backlog", "sharing_control"}
)


def feed(
    *covers: Capability,
    to: Mapper | Mapping[str, Mapper],
    every: timedelta | None,
    per: Axes | None = None,
    component: str = "",
    lookback: timedelta = timedelta(days=7),
    late: timedelta | None = None,
    widest: timedelta | None = None,
    newest_first: bool = False,
    repeats: timedelta = timedelta(),
    silence: timedelta | None = None,
) -> Callable[[F], F]:
    """Mark `f(self, at: At) -> AsyncIterator[Page]` as a feed; see `Feed` for the words."""
    mappers = dict(to) if isinstance(to, Mapping) else {"": to}

    def mark(f: F) -> F:
        f.__dict__["feed"] = Feed(
            f.__name__, covers, mappers, every, per, component, lookback, late, widest, newest_first,
            max(repeats, late or timedelta()), silence,
        )  # fmt: skip
        return f

    return mark

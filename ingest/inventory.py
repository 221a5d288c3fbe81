"""What a connector's inventories hold: what changed is published, what vanished is deleted, safely.

A full read (a snapshot) is told apart from changes seen live: an entity that a live feed touched after
the snapshot began is neither overwritten nor deleted by it. Memory: 16 bytes an entity, 8 more a snapshot's
member. Not for occurrences: shared, unshared and shared again are three records here.
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

from ingest.hashes import HashMap, HashSet, pack, unpack
from schemas.control import Members

K = TypeVar("K")
V = TypeVar("V")
GONE = 0
_SUSPICIOUS = 0.1
_AT_LEAST = 100
LIVE = "@live"


def entity_hash(entity: str) -> int:
    """Hash an entity's id to 8 bytes."""
    return int.from_bytes(blake2b(entity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(slots=True)
class Scope:
    """The full reads of one feed on one axis."""

    topic: str = ""
    members: HashSet = field(default_factory=HashSet)
    running: HashSet = field(default_factory=HashSet)
    pages: set[tuple[int, int]] = field(default_factory=set)
    finished_began: int = 0


class Inventory:
    """All entities of one connector, by topic."""

    def __init__(self) -> None:
        self._contents: dict[str, HashMap] = {}
        self._touched: dict[str, dict[int, int]] = {}
        self._live: dict[str, dict[int, Members]] = {}
        self.scopes: dict[tuple[str, str], Scope] = {}
        self._next_live = 0
        self._ahead: dict[tuple[str, int], tuple[int, int]] = {}

    def content(self, topic: str, key: int) -> int | None:
        """Tell the content hash last published, or on its way; None or `GONE`: it is not there."""
        ahead = self._ahead.get((topic, key))
        if ahead is not None:
            return ahead[1]
        table = self._contents.get(topic)
        return None if table is None else table.get(key)

    def count(self, topic: str) -> int:
        """Count what is remembered of a topic."""
        table = self._contents.get(topic)
        return 0 if table is None else len(table)

    def set(self, topic: str, key: int, content: int) -> None:
        """Note what was published of an entity."""
        self._contents.setdefault(topic, HashMap()).put(key, content or None)

    def expect(self, topic: str, key: int, content: int, touched: int | None) -> Callable[[], None]:
        """Note what is on its way to Kafka, and return what takes the note back.

        `take` confirms it; a failed commit drops the whole inventory. `touched` is the time of a live change.
        """
        place = (topic, key)
        ahead, times = self._ahead.get(place), self._touched.setdefault(topic, {})
        before = times.get(key)
        self._ahead[place] = ((ahead[0] if ahead else 0) + 1, content)
        if touched is not None:
            times[key] = touched

        def back() -> None:
            _restore(self._ahead, place, ahead)
            _restore(times, key, before)

        return back

    def _arrived(self, topic: str, key: int) -> None:
        count, content = self._ahead.pop((topic, key), (0, 0))
        if count > 1:
            self._ahead[topic, key] = (count - 1, content)

    def touched_since(self, topic: str, key: int, began: int) -> bool:
        """Tell whether a live feed changed an entity since a snapshot began (ms)."""
        return self._touched.get(topic, {}).get(key, -1) >= began

    def scope(self, feed: str, axis: str) -> Scope:
        """Get the full reads of a feed on an axis."""
        return self.scopes.setdefault((feed, axis), Scope())

    # ---- pages, as committed or read back

    def take(self, feed: str, axis: str, number: tuple[int, int], page: Members, running: int) -> None:
        """Take in a page; `running` is the number of the snapshot under way, whose members are kept apart."""
        contents = unpack(base64.b64decode(page.contents))
        keys = [entity_hash(one) for one in page.ids]
        for key, content in zip(keys, contents, strict=True):
            self._arrived(page.topic, key)
            self.set(page.topic, key, content)
        if page.live:
            touched = self._touched.setdefault(page.topic, {})
            for key in keys:
                touched[key] = max(touched.get(key, 0), page.at)
            self._live.setdefault(page.topic, {})[number[1]] = page
            self._next_live = max(self._next_live, number[1] + 1)
            return
        scope = self.scope(feed, axis)
        scope.topic = page.topic
        scope.pages.add(number)
        into = scope.running if number[0] == running else scope.members
        for key in keys:
            into.add(key)

    def live_number(self) -> int:
        """Hand out the number of the next live page."""
        self._next_live += 1
        return self._next_live - 1

    # ---- the end of a snapshot

    def begin(self, feed: str, axis: str) -> None:
        """Start a full read; what an aborted one saw counts as there until this one ends."""
        scope = self.scope(feed, axis)
        for key in scope.running:
            scope.members.add(key)
        scope.running = HashSet()

    def vanished(self, feed: str, axis: str, began: int) -> list[int]:
        """List the hashes of members that a whole snapshot did not see and no live feed touched meanwhile."""
        scope = self.scope(feed, axis)
        return [
            key
            for key in scope.members
            if key not in scope.running
            and self.content(scope.topic, key)
            and not self.touched_since(scope.topic, key, began)
        ]

    def suspicious(self, feed: str, axis: str, gone: int) -> bool:
        """Tell whether so much vanished at once that a lost permission is likelier than deletions."""
        return gone >= _AT_LEAST and gone > _SUSPICIOUS * len(self.scope(feed, axis).members)

    def older(self, feed: str, axis: str, snapshot: int) -> list[tuple[int, int]]:
        """List the pages of earlier snapshots."""
        return sorted(number for number in self.scope(feed, axis).pages if number[0] < snapshot)

    def finish(self, feed: str, axis: str, snapshot: int, began: int) -> None:
        """Make the finished snapshot the members; called once that is durable."""
        scope = self.scope(feed, axis)
        scope.members, scope.running = scope.running, HashSet()
        scope.finished_began = began
        scope.pages = {number for number in scope.pages if number[0] >= snapshot}

    def settled(self, topic: str, reads: Iterable[tuple[str, str]]) -> tuple[list[int], list[str]]:
        """Look at live pages that every full read of the connector (feed, axis) has since read past.

        A read that never ended holds all pages back: what they name may be its own.

        Returns:
            The live pages that can be dropped, and the entities in them that no snapshot knows: they came and
            went unseen.
        """
        scopes = [self.scope(feed, axis) for feed, axis in reads]
        horizon = min((scope.finished_began for scope in scopes), default=0)
        touched = self._touched.get(topic, {})
        pages: list[int] = []
        orphans: list[str] = []
        for number, page in self._live.get(topic, {}).items():
            if page.at >= horizon:
                continue
            pages.append(number)
            for one in page.ids:
                key = entity_hash(one)
                known = any(key in scope.members for scope in scopes)
                if touched.get(key) == page.at and self.content(topic, key) and not known:
                    orphans.append(one)
        return pages, orphans

    def drop_live(self, topic: str, numbers: Iterable[int]) -> None:
        """Forget live pages whose tombstones were committed."""
        touched = self._touched.get(topic, {})
        for number in numbers:
            page = self._live.get(topic, {}).pop(number, None)
            for one in page.ids if page else ():
                if page and touched.get(entity_hash(one)) == page.at:
                    touched.pop(entity_hash(one))


def members(
    incarnation: str, snapshot: int, topic: str, entries: Iterable[tuple[str, int]], at: int, *, live: bool
) -> Members:
    """Make the record of a page from (id, content hash) pairs."""
    pairs = list(entries)
    return Members(
        incarnation=incarnation,
        snapshot=snapshot,
        topic=topic,
        ids=tuple(one for one, _ in pairs),
        contents=base64.b64encode(pack(content for _, content in pairs)).decode(),
        at=at,
        live=live,
    )


def _restore(into: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        into.pop(key, None)
    else:
        into[key] = value

"""A reader of a compacted inventory sees what the source holds, however reads, changes and crashes mix."""

from dataclasses import dataclass, field
from itertools import count

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.apis import Json
from ingest.cluster import Cluster
from ingest.config import Config
from ingest.inventory import GONE, LIVE, Inventory, entity_hash, members
from ingest.mapping import Preparation, Prepared, Source
from ingest.reads import Gone, Instance, Mapped
from ingest.state import ConnectorState
from schemas.control import Members, Wish
from schemas.events import Origin, event
from schemas.topics import TOPICS

NAMES = "abcdef"
PAGE = 2


def listed(record: Json, instance: Instance) -> list[Mapped]:
    """Map (name, state); without a state it is gone."""
    del instance
    name, state = record
    if state is None:
        return [Gone("file", name)]
    resource = {"uid": name, "name": name, "type": "file", "data": {"s": state}}
    return [event(5023, 2, 1_700_000_000_000, log_name="files", source_id=name, resources=[resource])]


@dataclass
class World:
    """A source, an owner that reads it, and the topics between them and a reader."""

    source: dict[str, int] = field(default_factory=dict)
    topic: dict[str, int] = field(default_factory=dict)
    pages: dict[tuple[str, int, int], Members] = field(default_factory=dict)
    state: ConnectorState = field(default_factory=ConnectorState)
    clock: "count[int]" = field(default_factory=lambda: count(1))
    snapshot: int = 0
    began: int = 0
    done: bool = True
    place: int = 0
    number: int = 0
    captured: list[tuple[str, int]] | None = None
    told: dict[str, int] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    tombstones: list[str] = field(default_factory=list)

    def prepare(self, records: list[Json], full: bool) -> Prepared:
        """Map a page with the real mapping."""
        cluster = Cluster(Config(kafka="nowhere:1"))
        cluster.counts = dict.fromkeys(TOPICS, 1)
        wish = Wish(name="c", provider="toy", partition=0, incarnation="1")
        origin = Origin("t", "toy", "i", {"name": "T", "vendor_name": "T"}, account_type="Toy account")
        made = Preparation(cluster, wish, origin, Instance("i"), self.state, lambda: next(self.clock))
        at = Source("f", "", listed, "", (self.snapshot, self.began) if full else None, live=not full)
        return made.prepare(records, at)

    def commit(self, made: Prepared, full: bool) -> None:
        """Commit a page: what the reader sees, and what the owner notes."""
        assert made.letters == 0
        for one in made.records:
            name = one.key.decode().rpartition("/")[2]
            if one.topic == "files" and one.value is None:
                self.topic.pop(name)
                self.tombstones.append(name)
            elif one.topic == "files":
                self.topic[name] = orjson.loads(one.value or b"")["resources"][0]["data"]["s"]
        inventory = self.state.inventory
        for topic, entries in made.entries.items():
            if full:
                place, feed = (self.snapshot, self.number), "f"
                self.number += 1
                self.known.update(name for name, _ in entries)
            else:
                place, feed = (0, inventory.live_number()), LIVE
            page = members("1", place[0], topic, entries, next(self.clock), live=not full)
            self.pages[feed, *place] = page
            inventory.take(feed, "" if full else topic, place, page, self.snapshot if full else -1)

    def live(self, name: str, state: int | None) -> None:
        """Change something that a live feed tells of."""
        self.silent(name, state)
        self.told[name] = next(self.clock)
        self.commit(self.prepare([(name, state)], full=False), full=False)

    def silent(self, name: str, state: int | None) -> None:
        """Change something that only a full read finds."""
        if state is None:
            self.source.pop(name, None)
        else:
            self.source[name] = state

    def begin(self) -> None:
        """Begin a full read; one under way is given up."""
        self.snapshot, self.began, self.done = self.snapshot + 1, next(self.clock), False
        self.place = self.number = 0
        self.captured = None
        self.state.inventory.begin("f", "")

    def read(self) -> None:
        """Read a page ahead; it may be stale by the time it is written."""
        if not self.done and self.captured is None:
            names = NAMES[self.place : self.place + PAGE]
            self.captured = [(name, self.source[name]) for name in names if name in self.source]

    def write(self) -> None:
        """Write the page that was read."""
        if self.captured is not None:
            self.commit(self.prepare(list(self.captured), full=True), full=True)
            self.captured, self.place = None, self.place + PAGE

    def end(self) -> None:
        """Read to the end and delete what is gone, as the finishing does."""
        if self.done:
            return
        while self.place < len(NAMES):
            self.read()
            self.write()
        inventory = self.state.inventory
        gone = inventory.vanished("f", "", self.began)
        names = [name for name in NAMES if entity_hash(name) in gone]
        assert len(names) == len(gone)
        for name in names:
            assert self.told.get(name, -1) < self.began, "deleted though a live feed told of it meanwhile"
            assert self.topic.pop(name, None) is not None, "deleted twice"
        if names:
            page = members("1", self.snapshot, "files", [(n, GONE) for n in names], 0, live=False)
            self.pages["f", self.snapshot, 10**9] = page
            inventory.take("f", "", (self.snapshot, 10**9), page, self.snapshot)
        for place in inventory.older("f", "", self.snapshot):
            self.pages.pop(("f", *place), None)
        inventory.finish("f", "", self.snapshot, self.began)
        self.done = True

    def restart(self) -> None:
        """Lose the memory; read the pages back in the order they were last written."""
        self.captured = None
        self.state = ConnectorState()
        for (feed, snapshot, number), page in self.pages.items():
            running = -1 if self.done else self.snapshot
            axis = "files" if feed == LIVE else ""
            self.state.inventory.take(feed, axis, (snapshot, number), page, running)


NAME, STATE = st.sampled_from(NAMES), st.none() | st.integers(0, 1)
OP = st.one_of(
    st.tuples(st.just("live"), NAME, STATE),
    st.tuples(st.just("silent"), NAME, STATE),
    st.tuples(st.sampled_from(["begin", "read", "write", "end", "restart"])),
)


@given(st.lists(OP, max_size=40))
@settings(max_examples=250, deadline=None)
@example([("live", "a", 1), ("begin",), ("silent", "a", None), ("end",), ("begin",), ("end",)])
@example([("silent", "a", 1), ("begin",), ("read",), ("live", "a", 0), ("write",), ("restart",), ("end",)])
@example([("begin",), ("end",), ("begin",), ("live", "b", 1), ("read",), ("end",), ("restart",)])
def test_the_reader_sees_what_the_source_holds(ops: list[tuple[str, ...]]) -> None:
    """After every step told things are as told; after one quiet full read everything is."""
    world = World()
    for name, *rest in ops:
        getattr(world, name)(*rest)
        for told, at in world.told.items():
            # Silent changes since are found by the next full read alone.
            if at >= world.began and name == "live" and rest[0] == told:
                assert world.topic.get(told) == world.source.get(told)
        world.known |= set(world.topic) if name == "end" else set()
    world.begin()
    world.end()
    extra = set(world.topic) - set(world.source)
    assert {name: world.topic.get(name) for name in world.source} == world.source
    # What came and went between two full reads, told of only when it came, is the finishing's to settle.
    assert not extra & world.known or all(name in world.told for name in extra)
    before = dict(world.topic)
    world.restart()
    world.begin()
    world.end()
    assert world.topic == before


@given(st.lists(OP, max_size=25), st.lists(OP, max_size=10))
@settings(max_examples=60, deadline=None)
def test_a_restart_changes_nothing(before: list[tuple[str, ...]], after: list[tuple[str, ...]]) -> None:
    """An owner that lost its memory goes on exactly as one that did not."""
    kept, lost = World(), World()
    for name, *rest in before:
        for world in (kept, lost):
            getattr(world, name)(*rest)
    kept.captured = None
    lost.restart()
    for name, *rest in after:
        for world in (kept, lost):
            getattr(world, name)(*rest)
    assert kept.topic == lost.topic
    assert kept.tombstones == lost.tombstones


def whole(inventory: Inventory, number: int, ids: list[str]) -> None:
    """Take in a snapshot's only page."""
    page = members("1", number, "files", [(one, 1) for one in ids], 0, live=False)
    inventory.take("f", "", (number, 0), page, number)


@pytest.mark.parametrize(
    ("had", "gone", "expected"),
    [(1000, 100, False), (1000, 101, True), (500, 99, False), (100, 100, True), (99, 99, False),
     (10_000, 1000, False), (10_000, 1001, True)],
)  # fmt: skip
def test_more_than_a_tenth_and_a_hundred_at_once_is_suspicious(had: int, gone: int, expected: bool) -> None:
    """A lost permission is likelier than that many deletions; below a hundred nothing is held back."""
    inventory = Inventory()
    whole(inventory, 1, [str(n) for n in range(had)])
    inventory.finish("f", "", 1, 1)
    inventory.begin("f", "")
    whole(inventory, 2, [str(n) for n in range(gone, had)])
    vanished = inventory.vanished("f", "", 5)
    assert len(vanished) == gone
    assert inventory.suspicious("f", "", len(vanished)) is expected


def test_an_aborted_read_deletes_nothing_and_forgets_nothing() -> None:
    """What a given-up full read saw counts as there until the next whole one ends."""
    inventory = Inventory()
    whole(inventory, 1, ["a"])
    inventory.begin("f", "")
    whole(inventory, 2, ["b"])
    assert set(inventory.vanished("f", "", 0)) == {entity_hash("a")}
    assert inventory.older("f", "", 2) == [(1, 0)]
    inventory.finish("f", "", 2, 1)
    assert inventory.older("f", "", 3) == [(2, 0)]


def test_a_hostile_id_is_an_id() -> None:
    """Any text names an entity, half a surrogate pair and the empty text too."""
    assert len({entity_hash(one) for one in ("", "\ud800", "\ud801", "a/b", "\x00")}) == 5

"""What the owner knows comes back from its topics, however far they have been compacted."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.consuming import Incoming
from ingest.errors import Misconfigured
from ingest.hashes import HashSet
from ingest.inventory import LIVE, entity_hash, members
from ingest.producing import Outgoing
from ingest.state import INBOX, STATUS, PartitionState, key, parts_of
from schemas.control import Cursor, InboxCursor, Record, Registration, Status, Token, Wish

HOSTILE = st.text(max_size=12) | st.sampled_from(["", "/", "a/b", "%2F", "..", "@inbox", "\x00", " ", "ü/💥"])


@given(st.lists(HOSTILE, min_size=1, max_size=5))
def test_a_key_comes_apart_as_it_was_joined(parts: list[str]) -> None:
    """Whatever the parts hold, slashes and percent signs included."""
    assert parts_of(key(*parts)) == parts


@given(st.lists(HOSTILE, min_size=1, max_size=3), st.lists(HOSTILE, min_size=1, max_size=3))
def test_two_keys_are_equal_only_if_their_parts_are(one: list[str], other: list[str]) -> None:
    """Nobody's axis can be named so that it lands on another's key."""
    assert (key(*one) == key(*other)) == (one == other)


def wish(incarnation: str = "1") -> Wish:
    """Make the connector's wish."""
    return Wish(name="c", provider="toy", partition=0, incarnation=incarnation)


class Topics:
    """The state topics of one partition: written in order, compacted at will, read back."""

    def __init__(self, incarnation: str = "1") -> None:
        self._offsets = count()
        first = wish(incarnation)
        self.log = [Incoming("connectors", 0, next(self._offsets), b"c", first.dump(), (), 0)]

    def write(self, records: list[Outgoing]) -> None:
        """Append."""
        for one in records:
            self.log.append(Incoming(one.topic, 0, next(self._offsets), one.key, one.value, (), 0))

    def compact(self, dirty: int, *, tombstones: bool) -> list[Incoming]:
        """Keep of what lies before `dirty` only each key's latest, and tombstones only on wish."""
        latest = {(one.topic, one.key): one.offset for one in self.log}
        return [
            one
            for one in self.log
            if one.offset >= dirty
            or (latest[one.topic, one.key] == one.offset and (one.value is not None or tombstones))
        ]


def read(records: list[Incoming]) -> PartitionState:
    """Read a partition's state as a take-over does."""
    state = PartitionState(0)
    for one in records:
        state.take(one)
    state.settle()
    return state


def picture(state: PartitionState) -> dict[str, Any]:
    """Show everything the state says about one connector, comparably."""
    mine = state.connectors.get("c") or state.of(wish())
    return {
        "cursors": mine.cursors,
        "token": mine.token,
        "status": mine.status,
        "registrations": mine.registrations,
        "inbox": state.inbox,
        "keys": mine.keys,
        "seen": {(k, t) for k in range(30) for t in (0, 700_000) if mine.seen.has(k, t)},
        "files": {n: mine.inventory.content("files", entity_hash(n)) for n in "abcd"},
        "touched": {n for n in "abcd" if mine.inventory.touched_since("files", entity_hash(n), 5)},
        "members": {
            n for n in "abcd" for s in mine.inventory.scopes.values()
            if entity_hash(n) in s.members or entity_hash(n) in s.running
        },
    }  # fmt: skip


class Owner:
    """Writes all kinds of state as an owner does."""

    def __init__(self) -> None:
        self.state, self.topics = PartitionState(0), Topics()
        self.mine = self.state.of(wish())
        self.pages: list[int] = []
        self.live = count()

    def write(self, topic: str, raw: bytes, value: Record | None) -> None:
        """Write one record."""
        self.topics.write([self.state.record(topic, self.mine, raw, value)])

    def cursor(self, step: int, n: int) -> None:
        """Move a cursor."""
        self.write("cursors", key("c", f"f{n}", "a/x"), Cursor(incarnation="1", position=step))

    def retired(self, _: int, n: int) -> None:
        """End an axis."""
        self.write("cursors", key("c", f"f{n}", "a/x"), None)

    def seen(self, step: int, _: int) -> None:
        """Publish two occurrences."""
        number, record = self.mine.seen.page([(step % 30, 0), (step % 30 + 1, 700_000)], "1", step)
        self.mine.seen.add(number, record)
        self.pages.append(number)
        self.write("seen", key("c", str(number)), record)

    def expired(self, _: int, __: int) -> None:
        """Forget the oldest page."""
        if self.pages:
            self.write("seen", key("c", str(self.pages.pop(0))), None)

    def token(self, step: int, _: int) -> None:
        """Renew a token."""
        self.write("credentials", key("c"), Token(incarnation="1", generation=step, sealed=""))

    def status(self, _: int, n: int) -> None:
        """Report."""
        self.write("cursors", key("c", STATUS), Status(connector="c", state=f"s{n}", incarnation="1"))

    def registered(self, step: int, n: int) -> None:
        """Register."""
        made = Registration(incarnation="1", kind="K", axis=f"{n}", id=str(step))
        self.write("subscriptions", key("c", "K", f"{n}"), made)

    def unregistered(self, _: int, n: int) -> None:
        """Take a registration away."""
        self.write("subscriptions", key("c", "K", f"{n}"), None)

    def changed(self, step: int, n: int) -> None:
        """Change a file, live."""
        page = members("1", 0, "files", [("abcd"[n], step + 1)], step, live=True)
        self.write("members", key("c", LIVE, "files", "0", str(next(self.live))), page)

    def listed(self, step: int, n: int) -> None:
        """Write a page of a full read."""
        page = members("1", 1, "files", [("abcd"[n], step + 1)], step, live=False)
        self.write("members", key("c", "f", "", "1", str(n)), page)

    def delivered(self, step: int, _: int) -> None:
        """Move on in the inbox."""
        self.topics.write([Outgoing("cursors", 0, key(INBOX, "0"), InboxCursor(offset=step).dump())])


OPS = st.sampled_from(["cursor", "retired", "seen", "expired", "token", "status", "registered",
                       "unregistered", "changed", "listed", "delivered"])  # fmt: skip


@given(st.lists(st.tuples(OPS, st.integers(0, 3)), max_size=40), st.integers(0, 40), st.booleans())
@settings(max_examples=150)
def test_any_compaction_gives_the_same_state(
    ops: list[tuple[str, int]], dirty: int, tombstones: bool
) -> None:
    """What the broker has cleaned away was of no consequence."""
    owner = Owner()
    for step, (op, n) in enumerate(ops):
        getattr(owner, op)(step, n)
    whole = read(owner.topics.log)
    assert whole.unreadable == ""
    cleaned = read(owner.topics.compact(dirty, tombstones=tombstones))
    assert picture(cleaned) | {"seen": 0} == picture(whole) | {"seen": 0}
    # What a dropped page held may linger in memory until a restart; nothing kept is ever forgotten.
    assert picture(cleaned)["seen"] <= picture(whole)["seen"]
    assert picture(whole)["keys"] == owner.mine.keys


def test_an_earlier_incarnation_is_laid_aside() -> None:
    """A name connected anew starts clean, and what its predecessor left is listed for removal."""
    topics = Topics("2")
    old = PartitionState(0)
    mine = old.of(wish("1"))
    topics.write([old.record("cursors", mine, key("c", "f", ""), Cursor(incarnation="1", position=5))])
    state = read(topics.log)
    assert state.of(wish("2")).cursors == {}
    assert state.leftovers("c") == [Outgoing("cursors", 0, key("c", "f", ""), None)]
    assert state.leftovers("c") == []


@pytest.mark.parametrize("topic", ["seen", "members", "cursors", "subscriptions", "credentials"])
def test_any_record_tells_its_incarnation(topic: str) -> None:
    """Whatever alone is left of an earlier incarnation, it is not taken for the new one's."""
    topics, old = Topics("2"), PartitionState(0)
    mine = old.of(wish("1"))
    number, seen = mine.seen.page([(1, 1)], "1", 0)
    records = {
        "seen": (key("c", str(number)), seen),
        "members": (key("c", "f", "", "1", "0"), members("1", 1, "files", [("a", 1)], 0, live=False)),
        "cursors": (key("c", "f", ""), Cursor(incarnation="1")),
        "subscriptions": (key("c", "K", ""), Registration(incarnation="1", kind="K", axis="", id="1")),
        "credentials": (key("c"), Token(incarnation="1", generation=1, sealed="")),
    }
    raw, value = records[topic]
    topics.write([old.record(topic, mine, raw, value)])
    state = read(topics.log)
    fresh = state.of(wish("2"))
    assert not fresh.seen.has(1, 1)
    assert fresh.inventory.content("files", entity_hash("a")) is None
    assert [(one.topic, one.value) for one in state.leftovers("c")] == [(topic, None)]


def test_a_removed_connector_leaves_nothing() -> None:
    """All its keys are tombstoned; read back, nothing is known of it."""
    topics, state = Topics(), PartitionState(0)
    mine = state.of(wish())
    topics.write([
        state.record("cursors", mine, key("c", "f", ""), Cursor(incarnation="1")),
        state.record("credentials", mine, key("c"), Token(incarnation="1", generation=1, sealed="")),
    ])  # fmt: skip
    topics.write(state.leftovers("c", whole=True))
    assert state.connectors == {}
    for again in (read(topics.log), read(topics.compact(99, tombstones=False))):
        assert again.leftovers("c", whole=True) == []


@pytest.mark.parametrize(
    ("topic", "raw", "value"),
    [
        ("cursors", b"c/f/a", b"\xff"),
        ("cursors", b"c/f/a", b'{"v": 99, "incarnation": "1"}'),
        ("cursors", b"c", b'{"incarnation": "1"}'),
        ("cursors", b"", b'{"incarnation": "1"}'),
        ("seen", b"c/x", b'{"incarnation":"1","newest_time":1,"expires":1,"hashes":"","times":"0:0"}'),
        ("seen", b"c/1", b'{"incarnation":"1","newest_time":1,"expires":1,"hashes":"AAA","times":"0:1"}'),
        ("seen", b"c/1", b'{"incarnation":"1","newest_time":1,"expires":1,"hashes":"","times":"?"}'),
        ("seen", b"c", b'{"incarnation":"1","newest_time":1,"expires":1,"hashes":"","times":""}'),
        ("members", b"c/f", b'{"incarnation":"1","snapshot":1,"topic":"files","ids":[],"contents":""}'),
        ("members", b"c/f/a/1/x", b'{"incarnation":"1","snapshot":1,"topic":"t","ids":[],"contents":""}'),
        ("members", b"c/f/a/1/1", b'{"incarnation":"1","snapshot":1,"topic":"t","ids":["a"],"contents":""}'),
        ("subscriptions", b"c", b'{"incarnation":"1","kind":"k","axis":"","id":"1"}'),
    ],
)
def test_state_that_can_not_be_read_is_said(topic: str, raw: bytes, value: bytes) -> None:
    """Damaged, newer or misplaced state leaves the partition unowned with the record's name: no crash."""
    good = Incoming("cursors", 0, 0, key("c", "ok", ""), Cursor(incarnation="1").dump(), (), 0)
    with pytest.raises(Misconfigured, match=f"can't read all of the state: {topic} "):
        read([*Topics().log, Incoming(topic, 0, 0, raw, value, (), 0), good])


@pytest.mark.parametrize("value", [b"\xff", b"{}", b'{"v": 99}', b"[]"])
def test_a_damaged_wish_is_passed_over(value: bytes) -> None:
    """One bad wish costs that connector alone; the last good one stays."""
    state = PartitionState(0)
    for each in (wish().dump(), value):
        state.take(Incoming("connectors", 0, 0, b"c", each, (), 0))
    assert state.wishes == {"c": wish()}
    assert state.unreadable == ""
    state.take(Incoming("connectors", 0, 0, b"c", None, (), 0))
    assert state.wishes == {}


@pytest.mark.parametrize("value", [b"\xff", wish().model_copy(update={"v": 99}).dump()])
def test_a_wish_that_can_not_be_read_erases_nothing(value: bytes) -> None:
    """Damaged, or written by a newer release: what is known of the connector is not taken for leftovers."""
    topics = Topics()
    topics.log[0] = topics.log[0]._replace(value=value)
    raw = key("c", "f", "")
    topics.write([Outgoing("cursors", 0, raw, Cursor(incarnation="1").dump())])
    state = read(topics.log)
    assert state.leftovers("c") == []
    assert "c" not in state.names()


def test_state_without_any_wish_is_left_over() -> None:
    """A connector whose wish was removed for good has its state removed."""
    topics = Topics()
    raw = key("c", "f", "")
    topics.write([Outgoing("cursors", 0, raw, Cursor(incarnation="1").dump())])
    state = read(topics.log[1:])
    assert state.names() == {"c"}
    assert state.leftovers("c", whole=True) == [Outgoing("cursors", 0, raw, None)]


def test_which_snapshot_runs_is_known_from_the_cursor() -> None:
    """Pages of a running full read are kept apart from the members of the last whole one."""
    topics, old = Topics(), PartitionState(0)
    mine = old.of(wish())
    for snapshot, name in ((1, "a"), (2, "b")):
        page = members("1", snapshot, "files", [(name, 7)], 0, live=False)
        topics.write([old.record("members", mine, key("c", "f", "", str(snapshot), "0"), page)])
    cursor = Cursor(incarnation="1", snapshot=2, started_at=20, finished_at=10)
    topics.write([old.record("cursors", mine, key("c", "f", ""), cursor)])
    scope = read(topics.log).connectors["c"].inventory.scope("f", "")
    assert (list(scope.members), list(scope.running)) == ([entity_hash("a")], [entity_hash("b")])
    assert isinstance(scope.members, HashSet)

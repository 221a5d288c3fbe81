"""A bad record costs itself alone, and everything that goes out goes out once."""

import base64
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.apis import Json
from ingest.cluster import Cluster
from ingest.config import Config
from ingest.errors import BadRecord
from ingest.hashes import from_hex
from ingest.inventory import GONE, Inventory, entity_hash, members
from ingest.mapping import LARGEST, Preparation, Prepared, Source
from ingest.producing import Outgoing
from ingest.reads import Gone, Instance, Mapped, Nudge, Ref
from ingest.state import ConnectorState
from schemas.control import DeadLetter, ScanRequest, Wish
from schemas.events import Origin, event
from schemas.topics import TOPICS

NOW = 1_700_000_000_000
CANARY = "canary-5d1f-secret"


def logon(source_id: str, **more: Any) -> dict[str, Any]:
    """Make a sign-in."""
    return event(
        3002, 1, NOW - 1000, log_name="log", source_id=source_id, user={"uid": "u1"},
        service={"name": "toy"}, src_endpoint={"name": "unknown"}, **more,
    )  # fmt: skip


def file(name: str, state: str) -> dict[str, Any]:
    """Make the state of a file."""
    return event(
        5023, 2, NOW, log_name="files", source_id=name,
        resources=[{"uid": name, "name": name, "type": "file", "data": {"s": state}}],
    )  # fmt: skip


def mapper(record: Json, instance: Instance) -> Iterable[Mapped]:  # noqa: C901, PLR0912 one case a kind
    """Do what the record says."""
    assert instance.id == "i-1"
    match record:
        case {"kind": "raise"}:
            raise KeyError(CANARY)
        case {"kind": "bad", "why": why}:
            raise BadRecord(why)
        case {"kind": "half", "id": name}:
            yield logon(name)
            raise ValueError(CANARY)
        case {"kind": "invalid", "id": name}:
            yield {**logon(name), "time": CANARY}
        case {"kind": "large", "id": name}:
            yield logon(name, unmapped={"pad": "x" * LARGEST})
        case {"kind": "unknown", "id": name}:
            yield {**logon(name), "class_uid": 9999}
        case {"kind": "garbage"}:
            yield CANARY  # type: ignore[misc]  # what a wrong mapper does
        case {"kind": "nothing"}:
            return
        case {"kind": "mixed", "id": name}:
            yield logon(f"{name}-first")
            yield Nudge("f")
            yield file(f"{name}-file", "x")
            yield logon(f"{name}-second", unmapped={"n": object()})
        case {"kind": "file", "id": name, "state": state}:
            yield file(name, state)
            yield Ref("file", name, state)
        case {"kind": "gone", "id": name}:
            yield Gone("file", name)
        case {"kind": "nudge"}:
            yield Nudge("f", "a", 1)
        case {"id": name}:
            yield logon(name)
        case _:
            raise TypeError(CANARY)


BAD: Mapping[str, tuple[Json, str]] = {
    "raises": ({"kind": "raise", "x": CANARY}, "mapping-failed"),
    "bad": ({"kind": "bad", "why": "no time in it"}, "bad-record"),
    "half a surrogate": ({"kind": "bad", "why": "named \ud800"}, "bad-record"),
    "raises after an event": ({"kind": "half", "id": "h"}, "mapping-failed"),
    "invalid event": ({"kind": "invalid", "id": "i"}, "invalid-event"),
    "too large": ({"kind": "large", "id": "l"}, "too-large"),
    "unknown class": ({"kind": "unknown", "id": "u"}, "mapping-failed"),
    "garbage": ({"kind": "garbage"}, "mapping-failed"),
    "mixed": ({"kind": "mixed", "id": "m"}, "invalid-event"),
    "null": (None, "mapping-failed"),
    "a number": (2**70, "mapping-failed"),
    "a surrogate": ({"name": "\ud800"}, "mapping-failed"),
    "a list": ([1, [2]], "mapping-failed"),
    "deep": (orjson.loads('{"a":' * 900 + "1" + "}" * 900), "mapping-failed"),
    "deeper": (orjson.loads('{"a":' * 1000 + "1" + "}" * 1000), "mapping-failed"),
}


TICKS = count(NOW)
"""Each look at the clock is a millisecond later."""


def preparation(state: ConnectorState | None = None) -> Preparation:
    """Put the mapping of one connector together, without Kafka."""
    cluster = Cluster(Config(kafka="nowhere:1"))
    cluster.counts = dict.fromkeys(TOPICS, 4)
    wish = Wish(name="c1", provider="toy", partition=3, incarnation="1", tenant="acme")
    origin = Origin("acme", "toy", "i-1", {"name": "Toy", "vendor_name": "Toy"}, account_type="Toy account")
    return Preparation(
        cluster, wish, origin, Instance("i-1"), state or ConnectorState(), partial(next, TICKS)
    )


def source(snapshot: tuple[int, int] | None = None) -> Source:
    """Say where pages come from."""
    return Source("log", "ax", mapper, "m", snapshot, live=snapshot is None)


def on(made: Prepared, topic: str) -> list[Outgoing]:
    """Pick what goes to a topic."""
    return [one for one in made.records if one.topic == topic]


def ids(made: Prepared, topic: str = "logons") -> list[str]:
    """Name the events on a topic."""
    return [orjson.loads(one.value or b"")["metadata"]["original_event_uid"] for one in on(made, topic)]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_costs_itself_alone(
    name: str, official: Callable[[Mapping[str, Any]], list[str]]
) -> None:
    """Its neighbours go out; it becomes one letter with its raw form, and one public complaint."""
    record, reason = BAD[name]
    made = preparation().prepare([{"id": "before"}, record, {"id": "after"}], source())
    assert ids(made) == ["before", "after"]
    assert not on(made, "files")
    assert made.letters == 1
    (sent,) = on(made, "dead-letters")
    letter = DeadLetter.load(sent.value or b"")
    assert (letter.reason, letter.connector, letter.feed, letter.axis, letter.mapper, letter.partition) == (
        reason, "c1", "log", "ax", "m", 3,
    )  # fmt: skip
    assert (sent.key.decode(), sent.partition) == (letter.id, 3)
    assert letter.raw
    assert CANARY not in letter.detail
    (complaint,) = on(made, "health")
    told = orjson.loads(complaint.value or b"")
    assert official(told) == []
    assert (told["class_uid"], told["activity_id"], told["status_code"]) == (6008, 2, reason)
    assert CANARY not in (complaint.value or b"").decode()
    assert {key for key, _ in made.seen} >= {from_hex(letter.id)}
    assert len(made.seen) == 3


@given(st.lists(st.one_of(st.sampled_from(sorted(BAD)), st.integers(0, 5)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_good_records_get_through_whatever_surrounds_them(page: list[str | int]) -> None:
    """In any mixture each good one is published once, each distinct bad one is one letter."""
    records = [BAD[one][0] if isinstance(one, str) else {"id": f"g{one}"} for one in page]
    made = preparation().prepare(records, source())
    good = list(dict.fromkeys(f"g{one}" for one in page if isinstance(one, int)))
    assert ids(made) == good
    assert len(on(made, "dead-letters")) == len({one for one in page if isinstance(one, str)})
    assert made.letters == sum(isinstance(one, str) for one in page)
    assert len(made.times) == len(good)
    assert len({key for key, _ in made.seen}) == len(made.seen)


def test_the_raw_record_of_a_letter_maps_again() -> None:
    """What the letter holds is the record as JSON, so that a retry maps the same thing."""
    made = preparation().prepare([{"kind": "raise", "x": [1, "ü"]}], source())
    letter = DeadLetter.load(on(made, "dead-letters")[0].value or b"")
    assert orjson.loads(letter.raw) == {"kind": "raise", "x": [1, "ü"]}
    assert (letter.truncated, letter.binary, letter.attempts) == (False, False, 1)


def test_a_retry_is_a_letter_of_one_more_attempt() -> None:
    """A dead letter that fails again keeps its id, though it is among the seen, and counts up."""
    state = ConnectorState()
    first = preparation(state).prepare([{"kind": "raise"}], source())
    number, record = state.seen.page(first.seen, "1", 0)
    state.seen.add(number, record)
    letter = DeadLetter.load(on(first, "dead-letters")[0].value or b"")
    again = preparation(state).prepare([{"kind": "raise"}], source())
    assert not on(again, "dead-letters")
    retried = preparation(state).prepare([{"kind": "raise"}], source(), retry=letter)
    twice = DeadLetter.load(on(retried, "dead-letters")[0].value or b"")
    assert (twice.id, twice.attempts, retried.seen) == (letter.id, 2, [])


def test_ids_are_equal_on_reading_again_and_unique() -> None:
    """The same records give the same ids and the same keys, in whatever page they come."""
    records = [{"id": str(n)} for n in range(20)]
    one = preparation().prepare(records, source()).records
    other = [r for part in (records[:7], records[7:]) for r in preparation().prepare(part, source()).records]
    first, second = ([(dict(r.headers)["ce_id"], r.key, r.partition) for r in made] for made in (one, other))
    assert first == second
    assert len({head for head, _, _ in first}) == 20


def test_what_was_published_is_a_duplicate() -> None:
    """Twice in a page, or already in the window, goes out once and is counted."""
    state = ConnectorState()
    made = preparation(state).prepare([{"id": "a"}, {"id": "a"}, {"id": "b"}], source())
    assert (ids(made), made.duplicates) == (["a", "b"], 1)
    state.seen.page(made.seen, "1", 0)
    again = preparation(state).prepare([{"id": "a"}, {"id": "c"}], source())
    assert (ids(again), again.duplicates) == (["c"], 1)


def test_a_file_that_changed_is_scanned_live_or_as_backlog() -> None:
    """A live reference always asks for a scan; a full read asks only where it found a change."""
    made = preparation().prepare([{"kind": "file", "id": "f", "state": "v2"}], source())
    (asked,) = on(made, "scan-live")
    request = ScanRequest.load(asked.value or b"")
    assert (request.file.id, request.file.version, request.connector, request.tenant) == (
        "f", "v2", "c1", "acme",
    )  # fmt: skip
    assert asked.key == b"acme/toy/i-1/f"
    state = ConnectorState()
    for expected in (1, 0):
        full = preparation(state).prepare([{"kind": "file", "id": "f", "state": "v"}], source((1, NOW)))
        assert len(on(full, "scan-backlog")) == expected
        assert not on(full, "scan-live")
        take(state.inventory, full)


def take(inventory: Inventory, made: Prepared) -> None:
    """Note what was committed, as a live page's note does."""
    for topic, entries in made.entries.items():
        number = inventory.live_number()
        page = members("1", 0, topic, entries, NOW, live=True)
        inventory.take("@live", topic, (0, number), page, -1)


def states(made: Prepared) -> list[str | None]:
    """List the states of files in the order they are published, None for a deletion."""
    return [
        None if one.value is None else orjson.loads(one.value)["resources"][0]["data"]["s"]
        for one in on(made, "files")
    ]


SHARED, PRIVATE = ({"kind": "file", "id": "f", "state": s} for s in ("shared", "private"))
DELETED = {"kind": "gone", "id": "f"}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([SHARED, PRIVATE, SHARED], ["shared", "private", "shared"]),
        ([SHARED, PRIVATE, SHARED, PRIVATE], ["shared", "private", "shared", "private"]),
        ([SHARED, SHARED], ["shared"]),
        ([SHARED, DELETED], ["shared", None]),
        ([SHARED, DELETED, SHARED], ["shared", None, "shared"]),
        ([DELETED], []),
        ([SHARED, DELETED, DELETED], ["shared", None]),
    ],
)
def test_every_change_of_an_entity_goes_out(
    records: list[Json], expected: list[str | None], together: bool
) -> None:
    """Changes back and forth are as many records, in one page as in many, with an id of their own each."""
    state = ConnectorState()
    pages = [records] if together else [[one] for one in records]
    sent = list[Outgoing]()
    found = list[str | None]()
    for page in pages:
        made = preparation(state).prepare(page, source())
        take(state.inventory, made)
        found += states(made)
        sent += on(made, "files")
    assert found == expected
    heads = [dict(one.headers)["ce_id"] for one in sent if one.value is not None]
    assert len(set(heads)) == len(heads)


def test_units_on_their_way_are_known() -> None:
    """A page prepared while another waits for Kafka is judged against what that one will have published."""
    state = ConnectorState()
    waiting = preparation(state).prepare([SHARED], source())
    next_ = preparation(state).prepare([PRIVATE], source())
    take(state.inventory, waiting)
    last = preparation(state).prepare([SHARED], source())
    assert states(last) == ["shared"]
    take(state.inventory, next_)
    take(state.inventory, last)
    assert states(preparation(state).prepare([SHARED], source())) == []


def test_a_bad_record_leaves_no_trace_in_the_inventory() -> None:
    """What a record said of a file before it turned out bad is taken back."""
    state = ConnectorState()
    preparation(state).prepare([{"kind": "mixed", "id": "m"}], source())
    assert not state.inventory.content("files", entity_hash("m-file"))
    made = preparation(state).prepare([{"kind": "file", "id": "m-file", "state": "x"}], source())
    assert states(made) == ["x"]


def test_a_full_read_never_says_what_is_gone() -> None:
    """A `Gone` from a full read is a mapper's mistake: a dead letter, no deletion."""
    state = ConnectorState()
    take(state.inventory, preparation(state).prepare([SHARED], source()))
    made = preparation(state).prepare([DELETED], source((1, NOW + 1)))
    assert (made.letters, states(made)) == (1, [])


def test_a_full_read_does_not_overwrite_what_was_touched_live() -> None:
    """A listing read before a live change and prepared after it says nothing new, while it is queued too."""
    state = ConnectorState()
    live = preparation(state).prepare([SHARED], source())
    stale = preparation(state).prepare([PRIVATE], source((1, NOW)))
    assert states(stale) == []
    take(state.inventory, live)
    assert states(preparation(state).prepare([PRIVATE], source((1, NOW)))) == []
    assert states(preparation(state).prepare([PRIVATE], source((2, NOW + 10**9)))) == ["private"]


def test_a_tombstone_has_the_key_of_its_entity() -> None:
    """A deletion lands where the entity's records are, and names it."""
    state, made = ConnectorState(), None
    take(state.inventory, preparation(state).prepare([SHARED], source()))
    made = preparation(state).prepare([DELETED], source())
    (gone,) = on(made, "files")
    born = preparation().prepare([SHARED], source()).records[0]
    assert (gone.key, gone.partition, gone.value) == (born.key, born.partition, None)
    assert dict(gone.headers)["ce_type"] == b"sluice.gone"
    assert made.entries == {"files": [("f", GONE)]}


def test_events_and_their_headers_agree_with_the_official_schema(
    official: Callable[[Mapping[str, Any]], list[str]],
) -> None:
    """What goes out passes the official schema of its class."""
    made = preparation().prepare([{"id": "a"}, SHARED], source())
    for topic in ("logons", "files"):
        (one,) = on(made, topic)
        assert official(orjson.loads(one.value or b"")) == []


def test_a_refused_record_can_be_put_back() -> None:
    """The letter of a record that the broker refused holds topic, key, headers and value."""
    made = preparation()
    record = Outgoing("logons", 2, b"k\xff", b"\x00v", [("ce_id", b"1")])
    letter = DeadLetter.load(made.refused(record, "TooLarge").value or b"")
    assert (letter.source, letter.topic, letter.binary, letter.headers) == (
        "topic", "logons", True, {"ce_id": "1"},
    )  # fmt: skip
    assert base64.b64decode(letter.key) == b"k\xff"
    assert base64.b64decode(letter.raw) == b"\x00v"


def test_a_letter_fits_its_topic() -> None:
    """However large the raw record or hostile its text, the letter is smaller than the topic takes."""
    most = int(TOPICS["dead-letters"].config.get("max.message.bytes", 1_048_588))
    for pad in ("x", "\x00", '"', "\u20ac"):
        made = preparation().prepare([{"kind": "raise", "pad": pad * 12_000_000}], source())
        (sent,) = on(made, "dead-letters")
        assert sent.size < most
    large = preparation().refused(Outgoing("logons", 0, b"k" * 1000, b"x" * LARGEST), "TooLarge")
    assert large.size < most


def test_nudges_are_handed_on() -> None:
    """A mapper may ask for another feed to be read."""
    assert preparation().prepare([{"kind": "nudge"}], source()).nudges == [Nudge("f", "a", 1)]

"""Parts that were checked ahead: they save their events a check, and never let anything through."""

import copy
import pickle
from typing import Any

import orjson
import pytest

from schemas.events import Event, Shared, shared
from schemas.structs import AHEAD
from schemas.validation import InvalidEventError, all_checked, checked, encode, validate


def ahead(event: Event) -> Event:
    """Make an event whose shareable parts were checked ahead."""
    return event | {name: shared(kind, dict(event[name])) for name, kind in AHEAD.items()}


def test_the_record_is_the_same(golden: dict[int, Event]) -> None:
    """Byte by byte, whether its parts were checked ahead or with it, and pydantic takes both."""
    made = ahead(golden[6003])
    assert {made[name].__class__ for name in AHEAD} == {Shared}
    assert checked(made) == checked(golden[6003]) == encode(made)
    assert validate(made) == golden[6003]


@pytest.mark.parametrize(
    ("name", "bad"), [("actor", {}), ("cloud", {"region": "x"}), ("src_endpoint", {"ip": "x"})]
)
def test_what_does_not_fit_is_left_to_the_event(
    name: str, bad: dict[str, Any], golden: dict[int, Event]
) -> None:
    """A part that breaks its rules is no shared part, and its event is refused."""
    part = shared(AHEAD[name], bad)
    assert part.__class__ is dict
    with pytest.raises(InvalidEventError):
        checked(ahead(golden[6003]) | {name: part})


@pytest.mark.parametrize("other", ["cloud", "src_endpoint"])
def test_a_part_of_another_kind_is_refused(other: str, golden: dict[int, Event]) -> None:
    """What was checked as one thing does not pass as another."""
    made = ahead(golden[6003])
    with pytest.raises(InvalidEventError):
        checked(made | {"actor": made[other]})


def test_a_copy_may_be_changed(golden: dict[int, Event]) -> None:
    """It is a plain dictionary, written as it is then."""
    part = ahead(golden[6003])["actor"]
    for made in (copy.deepcopy(part), copy.copy(part), pickle.loads(pickle.dumps(part)), part | {}):
        assert made == part
        assert made.__class__ is dict


def test_what_json_cannot_hold_is_not_shared() -> None:
    """It is given back, for its event's check to complain about."""
    part = {"text": "\ud800"}
    assert shared(dict, part) is part


def test_what_is_open_is_written_as_it_came() -> None:
    """Where anything goes nothing is checked but that it is JSON."""
    part = shared(dict, {"a": [1, None]})
    assert orjson.dumps(part) == encode(part) == b'{"a":[1,null]}'


def test_several_are_checked_at_once(golden: dict[int, Event]) -> None:
    """The same bytes as one by one; a bad one is told, wherever it is."""
    events = [golden[class_uid] for class_uid in sorted(golden)]
    assert all_checked(events) == [checked(event) for event in events]
    for bad in (
        golden[6003] | {"strange": 1},
        golden[6003] | {"class_uid": 1},
        golden[6003] | {"type_uid": 1},
    ):
        with pytest.raises(InvalidEventError):
            all_checked([*events, bad])

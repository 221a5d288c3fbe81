"""The quick reader of records says yes to what pydantic takes, and never to what pydantic refuses."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import Event
from schemas.ocsf import CLASSES
from schemas.structs import decoder
from schemas.validation import InvalidEventError, checked, encode, validate

_SEVERAL = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)


@pytest.mark.parametrize("class_uid", sorted(CLASSES))
def test_a_good_event_is_read_at_once(class_uid: int, golden: dict[int, Event]) -> None:
    """One event of each class passes without pydantic being asked; the second time from memory."""
    raw = encode(golden[class_uid])
    decoder(class_uid).decode(raw)
    decoder(class_uid).decode(raw)
    assert checked(golden[class_uid]) == raw


def test_an_address_of_the_sixth_version_is_read_at_once(golden: dict[int, Event]) -> None:
    """What the checks on a field take is not sent to pydantic."""
    made = golden[6003] | {"src_endpoint": {"ip": "2001:db8::1", "intermediate_ips": ["192.0.2.1"]}}
    decoder(6003).decode(encode(made))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("src_endpoint.ip", "not an address"),
        ("src_endpoint.intermediate_ips", ["192.0.2.1", "nor this"]),
        ("actor.user.email_addr", "a@example.com\n"),
        ("actor", {}),
        ("actor", 5),
        ("metadata.product", {"vendor_name": "Amazon"}),
        ("cloud", {"account": {"uid": "1"}}),
        ("time", 1_772_359_200),
        ("severity_id", 1.0),
        ("raw_data_size", 2**63),
        ("strange", 1),
    ],
)
def test_a_bad_event_is_left_to_pydantic(path: str, value: object, golden: dict[int, Event]) -> None:
    """The reader is not sure of it, and pydantic refuses it, the first time and the second."""
    made = copy.deepcopy(golden[6003])
    *parents, last = path.split(".")
    node: dict[str, Any] = made
    for parent in parents:
        node = node[parent]
    node[last] = value
    for _ in range(2):
        with pytest.raises(msgspec.MsgspecError):
            decoder(6003).decode(encode(made))
        with pytest.raises(InvalidEventError):
            checked(made)


def places(node: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Walk the keys of an event, nested ones too."""
    for name, value in node.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


LIKELY = (
    st.none() | st.booleans() | st.integers(-3, 120) | st.integers() | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "192.0.2.1", "::1", "a@example.com", "a@example.com\n", "1.8.0", "cloud"])
    | st.sampled_from([{}, [], {"name": "x"}, {"uid": "x"}, {"ip": "x"}, [{"name": "x"}], {"type_id": 1}])
)  # fmt: skip


@_SEVERAL
@given(data=st.data())
def test_whatever_it_takes_pydantic_takes(data: st.DataObject, golden: dict[int, Event]) -> None:
    """One place of an event gets another value, or goes: the reader is never the more lenient."""
    class_uid = data.draw(st.sampled_from(sorted(CLASSES)))
    made = copy.deepcopy(golden[class_uid])
    *parents, last = data.draw(st.sampled_from(list(places(made))))
    node: dict[str, Any] = made
    for parent in parents:
        node = node[parent]
    node[last] = data.draw(LIKELY)
    if data.draw(st.booleans()):
        del node[last]
    try:
        decoder(class_uid).decode(encode(made))
    except (msgspec.MsgspecError, InvalidEventError):
        return
    if made["type_uid"] == class_uid * 100 + made["activity_id"]:  # which is compared elsewhere
        validate(made)

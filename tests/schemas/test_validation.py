"""Events are held against their class: the good pass, also officially; the bad are named by path alone."""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import Event
from schemas.ocsf import CLASSES
from schemas.validation import InvalidEventError, encode, validate


@pytest.mark.parametrize("class_uid", sorted(CLASSES))
def test_a_good_event_passes_ours_and_the_official_schema(
    class_uid: int, golden: dict[int, Event], official: Callable[[Mapping[str, Any]], list[str]]
) -> None:
    """One event of each class is valid for both, and comes back as the same object."""
    made = golden[class_uid]
    assert validate(made) is made
    assert official(made) == []


SECRET = "hunter2-do-not-print"
SPOILED: list[tuple[int, str, Any]] = [
    (6003, "actor", None),
    (6003, "api", None),
    (6003, "src_endpoint", None),
    (6003, "src_endpoint.ip", SECRET),
    (6003, "src_endpoint.port", 70_000),
    (6003, "actor.user.email_addr", SECRET),
    (6003, "actor.user.credential", SECRET),
    (6003, "actor.user.type_id", "1"),
    (6003, "actor.user.type_id", 77),
    (6003, "actor", {"user": {"type_id": 1}}),
    (6003, "actor", {}),
    (6003, "activity_id", 5),
    (6003, "type_uid", 600399),
    (6003, "time", 1_772_359_200),
    (6003, "time", 1_772_359_200_000.0),
    (6003, "time", True),
    (6003, "time", 10**30),
    (6003, "severity_id", 7),
    (6003, "severity_id", True),
    (6003, "activity_id", True),
    (6003, "activity_id", 1.0),
    (6003, "is_mfa", 1),
    (3002, "is_mfa", 1),
    (6003, "status_code", 403),
    (6003, "status_code", b"AccessDenied"),
    (6003, "metadata.uid", None),
    (6003, "metadata.tenant_uid", None),
    (6003, "metadata.version", "1.9.0"),
    (6003, "metadata.product", {}),
    (6003, "category_uid", 3),
    (6003, "resources", RuntimeError),
    (6003, "resources", [{"type": SECRET}]),
    (6003, "unmapped", [SECRET]),
    (6003, "password", SECRET),
    (6003, "file", {"name": "x", "type_id": 1}),
    (3002, "service", None),
    (5023, "resources", None),
    (5003, "user", {"display_name": SECRET}),
    (2006, "data_security", {"category_id": 3}),
    (7002, "file", None),
    (7001, "command_uid", None),
]


@pytest.mark.parametrize(("class_uid", "path", "value"), SPOILED)
def test_a_spoiled_event_is_refused_by_its_path_alone(
    class_uid: int, path: str, value: object, golden: dict[int, Event]
) -> None:
    """One defect an event: the message says where, never what stood there."""
    made = copy.deepcopy(golden[class_uid])
    *parents, last = path.split(".")
    node = made
    for parent in parents:
        node = node[parent]
    if value is None:
        del node[last]
    else:
        node[last] = value
    with pytest.raises(InvalidEventError) as caught:
        validate(made)
    assert SECRET not in str(caught.value)
    assert path.split(".", maxsplit=1)[0] in str(caught.value) or "at_least_one" in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("class_uid", [None, 0, "6003", True, 6003.0, [6003], 99_999])
def test_an_unknown_class_is_refused(class_uid: object, golden: dict[int, Event]) -> None:
    """Whatever stands in class_uid, the answer is an InvalidEventError."""
    with pytest.raises(InvalidEventError, match="class_uid"):
        validate({**golden[6003], "class_uid": class_uid})


def test_a_long_list_of_defects_is_cut(golden: dict[int, Event]) -> None:
    """An event with a thousand wrong keys has a short complaint."""
    with pytest.raises(InvalidEventError, match="and 995 more") as caught:
        validate(golden[6003] | {f"{'x' * 500}{number}": 1 for number in range(1000)})
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("odd", ["\ud800", 2**64, {1: "one"}, {"deep": object()}])
def test_what_json_cannot_hold_is_refused_by_the_encoder(odd: object, golden: dict[int, Event]) -> None:
    """Open places (unmapped, data) hold whatever a provider sent; the encoder says what it cannot."""
    made = validate(golden[6003] | {"unmapped": {"field": odd}})
    with pytest.raises(InvalidEventError, match=r"^api_activity: "):
        encode(made)


def test_the_encoder_writes_plain_json(golden: dict[int, Event]) -> None:
    """What is on the wire reads back as the event, whatever language the text is in."""
    made = golden[6003] | {"message": "Zugriff verweigert: Prüfbericht 機密 🔒"}
    assert json.loads(encode(made)) == made


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_whatever_stands_in_an_event_the_answer_is_yes_or_an_invalid_event(
    data: st.DataObject, golden: dict[int, Event], official: Callable[[Mapping[str, Any]], list[str]]
) -> None:
    """Any value at the top is refused with our error, or is one that the official schema takes too."""
    class_uid = data.draw(st.sampled_from(sorted(CLASSES)))
    key = data.draw(st.sampled_from(sorted(golden[class_uid])))
    made = golden[class_uid] | {key: data.draw(ANY)}
    try:
        validate(made)
        encode(made)
    except InvalidEventError:
        return
    assert official(made) == []

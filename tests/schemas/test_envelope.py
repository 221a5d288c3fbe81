"""CloudEvents headers: written by us, read by us and by the CloudEvents SDK."""

import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import Headers, InvalidEnvelopeError, headers, parse
from schemas.events import Event, Origin, event, stamp
from schemas.ocsf import CLASSES, VERSION
from schemas.validation import encode

NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)


@pytest.mark.parametrize("class_uid", sorted(CLASSES))
def test_another_reader_sees_the_same_event(class_uid: int, golden: dict[int, Event], origin: Origin) -> None:
    """The CloudEvents SDK takes our record for a binary-mode event with our attributes and our data."""
    made = golden[class_uid]
    record = KafkaMessage(headers=dict(headers(made, origin)), key=None, value=encode(made))
    read = from_kafka(record, JSONFormat())
    ours = parse(headers(made, origin))
    assert read.get_id() == made["metadata"]["uid"] == ours.id
    assert read.get_source() == "/tenants/acme/aws/123456789012" == ours.source
    assert read.get_type() == ours.type
    assert read.get_time() == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert read.get_subject() == ours.subject
    assert read.get_dataschema() == ours.dataschema
    data = read.get_data()
    assert (data if isinstance(data, dict) else json.loads(data or b"")) == made
    assert (ours.tenant, ours.provider, ours.instance) == ("acme", "aws", "123456789012")


def test_the_type_names_class_and_activity(golden: dict[int, Event], origin: Origin) -> None:
    """A consumer switches on it without parsing the value."""
    assert parse(headers(golden[6006], origin)).type == "ocsf.file_hosting.share"
    assert parse(headers(golden[3002], origin)).type == "ocsf.authentication.logon"


def test_the_schema_is_the_topics(golden: dict[int, Event], origin: Origin) -> None:
    """By default the topic of the class; where the caller knows better, the one it names."""
    assert parse(headers(golden[3002], origin)).dataschema.endswith("/v1/logons.schema.json")
    assert parse(headers(golden[5003], origin, topic="privileges")).dataschema.endswith(
        "/privileges.schema.json"
    )
    assert parse(headers(golden[5003], origin, entity="role/x")).subject == "role/x"


@given(NAME, NAME, NAME, NAME, st.integers(100_000_000_001, 253_402_300_799_999))
def test_headers_read_back_as_written(
    tenant: str, provider: str, instance: str, entity: str, time: int
) -> None:
    """Slashes, percent signs, spaces and any script survive, and the time keeps its milliseconds."""
    origin = Origin(tenant, provider, instance, {"name": "x"})
    made = stamp(event(6002, 3, time, log_name="x", source_id="1", app={"name": "x"}), origin, 0)
    read = parse(headers(made, origin, entity=entity))
    assert (read.tenant, read.provider, read.instance, read.subject) == (tenant, provider, instance, entity)
    assert read.source.isascii()
    assert read.source.count("/") == 4
    seconds = datetime.fromisoformat(read.time[:19] + "Z") - datetime(1970, 1, 1, tzinfo=UTC)
    assert (seconds.days * 86_400 + seconds.seconds) * 1000 + int(read.time[20:23]) == time


GOOD: Headers = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"1"),
    ("ce_source", b"/tenants/a/b/c"),
    ("ce_type", b"ocsf.authentication.logon"),
]


@pytest.mark.parametrize(
    ("spoiled", "word"),
    [
        ([], "ce_specversion: is missing"),
        (GOOD[:-1], "ce_type"),
        ([*GOOD, ("ce_id", b"2")], "twice"),
        ([*GOOD[:1], ("ce_id", b""), *GOOD[2:]], "ce_id"),
        ([("ce_specversion", b"0.3"), *GOOD[1:]], "not 1.0"),
        ([*GOOD, ("ce_subject", b"\xff")], "UTF-8"),
        ([*GOOD, ("ce_subject", None)], "UTF-8"),
        ([*GOOD[:2], ("ce_source", b"/tenants/a/b"), GOOD[3]], "ce_source"),
        ([*GOOD[:2], ("ce_source", b"https://x/a/b/c"), GOOD[3]], "ce_source"),
    ],
)
def test_strange_headers_are_refused(spoiled: Headers, word: str) -> None:
    """Missing, doubled, unreadable or foreign: one kind of error that names the header."""
    with pytest.raises(InvalidEnvelopeError, match=word):
        parse(spoiled)


def test_headers_of_others_are_passed_over() -> None:
    """A tracing header may be anything, also binary and repeated."""
    assert parse([*GOOD, ("traceparent", b"\xff"), ("traceparent", b"")]).id == "1"


def test_the_release_is_pinned(golden: dict[int, Event]) -> None:
    """Every event names the release that its schema is of."""
    assert {made["metadata"]["version"] for made in golden.values()} == {VERSION} == {"1.8.0"}

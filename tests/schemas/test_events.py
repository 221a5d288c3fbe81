"""Building and stamping events: derived ids, keys, what is left out, times and addresses."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import (
    Event,
    Origin,
    content_hash,
    email,
    endpoint,
    entity_key,
    entity_of,
    event,
    millis,
    present,
    stamp,
    uid,
)
from schemas.validation import validate

PARTS = st.lists(st.text(alphabet="ab1:/%\ud800é", max_size=4), max_size=4)
NAMES = st.text(min_size=1, max_size=8)


@given(PARTS, PARTS)
def test_only_equal_lists_have_equal_ids(left: list[str], right: list[str]) -> None:
    """No two lists of parts collide because their texts join to the same."""
    assert (uid(*left) == uid(*right)) == (left == right)


@given(st.text(min_size=7), st.integers(1, 6))
def test_moving_a_boundary_changes_the_id(text: str, at: int) -> None:
    """The same text cut elsewhere is another list, also when a part looks like a length."""
    assert len({uid(text), uid(text[:at], text[at:]), uid("", text), uid(text, "")}) == 4


def test_an_id_is_blake2b_128_over_framed_parts() -> None:
    """The value is what coreutils' b2sum gives: printf '1:a3:b:c' | b2sum -l 128."""
    assert uid("a", "b:c") == "9bad6af236832b9f8cb8c72a53213c90"


@given(NAMES, NAMES, NAMES, st.text(max_size=8))
def test_a_key_splits_back_into_its_parts(tenant: str, provider: str, instance: str, entity: str) -> None:
    """Slashes and percent signs are escaped in the first three parts; the entity stands as it is."""
    parts = entity_key(tenant, provider, instance, entity).split("/", 3)
    assert [part.replace("%2F", "/").replace("%25", "%") for part in parts[:3]] == [
        tenant,
        provider,
        instance,
    ]
    assert parts[3] == entity


def made(origin: Origin, now: int = 0, index: int = 0, **other: Any) -> Event:
    """Stamp a small occurrence."""
    told: dict[str, Any] = {"log_name": "cloudtrail", "source_id": "e-1"} | other
    return stamp(event(6002, 3, 1_772_359_200_000, app={"name": "x"}, **told), origin, now, index=index)


def test_an_occurrence_has_one_id_whenever_it_is_seen(origin: Origin) -> None:
    """Our clock and what the event says do not enter; tenant, instance, log, source id and index do."""
    first = made(origin)["metadata"]["uid"]
    assert first == made(origin, now=5, message="later mapping")["metadata"]["uid"]
    assert first == uid("1", "acme", "aws", "123456789012", "cloudtrail", "e-1", "0")
    others = [
        made(origin, index=1),
        made(origin, log_name="other"),
        made(origin, source_id="e-2"),
        made(Origin("other", "aws", "123456789012", origin.product)),
        made(Origin("acme", "box", "123456789012", origin.product)),
        made(Origin("acme", "aws", "1", origin.product)),
    ]
    assert len({first, *(other["metadata"]["uid"] for other in others)}) == 7


def inventory(origin: Origin, now: int = 0, revision: str = "", **user: Any) -> Event:
    """Stamp an account's state."""
    told = event(
        5003, 2, now + 1_772_359_200_000, log_name="accounts", source_id="AIDA", user={"uid": "AIDA"} | user
    )
    return stamp(told, origin, now, revision=revision)


def test_an_entity_has_one_id_for_each_state(origin: Origin) -> None:
    """Seen again unchanged it has the same id; changed, or of another revision, another."""
    first = inventory(origin)["metadata"]["uid"]
    assert first == inventory(origin, now=60_000)["metadata"]["uid"]
    assert first != inventory(origin, has_mfa=True)["metadata"]["uid"]
    assert first != inventory(origin, revision="2")["metadata"]["uid"]


def test_content_is_hashed_alike_before_and_after_stamping(origin: Origin) -> None:
    """The core may compare an entity with what it published before it stamps it."""
    told = event(5003, 2, 1_772_359_200_000, log_name="accounts", source_id="AIDA", user={"uid": "AIDA"})
    before = content_hash(told)
    assert content_hash(stamp(told, origin, 7)) == before
    assert len(before) == 16


def test_stamping_keeps_what_the_mapper_said_of_cloud_and_product(origin: Origin) -> None:
    """A member account or a region stands beside the connector's provider; `via` names its own product."""
    told = event(
        6008,
        2,
        1_772_359_200_000,
        log_name="x",
        source_id="1",
        product={"name": "gcp"},
        cloud={"region": "eu-west-1"},
    )
    stamped = validate(stamp(told, origin, 1))
    assert stamped["cloud"] == {
        "provider": "aws",
        "account": {"uid": "123456789012", "name": "production", "type_id": 10},
        "org": {"uid": "o-exampleorgid"},
        "region": "eu-west-1",
    }
    assert stamped["metadata"]["product"] == {"name": "gcp"}
    assert "region" not in origin.cloud


def test_absent_means_absent() -> None:
    """None, empty text, lists and objects are left out; false and zero are facts."""
    told = event(6002, 3, 1, log_name="x", source_id="1", a=None, b="", c=[], d={}, e=False, f=0)
    assert {name: told[name] for name in "abcdef" if name in told} == {"e": False, "f": 0}
    assert present(a=None, b="", c=[], d={}, e=False, f=0) == {"e": False, "f": 0}
    assert told["metadata"] == {"log_name": "x", "original_event_uid": "1"}


def test_an_event_is_about_what_was_acted_on(golden: Mapping[int, Event]) -> None:
    """The file, user, group or resource; an inventory's entity is its source id."""
    named = {class_uid: entity_of(told) for class_uid, told in golden.items()}
    assert named[6006] == named[2006] == named[7002] == "example-bucket/report.csv"
    assert named[3002] == "AIDAEXAMPLE"
    assert named[3006] == "AGPAEXAMPLE"
    assert named[6003] == "arn:aws:s3:::example-bucket"
    assert named[5023] == golden[5023]["metadata"]["original_event_uid"]
    assert named[7001] == golden[7001]["metadata"]["original_event_uid"]
    without = {name: value for name, value in golden[6003].items() if name != "resources"}
    assert entity_of(without) == "AIDAEXAMPLE"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.0", {"ip": "192.0.2.0"}),
        ("2001:db8::1", {"ip": "2001:db8::1"}),
        ("AWS Internal", {"domain": "AWS Internal"}),
        ("cloudtrail.amazonaws.com", {"domain": "cloudtrail.amazonaws.com"}),
        ("", {"name": "unknown"}),
        (None, {"name": "unknown"}),
    ],
)
def test_an_address_goes_where_it_fits(address: str | None, expected: dict[str, str]) -> None:
    """CloudTrail's sourceIPAddress holds IPs, service names and words; silence is a countable unknown."""
    assert endpoint(address) == expected
    assert endpoint(address) is not endpoint(address)


def test_more_may_be_said_of_an_endpoint() -> None:
    """A known interface is enough, so that no unknown is invented."""
    assert endpoint(None, svc_name="s3", port=None) == {"svc_name": "s3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice@example.com", "alice@example.com"),
        ("o'neil+x@sub.example.co.uk", "o'neil+x@sub.example.co.uk"),
        ("alice@localhost", None),
        ("alice", None),
        ("älice@example.com", None),
        ("alice@example.com\n", None),
        ("", None),
        (None, None),
    ],
)
def test_only_addresses_pass_as_addresses(text: str | None, expected: str | None) -> None:
    """OCSF's pattern is narrower than what providers store."""
    assert email(text) == expected


@given(
    st.datetimes(datetime(1975, 1, 1), datetime(9000, 1, 1)),  # noqa: DTZ001 - the zone is drawn apart.
    st.integers(-23, 23),
)
def test_times_are_read_in_any_zone(moment: datetime, hours: int) -> None:
    """Milliseconds, rounded down, are those of the standard library; without a zone it is UTC."""
    there = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    exact = (there - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert millis(there.isoformat()) == exact
    assert millis(moment.isoformat()) == millis(moment.isoformat() + "Z")


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "1772359200"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """The mapper's caller turns this into a bad record."""
    with pytest.raises(ValueError, match=r"isoformat|month"):
        millis(text)


def test_an_origin_does_not_print_its_state(origin: Origin) -> None:
    """The representation holds what was given, and two origins are two things."""
    assert "seed" not in repr(origin)
    assert unquote(origin.source.decode()) == "/tenants/acme/aws/123456789012"
    assert origin.key("a/b") == "acme/aws/123456789012/a/b"

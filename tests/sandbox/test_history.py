"""LookupEvents is as strict as CloudTrail's API reference makes it."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as some

from sandbox.aws.answers import Refused
from sandbox.aws.history import EventHistory
from sandbox.aws.records import Records
from sandbox.aws.tenant import AwsTenant
from sandbox.clock import Clock

ACCOUNT = "111122223333"
REGION = "us-east-1"
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def filled(offsets: list[int]) -> tuple[EventHistory, Records, list[str]]:
    """A history of one logon for each offset in seconds, and their ids."""
    history, made = EventHistory(Clock()), Records(ACCOUNT, Random(1))
    records = [made.console_login("alice", at=START + timedelta(seconds=s)) for s in offsets]
    for record in records:
        history.add(record)
    return history, made, [r["eventID"] for r in records]


def unpaced(history: EventHistory, **asked: Any) -> Any:
    """Look up with a full bucket of tokens."""
    history._tokens.clear()
    return history.lookup(ACCOUNT, REGION, asked)


@given(some.lists(some.integers(0, 40), max_size=130), some.integers(1, 50))
@settings(max_examples=25, deadline=None)
def test_pages_hold_each_event_once_newest_first(offsets: list[int], size: int) -> None:
    """However many share a second, walking the pages gives all of them, by falling time."""
    history, _, ids = filled(offsets)
    seen: list[Any] = []
    page = unpaced(history, MaxResults=size)
    while True:
        assert len(page["Events"]) <= size
        seen += page["Events"]
        if "NextToken" not in page:
            break
        page = unpaced(history, MaxResults=size, NextToken=page["NextToken"])
    assert sorted(e["EventId"] for e in seen) == sorted(ids)
    assert [e["EventTime"] for e in seen] == sorted((e["EventTime"] for e in seen), reverse=True)


def test_both_bounds_are_inclusive() -> None:
    """An event exactly at StartTime or EndTime is returned."""
    history, _, ids = filled([0, 5, 10])
    at = START.timestamp()
    found = unpaced(history, StartTime=at, EndTime=at + 5)
    assert {e["EventId"] for e in found["Events"]} == set(ids[:2])


def test_fifty_is_the_most() -> None:
    """A page without MaxResults holds 50 and points at the rest."""
    history, _, _ = filled(list(range(51)))
    page = unpaced(history)
    assert len(page["Events"]) == 50
    assert page["NextToken"]


def test_a_token_needs_its_own_parameters() -> None:
    """The token of one query is refused with another, and so is a made-up one."""
    history, _, _ = filled(list(range(9)))
    token = unpaced(history, MaxResults=4)["NextToken"]
    for asked in ({"MaxResults": 5, "NextToken": token}, {"MaxResults": 4, "NextToken": "bm90IG91cnM="}):
        with pytest.raises(Refused, match="InvalidNextTokenException"):
            unpaced(history, **asked)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"MaxResults": 0}, "InvalidMaxResultsException"),
        ({"MaxResults": 51}, "InvalidMaxResultsException"),
        ({"StartTime": 2, "EndTime": 1}, "InvalidTimeRangeException"),
        ({"EventCategory": "data"}, "InvalidEventCategoryException"),
        (
            {"LookupAttributes": [{"AttributeKey": "Color", "AttributeValue": "red"}]},
            "InvalidLookupAttributesException",
        ),
        (
            {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "A"}] * 2},
            "InvalidLookupAttributesException",
        ),
    ],
)
def test_wrong_parameters_are_refused(asked: dict[str, Any], code: str) -> None:
    """Each with the error the reference lists."""
    history, _, _ = filled([0])
    with pytest.raises(Refused, match=code):
        unpaced(history, **asked)


def test_two_calls_a_second() -> None:
    """The third call at once is throttled with HTTP 400; another region has its own two."""
    history, _, _ = filled([0])
    history.lookup(ACCOUNT, REGION, {})
    history.lookup(ACCOUNT, REGION, {})
    with pytest.raises(Refused, match="ThrottlingException") as refused:
        history.lookup(ACCOUNT, REGION, {})
    assert refused.value.status == 400
    assert history.lookup(ACCOUNT, "eu-west-1", {}) == {"Events": []}


def test_a_late_record_appears_in_its_place() -> None:
    """It is absent until its lag is over and then stands where its eventTime puts it."""
    clock = Clock()
    history, made = EventHistory(clock), Records(ACCOUNT, Random(1))
    first = made.console_login("alice", at=START)
    late = made.console_login("bob", at=START - timedelta(seconds=30))
    history.add(first)
    history.add(late, after=900)
    assert [e["EventId"] for e in unpaced(history)["Events"]] == [first["eventID"]]
    clock.advance(901)
    assert [e["EventId"] for e in unpaced(history)["Events"]] == [first["eventID"], late["eventID"]]


def test_only_management_events_of_ninety_days() -> None:
    """Data events are not taken, and what is older than the retention is not shown."""
    history, made, _ = filled([])
    assert not history.add(made.data_event("alice", "bucket", "key"))
    history.add(made.console_login("alice", at=START - timedelta(days=91)))
    assert unpaced(history)["Events"] == []


def test_events_look_as_the_reference_says() -> None:
    """The record travels as a string; the summary names user, source, read-only and resources."""
    history, made, _ = filled([])
    record = made.add_user_to_group("alice", "bob", "finance", at=START)
    history.add(record)
    asked = [{"AttributeKey": "ResourceName", "AttributeValue": "finance"}]
    (event,) = unpaced(history, LookupAttributes=asked)["Events"]
    assert json.loads(event["CloudTrailEvent"]) == record
    assert (event["Username"], event["ReadOnly"], event["EventSource"]) == (
        "alice",
        "false",
        "iam.amazonaws.com",
    )
    assert {"ResourceType": "AWS::IAM::Group", "ResourceName": "finance"} in event["Resources"]
    assert (
        unpaced(history, LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "eve"}])["Events"]
        == []
    )


async def test_the_official_client_reads_it(tenant: AwsTenant, fresh: Callable[[], str]) -> None:
    """boto3's paginator walks it, in the account and region of the record alone."""
    account = fresh()
    records = [Records(account, Random(1)).console_login("alice") for _ in range(60)]
    for number, record in enumerate(records):
        record["eventID"] = f"{number:036d}"
    assert await tenant.add_history(records) == 60
    client = boto3.client("cloudtrail", REGION, endpoint_url=tenant.endpoint, **await tenant.root(account))
    pages = list(client.get_paginator("lookup_events").paginate())
    assert [len(p["Events"]) for p in pages] == [50, 10]
    assert isinstance(pages[0]["Events"][0]["EventTime"], datetime)
    client.close()


async def test_throttling_over_the_wire(tenant: AwsTenant, fresh: Callable[[], str]) -> None:
    """Of five calls at once some get ThrottlingException as HTTP 400, and at least two get through."""
    async with tenant.client("cloudtrail", await tenant.root(fresh())) as client:
        answers = await asyncio.gather(*(client.lookup_events() for _ in range(5)), return_exceptions=True)
    refused = [a.response for a in answers if isinstance(a, ClientError)]
    assert 1 <= len(refused) <= 3
    assert {r["Error"]["Code"] for r in refused} == {"ThrottlingException"}
    assert {r["ResponseMetadata"]["HTTPStatusCode"] for r in refused} == {400}

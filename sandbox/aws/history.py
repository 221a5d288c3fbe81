"""CloudTrail's event history: LookupEvents, which moto lacks, as strict as the reference.

Source: CloudTrail API reference, LookupEvents; user guide, "Viewing events with event history". Management
events of 90 days, per account and region, newest first, at most 50 a page, both bounds inclusive to the
second, 2 calls a second per account and region.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeAlias

from sandbox.aws.answers import Refused, throttled
from sandbox.clock import Clock

Json: TypeAlias = Any
Place: TypeAlias = tuple[str, str]
Rank: TypeAlias = tuple[int, str]

ATTRIBUTES = (
    "EventId",
    "EventName",
    "ReadOnly",
    "Username",
    "ResourceType",
    "ResourceName",
    "EventSource",
    "AccessKeyId",
)
RETENTION = 90 * 86400
PAGE = 50
RATE = 2.0
_RESOURCES = {
    "userName": "AWS::IAM::User",
    "roleName": "AWS::IAM::Role",
    "groupName": "AWS::IAM::Group",
    "policyArn": "AWS::IAM::Policy",
    "bucketName": "AWS::S3::Bucket",
}


class EventHistory:
    """The management events of every account and region, each with the moment from which it can be seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: dict[Place, dict[str, tuple[float, Rank, Json]]] = {}
        self._tokens: dict[Place, tuple[float, float]] = {}
        self._secret = secrets.token_bytes(16)
        self._lock = threading.Lock()

    def add(self, record: Json, after: float = 0.0) -> bool:
        """Take a record, to be seen `after` seconds from now; data events are not taken."""
        if record.get("managementEvent") is False:
            return False
        place = (record["recipientAccountId"], record["awsRegion"])
        with self._lock:
            self._events.setdefault(place, {})[record["eventID"]] = (
                self._clock.now() + after,
                _rank(record),
                record,
            )
        return True

    def lookup(self, account: str, region: str, asked: Mapping[str, Json]) -> Json:
        """One page; raises Refused with CloudTrail's error codes."""
        self._pace((account, region))
        now = self._clock.now()
        start, end = float(asked.get("StartTime") or 0), float(asked.get("EndTime") or now)
        if start > end:
            raise Refused("InvalidTimeRangeException", "The start time must not be after the end time.")
        size = asked.get("MaxResults", PAGE)
        if not isinstance(size, int) or not 1 <= size <= PAGE:
            raise Refused("InvalidMaxResultsException", "MaxResults must be between 1 and 50.")
        if asked.get("EventCategory") not in (None, "insight"):
            raise Refused(
                "InvalidEventCategoryException", "The only event category that can be named is insight."
            )
        wanted = _attribute(asked.get("LookupAttributes") or [])
        below = self._opened(asked)
        low = max(int(start), int(now) - RETENTION)
        with self._lock:
            held = (
                () if asked.get("EventCategory") else tuple(self._events.get((account, region), {}).values())
            )
        rows = sorted(
            (
                (rank, r)
                for at, rank, r in held
                if at <= now and low <= rank[0] <= end and (not below or rank < below)
            ),
            key=lambda row: row[0],
            reverse=True,
        )
        events = ((rank, event) for rank, r in rows if _fits(event := _event(r), wanted))
        found = list(islice(events, size + 1))
        page: Json = {"Events": [event for _, event in found[:size]]}
        if len(found) > size:
            page["NextToken"] = self._sealed(asked, found[size - 1][0])
        return page

    def _pace(self, place: Place) -> None:
        """Two calls a second, held in a bucket of two; a call too many costs nothing but is refused."""
        now = time.monotonic()
        with self._lock:
            left, at = self._tokens.get(place, (RATE, now))
            left = min(RATE, left + (now - at) * RATE)
            self._tokens[place] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise throttled("cloudtrail")

    def _mark(self, asked: Mapping[str, Json], place: str) -> str:
        rest = {k: v for k, v in asked.items() if k != "NextToken" and v is not None}
        text = json.dumps(rest, sort_keys=True) + place
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:32]

    def _sealed(self, asked: Mapping[str, Json], rank: Rank) -> str:
        place = json.dumps(rank)
        return base64.b64encode(json.dumps([place, self._mark(asked, place)]).encode()).decode()

    def _opened(self, asked: Mapping[str, Json]) -> Rank | None:
        """Where the page before ended; the token holds only for the very parameters it was given for."""
        if (token := asked.get("NextToken")) is None:
            return None
        try:
            place, mark = json.loads(base64.b64decode(token))
            when, tie = json.loads(place)
        except (ValueError, TypeError):
            place, mark, when, tie = "", "", 0, ""
        if not place or not hmac.compare_digest(mark, self._mark(asked, place)):
            raise Refused(
                "InvalidNextTokenException", "The token or the parameters that go with it are not valid."
            )
        return int(when), str(tie)


def _rank(record: Json) -> Rank:
    """Newest first; inside one second in an order that means nothing but stays."""
    when = datetime.strptime(record["eventTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return int(when.timestamp()), hashlib.sha256(record["eventID"].encode()).hexdigest()


def _attribute(given: Json) -> tuple[str, str] | None:
    if not isinstance(given, list) or len(given) > 1:
        raise Refused("InvalidLookupAttributesException", "Only one lookup attribute is allowed.")
    if not given:
        return None
    key, value = given[0].get("AttributeKey"), given[0].get("AttributeValue")
    if key not in ATTRIBUTES or not value:
        raise Refused("InvalidLookupAttributesException", f"{key} with this value cannot be looked up.")
    return key, value


def _event(record: Json) -> Json:
    who = record.get("userIdentity") or {}
    params = record.get("requestParameters") or {}
    name = who.get("userName") or who.get("principalId", "").partition(":")[2]
    event = {
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "ReadOnly": "true" if record.get("readOnly") else "false",
        "EventTime": _rank(record)[0],
        "EventSource": record["eventSource"],
        "Resources": [
            {"ResourceType": kind, "ResourceName": params[field]}
            for field, kind in _RESOURCES.items()
            if isinstance(params.get(field), str)
        ],
        "CloudTrailEvent": json.dumps(record, separators=(",", ":")),
    }
    optional = {
        "Username": "root" if who.get("type") == "Root" else name,
        "AccessKeyId": who.get("accessKeyId"),
    }
    return event | {k: v for k, v in optional.items() if v}


def _fits(event: Json, wanted: tuple[str, str] | None) -> bool:
    if wanted is None:
        return True
    key, value = wanted
    if key in ("ResourceType", "ResourceName"):
        return any(resource[key] == value for resource in event["Resources"])
    return bool(event.get(key) == value)

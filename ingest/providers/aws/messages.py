"""What a message in the queue tells: five shapes, and the strangers among them.

S3 events, S3 events inside an SNS notification, CloudTrail's SNS notifications, EventBridge events (S3's and
CloudTrail's), and the tests that S3 and CloudTrail send when they are set up. Keys are form-encoded in S3's
own records only. Sources: S3 user guide, "Event message structure", "EventBridge event message structure";
CloudTrail user guide, "Configuring Amazon SNS notifications"; EventBridge user guide, "Events".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

import orjson

from ingest.provider import Json
from schemas.events import present

LONGEST = 100_000
"""Characters kept of a stranger's message."""


@dataclass
class Told:
    """What there is to read: trail files ("bucket/key" → region), objects, whole records; or a stranger."""

    files: dict[str, str | None] = field(default_factory=dict)
    objects: list[dict[str, str]] = field(default_factory=list)
    records: list[Json] = field(default_factory=list)
    strange: Json = None

    @property
    def only_objects(self) -> bool:
        """Whether it tells of changed objects and nothing else."""
        return bool(self.objects) and not (self.files or self.records)


def told(body: str, watches: Callable[[str], bool]) -> Told:
    """Understand a message; `watches` tells which buckets' objects matter.

    Every changed object is told once, in one form: bucket, key, name of the event, and what S3 says of it.
    """
    what = Told()
    try:
        _message(orjson.loads(body), what, watches)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Told(strange={"message": body[:LONGEST], "reason": f"none of ours ({type(error).__name__})"})
    return what


def _message(said: Json, what: Told, watches: Callable[[str], bool]) -> None:
    if said.get("Type") == "Notification":
        if not str(said["Message"]).startswith("CloudTrail validation"):
            _message(orjson.loads(said["Message"]), what, watches)
    elif "s3ObjectKey" in said:
        for key in said["s3ObjectKey"]:
            _object({"bucket": said["s3Bucket"], "key": key, "event": "ObjectCreated"}, what, watches)
    elif "detail-type" in said:
        _bridged(said, what, watches)
    elif said.get("Event") != "s3:TestEvent":
        for record in said["Records"]:
            _object(_s3(record), what, watches)


def _bridged(said: Json, what: Told, watches: Callable[[str], bool]) -> None:
    detail = said["detail"]
    if said["source"] != "aws.s3" or "eventID" in detail:
        if not (detail["eventID"] and detail["eventName"]):
            raise KeyError("eventID")
        what.records.append(detail)
        return
    thing = detail["object"]
    one = present(
        bucket=detail["bucket"]["name"], key=thing["key"], event=said["detail-type"],
        region=said.get("region"), etag=thing.get("etag") or thing.get("eTag"),
        version=thing.get("version-id"), sequencer=thing.get("sequencer"), time=said.get("time"),
    )  # fmt: skip
    _object(one, what, watches)


def _s3(record: Json) -> dict[str, str]:
    if record["eventSource"] != "aws:s3":
        raise KeyError("eventSource")
    thing = record["s3"]["object"]
    one: dict[str, str] = present(
        bucket=record["s3"]["bucket"]["name"], key=unquote_plus(thing["key"]), event=record["eventName"],
        region=record.get("awsRegion"), etag=thing.get("eTag"), version=thing.get("versionId"),
        sequencer=thing.get("sequencer"), time=record.get("eventTime"),
    )  # fmt: skip
    return one


def _object(one: dict[str, str], what: Told, watches: Callable[[str], bool]) -> None:
    key, made = one["key"], one["event"].startswith(("ObjectCreated", "Object Created"))
    if "AWSLogs/" in key and "/CloudTrail" in key:
        # Digests (CloudTrail-Digest) prove that the files are whole; they hold no records.
        if made and "/CloudTrail/" in key:
            what.files[f"{one['bucket']}/{key}"] = one.get("region")
    elif watches(one["bucket"]):
        what.objects.append(one)

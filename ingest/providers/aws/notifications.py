"""S3's event notifications to the connector's queue: one entry of ours in each watched bucket.

A bucket has one notification document and writing it replaces all of it: it is read, our entry merged, and
written back with everybody else's. There is no version to compare with, so a change made in the same second
can get lost; the check that follows finds our entry gone. S3 refuses two entries for the same event on
overlapping keys, and queues in another region. A change takes about five minutes to act.

Source: Amazon S3 User Guide, "Amazon S3 Event Notifications"; API Reference,
PutBucketNotificationConfiguration.
"""

from collections.abc import AsyncIterator, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Final

from ingest.provider import Axes, Axis, Json, Missing, Refused, Registered, Subscription, Wanted
from ingest.providers.aws.buckets import Place, bucket_axes, find, s3

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

PREFIX: Final = "sluice-"
EVENTS: Final = (
    "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectAcl:Put", "s3:ObjectTagging:*",
    "s3:ObjectRestore:Completed", "s3:LifecycleExpiration:*",
)  # fmt: skip
_KINDS: Final = (
    ("QueueConfigurations", "QueueArn"),
    ("TopicConfigurations", "TopicArn"),
    ("LambdaFunctionConfigurations", "LambdaFunctionArn"),
)


async def notified_buckets(p: "Aws") -> AsyncIterator[Axis]:
    """List the buckets that can send to the queue: those of its region; none without a queue."""
    if p.settings.queue_url:
        async for axis in bucket_axes(p):
            if axis.data["region"] == p.settings.queue_region:
                yield axis


class BucketNotifications(Subscription["Aws"]):
    """Changes of objects, sent to the queue that the trail stream reads."""

    brings: ClassVar[str] = "trail"
    speeds_up: ClassVar[tuple[str, ...]] = ("objects",)
    per: ClassVar[Axes | None] = staticmethod(notified_buckets)

    async def create(self, p: "Aws", w: Wanted) -> Registered:
        """Add our entry, replacing an older one of ours; twice is as once.

        Raises:
            Refused: Another entry is in the way, or the queue does not let S3 send to it.
        """
        place = Place(**w.axis.data) if w.axis.data else await find(p, w.axis.key)
        queue = await _queue(p)
        entry = {"Id": PREFIX + w.id, "QueueArn": queue, "Events": list(EVENTS)}
        document = await _document(p, place)
        queues = document.get("QueueConfigurations", [])
        others = [one for one in queues if not _ours(one, queue)]
        document["QueueConfigurations"] = others
        for event, foreign in _overlaps(document):
            raise Refused(
                f"bucket {place.name} already sends {event} to {foreign}: S3 allows one receiver per event "
                "and key. Remove that entry, or let it fan out to our queue (SNS), then check again"
            )
        if not any(one["Id"] == entry["Id"] and sorted(one["Events"]) == sorted(EVENTS) for one in queues):
            document["QueueConfigurations"] = [*others, entry]
            try:
                await s3(
                    p, place, "put_bucket_notification_configuration", NotificationConfiguration=document
                )
            except Refused as error:
                raise Refused(
                    f"{error}: the queue's policy must let s3.amazonaws.com sqs:SendMessage for {place.arn()}"
                ) from error
        return Registered(w.id, data=place._asdict())

    async def remove(self, p: "Aws", it: Registered) -> None:
        """Take our entry away; the others stay."""
        place = Place(**it.data)
        try:
            document = await _document(p, place)
        except Missing:
            return
        before = document.get("QueueConfigurations", [])
        document["QueueConfigurations"] = [one for one in before if one["Id"] != PREFIX + it.id]
        if len(document["QueueConfigurations"]) < len(before):
            await s3(p, place, "put_bucket_notification_configuration", NotificationConfiguration=document)

    async def listed(self, p: "Aws") -> AsyncIterator[Registered]:
        """List our entries, unhealthy where the events are not the ones we ask for."""
        queue = await _queue(p) if p.settings.queue_url else ""
        async for axis in notified_buckets(p):
            for one in (await _document(p, Place(**axis.data))).get("QueueConfigurations", []):
                if _ours(one, queue):
                    healthy = sorted(one["Events"]) == sorted(EVENTS)
                    yield Registered(one["Id"].removeprefix(PREFIX), healthy=healthy, data=axis.data)


async def _queue(p: "Aws") -> str:
    reply = await p.sessions.call(
        "sqs", "get_queue_attributes", region=p.settings.queue_region, QueueUrl=p.settings.queue_url,
        AttributeNames=["QueueArn"],
    )  # fmt: skip
    return str(reply["Attributes"]["QueueArn"])


async def _document(p: "Aws", place: Place) -> dict[str, Json]:
    reply: dict[str, Json] = await s3(p, place, "get_bucket_notification_configuration")
    return {name: value for name, value in reply.items() if name != "ResponseMetadata"}


def _ours(entry: Json, queue: str) -> bool:
    return str(entry["Id"]).startswith(PREFIX) and bool(entry["QueueArn"] == queue)


def _overlaps(document: Json) -> Iterator[tuple[str, str]]:
    """Find entries for events of ours; ours has no key filter, so any filter of theirs overlaps."""
    for kind, target in _KINDS:
        for one in document.get(kind, []):
            for event in one["Events"]:
                if any(fnmatchcase(event, mine) or fnmatchcase(mine, event) for mine in EVENTS):
                    yield event, one[target]

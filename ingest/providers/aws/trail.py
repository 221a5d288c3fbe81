"""CloudTrail's two ways in: the event history, asked again and again, and a queue that tells of files.

The history is newest first, 50 events a page, 2 calls a second; it has no data events and may be 20 minutes
late. The queue carries what S3, SNS and EventBridge put there; a message is deleted after its events are
committed, so that it comes again if we fail. Sources: CloudTrail API reference, LookupEvents; CloudTrail user
guide, "How CloudTrail works", "Finding your log files"; SQS developer guide, "Visibility timeout".
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import orjson

from ingest.provider import At, BadRecord, Instance, Json, Mapped, Missing, NotAllowed, Page, Refused
from ingest.providers.aws import files
from ingest.providers.aws.messages import Told, told

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

VISIBLE: Final = 120
"""Seconds until an unfinished message shows up again; prolonged while its batch is being read."""
PAGE: Final = 1000
LARGEST: Final = 256 * 1024 * 1024
"""Bytes of an unpacked trail file; CloudTrail packs at most 50 MB, some 10 times smaller than the text."""


async def read_history(p: "Aws", at: At) -> AsyncIterator[Page]:
    """Look up the events of a window in one account and region, newest first."""
    place: dict[str, Json] = at.axis.data
    asked: dict[str, Json] = {"StartTime": at.since, "EndTime": at.until, "MaxResults": 50}
    if p.settings.changes_only:
        asked["LookupAttributes"] = [{"AttributeKey": "ReadOnly", "AttributeValue": "false"}]
    while True:
        reply = await p.sessions.call("cloudtrail", "lookup_events", **place, **asked)
        yield Page([_opened(found["CloudTrailEvent"]) for found in reply["Events"]])
        if not reply.get("NextToken"):
            return
        asked["NextToken"] = reply["NextToken"]


def _opened(text: str) -> Json:
    try:
        return orjson.loads(text)
    except ValueError:
        return {"CloudTrailEvent": text}  # the mapper refuses it, and it is kept as a dead letter


async def read_queue(p: "Aws", at: At) -> AsyncIterator[Page]:
    """Follow the queue; an empty page is a sign of life."""
    while True:
        batch = await _received(p)
        heard = [(message, told(message["Body"], p.settings.watches)) for message in batch.messages]
        for page in await _changed(p, batch, [one for one in heard if one[1].only_objects]):
            yield page
        for message, what in heard:
            if not what.only_objects:
                async for page in _read(p, at, batch, message, what):
                    yield page
                    await batch.prolong()
        if not heard:
            yield Page([], mapper="trail")


class _Batch:
    """Up to ten received messages, of which the unfinished are kept invisible."""

    def __init__(self, p: "Aws", messages: list[Json]) -> None:
        self._p, self.messages = p, messages
        self._open = {message["MessageId"]: message["ReceiptHandle"] for message in messages}
        self._now = asyncio.get_running_loop().time
        self._since = self._now()

    async def prolong(self) -> None:
        """Ask for more time, once a third of it is used up."""
        if not self._open or self._now() - self._since < VISIBLE / 3:
            return
        self._since = self._now()
        entries = [
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": VISIBLE}
            for n, handle in enumerate(self._open.values())
        ]
        # A refused entry (expired handle) comes back as Failed, not as an error: its message is read again.
        await _sqs(self._p, "change_message_visibility_batch", Entries=entries)

    def delete(self, *messages: Json) -> Callable[[], Awaitable[None]]:
        """Make what deletes messages, once their events are committed."""

        async def ack() -> None:
            for message in messages:
                self._open.pop(message["MessageId"], None)
            entries = [
                {"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)
            ]
            await _sqs(self._p, "delete_message_batch", Entries=entries)

        return ack


async def _sqs(p: "Aws", operation: str, **params: Json) -> Json:
    s = p.settings
    return await p.sessions.call("sqs", operation, region=s.queue_region, QueueUrl=s.queue_url, **params)


async def _received(p: "Aws") -> _Batch:
    reply = await _sqs(
        p, "receive_message", MaxNumberOfMessages=10, WaitTimeSeconds=20, VisibilityTimeout=VISIBLE
    )
    return _Batch(p, reply.get("Messages") or [])


async def _changed(p: "Aws", batch: _Batch, heard: list[tuple[Json, Told]]) -> list[Page]:
    """Look at all the objects that a batch tells of, as they are now."""
    if not heard:
        return []
    objects = {(one["bucket"], one["key"]): one for _, what in heard for one in what.objects}
    found = await asyncio.gather(*(_described(p, one) for one in objects.values()))
    seen, refused = [one for one in found if "reason" not in one], [one for one in found if "reason" in one]
    pages = [Page(seen, mapper="s3")] if seen else []
    if refused:
        pages.append(Page(refused, mapper="stranger"))
    pages[-1] = pages[-1]._replace(ack=batch.delete(*(message for message, _ in heard)))
    return pages


async def _described(p: "Aws", one: Json) -> Json:
    try:
        return await files.describe(p, one["bucket"], one["key"])
    except (NotAllowed, Refused) as error:
        # One closed bucket must not stand in the way of all the others' messages.
        return {"object": f"{one['bucket']}/{one['key']}", "reason": str(error)}


async def _read(p: "Aws", at: At, batch: _Batch, message: Json, what: Told) -> AsyncIterator[Page]:
    """Read what a message tells of; the last page deletes it. A stranger becomes a dead letter."""
    ack = batch.delete(message)
    pages = await _changed(p, batch, [(message, what)]) if what.objects else []
    pages = [page._replace(ack=None) for page in pages]
    if what.records:
        pages.append(Page(_kept(p, what.records), mapper="trail"))
    if what.strange:
        pages.append(Page([what.strange], mapper="stranger"))
    fresh = at.fresh(list(what.files))
    for place, page in enumerate(pages):
        yield page if fresh or place < len(pages) - 1 else page._replace(ack=ack)
    for place, name in enumerate(fresh):
        await batch.prolong()
        read = await _file_pages(p, name, what.files[name])
        if place == len(fresh) - 1:
            read[-1] = read[-1]._replace(ack=ack)
        for page in read:
            yield page
    if not pages and not fresh:
        yield Page([], mapper="trail", ack=ack)


async def _file_pages(p: "Aws", name: str, region: str | None) -> list[Page]:
    try:
        records = _kept(p, await _file(p, name, region))
    except BadRecord as error:
        return [Page([{"file": name, "reason": str(error)}], mapper="stranger", done=[name])]
    pages = [Page(records[at : at + PAGE], mapper="trail") for at in range(0, max(len(records), 1), PAGE)]
    pages[-1] = pages[-1]._replace(done=[name])
    return pages


def _kept(p: "Aws", records: list[Json]) -> list[Json]:
    """Leave out the accounts that have a connection of their own."""
    elsewhere = p.elsewhere()
    if not elsewhere:
        return records
    return [r for r in records if not (isinstance(r, dict) and r.get("recipientAccountId") in elsewhere)]


async def _file(p: "Aws", name: str, region: str | None) -> list[Json]:
    bucket, _, key = name.partition("/")
    try:
        async with p.sessions.stream("s3", "get_object", region=region, Bucket=bucket, Key=key) as reply:
            packed: bytes = await reply["Body"].read()
    except Missing:
        raise BadRecord("the trail file does not exist any more") from None
    return await asyncio.to_thread(unpack, packed)


def unpack(packed: bytes) -> list[Json]:
    """Read the records of a trail file.

    Raises:
        BadRecord: It is no gzip file, cut short, too large, or holds no records.
    """
    try:
        records = orjson.loads(b"".join(_unzipped(packed)))["Records"]
    except zlib.error as error:
        raise BadRecord(f"not a gzip file: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadRecord(f"not a trail file: {type(error).__name__}") from None
    if not isinstance(records, list):
        raise BadRecord("not a trail file: Records is no list")
    return records


def _unzipped(packed: bytes) -> Iterator[bytes]:
    left = LARGEST
    while True:
        member = zlib.decompressobj(wbits=31)
        part = member.decompress(packed, left)
        left -= len(part)
        if member.unconsumed_tail or left <= 0:
            raise BadRecord(f"the trail file unpacks to more than {LARGEST >> 20} MiB")
        if not member.eof:
            raise BadRecord("the trail file is cut short")
        yield part
        if not (packed := member.unused_data):
            return


def stranger(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Refuse what the queue told us but nobody can use; it is kept as a dead letter with this reason.

    Raises:
        BadRecord: Always.
    """
    del instance
    what = record.get("file") or record.get("object") or "a message in the queue"
    raise BadRecord(f"{what}: {record['reason']}")

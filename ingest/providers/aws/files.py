"""Buckets and objects: inventories with their true exposure, one object as it is now, and its content.

An object's id is its ARN, the key as it is: keys are not normalised, so `a//b`, `..` and control characters
are names like any other. S3 lists keys in the order of their UTF-8 bytes and knows no change cursor: a
listing is a full read, resumed after the last key. Both ways of reading an object give the same record, so
that a change seen live is not published again by the next listing: the media type is guessed from the name.

Source: Amazon S3 API Reference, ListObjectsV2, ListObjectVersions, HeadObject, GetObject.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, timedelta
from mimetypes import guess_type
from typing import TYPE_CHECKING, Final

from ingest.provider import (
    At,
    Content,
    Gone,
    Instance,
    Json,
    Mapped,
    Missing,
    NotAllowed,
    Page,
    Ref,
    Refused,
    Unscannable,
    feed,
)
from ingest.providers.aws.buckets import Place, bucket_axes, find, located, places, read_bucket, s3
from ingest.providers.aws.exposure import Seen, bucket_exposure, object_exposure
from schemas.events import event, millis, present

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

WINDOW: Final = 4 * 1024 * 1024
"""Bytes fetched per call; a file is read in windows, each of the same version."""
_AT_ONCE: Final = 16


def bucket(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map a bucket to an inventory event of type "bucket"."""
    seen = bucket_exposure(record, instance.domains)
    blocked = {
        level: sorted(flag for flag, on in record[level].items() if on is True)
        for level in ("block", "account_block")
        if record.get(level)
    }
    data = present(ownership=record.get("ownership"), versioning=record.get("versioning"), blocks=blocked)
    uid, name, when = _place(record).arn(), record["name"], record["created"]
    yield _inventory(record, uid, name, kind="bucket", when=when, seen=seen, data=data)


def object_listed(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map an object to an inventory event and, when it has content, to the reference for its scan."""
    held, one = record["bucket"], record["object"]
    place, key = _place(held), one["key"]
    uid = place.arn(key)
    seen = object_exposure(held, key, record.get("acl"), instance.domains)
    exact = {"bucket": place.name, "size": one["size"], "etag": one["etag"], "version": one["version"]}
    media = guess_type(key)[0] or "application/octet-stream"
    data = present(**exact, storage_class=one["class"], content_type=media)
    name = key.rstrip("/").rpartition("/")[2] or key
    kind = "folder" if key.endswith("/") and not one["size"] else "file"
    yield _inventory(held, uid, name, kind=kind, when=one["modified"], seen=seen, data=data)
    if one["size"]:
        where = {"key": key, "region": place.region, "account": held["account"]}
        yield Ref("file", uid, one["version"] or one["etag"], data={**exact, **where})


def object_changed(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map what `describe` read: the object as it is now, or that it is gone."""
    if record.get("gone"):
        yield Gone("file", _place(record["bucket"]).arn(record["object"]["key"]))
    else:
        yield from object_listed(record, instance)


def _place(record: Json) -> Place:
    return Place(record["name"], record["region"], record.get("account") or "")


def _inventory(held: Json, uid: str, name: str, *, kind: str, when: str, seen: Seen, data: Json) -> Mapped:
    more = present(
        exposure=seen.word, reasons=list(seen.reasons), account=held["account"], unread=held["unread"]
    )
    resource = present(
        uid=uid, name=name, type=kind, region=held["region"], cloud_partition=held.get("partition"),
        version=data.get("version"), labels=[seen.word], data={**data, **more},
    )  # fmt: skip
    resource["created_time" if kind == "bucket" else "modified_time"] = millis(when)
    return event(
        5023, 2, millis(when), log_name="files", source_id=uid, original_time=when, resources=[resource],
        region=held["region"],
    )  # fmt: skip


@feed("sharing_control", to=bucket, every=timedelta(minutes=15))
async def buckets(p: "Aws", at: At) -> AsyncIterator[Page]:
    """Every watched bucket and who can see it, one page each."""
    after = (at.cursor or {}).get("after", "")
    for place in sorted([one async for one in places(p)]):
        if place.name > after:
            with suppress(Missing):
                yield Page([await read_bucket(p, place)], cursor={"after": place.name})
    yield Page([], complete=True)


@feed("dlp_backlog", "sharing_control", to=object_listed, every=timedelta(hours=12), per=bucket_axes)
async def objects(p: "Aws", at: At, size: int = 1000) -> AsyncIterator[Page]:
    """Every object of a bucket in the order of their keys, `size` a page, with its ACL where ACLs count."""
    place = Place(**at.axis.data) if at.axis.data else await find(p, at.axis.key)
    try:
        held = await read_bucket(p, place)
    except Missing:  # with the bucket, all of its objects are gone
        yield Page([], complete=True)
        return
    cursor = at.cursor or {}
    while cursor is not None:
        found, cursor = await _listing(p, place, held, cursor, size)
        acls = await _acls(p, place, held, found)
        records = [{"bucket": held, "object": one, "acl": acl} for one, acl in zip(found, acls, strict=True)]
        yield Page(records, cursor=cursor, complete=cursor is None)


async def _listing(p: "Aws", place: Place, held: Json, cursor: Json, size: int) -> tuple[list[Json], Json]:
    """Read one page and the cursor after it; the current version's id is only in the list of all versions."""
    if held["versioning"]:
        marks = {"KeyMarker": cursor.get("after"), "VersionIdMarker": cursor.get("version")}
        reply = await s3(
            p, place, "list_object_versions", MaxKeys=size, **{k: v for k, v in marks.items() if v}
        )
        found = [described(one) for one in reply.get("Versions", []) if one["IsLatest"]]
        following = {"after": reply.get("NextKeyMarker"), "version": reply.get("NextVersionIdMarker")}
    else:
        start = {"StartAfter": cursor["after"]} if cursor.get("after") else {}
        reply = await s3(p, place, "list_objects_v2", MaxKeys=size, **start)
        found = [described(one) for one in reply.get("Contents", [])]
        following = {"after": found[-1]["key"] if found else None}
    return found, following if reply["IsTruncated"] and following["after"] else None


def described(one: Json, key: str = "") -> dict[str, Json]:
    """Take what a listing and a HeadObject both say; S3 counts in whole seconds."""
    version = one.get("VersionId", "")
    return {
        "key": key or one["Key"],
        "size": one.get("Size", one.get("ContentLength", 0)),
        "etag": one.get("ETag", "").strip('"'),
        "version": "" if version == "null" else version,
        "class": one.get("StorageClass") or "STANDARD",
        "modified": one["LastModified"].astimezone(UTC).replace(microsecond=0).isoformat(),
    }


async def _acls(p: "Aws", place: Place, held: Json, objects: list[Json]) -> list[Json]:
    if held["ownership"] == "BucketOwnerEnforced":
        return [None] * len(objects)
    turn = asyncio.Semaphore(_AT_ONCE)
    tasks = [asyncio.ensure_future(_acl(p, place, held, one["key"], turn)) for one in objects]
    try:
        return await asyncio.gather(*tasks)
    finally:  # after a failure none goes on calling
        for task in tasks:
            task.cancel()


async def _acl(p: "Aws", place: Place, held: Json, key: str, turn: asyncio.Semaphore) -> Json:
    """Read one object's effective ACL; None when it is gone by now, archived, or we may not."""
    async with turn:
        if "object_acl" in held["unread"]:
            return None
        try:
            reply = await s3(p, place, "get_object_acl", Key=key)
        except (Missing, Unscannable):
            return None
        except NotAllowed:
            held["unread"] = [*held["unread"], "object_acl"]
            return None
        return {"Owner": reply.get("Owner"), "Grants": reply.get("Grants", [])}


async def describe(p: "Aws", bucket: str, key: str, version: str = "") -> Json:
    """Read one object as it is now, for `object_changed`; `version` asks for an older one.

    An object that does not exist (any more), or whose newest version is a delete marker, is `gone`.
    """
    place = await find(p, bucket)
    try:
        held = await read_bucket(p, place, fresh=False)
        asked = {"VersionId": version} if version else {}
        head = await s3(p, place, "head_object", "405", Key=key, **asked)
        if head is not None:
            (acl,) = await _acls(p, place, held, [{"key": key}])
            return {"bucket": held, "object": described(head, key), "acl": acl}
    except Missing:
        pass
    return {"bucket": place._asdict(), "object": {"key": key}, "gone": True}


@asynccontextmanager
async def open_content(p: "Aws", file: Ref) -> AsyncIterator[Content]:
    """Open an object's content: the version asked for, else the current one by its etag.

    Raises:
        Missing: The object, or that version, is gone.
        Changed: Another version is current by now.
        Unscannable: Archived, or encrypted with a key we may not use.
    """
    place, key = await located(p, file)
    data = file.data or {}
    asked: dict[str, Json] = {"Key": key}
    if version := data.get("version", ""):
        asked["VersionId"] = version
    elif etag := data.get("etag", file.version):
        asked["IfMatch"] = f'"{etag}"'
    first, head = await _window(p, place, asked, 0)
    size = int(str(head.get("ContentRange", "")).rpartition("/")[2] or head["ContentLength"])
    # Without a version, later windows must not come from a newer object.
    asked.setdefault("IfMatch", head.get("ETag", ""))

    async def chunks() -> AsyncIterator[bytes]:
        part, read = first, 0
        while part:
            yield part
            read += len(part)
            part = (await _window(p, place, asked, read))[0] if read < size else b""

    got = head.get("VersionId", "")
    exact = got if got not in ("", "null") else head.get("ETag", "").strip('"')
    yield Content(chunks(), size, head.get("ContentType", ""), exact, key.rpartition("/")[2])


async def _window(p: "Aws", place: Place, asked: Json, start: int) -> tuple[bytes, Json]:
    try:
        async with p.sessions.stream(
            "s3", "get_object", account=place.account, region=place.region, Bucket=place.name,
            Range=f"bytes={start}-{start + WINDOW - 1}", **asked,
        ) as reply:  # fmt: skip
            return await reply["Body"].read(), reply
    except NotAllowed as error:
        if "kms:" in str(error):
            raise Unscannable("encrypted with a key we may not use") from error
        raise
    except Refused as error:
        if "(InvalidRange)" in str(error) and not start:  # an empty object has no range at all
            return b"", {"ContentLength": 0}
        if "(MethodNotAllowed)" in str(error):  # the version is a delete marker
            raise Missing(f"{place.arn(asked['Key'])} is deleted") from error
        raise Unscannable(str(error)) from error

"""Governance of objects: quarantine, trash, restore, delete.

What makes these undoable: in a versioned bucket a deletion only adds a delete marker, and taking that away
brings the very object back; elsewhere a quarantined object is copied first, with its metadata and tags. Its
ACL is not copied by S3, it is saved in the prior state. Copies lie in the quarantine bucket under
`<instance>/<bucket>/<hash of the key>/<version or etag>` and bear the tag `sluice=quarantine` (at most nine
tags of its own leave room for it).

Source: Amazon S3 API Reference, CopyObject, UploadPartCopy, DeleteObject; S3 User Guide, "Working with delete
markers".
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlencode

from ingest.provider import (
    Capability,
    Changed,
    Json,
    Kind,
    Missing,
    NotAllowed,
    Ref,
    Refused,
    SourceError,
    Step,
    Unscannable,
)
from ingest.providers.aws.buckets import Place, find, located, s3
from ingest.providers.aws.sharing_actions import granted, set_grants

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

MARK: Final = {"sluice": "quarantine"}
_ARCHIVED: Final = ("GLACIER", "DEEP_ARCHIVE")
_GIB: Final = 1024**3
_MOST_TAGS: Final = 10
_HEADERS: Final = (
    "Metadata", "ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl",
    "Expires",
)  # fmt: skip


@dataclass(frozen=True)
class _Mover:
    """What these actions share; objects above `largest` bytes are copied in parts of `part` bytes."""

    capability: ClassVar[Capability] = "file_governance"
    on: ClassVar[Kind] = "file"
    irreversible: ClassVar[bool] = False
    largest: int = 5 * _GIB
    part: int = _GIB

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the object, its ACL and tags, or what stands in its place: a delete marker, a copy of ours.

        Raises:
            Missing: There is none of the three.
        """
        del options
        place, key = await located(p, target)
        if not key:
            raise Refused(f"{target.id[:80]} is a bucket: name an object")
        source = await _head(p, place, key)
        state = {
            "source": source,
            "marker": None if source else await _marker(p, place, key),
            "copy": await _copy_of(p, place, key),
            "versioned": (await s3(p, place, "get_bucket_versioning")).get("Status") == "Enabled",
        }
        if not (source or state["marker"] or state["copy"]):
            raise Missing(f"{place.arn(key)} does not exist")
        if source and source["class"] not in _ARCHIVED:
            acl = await s3(p, place, "get_object_acl", Key=key)
            state |= {"grants": acl["Grants"], "owner": acl["Owner"].get("ID", "")}
            state["tags"] = await _tags(p, place, key)
        return state

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Do one step."""
        place, key = await located(p, target)
        data = step.data or {}
        match step.do:
            case "copy":
                vault = await _vault(p, place)
                to = _shelf(p, place, key) + (data["version"] or data["etag"])
                await self._copy(p, (place, key), (vault, to), data)
                return {"key": to}
            case "copy-back":
                await self._copy_back(p, place, key, data)
            case "delete":
                return await _delete(p, place, key, data)
            case "remove-marker":
                await s3(p, place, "delete_object", Key=key, VersionId=data["marker"])
            case "set-acl":
                await set_grants(p, place, key, data["grants"])
            case "drop":
                await s3(p, await _vault(p, place), "delete_object", Key=data["key"])
            case _:
                raise Refused(f"there is no step {step.do}")
        return None

    async def _copy_back(self, p: "Aws", place: Place, key: str, data: Json) -> None:
        """Bring a copy back, with the tags given or, for None, those it has but ours."""
        vault = await _vault(p, place)
        source, there = await _head(p, vault, data["key"]), await _head(p, place, key)
        if source is None:
            raise Missing("the quarantined copy is gone")
        if there:
            if there["size"] == source["size"]:  # brought back already
                return
            raise Changed(f"another object is at {place.arn(key)} by now")
        tags = data["tags"]
        if tags is None:
            kept = await _tags(p, vault, data["key"])
            tags = {name: value for name, value in kept.items() if name not in MARK}
        await self._copy(p, (vault, data["key"]), (place, key), {**source, "tags": tags}, fresh=True)

    async def _copy(
        self,
        p: "Aws",
        source: tuple[Place, str],
        to: tuple[Place, str],
        data: Json,
        *,
        fresh: bool = False,
    ) -> None:
        """Copy exactly the version meant; `fresh`: only where nothing bears the name by now."""
        (origin, key), (there, name) = source, to
        version = {"VersionId": data["version"]} if data["version"] else {}
        # The ACL is the one that is taken even where ACLs are off.
        given: dict[str, Json] = {
            "Key": name,
            "StorageClass": data["class"],
            "ACL": "bucket-owner-full-control",
        }
        given["Tagging"] = urlencode(data["tags"])
        meant: dict[str, Json] = {
            "CopySource": {"Bucket": origin.name, "Key": key, **version},
            "CopySourceIfMatch": f'"{data["etag"]}"',
        }
        once: dict[str, Json] = {"IfNoneMatch": "*"} if fresh else {}
        try:
            if data["size"] > self.largest:
                given |= await _headers(p, origin, key)
                await self._copy_parts(p, there, given, meant, data["size"], once)
            else:
                await s3(p, there, "copy_object", **given, **meant, **once, TaggingDirective="REPLACE")
        except Unscannable as error:
            raise Refused(
                "the object is archived and can't be copied: restore it from the archive"
            ) from error

    async def _copy_parts(
        self, p: "Aws", there: Place, given: Json, meant: Json, size: int, once: Json
    ) -> None:
        upload = (await s3(p, there, "create_multipart_upload", **given))["UploadId"]
        part = max(self.part, -(-size // 10_000))
        same = {"Key": given["Key"], "UploadId": upload}
        done = []
        try:
            for number, start in enumerate(range(0, size, part), 1):
                bounds = f"bytes={start}-{min(start + part, size) - 1}"
                reply = await s3(
                    p, there, "upload_part_copy", **same, **meant, PartNumber=number, CopySourceRange=bounds
                )
                done.append({"PartNumber": number, "ETag": reply["CopyPartResult"]["ETag"]})
            await s3(p, there, "complete_multipart_upload", **same, **once, MultipartUpload={"Parts": done})
        except SourceError:
            await s3(p, there, "abort_multipart_upload", **same)
            raise

    def _back(self, state: Json, tags: Json) -> list[Step]:
        """Plan how what left its place returns: unmark it, or copy it back."""
        if state["marker"]:
            return [Step("remove-marker", "remove the delete marker", {"marker": state["marker"]})]
        if state["copy"]:
            data = {"key": state["copy"]["key"], "tags": tags}
            return [Step("copy-back", "copy it back from the quarantine bucket", data)]
        raise Refused("there is no delete marker and no quarantined copy to bring back")

    def _drop(self, state: Json) -> list[Step]:
        if not state["copy"]:
            return []
        return [Step("drop", "remove the quarantined copy", {"key": state["copy"]["key"]})]


class Quarantine(_Mover):
    """Move an object into the quarantine bucket; in a versioned bucket its versions stay behind a marker."""

    name: ClassVar[str] = "quarantine"

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read as the others do; without a quarantine bucket it is refused."""
        if not p.settings.quarantine_bucket:
            raise Refused(
                "there is no quarantine bucket: set quarantine_bucket to a private bucket of its own"
            )
        return await super().look(p, target, options)

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Copy unless this version is there already, then delete."""
        del options
        source, copy = state["source"], state["copy"]
        if not source:
            return []
        if source["class"] in _ARCHIVED:
            raise Refused("the object is archived and can't be copied: restore it from the archive first")
        tags = state["tags"] if len(state["tags"]) >= _MOST_TAGS else {**state["tags"], **MARK}
        data = {**source, "tags": tags}
        copied = copy and copy["of"] == (source["version"] or source["etag"])
        first = [] if copied else [Step("copy", "copy it to the quarantine bucket", data)]
        return [*first, Step("delete", "delete it where it is", {"etag": source["etag"]})]

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Bring it back with its tags and ACL, then remove the copy."""
        del done
        if not before["source"]:
            return []
        if now["source"] and now["source"]["size"] != before["source"]["size"]:
            raise Refused("another object bears the name by now: move it away first")
        steps = [] if now["source"] else self._back(now, before["tags"])
        # A copy starts with its owner's grant alone; behind a marker the object kept all of them.
        alone = [one for one in before["grants"] if _own(one, before)]
        held = now["grants"] if now["source"] else alone
        if granted(held) != granted(before["grants"]) and not now["marker"]:
            steps.append(Step("set-acl", "restore its ACL", {"grants": before["grants"]}))
        return [*steps, *self._drop(now)]


class Trash(_Mover):
    """Put an object behind a delete marker; refused where a deletion would be for good."""

    name: ClassVar[str] = "trash"

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Delete what is there."""
        del options
        if not state["source"]:
            return []
        if not state["versioned"]:
            raise Refused(
                "the bucket keeps no versions, this would delete for good: use quarantine, or delete"
            )
        return [Step("delete", "put a delete marker on it", {"etag": state["source"]["etag"]})]

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Take the marker away."""
        del done
        return self._back(now, None)[:1] if before["source"] and not now["source"] else []


class Restore(_Mover):
    """Bring an object back from trash or quarantine; a copy comes back private, as its ACL is not kept."""

    name: ClassVar[str] = "restore"

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Take the marker away or copy back; a copy of what is there again is removed."""
        del options
        return [] if state["source"] else [*self._back(state, None), *self._drop(state)]

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Put it back where it was."""
        del done
        if before["source"] or not now["source"]:
            return []
        return (Quarantine() if before["copy"] else Trash()).plan(now, None)


class Delete(_Mover):
    """Delete every version of an object for good."""

    name: ClassVar[str] = "delete"
    irreversible: ClassVar[bool] = True

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Count the versions and delete markers; none is no error, for that is the aim."""
        del options
        place, key = await located(p, target)
        if not key:
            raise Refused(f"{target.id[:80]} is a bucket: name an object")
        return {"versions": len([one async for one in _versions(p, place, key)])}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Delete them all in one step."""
        del options
        count = state["versions"]
        return [Step("delete-versions", f"delete it for good ({count} versions)")] if count else []

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Delete one by one: the call for many can't name a key with control characters."""
        del step
        place, key = await located(p, target)
        found = [one async for one in _versions(p, place, key)]
        for one in found:
            try:
                await s3(p, place, "delete_object", Key=key, VersionId=one["VersionId"])
            except NotAllowed as error:
                raise Refused(
                    "S3 keeps a version: Object Lock holds it, or s3:DeleteObjectVersion is not granted"
                ) from error
        return {"deleted": len(found)}

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> None:
        """There is no way back."""


def _own(grant: Json, state: Json) -> bool:
    return bool(grant["Grantee"].get("ID") == state["owner"])


def _shelf(p: "Aws", place: Place, key: str) -> str:
    digest = blake2b(key.encode(), digest_size=16).hexdigest()
    return f"{p.instance.id}/{place.name}/{digest}/"


async def _vault(p: "Aws", place: Place) -> Place:
    """Find the quarantine bucket; it is written to as the source's account, which may read the source."""
    return (await find(p, p.settings.quarantine_bucket))._replace(account=place.account)


async def _head(p: "Aws", place: Place, key: str) -> Json:
    try:
        head = await s3(p, place, "head_object", Key=key)
    except Missing:
        return None
    version = head.get("VersionId", "")
    return {
        "etag": head["ETag"].strip('"'), "version": "" if version == "null" else version,
        "size": head["ContentLength"], "class": head.get("StorageClass") or "STANDARD",
    }  # fmt: skip


async def _headers(p: "Aws", place: Place, key: str) -> Json:
    """Read what a copy in parts, unlike a whole one, has to be told."""
    head = await s3(p, place, "head_object", Key=key)
    return {name: head[name] for name in _HEADERS if head.get(name)}


async def _tags(p: "Aws", place: Place, key: str) -> dict[str, str]:
    reply = await s3(p, place, "get_object_tagging", Key=key)
    return {one["Key"]: one["Value"] for one in reply["TagSet"]}


async def _copy_of(p: "Aws", place: Place, key: str) -> Json:
    """Find the newest quarantined copy."""
    if not p.settings.quarantine_bucket:
        return None
    shelf = _shelf(p, place, key)
    reply = await s3(p, await _vault(p, place), "list_objects_v2", Prefix=shelf)
    found = max(reply.get("Contents", []), key=lambda one: one["LastModified"], default=None)
    return None if found is None else {"key": found["Key"], "of": found["Key"].removeprefix(shelf)}


async def _versions(p: "Aws", place: Place, key: str) -> AsyncIterator[Json]:
    """List an object's versions and delete markers."""
    marks: dict[str, str] = {}
    while True:
        reply = await s3(p, place, "list_object_versions", Prefix=key, **marks)
        for kind in ("Versions", "DeleteMarkers"):
            for one in reply.get(kind, []):
                if one["Key"] == key:  # keys that only begin alike come along
                    yield {**one, "marker": kind == "DeleteMarkers"}
        if not reply["IsTruncated"] or reply["NextKeyMarker"] != key:
            return
        marks = {"KeyMarker": key, "VersionIdMarker": reply["NextVersionIdMarker"]}


async def _marker(p: "Aws", place: Place, key: str) -> str | None:
    found = [one async for one in _versions(p, place, key) if one["marker"] and one["IsLatest"]]
    return str(found[0]["VersionId"]) if found else None


async def _delete(p: "Aws", place: Place, key: str, data: Json) -> Json:
    """Delete what was meant and nothing newer; done already is fine."""
    source = await _head(p, place, key)
    if source is None:
        return {"marker": await _marker(p, place, key)}
    if source["etag"] != data["etag"]:
        raise Changed(f"{place.arn(key)} was written to meanwhile")
    reply = await s3(p, place, "delete_object", Key=key, IfMatch=f'"{data["etag"]}"')
    return {"marker": reply.get("VersionId") if reply.get("DeleteMarker") else None}

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
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple
from urllib.parse import urlencode

from ingest.provider import (
    Action,
    Capability,
    Changed,
    Json,
    Missing,
    NotAllowed,
    Ref,
    Refused,
    SourceError,
    Step,
    Unscannable,
)
from ingest.providers.aws.buckets import Place, find, located, s3
from ingest.providers.aws.files import described
from ingest.providers.aws.sharing_actions import granted, set_grants

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

MARK: Final = {"sluice": "quarantine"}
_ARCHIVED: Final = ("GLACIER", "DEEP_ARCHIVE")
_FROZEN: Final = "the object is archived and can't be copied: restore it from the archive first"
_GIB: Final = 1024**3
_MOST_TAGS: Final = 10
_HEADERS: Final = (
    "Metadata", "ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl",
    "Expires",
)  # fmt: skip


class _Object(NamedTuple):
    """An object of a bucket by its name, whether there is one or not."""

    p: "Aws"
    place: Place
    key: str

    async def call(self, operation: str, **params: Json) -> Json:
        """Make an S3 call on it."""
        return await s3(self.p, self.place, operation, Key=self.key, **params)

    async def head(self) -> Json:
        """Read what is there now; None: nothing."""
        try:
            return described(await self.call("head_object"), self.key)
        except Missing:
            return None

    async def tags(self) -> dict[str, str]:
        """Read its tags."""
        return {one["Key"]: one["Value"] for one in (await self.call("get_object_tagging"))["TagSet"]}

    async def versions(self) -> AsyncIterator[Json]:
        """List its versions and delete markers."""
        marks: dict[str, str] = {}
        while True:
            reply = await s3(self.p, self.place, "list_object_versions", Prefix=self.key, **marks)
            for kind in ("Versions", "DeleteMarkers"):
                for one in reply.get(kind, []):
                    if one["Key"] == self.key:  # keys that only begin alike come along
                        yield {**one, "marker": kind == "DeleteMarkers"}
            if not reply["IsTruncated"] or reply["NextKeyMarker"] != self.key:
                return
            marks = {"KeyMarker": self.key, "VersionIdMarker": reply["NextVersionIdMarker"]}

    async def marker(self) -> str | None:
        """Name the delete marker that hides it; one over nothing, as its versions expired, hides nothing."""
        found = [one async for one in self.versions()]
        hiding = next((one for one in found if one["marker"] and one["IsLatest"]), None)
        return str(hiding["VersionId"]) if hiding and not all(one["marker"] for one in found) else None

    @property
    def shelf(self) -> str:
        """Where its copies lie in the quarantine bucket."""
        digest = blake2b(self.key.encode(), digest_size=16).hexdigest()
        return f"{self.p.instance.id}/{self.place.name}/{digest}/"

    async def shelved(self, key: str) -> "_Object":
        """Name a copy; it is written and read as the source's account, which may read the source."""
        vault = await find(self.p, self.p.settings.quarantine_bucket)
        return _Object(self.p, vault._replace(account=self.place.account), key)

    async def copy_of(self) -> Json:
        """Find the newest quarantined copy."""
        if not self.p.settings.quarantine_bucket:
            return None
        vault = (await self.shelved("")).place
        reply = await s3(self.p, vault, "list_objects_v2", Prefix=self.shelf)
        found = max(reply.get("Contents", []), key=lambda one: one["LastModified"], default=None)
        return found and {"key": found["Key"], "of": found["Key"].removeprefix(self.shelf)}


async def _meant(p: "Aws", target: Ref) -> _Object:
    place, key = await located(p, target)
    if not key:
        raise Refused(f"{target.id[:80]} is a bucket: name an object")
    return _Object(p, place, key)


@dataclass(frozen=True)
class _Mover(Action["Aws"]):
    """What these actions share; objects above `largest` bytes are copied in parts of `part` bytes."""

    capability: ClassVar[Capability] = "file_governance"
    largest: int = 5 * _GIB
    part: int = _GIB

    async def look(self, p: "Aws", target: Ref, _options: Json) -> Json:
        """Read the object, its ACL and tags, or what stands in its place: a delete marker, a copy of ours.

        Raises:
            Missing: There is none of the three.
        """
        one = await _meant(p, target)
        source = await one.head()
        state = {
            "source": source,
            "marker": None if source else await one.marker(),
            "copy": await one.copy_of(),
            "versioned": (await s3(p, one.place, "get_bucket_versioning")).get("Status") == "Enabled",
        }
        if not (source or state["marker"] or state["copy"]):
            raise Missing(f"{one.place.arn(one.key)} does not exist")
        if source and source["class"] not in _ARCHIVED:
            acl = await one.call("get_object_acl")
            state |= {"grants": acl["Grants"], "owner": acl["Owner"].get("ID", ""), "tags": await one.tags()}
        return state

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Do one step."""
        one, data = await _meant(p, target), step.data or {}
        match step.do:
            case "copy":
                to = await one.shelved(one.shelf + (data["version"] or data["etag"]))
                await self._copy(one, to, data)
                return {"key": to.key}
            case "copy-back":
                await self._copy_back(one, await one.shelved(data["key"]), data["tags"])
            case "delete":
                return await _delete(one, data["etag"])
            case "remove-marker":
                await one.call("delete_object", VersionId=data["marker"])
            case "set-acl":
                await set_grants(p, one.place, one.key, data["grants"])
            case "drop":
                await self._drop_copy(one, await one.shelved(data["key"]))
            case _:
                raise Refused(f"there is no step {step.do}")
        return None

    async def _drop_copy(self, one: _Object, copy: _Object) -> None:
        """Delete a copy whose original is back; it may be the last there is.

        Raises:
            Changed: The original is not there, or another.
        """
        kept, there = await copy.head(), await one.head()
        if kept is None:
            return
        if there is None or there["size"] != kept["size"]:
            raise Changed("the object is not back as it was: its quarantined copy stays")
        await copy.call("delete_object")

    async def _copy_back(self, one: _Object, copy: _Object, tags: Json) -> None:
        """Bring a copy back, with the tags given or, for None, those it has but ours."""
        source, there = await copy.head(), await one.head()
        if source is None:
            raise Missing("the quarantined copy is gone")
        if there:
            if there["size"] == source["size"]:  # brought back already
                return
            raise Changed(f"another object is at {one.place.arn(one.key)} by now")
        if tags is None:
            tags = {name: value for name, value in (await copy.tags()).items() if name not in MARK}
        await self._copy(copy, one, {**source, "tags": tags}, fresh=True)

    async def _copy(self, source: _Object, to: _Object, data: Json, *, fresh: bool = False) -> None:
        """Copy exactly the version meant; `fresh`: only where nothing bears the name by now."""
        version = {"VersionId": data["version"]} if data["version"] else {}
        meant: dict[str, Json] = {
            "CopySource": {"Bucket": source.place.name, "Key": source.key, **version},
            "CopySourceIfMatch": f'"{data["etag"]}"',
        }
        # The ACL is the one that is taken even where ACLs are off.
        given = {"StorageClass": data["class"], "ACL": "bucket-owner-full-control"}
        given["Tagging"] = urlencode(data["tags"])
        once = {"IfNoneMatch": "*"} if fresh else {}
        try:
            if data["size"] > self.largest:
                # Unlike a whole copy, one in parts has to be told these.
                head = await source.call("head_object")
                given |= {name: head[name] for name in _HEADERS if head.get(name)}
                await self._copy_parts(to, given, meant, once, data["size"])
            else:
                await to.call("copy_object", **given, **meant, **once, TaggingDirective="REPLACE")
        except Unscannable as error:
            raise Refused(_FROZEN) from error

    async def _copy_parts(self, to: _Object, given: Json, meant: Json, once: Json, size: int) -> None:
        upload = (await to.call("create_multipart_upload", **given))["UploadId"]
        part, done = max(self.part, -(-size // 10_000)), []
        try:
            for number, start in enumerate(range(0, size, part), 1):
                which = {
                    "PartNumber": number,
                    "CopySourceRange": f"bytes={start}-{min(start + part, size) - 1}",
                }
                reply = await to.call("upload_part_copy", UploadId=upload, **meant, **which)
                done.append({"PartNumber": number, "ETag": reply["CopyPartResult"]["ETag"]})
            whole = {"MultipartUpload": {"Parts": done}}
            await to.call("complete_multipart_upload", UploadId=upload, **once, **whole)
        except SourceError:
            await to.call("abort_multipart_upload", UploadId=upload)
            raise


async def _delete(one: _Object, etag: str) -> Json:
    """Delete what was meant and nothing newer; done already is fine."""
    source = await one.head()
    if source is None:
        return {"marker": await one.marker()}
    if source["etag"] != etag:
        raise Changed(f"{one.place.arn(one.key)} was written to meanwhile")
    reply = await one.call("delete_object", IfMatch=f'"{etag}"')
    return {"marker": reply.get("VersionId") if reply.get("DeleteMarker") else None}


def _back(state: Json, tags: Json) -> list[Step]:
    """Plan how what left its place returns: unmark it, or copy it back."""
    if state["marker"]:
        return [Step("remove-marker", "remove the delete marker", {"marker": state["marker"]})]
    if state["copy"]:
        data = {"key": state["copy"]["key"], "tags": tags}
        return [Step("copy-back", "copy it back from the quarantine bucket", data)]
    raise Refused("there is no delete marker and no quarantined copy to bring back")


def _drop(state: Json) -> list[Step]:
    copy = state["copy"]
    return [Step("drop", "remove the quarantined copy", {"key": copy["key"]})] if copy else []


class Quarantine(_Mover):
    """Move an object into the quarantine bucket; in a versioned bucket its versions stay behind a marker."""

    name = "quarantine"

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read as the others do; without a quarantine bucket it is refused."""
        if not p.settings.quarantine_bucket:
            raise Refused(
                "there is no quarantine bucket: set quarantine_bucket to a private bucket of its own"
            )
        return await super().look(p, target, options)

    def plan(self, state: Json, _options: Json) -> list[Step]:
        """Copy unless this version is there already, then delete."""
        source, copy = state["source"], state["copy"]
        if not source:
            return []
        if source["class"] in _ARCHIVED:
            raise Refused(_FROZEN)
        tags = state["tags"] if len(state["tags"]) >= _MOST_TAGS else {**state["tags"], **MARK}
        copied = copy and copy["of"] == (source["version"] or source["etag"])
        first = [] if copied else [Step("copy", "copy it to the quarantine bucket", {**source, "tags": tags})]
        return [*first, Step("delete", "delete it where it is", {"etag": source["etag"]})]

    def undo(self, before: Json, now: Json, _done: Mapping[str, Json]) -> list[Step]:
        """Bring it back with its tags and ACL, then remove the copy."""
        if not before["source"]:
            return []
        if now["source"] and now["source"]["size"] != before["source"]["size"]:
            raise Refused("another object bears the name by now: move it away first")
        steps = [] if now["source"] else _back(now, before["tags"])
        # A copy starts with its owner's grant alone; behind a marker the object kept all of them.
        alone = [one for one in before["grants"] if one["Grantee"].get("ID") == before["owner"]]
        held = now["grants"] if now["source"] else alone
        if granted(held) != granted(before["grants"]) and not now["marker"]:
            steps.append(Step("set-acl", "restore its ACL", {"grants": before["grants"]}))
        return [*steps, *_drop(now)]


class Trash(_Mover):
    """Put an object behind a delete marker; refused where a deletion would be for good."""

    name = "trash"

    def plan(self, state: Json, _options: Json) -> list[Step]:
        """Delete what is there."""
        if not state["source"]:
            return []
        if not state["versioned"]:
            raise Refused(
                "the bucket keeps no versions, this would delete for good: use quarantine, or delete"
            )
        return [Step("delete", "put a delete marker on it", {"etag": state["source"]["etag"]})]

    def undo(self, before: Json, now: Json, _done: Mapping[str, Json]) -> list[Step]:
        """Take the marker away."""
        return _back(now, None)[:1] if before["source"] and not now["source"] else []


class Restore(_Mover):
    """Bring an object back from trash or quarantine; a copy comes back private, as its ACL is not kept."""

    name = "restore"

    def plan(self, state: Json, _options: Json) -> list[Step]:
        """Take the marker away or copy back; a copy of what is there again is removed."""
        return [] if state["source"] else [*_back(state, None), *_drop(state)]

    def undo(self, before: Json, now: Json, _done: Mapping[str, Json]) -> list[Step]:
        """Put it back where it was."""
        if before["source"] or not now["source"]:
            return []
        return (Quarantine() if before["copy"] else Trash()).plan(now, None)


class Delete(_Mover):
    """Delete every version of an object for good."""

    name = "delete"
    irreversible = True

    async def look(self, p: "Aws", target: Ref, _options: Json) -> Json:
        """Count the versions and delete markers; none is no error, for that is the aim."""
        return {"versions": len([one async for one in (await _meant(p, target)).versions()])}

    def plan(self, state: Json, _options: Json) -> list[Step]:
        """Delete them all in one step."""
        count = state["versions"]
        return [Step("delete-versions", f"delete it for good ({count} versions)")] if count else []

    async def do(self, p: "Aws", target: Ref, _step: Step) -> Json:
        """Delete one by one: the call for many can't name a key with control characters."""
        one = await _meant(p, target)
        found = [version["VersionId"] async for version in one.versions()]
        for version in found:
            try:
                await one.call("delete_object", VersionId=version)
            except NotAllowed as error:
                raise Refused(
                    "S3 keeps a version: Object Lock holds it, or s3:DeleteObjectVersion is not granted"
                ) from error
        return {"deleted": len(found)}

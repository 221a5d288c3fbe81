"""Governance of sharing: public grants out of ACLs, public statements out of policies, walls around buckets.

Policies and ACLs have no version to compare with: whatever was written is read back.

Source: Amazon S3 API Reference, PutObjectAcl, PutBucketAcl, PutBucketPolicy, PutPublicAccessBlock.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

import orjson

from ingest.provider import Capability, Json, Kind, Ref, Refused, Step
from ingest.providers.aws.buckets import Place, located, s3
from ingest.providers.aws.exposure import FLAGS, acl_is_public, public_statements

if TYPE_CHECKING:
    from ingest.providers.aws import Aws


_GRANTS: Final = {
    "FULL_CONTROL": "GrantFullControl", "READ": "GrantRead", "WRITE": "GrantWrite",
    "READ_ACP": "GrantReadACP", "WRITE_ACP": "GrantWriteACP",
}  # fmt: skip


async def get_acl(p: "Aws", place: Place, key: str) -> Json:
    """Read the effective ACL of an object, or of the bucket (empty key)."""
    if key:
        return await s3(p, place, "get_object_acl", Key=key)
    return await s3(p, place, "get_bucket_acl")


async def set_grants(p: "Aws", place: Place, key: str, grants: list[Json]) -> None:
    """Replace the grants; where ownership is enforced ACLs mean nothing and there is nothing to do."""
    given: dict[str, list[str]] = {}
    for permission, kind, who in sorted(granted(grants)):
        given.setdefault(_GRANTS[permission], []).append(f'{kind}="{who}"')
    headers = {name: ", ".join(whom) for name, whom in given.items()} or {"ACL": "private"}
    operation, named = ("put_object_acl", {"Key": key}) if key else ("put_bucket_acl", {})
    await s3(p, place, operation, "AccessControlListNotSupported", **named, **headers)


def granted(grants: list[Json]) -> frozenset[tuple[str, str, str]]:
    """Say who holds what, whatever order S3 lists it in: permission, kind of name, name."""
    kinds = {"ID": "id", "URI": "uri", "EmailAddress": "emailAddress"}
    return frozenset(
        (one["Permission"], kind, one["Grantee"][field])
        for one in grants
        for field, kind in kinds.items()
        if one["Grantee"].get(field)
    )


class RemovePublicAcl:
    """Remove the grants to everyone and to every AWS customer from an object's, or a bucket's, ACL."""

    name: ClassVar[str] = "remove-public-acl"
    capability: ClassVar[Capability] = "sharing_control"
    on: ClassVar[Kind] = "file"
    irreversible: ClassVar[bool] = False

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the grants in force."""
        del options
        return {"grants": (await get_acl(p, *await located(p, target)))["Grants"]}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Keep the other grants."""
        del options
        kept = [one for one in state["grants"] if not acl_is_public({"Grants": [one]})]
        if len(kept) == len(state["grants"]):
            return []
        return [Step("set-acl", f"remove {len(state['grants']) - len(kept)} public grants", {"grants": kept})]

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the grants."""
        await set_grants(p, *await located(p, target), step.data["grants"])

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Grant again what was granted."""
        del done
        if granted(now["grants"]) == granted(before["grants"]):
            return []
        return [Step("set-acl", "restore the ACL", {"grants": before["grants"]})]


async def _bucket(p: "Aws", target: Ref) -> Place:
    place, key = await located(p, target)
    if key:
        raise Refused(f"this acts on the whole bucket: name {place.arn()} if that is meant")
    return place


class RemovePublicPolicy:
    """Remove the statements that let in the public from a bucket's policy."""

    name: ClassVar[str] = "remove-public-policy"
    capability: ClassVar[Capability] = "sharing_control"
    on: ClassVar[Kind] = "space"
    irreversible: ClassVar[bool] = False

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the policy and what S3 says of it."""
        del options
        place = await _bucket(p, target)
        reply = await s3(p, place, "get_bucket_policy", "NoSuchBucketPolicy")
        status = await s3(p, place, "get_bucket_policy_status", "NoSuchBucketPolicy") if reply else None
        public = ((status or {}).get("PolicyStatus") or {}).get("IsPublic")
        return {"policy": orjson.loads(reply["Policy"]) if reply else None, "public": public}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Keep the other statements; the policy goes when none is left."""
        del options
        found = public_statements(state["policy"])
        if not found:
            if state["public"]:
                raise Refused("S3 calls the policy public for a reason that needs a person: edit it by hand")
            return []
        statements = state["policy"]["Statement"]
        kept = (
            [one for i, one in enumerate(statements) if i not in found]
            if isinstance(statements, list)
            else []
        )
        policy = {**state["policy"], "Statement": kept} if kept else None
        return [Step("set-policy", f"remove {len(found)} public statements", {"policy": policy})]

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the policy, or delete it."""
        place, policy = await _bucket(p, target), step.data["policy"]
        if policy is None:
            await s3(p, place, "delete_bucket_policy")
        else:
            await s3(p, place, "put_bucket_policy", Policy=orjson.dumps(policy).decode())

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Write back the policy as it was."""
        del done
        if now["policy"] == before["policy"]:
            return []
        return [Step("set-policy", "restore the bucket policy", {"policy": before["policy"]})]


class MakePrivate:
    """Switch on the four walls of a bucket's public access block; stored ACLs and policies stay."""

    name: ClassVar[str] = "make-private"
    capability: ClassVar[Capability] = "sharing_control"
    on: ClassVar[Kind] = "space"
    irreversible: ClassVar[bool] = False

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the bucket's own block."""
        del options
        place = await _bucket(p, target)
        reply = await s3(p, place, "get_public_access_block", "NoSuchPublicAccessBlockConfiguration")
        return {"block": reply and reply["PublicAccessBlockConfiguration"]}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Switch on what is off."""
        del options
        if all((state["block"] or {}).get(flag) for flag in FLAGS):
            return []
        return [Step("set-block", "block all public access", {"block": dict.fromkeys(FLAGS, True)})]

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the block, or remove it."""
        place, block = await _bucket(p, target), step.data["block"]
        if block is None:
            await s3(p, place, "delete_public_access_block")
        else:
            await s3(p, place, "put_public_access_block", PublicAccessBlockConfiguration=block)

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Write back the block as it was."""
        del done
        if now["block"] == before["block"]:
            return []
        return [Step("set-block", "restore the public access block", {"block": before["block"]})]

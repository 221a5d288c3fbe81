"""Governance of sharing: public grants out of ACLs, public statements out of policies, walls around buckets.

Policies and ACLs have no version to compare with: whatever was written is read back.

Source: Amazon S3 API Reference, PutObjectAcl, PutBucketAcl, PutBucketPolicy, PutPublicAccessBlock.
"""

from typing import TYPE_CHECKING, ClassVar, Final

import orjson

from ingest.provider import Capability, Json, Kind, Ref, Refused, Step
from ingest.providers.aws.buckets import Place, located, s3
from ingest.providers.aws.exposure import FLAGS, acl_is_public, public_statements
from ingest.switches import Switch

if TYPE_CHECKING:
    from ingest.providers.aws import Aws


_GRANTS: Final = {
    "FULL_CONTROL": "GrantFullControl", "READ": "GrantRead", "WRITE": "GrantWrite",
    "READ_ACP": "GrantReadACP", "WRITE_ACP": "GrantWriteACP",
}  # fmt: skip
_GRANTEES: Final = {"ID": "id", "URI": "uri", "EmailAddress": "emailAddress"}


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
    return frozenset(
        (one["Permission"], kind, one["Grantee"][field])
        for one in grants
        for field, kind in _GRANTEES.items()
        if one["Grantee"].get(field)
    )


class RemovePublicAcl(Switch["Aws"]):
    """Remove the grants to everyone and to every AWS customer from an object's, or a bucket's, ACL."""

    name = "remove-public-acl"
    capability: ClassVar[Capability] = "sharing_control"
    part = "grants"

    async def look(self, p: "Aws", target: Ref, _options: Json) -> Json:
        """Read the grants in force."""
        place, key = await located(p, target)
        operation, named = ("get_object_acl", {"Key": key}) if key else ("get_bucket_acl", {})
        return {"grants": (await s3(p, place, operation, **named))["Grants"]}

    def wanted(self, state: Json, _options: Json) -> Json:
        """Keep the other grants."""
        return [one for one in state["grants"] if not acl_is_public({"Grants": [one]})]

    def same(self, one: Json, other: Json) -> bool:
        """Compare who holds what."""
        return granted(one) == granted(other)

    def step(self, state: Json, value: Json) -> Step:
        """Write the grants."""
        removed = f"remove {len(state['grants']) - len(value)} public grants"
        say = "restore the ACL" if acl_is_public({"Grants": value}) else removed
        return Step("set-acl", say, {"grants": value})

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the grants."""
        await set_grants(p, *await located(p, target), step.data["grants"])


class _OnBucket(Switch["Aws"]):
    """What the other two share: a document of a whole bucket, or none, is replaced by another, or none.

    Attributes:
        document: Its name in S3's operations; `field` that in their answers and parameters.
        absent: The code that says there is none.
    """

    capability: ClassVar[Capability] = "sharing_control"
    on: ClassVar[Kind] = "space"
    document: ClassVar[str]
    field: ClassVar[str]
    absent: ClassVar[str]

    async def look(self, p: "Aws", target: Ref, _options: Json) -> Json:
        """Read the document."""
        reply = await s3(p, await self._bucket(p, target), f"get_{self.document}", self.absent)
        found = reply and reply[self.field]
        return {self.part: orjson.loads(found) if isinstance(found, str) else found}

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the document, or delete it."""
        place, value = await self._bucket(p, target), step.data[self.part]
        if value is None:
            await s3(p, place, f"delete_{self.document}")
        else:
            given = orjson.dumps(value).decode() if self.field == "Policy" else value
            await s3(p, place, f"put_{self.document}", **{self.field: given})

    async def _bucket(self, p: "Aws", target: Ref) -> Place:
        place, key = await located(p, target)
        if key:
            raise Refused(f"this acts on the whole bucket: name {place.arn()} if that is meant")
        return place


class RemovePublicPolicy(_OnBucket):
    """Remove the statements that let in the public from a bucket's policy."""

    name = "remove-public-policy"
    part = "policy"
    document, field, absent = "bucket_policy", "Policy", "NoSuchBucketPolicy"

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the policy and what S3 says of it."""
        state, public = await super().look(p, target, options), None
        if state["policy"]:
            place = await self._bucket(p, target)
            status = await s3(p, place, "get_bucket_policy_status", self.absent) or {}
            public = (status.get("PolicyStatus") or {}).get("IsPublic")
        return {**state, "public": public}

    def wanted(self, state: Json, _options: Json) -> Json:
        """Keep the other statements; the policy goes when none is left."""
        policy, found = state["policy"], public_statements(state["policy"])
        if not found:
            if state["public"]:
                raise Refused("S3 calls the policy public for a reason that needs a person: edit it by hand")
            return policy
        statements = policy["Statement"] if isinstance(policy["Statement"], list) else []
        kept = [one for place, one in enumerate(statements) if place not in found]
        return {**policy, "Statement": kept} if kept else None

    def step(self, state: Json, value: Json) -> Step:
        """Write the policy."""
        removed = f"remove {len(public_statements(state['policy']))} public statements"
        say = "restore the bucket policy" if public_statements(value) else removed
        return Step("set-policy", say, {"policy": value})


class MakePrivate(_OnBucket):
    """Switch on the four walls of a bucket's public access block; stored ACLs and policies stay."""

    name = "make-private"
    part = "block"
    document, field = "public_access_block", "PublicAccessBlockConfiguration"
    absent = "NoSuchPublicAccessBlockConfiguration"

    def wanted(self, state: Json, _options: Json) -> Json:
        """Switch on what is off."""
        return state["block"] if _walled(state["block"]) else dict.fromkeys(FLAGS, True)

    def step(self, _state: Json, value: Json) -> Step:
        """Write the block."""
        say = "block all public access" if _walled(value) else "restore the public access block"
        return Step("set-block", say, {"block": value})


def _walled(block: Json) -> bool:
    return all((block or {}).get(flag) for flag in FLAGS)

"""Buckets: where each one is, and everything about it that decides who can see it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from ingest.provider import Axis, Json, Missing, NotAllowed, Ref, Refused, SourceError
from ingest.providers.aws.accounts import account_axes
from ingest.providers.aws.session import pages

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

FRESH: Final = 60.0
"""Seconds for which what was read of a bucket serves the changes to its objects."""
_PARTS: Final[Mapping[str, tuple[str, str, Callable[[Json], Json]]]] = {
    "acl": ("get_bucket_acl", "", lambda r: {"Owner": r.get("Owner"), "Grants": r.get("Grants", [])}),
    "policy": ("get_bucket_policy", "NoSuchBucketPolicy", lambda r: orjson.loads(r["Policy"])),
    "policy_public": ("get_bucket_policy_status", "NoSuchBucketPolicy",
                      lambda r: r.get("PolicyStatus", {}).get("IsPublic")),
    "block": ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration",
              lambda r: r["PublicAccessBlockConfiguration"]),
    "ownership": ("get_bucket_ownership_controls", "OwnershipControlsNotFoundError",
                  lambda r: r["OwnershipControls"]["Rules"][0]["ObjectOwnership"]),
    "versioning": ("get_bucket_versioning", "", lambda r: r.get("Status", "")),
}  # fmt: skip
"""What decides who can see a bucket: the call, the code for "there is none", what is kept of the answer."""


class Place(NamedTuple):
    """Where a bucket is: `account` is empty for the account the connector signs in to."""

    name: str
    region: str
    account: str = ""
    created: str = ""

    @property
    def partition(self) -> str:
        """The ARN's second part."""
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}
        return next((name for start, name in prefixes.items() if self.region.startswith(start)), "aws")

    def arn(self, key: str | None = None) -> str:
        """Name the bucket, or an object in it: the entity's id."""
        return f"arn:{self.partition}:s3:::{self.name}" + ("" if key is None else f"/{key}")


@dataclass
class Known:
    """What one connector has learnt of its buckets: where they are, and what was read of them when."""

    places: dict[str, Place] = field(default_factory=dict)
    read: dict[str, tuple[float, Json]] = field(default_factory=dict)


async def s3(p: "Aws", place: Place, operation: str, absent: str = "", **params: Json) -> Json:
    """Make an S3 call on a bucket; None when AWS answers with the state `absent` (its error code)."""
    try:
        return await p.sessions.call(
            "s3", operation, account=place.account, region=place.region, Bucket=place.name, **params
        )
    except Refused as error:
        if absent and f"({absent})" in str(error):
            return None
        raise


async def listed(p: "Aws", account: str, **asked: Json) -> AsyncIterator[Place]:
    """List an account's buckets."""
    replies = pages(
        p.sessions, "s3", "list_buckets", mark="ContinuationToken", account=account, MaxBuckets=1000, **asked
    )
    async for reply in replies:
        for one in reply.get("Buckets", []):
            region = one.get("BucketRegion") or await _region(p, one["Name"], account)
            yield Place(one["Name"], region, account, one["CreationDate"].isoformat())


async def _region(p: "Aws", name: str, account: str) -> str:
    reply = await p.sessions.call("s3", "get_bucket_location", account=account, Bucket=name)
    said = str(reply.get("LocationConstraint") or "us-east-1")
    return "eu-west-1" if said == "EU" else said


async def places(p: "Aws") -> AsyncIterator[Place]:
    """List the watched buckets of every account; a member account that shuts us out is passed over."""
    logs = await _trail_buckets(p)
    async for axis in account_axes(p):
        account = axis.data["account"]
        try:
            async for place in listed(p, account):
                p.known.places[place.name] = place
                if place.name not in logs and p.settings.watches(place.name):
                    yield place
        except NotAllowed:
            if not account:
                raise


async def bucket_axes(p: "Aws") -> AsyncIterator[Axis]:
    """Run once per watched bucket; the quarantine and the buckets that trails write to are none."""
    async for place in places(p):
        yield Axis(place.name, tags=frozenset({place.region, place.account}), data=place._asdict())


async def _trail_buckets(p: "Aws") -> frozenset[str]:
    try:
        trails = await p.sessions.call("cloudtrail", "describe_trails")
    except NotAllowed:
        return frozenset()
    return frozenset(one["S3BucketName"] for one in trails.get("trailList", []) if one.get("S3BucketName"))


async def find(p: "Aws", name: str) -> Place:
    """Find a bucket by its name, in the account that owns it.

    Raises:
        Missing: No account of ours has it.
    """
    if name not in p.known.places:
        async for axis in account_axes(p):
            async for place in listed(p, axis.data["account"], Prefix=name):
                p.known.places[place.name] = place
            if name in p.known.places:
                break
        else:
            p.known.places[name] = Place(name, await _region(p, name, ""))
    return p.known.places[name]


async def located(p: "Aws", target: Ref) -> tuple[Place, str]:
    """Tell which bucket and key a target means, by its ARN or its data; the key of a bucket is empty.

    Raises:
        Refused: The id is not that of a bucket or an object.
        Missing: No account of ours has the bucket.
    """
    data = target.data or {}
    start, _, path = target.id.partition(":s3:::")
    bucket, _, key = path.partition("/")
    if not (start.startswith("arn:") and bucket):
        bucket, key = data.get("bucket", ""), data.get("key", "")
    if not bucket:
        raise Refused(f"{target.id[:80]} is no S3 object: name it arn:aws:s3:::bucket/key")
    if "region" in data:
        return Place(bucket, data["region"], data.get("account", "")), key
    return await find(p, bucket), key


async def read_bucket(p: "Aws", place: Place, *, fresh: bool = True) -> Json:
    """Read what decides who can see a bucket; what may not be read is listed in `unread`.

    Raises:
        Missing: The bucket is gone.
    """
    now = asyncio.get_running_loop().time()
    when, known = p.known.read.get(place.name, (0.0, None))
    if known and not fresh and now - when < FRESH:
        return known
    bucket: dict[str, Json] = {**place._asdict(), "partition": place.partition, "unread": []}
    bucket["account"] = place.account or p.instance.id
    for name, (operation, absent, taken) in _PARTS.items():
        bucket[name] = None
        try:
            if (reply := await s3(p, place, operation, absent)) is not None:
                bucket[name] = taken(reply)
        except (NotAllowed, Refused):
            bucket["unread"].append(name)
    bucket["owner"] = ((bucket["acl"] or {}).get("Owner") or {}).get("ID", "")
    bucket["account_block"] = await _account_block(p, place, bucket)
    p.known.read[place.name] = (now, bucket)
    return bucket


async def _account_block(p: "Aws", place: Place, bucket: Json) -> Json:
    try:
        reply = await p.sessions.call(
            "s3control", "get_public_access_block", account=place.account, region=place.region,
            AccountId=bucket["account"],
        )  # fmt: skip
    except SourceError as error:
        # Unknown counts as off: a wall that can't be seen must not hide an exposure.
        if not (isinstance(error, Missing) or "(NoSuchPublicAccessBlockConfiguration)" in str(error)):
            bucket["unread"].append("account_block")
        return None
    return reply["PublicAccessBlockConfiguration"]

"""Buckets and objects as they are read, mapped and opened, against the simulated tenant."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import pytest

from ingest.provider import Axis, Changed, Gone, Instance, Missing, Ref, Refused, Retry, Unscannable
from ingest.providers.aws import Aws, files
from ingest.providers.aws.buckets import bucket_axes, find, located, read_bucket
from sandbox.aws.tenant import AwsTenant

ODD_KEYS = (
    "plain.txt", "with space.txt", "ünïcødé/Ж/文.docx", "a//b", "/", "..", "../up", "./here", "a+b%20c",
    "q?x=1&y#z", "\x01control\x7f.txt", "<xml>&amp;", "end/ ", "🙂", "~-_.!*'()",
)  # fmt: skip
LISTED_BY_VERSION = tuple(key for key in ODD_KEYS if key.isprintable())
"""The simulated tenant can't list versions of keys with control characters."""


@dataclass
class Site:
    """One account: the connector to it, and a plain client that shares nothing with it."""

    p: Aws
    s3: Any
    account: str
    bucket: str

    async def put(self, key: str, body: bytes = b"hello", **more: Any) -> Any:
        """Put an object."""
        return await self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    async def open_up(self) -> None:
        """Let ACLs count and take down the bucket's walls, as they were before April 2023."""
        await self.s3.delete_public_access_block(Bucket=self.bucket)
        rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        await self.s3.put_bucket_ownership_controls(Bucket=self.bucket, OwnershipControls=rules)

    async def version(self) -> None:
        """Switch versioning on."""
        await self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})


@pytest.fixture
async def site(tenant: AwsTenant, connect: Any) -> AsyncIterator[Site]:
    """Give an account of the test's own with one bucket, connected."""
    account = f"{uuid4().int % 10**12:012d}"
    async with AsyncExitStack() as stack:
        s3 = await stack.enter_async_context(tenant.client("s3", await tenant.root(account)))
        bucket = f"bucket-{account}"
        await s3.create_bucket(Bucket=bucket)
        p = await connect(account, quarantine_bucket=f"quarantine-{account}", exclude_buckets=["private-*"])
        yield Site(p, s3, account, bucket)


async def listed(site: Site, at: Any, cursor: Any = None, size: int = 1000) -> list[Any]:
    """Read the pages of the bucket's objects."""
    axis = Axis(site.bucket, data=(await find(site.p, site.bucket))._asdict())
    return [page async for page in files.objects(site.p, at(axis, cursor), size)]


def refs(pages: list[Any]) -> dict[str, Ref]:
    """Map the pages and give the references by key."""
    made = [m for page in pages for r in page.records for m in files.object_listed(r, Instance("1" * 12))]
    return {one.data["key"]: one for one in made if isinstance(one, Ref)}


async def test_axes_leave_out_what_is_not_watched(site: Site) -> None:
    """The quarantine bucket, the excluded ones and those that trails write to are no axes."""
    for name in (f"quarantine-{site.account}", f"private-{site.account}", f"logs-{site.account}"):
        await site.s3.create_bucket(Bucket=name)
    before = {axis.key async for axis in bucket_axes(site.p)}
    assert before == {site.bucket, f"logs-{site.account}"}
    async with site.p.sessions.client("cloudtrail") as cloudtrail:
        await cloudtrail.create_trail(Name="trail", S3BucketName=f"logs-{site.account}")
    axes = [axis async for axis in bucket_axes(site.p)]
    assert [axis.key for axis in axes] == [site.bucket]
    assert axes[0].data["region"] == "us-east-1"


async def test_a_bucket_in_its_own_region(site: Site, tenant: AwsTenant) -> None:
    """A bucket is read where it lies, and its events say so."""
    name = f"far-{site.account}"
    async with tenant.client("s3", await tenant.root(site.account), "eu-west-1") as abroad:
        await abroad.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert (await find(site.p, name)).region == "eu-west-1"


async def test_bucket_inventory(site: Site, at: Any, drain: Any, mapped: Any) -> None:
    """Each bucket is a valid inventory event whose word is its true exposure; the read resumes after any."""
    await site.s3.create_bucket(Bucket=f"another-{site.account}")
    await site.open_up()
    await site.s3.put_bucket_acl(Bucket=site.bucket, ACL="public-read")
    pages = await drain(files.buckets(site.p, at()))
    assert pages[-1].complete
    records = [record for page in pages for record in page.records]
    events = {one["resources"][0]["name"]: one for one in mapped(files.bucket, records)}
    assert set(events) == {site.bucket, f"another-{site.account}"}
    resource = events[site.bucket]["resources"][0]
    assert (resource["uid"], resource["type"]) == (f"arn:aws:s3:::{site.bucket}", "bucket")
    assert resource["labels"] == ["public"]
    assert resource["data"]["reasons"] == ["bucket ACL: READ for AllUsers"]
    assert events[f"another-{site.account}"]["resources"][0]["labels"] == ["private"]
    rest = await drain(files.buckets(site.p, at(cursor=pages[0].cursor)))
    assert rest == pages[1:]


async def test_what_may_not_be_read_is_said(site: Site, tenant: AwsTenant, mapped: Any) -> None:
    """A missing permission costs one fact, which is named; a wall that can't be seen counts as off."""
    place = await find(site.p, site.bucket)
    await tenant.deny("s3:GetBucketPolicy")
    try:
        bucket = await read_bucket(site.p, place)
    finally:
        await tenant.allow("s3:GetBucketPolicy")
    assert "policy" in bucket["unread"]
    (event,) = mapped(files.bucket, [bucket])
    assert "policy" in event["resources"][0]["data"]["unread"]


@pytest.mark.parametrize("versioned", [False, True])
async def test_odd_keys(site: Site, at: Any, versioned: bool) -> None:
    """Any key S3 takes is listed, mapped, described and opened as the same object."""
    keys = LISTED_BY_VERSION if versioned else ODD_KEYS
    if versioned:
        await site.version()
    for key in keys:
        await site.put(key, key.encode())
    pages = await listed(site, at)
    found = refs(pages)
    assert set(found) == set(keys)
    for record in pages[0].records:
        key = record["object"]["key"]
        assert await files.describe(site.p, site.bucket, key) == record
        assert found[key].id == f"arn:aws:s3:::{site.bucket}/{key}"
        async with files.open_content(site.p, found[key]) as content:
            assert b"".join([chunk async for chunk in content.chunks]) == key.encode()


async def test_object_inventory_is_valid_ocsf(site: Site, at: Any, mapped: Any, judge: Any) -> None:
    """Every event of a listing passes the official schema; folders are folders and are not scanned."""
    await site.put("dir/", b"")
    await site.put("dir/report.pdf", b"%PDF", StorageClass="STANDARD_IA")
    (page,) = await listed(site, at)
    made = [m for r in page.records for m in files.object_listed(r, site.p.instance)]
    folder, file = (judge(one) for one in made if isinstance(one, dict))
    assert [folder["resources"][0]["type"], file["resources"][0]["type"]] == ["folder", "file"]
    assert file["metadata"]["log_name"] == "files"
    assert file["resources"][0]["data"]["storage_class"] == "STANDARD_IA"
    assert file["resources"][0]["data"]["content_type"] == "application/pdf"
    assert [one.data["key"] for one in made if isinstance(one, Ref)] == ["dir/report.pdf"]


@pytest.mark.parametrize("versioned", [False, True])
async def test_a_listing_resumes_after_any_page(site: Site, at: Any, versioned: bool) -> None:
    """From a page's cursor exactly the rest follows, whatever the keys; only the last page is complete."""
    keys = LISTED_BY_VERSION if versioned else ODD_KEYS
    if versioned:
        await site.version()
    for key in keys:
        await site.put(key, b"x")
        if versioned:
            await site.put(key, b"y")
    pages = await listed(site, at, size=3)
    assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]
    assert sorted(refs(pages)) == sorted(keys)
    for number, page in enumerate(pages[:-1], 1):
        assert await listed(site, at, page.cursor, size=3) == pages[number:]


async def test_only_the_current_version(site: Site, at: Any) -> None:
    """Older versions and what lies behind a delete marker are not files."""
    await site.version()
    await site.put("a", b"old")
    newest = (await site.put("a", b"newer"))["VersionId"]
    await site.put("b")
    await site.s3.delete_object(Bucket=site.bucket, Key="b")
    found = refs(await listed(site, at))
    assert {key: ref.version for key, ref in found.items()} == {"a": newest}


async def test_a_gone_bucket_ends_complete(site: Site, at: Any) -> None:
    """When the bucket is gone so are its objects."""
    await find(site.p, site.bucket)
    axis = Axis(site.bucket, data=(await find(site.p, site.bucket))._asdict())
    await site.s3.delete_bucket(Bucket=site.bucket)
    (page,) = [page async for page in files.objects(site.p, at(axis))]
    assert page.complete
    assert not page.records


async def test_exposure_of_objects(site: Site, at: Any) -> None:
    """ACLs are asked for only where they count, and decide object by object."""
    await site.open_up()
    await site.put("open", ACL="public-read")
    await site.put("closed")
    await site.put("cold", StorageClass="GLACIER")
    (page,) = await listed(site, at)
    made = [m for r in page.records for m in files.object_listed(r, site.p.instance)]
    found = [one["resources"][0] for one in made if isinstance(one, dict)]
    assert {one["name"]: one["labels"] for one in found} == {
        "open": ["public"], "closed": ["private"], "cold": ["private"],
    }  # fmt: skip
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    await site.s3.put_bucket_ownership_controls(Bucket=site.bucket, OwnershipControls=enforced)
    (page,) = await listed(site, at)
    assert [record["acl"] for record in page.records] == [None] * 3


async def test_throttled_is_never_an_empty_success(site: Site, at: Any, tenant: AwsTenant) -> None:
    """S3's SlowDown on any call of a listing asks for patience; nothing is yielded as if complete."""
    await site.open_up()
    for number in range(20):
        await site.put(f"k{number}")
    for operation in ("ListObjectsV2", "GetObjectAcl", "GetBucketAcl"):
        await tenant.fault("s3", operation, "slowdown")
        with pytest.raises(Retry):
            await listed(site, at)
    (page,) = await listed(site, at)
    assert len(page.records) == 20


async def test_what_is_gone(site: Site) -> None:
    """An object that does not exist, one behind a delete marker, one in no bucket: gone."""
    await site.version()
    await site.put("b")
    marker = (await site.s3.delete_object(Bucket=site.bucket, Key="b"))["VersionId"]
    for key, version in (("b", ""), ("never", ""), ("b", marker)):
        record = await files.describe(site.p, site.bucket, key, version)
        assert list(files.object_changed(record, site.p.instance)) == [
            Gone("file", f"arn:aws:s3:::{site.bucket}/{key}")
        ]
    with pytest.raises(Missing):
        await files.describe(site.p, "no-such-bucket-anywhere", "k")


async def test_content_in_windows(site: Site) -> None:
    """A large object comes whole, in several calls of one version; its size is known first."""
    body = bytes(range(256)) * 40_000
    etag = (await site.put("big.bin", body, ContentType="image/x-odd"))["ETag"].strip('"')
    ref = Ref("file", f"arn:aws:s3:::{site.bucket}/big.bin", etag)
    async with files.open_content(site.p, ref) as content:
        assert (content.size, content.media_type, content.name) == (len(body), "image/x-odd", "big.bin")
        assert content.version == etag
        assert b"".join([chunk async for chunk in content.chunks]) == body


async def test_content_of_nothing(site: Site) -> None:
    """An empty object is empty, not an error."""
    await site.put("empty", b"")
    async with files.open_content(site.p, Ref("file", f"arn:aws:s3:::{site.bucket}/empty")) as content:
        assert content.size == 0
        assert [chunk async for chunk in content.chunks] == []


async def test_content_of_the_version_asked_for(site: Site) -> None:
    """A version id opens that version; an etag no longer current is a change, also between windows."""
    await site.put("k", b"one")
    record = await files.describe(site.p, site.bucket, "k")
    _, old = files.object_changed(record, site.p.instance)
    await site.put("k", b"two")
    with pytest.raises(Changed):
        async with files.open_content(site.p, old):  # type: ignore[arg-type]
            pass
    await site.put("large", b"a" * (files.WINDOW + 1))
    ref = Ref("file", f"arn:aws:s3:::{site.bucket}/large")
    with pytest.raises(Changed):  # noqa: PT012 - the change comes between two windows
        async with files.open_content(site.p, ref) as content:
            async for _ in content.chunks:
                await site.put("large", b"b" * (files.WINDOW + 1))
    await site.version()
    first = (await site.put("k", b"three"))["VersionId"]
    await site.put("k", b"four")
    exact = Ref(
        "file",
        f"arn:aws:s3:::{site.bucket}/k",
        first,
        data={"bucket": site.bucket, "key": "k", "version": first},
    )
    async with files.open_content(site.p, exact) as content:
        assert b"".join([chunk async for chunk in content.chunks]) == b"three"
        assert content.version == first


async def test_content_that_cannot_be_had(site: Site) -> None:
    """Gone is missing, archived is unscannable."""
    with pytest.raises(Missing):
        async with files.open_content(site.p, Ref("file", f"arn:aws:s3:::{site.bucket}/never")):
            pass
    await site.put("cold", StorageClass="GLACIER")
    with pytest.raises(Unscannable, match="archived"):
        async with files.open_content(site.p, Ref("file", f"arn:aws:s3:::{site.bucket}/cold")):
            pass


@pytest.mark.parametrize("odd", ["", "bucket/key", "arn:aws:iam::1:user/x", "s3://b/k", "arn:aws:s3:::"])
async def test_targets_that_are_no_objects(site: Site, odd: str) -> None:
    """An id that names nothing in S3 is refused with what to write instead."""
    with pytest.raises(Refused, match="arn:aws:s3:::bucket/key"):
        await located(site.p, Ref("file", odd))


async def test_buckets_of_member_accounts(tenant: AwsTenant, connect: Any, at: Any) -> None:
    """In an organization every member's buckets are watched, read and found as their own account's."""
    account = f"{uuid4().int % 10**12:012d}"
    root = await tenant.root(account)
    async with tenant.client("organizations", root) as organizations, tenant.client("iam", root) as iam:
        await organizations.create_organization(FeatureSet="ALL")
        made = await organizations.create_account(Email="m@example.com", AccountName="Member")
        member = made["CreateAccountStatus"]["AccountId"]
        await iam.create_user(UserName="reader")
        await iam.attach_user_policy(
            UserName="reader", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        )
        key = (await iam.create_access_key(UserName="reader"))["AccessKey"]
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "sts:AssumeRole",
    }
    there = await tenant.root(member)
    async with tenant.client("iam", there) as iam, tenant.client("s3", there) as s3:
        policy = orjson.dumps({"Version": "2012-10-17", "Statement": [trust]}).decode()
        await iam.create_role(RoleName="Reader", AssumeRolePolicyDocument=policy)
        await iam.attach_role_policy(
            RoleName="Reader", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        )
        await s3.create_bucket(Bucket=f"bucket-{member}")
        await s3.put_object(Bucket=f"bucket-{member}", Key="k", Body=b"theirs")
    p = await connect(
        account, organization=True, member_role="Reader", access_key_id=key["AccessKeyId"],
        secret_access_key=key["SecretAccessKey"],
    )  # fmt: skip
    (axis,) = [axis async for axis in bucket_axes(p)]
    assert axis.data["account"] == member
    (page,) = [page async for page in files.objects(p, at(axis))]
    event, ref = files.object_listed(page.records[0], p.instance)
    assert isinstance(event, dict)
    assert isinstance(ref, Ref)
    assert event["resources"][0]["data"]["account"] == member
    for target in (ref, ref._replace(data=None)):
        async with files.open_content(p, target) as content:
            assert b"".join([chunk async for chunk in content.chunks]) == b"theirs"

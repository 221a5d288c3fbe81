"""S3 as AWS has it where moto alone would not."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote, unquote_plus

import aiohttp
import pytest
from botocore.exceptions import ClientError
from yarl import URL

from sandbox.aws.hostile import BIG, KEYS
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization


@pytest.fixture
async def s3(tenant: AwsTenant, fresh: Callable[[], str]) -> AsyncIterator[tuple[Any, Any, str, str]]:
    """Clients for S3 and SQS in an account of its own, a versioned bucket, and the account's id."""
    account = fresh()
    root = await tenant.root(account)
    async with tenant.client("s3", root) as client, tenant.client("sqs", root) as sqs:
        bucket = f"bucket-{account}"
        await client.create_bucket(Bucket=bucket)
        await client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        yield client, sqs, bucket, account


async def received(sqs: Any, url: str) -> list[dict[str, Any]]:
    """The S3 records in a queue, test event left out."""
    found: list[dict[str, Any]] = []
    while messages := (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages"):
        for message in messages:
            found += json.loads(message["Body"]).get("Records", [])
    return found


async def test_event_records(s3: tuple[Any, Any, str, str]) -> None:
    """Complete records; form-encoded keys; one event to a put; deletions of both kinds are told."""
    client, sqs, bucket, account = s3
    url = (await sqs.create_queue(QueueName="events"))["QueueUrl"]
    events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"]
    rule = {"QueueArn": f"arn:aws:sqs:us-east-1:{account}:events", "Events": events}
    await client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
    )
    key = "a b/ü+c.txt"
    version = (await client.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging="a=b"))["VersionId"]
    await client.delete_object(Bucket=bucket, Key=key)
    await client.delete_object(Bucket=bucket, Key=key, VersionId=version)
    records = await received(sqs, url)
    assert [r["eventName"] for r in records] == [
        "ObjectCreated:Put",
        "ObjectRemoved:DeleteMarkerCreated",
        "ObjectRemoved:Delete",
    ]
    held = records[0]["s3"]["object"]
    assert held["key"] == "a+b/%C3%BC%2Bc.txt"
    assert unquote_plus(held["key"]) == key
    assert (held["versionId"], held["size"]) == (version, 1)
    assert records[0]["eventTime"].endswith("Z")
    assert records[0]["userIdentity"]["principalId"]
    order = [r["s3"]["object"]["sequencer"] for r in records]
    assert order == sorted(order)


async def test_new_buckets_allow_neither_acls_nor_the_public(s3: tuple[Any, Any, str, str]) -> None:
    """The defaults since April 2023, each refusal with its code."""
    client, _, bucket, _ = s3
    await client.put_object(Bucket=bucket, Key="k", Body=b"x")
    with pytest.raises(ClientError, match="AccessControlListNotSupported"):
        await client.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with pytest.raises(ClientError, match="AccessDenied"):
        await client.put_bucket_policy(Bucket=bucket, Policy=policy)
    await client.delete_public_access_block(Bucket=bucket)
    await client.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert (await client.get_bucket_policy_status(Bucket=bucket))["PolicyStatus"]["IsPublic"] is True


async def test_shared_objects_are_open_until_unshared(
    tenant: AwsTenant, s3: tuple[Any, Any, str, str]
) -> None:
    """A stranger can read what its ACL makes public, and no longer once the ACL is private."""
    client, _, bucket, _ = s3
    rules, key = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}, "a b/ü+c.txt"
    await client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    await client.delete_public_access_block(Bucket=bucket)
    await client.put_object(Bucket=bucket, Key=key, Body=b"hello")
    async with aiohttp.ClientSession(tenant.endpoint) as stranger:
        seen = []
        for acl in ("private", "public-read", "private"):
            await client.put_object_acl(Bucket=bucket, Key=key, ACL=acl)
            async with stranger.get(URL(f"/{bucket}/{quote(key)}", encoded=True)) as reply:
                seen.append(reply.status)
    assert seen == [403, 200, 403]


async def test_an_account_can_be_closed_at_once(tenant: AwsTenant, s3: tuple[Any, Any, str, str]) -> None:
    """The account's public access block (S3 Control) hides what a bucket's own settings would allow."""
    client, _, bucket, account = s3
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    await client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    await client.delete_public_access_block(Bucket=bucket)
    await client.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": True}
    async with tenant.client("s3control", await tenant.root(account)) as control:
        await control.put_public_access_block(AccountId=account, PublicAccessBlockConfiguration=block)
        found = await control.get_public_access_block(AccountId=account)
    async with aiohttp.ClientSession(tenant.endpoint) as stranger, stranger.get(f"/{bucket}/k") as reply:
        assert reply.status == 403
    assert found["PublicAccessBlockConfiguration"]["IgnorePublicAcls"] is True
    assert len((await client.get_object_acl(Bucket=bucket, Key="k"))["Grants"]) == 1


async def test_ignored_acls_are_hidden_but_kept(s3: tuple[Any, Any, str, str]) -> None:
    """`?acl` shows what is in effect; lifting the block brings the grant back."""
    client, _, bucket, _ = s3
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    await client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    await client.delete_public_access_block(Bucket=bucket)
    await client.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")

    async def grants() -> int:
        return len((await client.get_object_acl(Bucket=bucket, Key="k"))["Grants"])

    before = await grants()
    block = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    await client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    hidden = await grants()
    await client.delete_public_access_block(Bucket=bucket)
    assert (before, hidden, await grants()) == (2, 1, 2)


async def test_a_copy_obeys_its_precondition(s3: tuple[Any, Any, str, str]) -> None:
    """CopySourceIfMatch with another etag ends in 412."""
    client, _, bucket, _ = s3
    etag = (await client.put_object(Bucket=bucket, Key="k", Body=b"x"))["ETag"]
    source = {"Bucket": bucket, "Key": "k"}
    await client.copy_object(Bucket=bucket, Key="c", CopySource=source, CopySourceIfMatch=etag)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        await client.copy_object(Bucket=bucket, Key="c", CopySource=source, CopySourceIfMatch='"other"')


async def test_odd_keys_can_be_read_and_listed(tenant: AwsTenant, truth: Organization) -> None:
    """Spaces, Unicode, `..`, `//`, control characters and 1,024 bytes survive signing and listing."""
    own = truth.management
    async with tenant.client("s3", own.key_pair) as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=own.buckets.documents)
        listed = {item["Key"] async for page in pages for item in page.get("Contents", [])}
        lister = client.get_paginator("list_object_versions")
        versions = lister.paginate(Bucket=own.buckets.documents, MaxKeys=7)
        held = [item["Key"] async for page in versions for item in page.get("Versions", [])]
        for key in KEYS.values():
            answer = await client.get_object(Bucket=own.buckets.documents, Key=key)
            await answer["Body"].read()
    assert sorted(listed) == sorted(held)
    assert listed == {key for bucket, key in own.documents if bucket == own.buckets.documents} | {
        key for bucket, key in own.hostile.values() if bucket == own.buckets.documents
    }


async def test_the_archived_and_the_big_object(tenant: AwsTenant, truth: Organization) -> None:
    """The one answers 403 InvalidObjectState; the other claims 5 GiB and gives ranges."""
    own = truth.management
    async with tenant.client("s3", own.key_pair) as client:
        bucket, key = own.hostile["archived"]
        with pytest.raises(ClientError, match="InvalidObjectState"):
            await client.get_object(Bucket=bucket, Key=key)
        bucket, key = own.hostile["big"]
        assert (await client.head_object(Bucket=bucket, Key=key))["ContentLength"] == BIG
        answer = await client.get_object(Bucket=bucket, Key=key, Range="bytes=1000-1099")
        assert (answer["ContentRange"], await answer["Body"].read()) == (f"bytes 1000-1099/{BIG}", bytes(100))


async def test_buckets_page_with_their_region(tenant: AwsTenant, truth: Organization) -> None:
    """MaxBuckets and the continuation token give each bucket once."""
    names: list[str] = []
    more: dict[str, Any] = {}
    async with tenant.client("s3", truth.member.key_pair) as client:
        while True:
            page = await client.list_buckets(MaxBuckets=2, **more)
            names += [b["Name"] for b in page["Buckets"]]
            assert {b["BucketRegion"] for b in page["Buckets"]} <= {"us-east-1"}
            if "ContinuationToken" not in page:
                break
            more = {"ContinuationToken": page["ContinuationToken"]}
    assert len(names) == len(set(names)) == 5


async def test_iam_lists_page(tenant: AwsTenant, truth: Organization) -> None:
    """MaxItems and Marker hold for users and for the account's details."""
    async with tenant.client("iam", truth.member.key_pair) as iam:
        users = [
            [u["UserName"] for u in page["Users"]]
            async for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2})
        ]
        details = iam.get_paginator("get_account_authorization_details")
        found = [
            user["UserName"]
            async for page in details.paginate(PaginationConfig={"PageSize": 3})
            for user in page["UserDetailList"]
        ]
        with pytest.raises(ClientError, match="Invalid Marker"):
            await iam.list_users(Marker="of last year")
        with pytest.raises(ClientError, match="ValidationError"):
            await iam.list_users(MaxItems=1001)
    assert [len(page) for page in users] == [2, 2, 1]
    assert sorted(found) == sorted(name for page in users for name in page)

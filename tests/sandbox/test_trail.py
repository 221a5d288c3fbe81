"""Trail files and the four ways they are announced."""

import gzip
import json
import re
from typing import Any

import pytest

from sandbox.aws.records import Records
from sandbox.aws.seed import clients
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.trail import SHAPES, Shape, Trail
from sandbox.aws.truth import Organization

FORM = (
    r"AWSLogs/(\d{12})/CloudTrail/([\w-]+)/\d{4}/\d\d/\d\d/"
    r"\1_CloudTrail_\2_\d{8}T\d{4}Z_[A-Za-z0-9]{16}\.json\.gz"
)


async def test_seeded_files_hold_the_history(tenant: AwsTenant, truth: Organization) -> None:
    """The file has CloudTrail's name and holds, once, what LookupEvents shows; the digest has no records."""
    own = truth.member
    async with clients(tenant, own.key_pair) as use:
        (key,) = own.trail_keys
        assert re.fullmatch(FORM, key)
        body = await (await use.s3.get_object(Bucket=own.buckets.trail, Key=key))["Body"].read()
        digest = await use.s3.get_object(Bucket=own.buckets.trail, Key=own.digest_keys[0])
        closed = json.loads(gzip.decompress(await digest["Body"].read()))
        shown = [e["EventId"] for e in (await use.cloudtrail.lookup_events())["Events"]]
    held = json.loads(gzip.decompress(body))["Records"]
    assert {r["eventID"]: r for r in held} == own.events
    assert set(own.events) <= set(shown)
    assert len(shown) == len(set(shown))
    assert "Records" not in closed
    assert all(600 < len(json.dumps(r)) < 2500 for r in held)


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_way_leads_to_the_file(tenant: AwsTenant, truth: Organization, shape: Shape) -> None:
    """Whoever reads the message finds the bucket and the key, once for each copy."""
    own = truth.member
    async with clients(tenant, own.root) as use:
        url = (await use.sqs.create_queue(QueueName=f"shape-{shape}"))["QueueUrl"]
        trail = Trail(use.s3, use.sqs, bucket=own.buckets.documents, queue_url=url, account=own.id)
        record = Records(own.id, trail._chance).console_login("alice")
        key = await trail.write([record], shape, copies=3)
        told = (await use.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
        await use.s3.delete_object(Bucket=own.buckets.documents, Key=key)
    assert {place(json.loads(m["Body"]), shape) for m in told} == {(own.buckets.documents, key)}
    assert len(told) == (2 if shape == "s3" else 3)


def place(body: Any, shape: Shape) -> tuple[str, str]:
    """Bucket and key of an announcement, read as the user guides describe it."""
    if shape == "eventbridge":
        return body["detail"]["bucket"]["name"], body["detail"]["object"]["key"]
    if shape == "cloudtrail-sns":
        message = json.loads(body["Message"])
        return message["s3Bucket"], message["s3ObjectKey"][0]
    if shape == "s3-in-sns":
        body = json.loads(body["Message"])
    found = body["Records"][0]["s3"]
    return found["bucket"]["name"], found["object"]["key"]


async def test_the_bucket_announces_its_files(tenant: AwsTenant, truth: Organization) -> None:
    """The queue holds S3's own message for the seeded file, and for the digest."""
    own = truth.member
    async with clients(tenant, own.root) as use:
        told = await use.sqs.receive_message(
            QueueUrl=own.queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
    keys = {r["s3"]["object"]["key"] for m in told["Messages"] for r in json.loads(m["Body"])["Records"]}
    assert keys == {*own.trail_keys, *own.digest_keys}


async def test_the_trail_is_described(tenant: AwsTenant, truth: Organization) -> None:
    """DescribeTrails names the bucket and the trail logs."""
    own = truth.management
    async with tenant.client("cloudtrail", own.key_pair) as client:
        (trail,) = (await client.describe_trails())["trailList"]
        status = await client.get_trail_status(Name=trail["Name"])
    assert (trail["S3BucketName"], status["IsLogging"]) == (own.buckets.trail, True)

"""The permission probe, and what the class says it can do."""

from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from ingest.provider import Retry
from ingest.providers.aws import Aws
from sandbox.aws.tenant import AwsTenant

Connect = Callable[..., Awaitable[Aws]]
ROW = {
    "accounts",
    "groups",
    "privileges",
    "logons",
    "admin_activity",
    "user_governance",
    "dlp_backlog",
    "dlp_realtime",
    "sharing_control",
    "file_governance",
}


numbers = count(1)


@pytest.fixture
async def place(tenant: AwsTenant) -> tuple[str, str]:
    """Make an account with a bucket and a queue: CloudTrail allows each account two calls a second."""
    account = f"6666{next(numbers):08d}"
    key = await tenant.root(account)
    async with tenant.client("s3", key) as s3, tenant.client("sqs", key) as sqs:
        await s3.create_bucket(Bucket=f"documents-{account}")
        return account, (await sqs.create_queue(QueueName="events"))["QueueUrl"]


async def missing(aws: Aws) -> dict[str, tuple[str, ...]]:
    """Ask the probe what each capability lacks."""
    return {grant.capability: grant.missing async for grant in aws.probe()}


async def test_everything_granted_lacks_nothing(connect: Connect, place: tuple[str, str]) -> None:
    """Each capability of the row has its line."""
    aws = await connect(place[0], queue_url=place[1])
    assert await missing(aws) == dict.fromkeys(ROW, ())


async def test_without_a_queue_there_are_no_live_changes(connect: Connect, place: tuple[str, str]) -> None:
    """The missing setting is named like a missing permission."""
    found = await missing(await connect(place[0]))
    assert found["dlp_realtime"] == ("queue_url",)
    assert found["logons"] == ()


@pytest.mark.parametrize(
    ("action", "lacking"),
    [
        ("iam:GetAccountAuthorizationDetails", {"accounts", "groups", "privileges", "user_governance"}),
        ("iam:GetCredentialReport", {"accounts"}),
        ("cloudtrail:LookupEvents", {"logons", "admin_activity"}),
        ("s3:ListAllMyBuckets", {"dlp_backlog", "dlp_realtime", "sharing_control", "file_governance"}),
        ("s3:ListBucket", {"dlp_backlog", "file_governance"}),
        ("s3:GetBucketPolicyStatus", {"sharing_control"}),
        ("s3:GetBucketPublicAccessBlock", {"sharing_control"}),
        ("s3:GetBucketNotification", {"dlp_realtime"}),
        ("sqs:GetQueueAttributes", {"dlp_realtime", "logons", "admin_activity"}),
        ("sso:ListInstances", {"accounts", "groups"}),
    ],
)
async def test_a_missing_permission_is_named(
    connect: Connect, tenant: AwsTenant, place: tuple[str, str], action: str, lacking: set[str]
) -> None:
    """Each denied action is named, as IAM names it, for the capabilities that need it and for no other."""
    aws = await connect(place[0], queue_url=place[1])
    await tenant.deny(action)
    try:
        found = await missing(aws)
    finally:
        await tenant.allow(action)
    assert {capability for capability, lack in found.items() if lack} == lacking
    assert {lack for lacks in found.values() for lack in lacks} == {action}


async def test_a_call_is_tried_once(connect: Connect, tenant: AwsTenant, place: tuple[str, str]) -> None:
    """Several capabilities need one listing: IAM is not asked again for each."""
    aws = await connect(place[0])
    before = len(await tenant.log())
    await missing(aws)
    assert (await tenant.calls(before))["iam:GetAccountAuthorizationDetails"] == 1


async def test_a_throttled_probe_is_no_missing_permission(
    connect: Connect, tenant: AwsTenant, place: tuple[str, str]
) -> None:
    """A throttle says nothing about permissions."""
    aws = await connect(place[0])
    await tenant.fault("iam", "GetAccountAuthorizationDetails", "throttle")
    with pytest.raises(Retry):
        await missing(aws)


async def test_the_class_covers_its_row(connect: Connect) -> None:
    """Feeds and actions together are the capabilities of AWS; every API has its budgets."""
    feeds = Aws.feeds()
    assert list(feeds) == ["accounts", "groups", "privileges", "lookup", "trail", "buckets", "objects"]
    covered = {capability for one in feeds.values() for capability in one.covers}
    assert covered | {action.capability for action in Aws.actions} == ROW
    aws = await connect()
    limit = aws.apis()["cloudtrail"].limits["calls"]
    assert (limit.n, limit.per, limit.scope) == (2, 1.0, "axis")
    assert {api for api, _, _ in aws.http.calls} <= set(aws.apis())  # type: ignore[attr-defined]

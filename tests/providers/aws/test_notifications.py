"""Registrations in buckets: merged with what others registered, made once, taken away politely."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import pytest

from ingest.provider import Axis, Refused, Registered, Wanted
from ingest.providers.aws import Aws
from ingest.providers.aws.notifications import EVENTS, BucketNotifications, notified_buckets
from sandbox.aws.tenant import AwsTenant

KIND = BucketNotifications()


@dataclass
class Site:
    """One account with a bucket and two queues, ours and a stranger's."""

    p: Aws
    s3: Any
    sqs: Any
    bucket: str
    queue: str
    foreign: str

    async def configuration(self) -> dict[str, Any]:
        """Read what the bucket has."""
        reply = await self.s3.get_bucket_notification_configuration(Bucket=self.bucket)
        return {name: value for name, value in reply.items() if name != "ResponseMetadata"}

    async def register(self, *queues: dict[str, Any]) -> None:
        """Register what others would."""
        await self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket, NotificationConfiguration={"QueueConfigurations": list(queues)}
        )

    async def wanted(self, id_: str = "w1") -> Wanted:
        """Want a registration on the first axis."""
        axes = [axis async for axis in notified_buckets(self.p)]
        return Wanted(id_, "", "", next(axis for axis in axes if axis.key == self.bucket), datetime.now(UTC))

    async def listed(self) -> list[Registered]:
        """List our registrations."""
        return [one async for one in KIND.listed(self.p)]


@pytest.fixture
async def site(tenant: AwsTenant, connect: Any) -> AsyncIterator[Site]:
    """Give an account of the test's own."""
    account = f"{uuid4().int % 10**12:012d}"
    async with AsyncExitStack() as stack:
        root = await tenant.root(account)
        s3, sqs = [await stack.enter_async_context(tenant.client(name, root)) for name in ("s3", "sqs")]
        bucket = f"bucket-{account}"
        await s3.create_bucket(Bucket=bucket)
        urls = [(await sqs.create_queue(QueueName=name))["QueueUrl"] for name in ("ours", "theirs")]
        found = [await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]) for url in urls]
        ours, theirs = [one["Attributes"]["QueueArn"] for one in found]
        p = await connect(account, queue_url=urls[0])
        yield Site(p, s3, sqs, bucket, ours, theirs)


async def test_create_list_remove(site: Site) -> None:
    """Ours is added once however often it is made, listed and removed; the stranger's never changes."""
    theirs = {"Id": "theirs", "QueueArn": site.foreign, "Events": ["s3:ReducedRedundancyLostObject"]}
    await site.register(theirs)
    wanted = await site.wanted()
    made = await KIND.create(site.p, wanted)
    assert await KIND.create(site.p, wanted) == made
    queues = (await site.configuration())["QueueConfigurations"]
    assert theirs in queues
    assert [one["QueueArn"] for one in queues if one["Id"] == "sluice-w1"] == [site.queue]
    assert sorted(next(one["Events"] for one in queues if one["Id"] == "sluice-w1")) == sorted(EVENTS)
    assert await site.listed() == [made]
    await KIND.remove(site.p, made)
    assert (await site.configuration())["QueueConfigurations"] == [theirs]
    await KIND.remove(site.p, made)
    assert await site.listed() == []


async def test_a_change_arrives(site: Site) -> None:
    """After registering, a new object is told to the queue."""
    await KIND.create(site.p, await site.wanted())
    await site.s3.put_object(Bucket=site.bucket, Key="a b", Body=b"x")
    url = site.p.settings.queue_url
    bodies: list[Any] = []
    while len(bodies) < 2 and (found := (await site.sqs.receive_message(QueueUrl=url)).get("Messages")):
        bodies += [orjson.loads(one["Body"]) for one in found]
        for one in found:
            await site.sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    records = [record for body in bodies for record in body.get("Records", [])]
    assert [record["s3"]["object"]["key"] for record in records] == ["a+b"]


@pytest.mark.parametrize(
    "events",
    [["s3:ObjectCreated:*"], ["s3:ObjectCreated:Put"], ["s3:ObjectRemoved:Delete", "s3:Replication:*"]],
)
async def test_a_registration_in_the_way(site: Site, events: list[str]) -> None:
    """S3 would refuse two receivers of one event: the refusal names the other, and nothing is changed."""
    theirs = {"Id": "theirs", "QueueArn": site.foreign, "Events": events}
    await site.register(theirs)
    before = await site.configuration()
    with pytest.raises(Refused, match=f"{site.bucket} already sends .* to {site.foreign}"):
        await KIND.create(site.p, await site.wanted())
    assert await site.configuration() == before


async def test_an_older_one_of_ours_is_replaced(site: Site) -> None:
    """A registration of a former connection gives way; one with fewer events is unhealthy until then."""
    await site.register({"Id": "sluice-old", "QueueArn": site.queue, "Events": ["s3:ObjectCreated:*"]})
    (old,) = await site.listed()
    assert (old.id, old.healthy) == ("old", False)
    made = await KIND.create(site.p, await site.wanted())
    assert await site.listed() == [made]


async def test_two_connectors_do_not_take_each_others(site: Site) -> None:
    """An entry with our prefix that sends to another queue is not ours."""
    await site.register({"Id": "sluice-x", "QueueArn": site.foreign, "Events": ["s3:ObjectCreated:*"]})
    assert await site.listed() == []
    with pytest.raises(Refused, match="already sends"):
        await KIND.create(site.p, await site.wanted())


async def test_filters_of_others_stay(site: Site) -> None:
    """Merging and removing keep another's entry as it is, its key filter with it."""
    rules = [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".csv"}]
    await site.register(
        {
            "Id": "theirs",
            "QueueArn": site.foreign,
            "Events": ["s3:ReducedRedundancyLostObject"],
            "Filter": {"Key": {"FilterRules": rules}},
        }
    )
    before = await site.configuration()
    assert before["QueueConfigurations"][0]["Filter"]["Key"]["FilterRules"]
    made = await KIND.create(site.p, await site.wanted())
    assert before["QueueConfigurations"][0] in (await site.configuration())["QueueConfigurations"]
    await KIND.remove(site.p, made)
    assert await site.configuration() == before


async def test_no_axes_without_a_queue(connect: Any, tenant: AwsTenant) -> None:
    """Without a queue there is nothing to register, with one only the buckets of its region."""
    account = f"{uuid4().int % 10**12:012d}"
    async with tenant.client("s3", await tenant.root(account), "eu-west-1") as s3:
        place = {"LocationConstraint": "eu-west-1"}
        await s3.create_bucket(Bucket=f"far-{account}", CreateBucketConfiguration=place)
    assert BucketNotifications.per is not None
    for settings, expected in (
        ({}, []),
        ({"queue_url": "https://sqs.us-east-1.amazonaws.com/1/q"}, []),
        ({"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q"}, [f"far-{account}"]),
    ):
        p = await connect(account, **settings)
        assert [axis.key async for axis in BucketNotifications.per(p)] == expected
        assert [axis.key async for axis in KIND.per(p)] == expected  # type: ignore[misc,call-arg]


async def test_a_removed_bucket_needs_no_goodbye(site: Site) -> None:
    """What went with its bucket is gone already."""
    made = await KIND.create(site.p, await site.wanted())
    await site.s3.delete_bucket(Bucket=site.bucket)
    await KIND.remove(site.p, made)
    assert isinstance(made.data, dict)
    assert Axis(site.bucket, data=made.data).data["region"] == "us-east-1"

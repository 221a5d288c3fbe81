"""The event history and the queue, against the simulated tenant; what messages tell, and what files hold."""

import gzip
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.provider import At, Axis, BadRecord, Instance, Json, Page, Retry
from ingest.providers.aws import Aws, trail
from ingest.providers.aws.events import trail_record
from ingest.providers.aws.messages import Told, told
from sandbox.aws.records import Records
from sandbox.aws.seed import clients, seed_account
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.trail import SHAPES, Shape, Trail
from sandbox.aws.truth import Account, Organization
from schemas.events import Event

Connect = Callable[..., Awaitable[Aws]]
Drain = Callable[[AsyncIterator[Page]], Awaitable[list[Page]]]
Mapped = Callable[..., list[Event]]
Place = Callable[..., At]
HERE = Instance("111122223333")
PLACE = Axis("111122223333/us-east-1", data={"account": "", "region": "us-east-1"})
SAMPLES: dict[str, Json] = json.loads((Path(__file__).parent / "samples.json").read_text())
accounts = count(1)


def everything(bucket: str) -> bool:
    """Watch every bucket."""
    return bool(bucket)


@pytest.fixture
async def account(tenant: AwsTenant) -> Account:
    """Fill an account of the test's own, with an empty queue but for the trail's first file and digest."""
    return await seed_account(tenant, f"8888{next(accounts):08d}", Random(3), history=2)


@pytest.fixture
async def writer(tenant: AwsTenant, account: Account) -> AsyncIterator[Trail]:
    """Write trail files and messages in the account."""
    async with clients(tenant, account.root) as use:
        yield Trail(
            use.s3, use.sqs, bucket=account.buckets.trail, queue_url=account.queue_url, account=account.id
        )


async def left(aws: Aws) -> tuple[int, int]:
    """Count the messages that wait and those that are being read."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = aws.settings.queue_url
    reply = await aws.sessions.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=names)
    return int(reply["Attributes"][names[0]]), int(reply["Attributes"][names[1]])


async def until_quiet(aws: Aws, at: At, *, ack: bool = True) -> list[Page]:
    """Follow the queue until every message was told, acknowledging as the core does after its commit."""
    pages: list[Page] = []
    waiting = sum(await left(aws))
    async with aclosing(cast("AsyncGenerator[Page]", aws.trail(at))) as following:
        async for page in following:
            pages.append(page)
            assert page.mapper in Aws.feeds()["trail"].to
            if ack and page.ack is not None:
                await page.ack()
            if sum(await left(aws)) == 0 or sum(one.ack is not None for one in pages) == waiting:
                break
    return pages


async def test_the_history_is_read_whole(
    connect: Connect, truth: Organization, at: Place, drain: Drain, mapped: Mapped
) -> None:
    """Every event of the window comes, with CloudTrail's own id."""
    aws = await connect()
    pages = await drain(aws.lookup(at(PLACE)))
    events = mapped(trail_record, [record for page in pages for record in page.records])
    assert {event["metadata"]["original_event_uid"] for event in events} == set(truth.management.events)


async def test_the_history_is_paged_and_paced(
    connect: Connect, tenant: AwsTenant, at: Place, drain: Drain
) -> None:
    """120 events are three pages of at most 50, newest first; the third call within a second is too many."""
    account = "777700000091"
    made = Records(account, Random(1))
    records = [made.console_login(f"user{n}") for n in range(120)]
    await tenant.add_history(records)
    aws = await connect(account)
    pages: list[Page] = []

    async def read() -> None:
        place = Axis(f"{account}/us-east-1", data={"account": "", "region": "us-east-1"})
        async for page in aws.lookup(at(place)):
            pages.append(page)  # noqa: PERF401 - a comprehension would lose them with the error

    with pytest.raises(Retry, match="patience"):
        await read()
    assert [len(page.records) for page in pages] == [50, 50]
    assert len({record["eventID"] for page in pages for record in page.records}) == 100


async def test_changes_alone_may_be_asked_for(
    connect: Connect, tenant: AwsTenant, at: Place, drain: Drain
) -> None:
    """Where reading calls are too many, CloudTrail leaves them out."""
    account = "777700000092"
    made = Records(account, Random(1))
    login, check = made.console_login("alice"), made.console_login("bob") | {"readOnly": True}
    await tenant.add_history([login, check])
    aws = await connect(account, changes_only=True)
    pages = await drain(aws.lookup(at(Axis("x", data={"account": "", "region": "us-east-1"}))))
    assert [record["eventID"] for page in pages for record in page.records] == [login["eventID"]]


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_file_is_found_however_it_is_announced(
    connect: Connect,
    account: Account,
    writer: Trail,
    at: Place,
    tenant: AwsTenant,
    mapped: Mapped,
    shape: Shape,
) -> None:
    """S3, S3 in SNS, CloudTrail's SNS and EventBridge lead to the same records; the queue ends empty."""
    made = Records(account.id, Random(2))
    records = [made.console_login("alice"), made.create_user("alice", "eve")]
    name = f"{account.buckets.trail}/{await writer.write(records, shape)}"
    aws = await connect(account.id, queue_url=account.queue_url)
    pages = await until_quiet(aws, at(Axis()))
    read = next(page for page in pages if name in page.done)
    assert read.mapper == "trail"
    assert [record["eventID"] for record in read.records] == [record["eventID"] for record in records]
    assert len(mapped(trail_record, read.records)) == 2
    assert await left(aws) == (0, 0)


async def test_nothing_is_deleted_before_the_commit(
    connect: Connect, account: Account, at: Place, tenant: AwsTenant
) -> None:
    """A reader that never acknowledges leaves every message in the queue."""
    aws = await connect(account.id, queue_url=account.queue_url)
    waiting, _ = await left(aws)
    await until_quiet(aws, at(Axis()), ack=False)
    assert sum(await left(aws)) == waiting > 0


async def test_a_file_read_before_is_not_read_again(
    connect: Connect, account: Account, writer: Trail, at: Place, tenant: AwsTenant
) -> None:
    """SQS delivers at least once: a file that is known is acknowledged without being fetched."""
    await writer.write([Records(account.id, Random(2)).console_login("alice")])
    aws = await connect(account.id, queue_url=account.queue_url)
    before = len(await tenant.log())
    pages = await until_quiet(aws, at(Axis(), fresh=lambda names: []))
    assert not any(page.records and page.mapper == "trail" for page in pages)
    assert (await tenant.calls(before))["s3:GetObject"] == 0
    assert await left(aws) == (0, 0)


async def test_a_long_batch_stays_invisible(connect: Connect, account: Account, tenant: AwsTenant) -> None:
    """What is not finished after a third of its time gets more; what is finished is not asked for again."""
    aws = await connect(account.id, queue_url=account.queue_url)
    batch = await trail._received(aws)
    before = len(await tenant.log())
    await batch.prolong()
    batch._since -= trail.VISIBLE / 2
    await batch.prolong()
    await batch.delete(*batch.messages)()
    batch._since -= trail.VISIBLE
    await batch.prolong()
    assert (await tenant.calls(before))["sqs:ChangeMessageVisibilityBatch"] == 1
    assert sum(await left(aws)) == 0


async def test_a_large_file_comes_in_pages(
    connect: Connect, account: Account, writer: Trail, at: Place
) -> None:
    """2,500 records are pages of 1,000; only the last deletes the message and closes the file."""
    made = Records(account.id, Random(4))
    key = await writer.write([made.console_login("alice") for _ in range(2500)])
    aws = await connect(account.id, queue_url=account.queue_url)
    pages = await until_quiet(aws, at(Axis()))
    last = next(n for n, page in enumerate(pages) if f"{account.buckets.trail}/{key}" in page.done)
    assert [len(page.records) for page in pages[last - 2 : last + 1]] == [1000, 1000, 500]
    assert [page.ack is not None for page in pages[last - 2 : last + 1]] == [False, False, True]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(b'{"Records": []}')[:-12], "cut short"),
        (b"<html>no trail</html>", "not a gzip file"),
        (gzip.compress(b'{"logFiles": []}'), "not a trail file"),
        (gzip.compress(b'{"Records": {}}'), "Records is no list"),
    ],
    ids=["cut", "no gzip", "no records", "no list"],
)
async def test_a_broken_file_is_one_dead_letter(
    connect: Connect, account: Account, writer: Trail, at: Place, tenant: AwsTenant, body: bytes, reason: str
) -> None:
    """A file nobody can read names itself and its reason, and does not stand in the way of the next."""
    key = await writer.write([])
    await writer.put(key, body)
    good = Records(account.id, Random(5)).console_login("alice")
    await writer.write([good])
    aws = await connect(account.id, queue_url=account.queue_url)
    pages = await until_quiet(aws, at(Axis()))
    strange = [record for page in pages if page.mapper == "stranger" for record in page.records]
    assert {record["file"] for record in strange} == {f"{account.buckets.trail}/{key}"}
    with pytest.raises(BadRecord, match=f"{key}.*{reason}"):
        list(trail.stranger(strange[0], HERE))
    assert good["eventID"] in [r.get("eventID") for page in pages for r in page.records]
    assert await left(aws) == (0, 0)


async def test_strangers_messages_neither_block_nor_vanish(
    connect: Connect, account: Account, writer: Trail, at: Place, tenant: AwsTenant
) -> None:
    """What somebody else put into the queue becomes a dead letter; the tests of S3 and CloudTrail do not."""
    for body in ("hello", '{"a": 1}', "[]", '{"Records": [{"eventSource": "aws:ses"}]}'):
        await writer.say(body)
    await writer.say('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}')
    await writer.say('{"Type": "Notification", "Message": "CloudTrail validation message."}')
    aws = await connect(account.id, queue_url=account.queue_url)
    pages = await until_quiet(aws, at(Axis()))
    strange = [record["message"] for page in pages if page.mapper == "stranger" for record in page.records]
    assert sorted(strange) == sorted(["hello", '{"a": 1}', "[]", '{"Records": [{"eventSource": "aws:ses"}]}'])
    assert await left(aws) == (0, 0)


async def test_accounts_connected_by_themselves_are_left_out(
    connect: Connect, account: Account, writer: Trail, at: Place
) -> None:
    """An organization's trail holds all members: who has its own connection is published there, once."""
    ours, theirs = (
        Records(number, Random(number)).console_login("alice") for number in (account.id, "999900000001")
    )
    await writer.write([ours, theirs])
    aws = await connect(
        account.id, queue_url=account.queue_url, elsewhere=lambda: frozenset({"999900000001"})
    )
    pages = await until_quiet(aws, at(Axis()))
    found = {record.get("eventID") for page in pages for record in page.records}
    assert ours["eventID"] in found
    assert theirs["eventID"] not in found


async def test_a_changed_object_is_read_as_it_is_now(
    connect: Connect, account: Account, at: Place, tenant: AwsTenant, writer: Trail
) -> None:
    """An event tells that something happened to an object; what it is like, S3 is asked."""
    bucket = account.buckets.documents
    for key in ("finance/customers.csv", "never+was here"):
        event = json.loads(writer.announcement(key.replace("+", "%2B").replace(" ", "+"), 1, "s3"))
        event["Records"][0]["s3"]["bucket"]["name"] = bucket
        await writer.say(json.dumps(event))
    aws = await connect(account.id, queue_url=account.queue_url)
    pages = await until_quiet(aws, at(Axis()))
    found = {
        record["object"]["key"]: record for page in pages if page.mapper == "s3" for record in page.records
    }
    assert set(found) == {"finance/customers.csv", "never+was here"}
    assert found["never+was here"]["gone"]
    assert not found["finance/customers.csv"].get("gone")


def s3_event(key: str, name: str = "ObjectCreated:Put") -> Json:
    """Make an S3 event as the user guide shows it."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventName": name,
        "eventTime": "1970-01-01T00:00:00.000Z",
        "s3": {
            "bucket": {"name": "mybucket"},
            "object": {
                "key": key,
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }


def test_keys_are_decoded_in_s3s_own_events_only() -> None:
    """S3 form-encodes keys (`red+flower.jpg` is "red flower.jpg"); EventBridge does not."""
    plain = told(json.dumps({"Records": [s3_event("red+flower%2B.jpg")]}), everything)
    assert [one["key"] for one in plain.objects] == ["red flower+.jpg"]
    bridged = {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "region": "ca-central-1",
        "time": "2021-11-12T00:00:00Z",
        "detail": {
            "bucket": {"name": "example-bucket"},
            "reason": "PutObject",
            "object": {
                "key": "red+flower%2B.jpg",
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": "617f08299329d189",
            },
        },
    }
    (one,) = told(json.dumps(bridged), everything).objects
    assert one == {
        "bucket": "example-bucket",
        "key": "red+flower%2B.jpg",
        "event": "Object Created",
        "region": "ca-central-1",
        "etag": "b1946ac92492d2347c6235b4d2611184",
        "time": "2021-11-12T00:00:00Z",
        "version": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        "sequencer": "617f08299329d189",
    }


def test_cloudtrails_own_message_names_several_files() -> None:
    """One notification may tell of several objects; their keys are plain."""
    keys = [f"AWSLogs/1/CloudTrail/us-east-1/2026/01/01/{n}.json.gz" for n in range(3)]
    body = {"Type": "Notification", "Message": json.dumps({"s3Bucket": "logs", "s3ObjectKey": keys})}
    assert list(told(json.dumps(body), everything).files) == [f"logs/{key}" for key in keys]


def test_a_record_may_come_by_itself() -> None:
    """EventBridge carries CloudTrail's records whole, sign-ins under either spelling of their type."""
    for kind in ("AWS API Call via CloudTrail", "AWS Console Sign In via CloudTrail"):
        body = {"detail-type": kind, "source": "aws.signin", "detail": SAMPLES["sign-in"]}
        assert told(json.dumps(body), everything).records == [SAMPLES["sign-in"]]


@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "ObjectCreated:Put"])
def test_digests_and_removed_files_tell_nothing(name: str) -> None:
    """Digest files hold no records, and a trail file that was removed is history."""
    key = "AWSLogs/1/CloudTrail-Digest/us-east-1/x.json.gz"
    key = key if name == "ObjectCreated:Put" else key.replace("-Digest", "")
    assert told(json.dumps({"Records": [s3_event(key, name)]}), everything) == Told()


def test_buckets_nobody_watches_tell_nothing() -> None:
    """Excluded buckets may share the queue."""
    assert told(json.dumps({"Records": [s3_event("a")]}), lambda bucket: bucket != "mybucket") == Told()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Type",
                        "Message",
                        "Records",
                        "detail",
                        "detail-type",
                        "source",
                        "s3",
                        "s3ObjectKey",
                        "eventSource",
                    ]
                )
                | st.text(),
                inner,
            )
        ),
    )
)
def test_any_message_is_understood_or_strange(body: Json) -> None:
    """No message makes the reader fall over."""
    what = told(json.dumps(body), everything)
    assert isinstance(what, Told)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_file_or_a_bad_one(body: bytes) -> None:
    """Garbage, packed or not, ends in `BadRecord` and in no other way."""
    for packed in (body, gzip.compress(body), gzip.compress(body)[:-4], gzip.compress(body) + body):
        with suppress(BadRecord):
            assert isinstance(trail.unpack(packed), list)


def test_files_of_several_parts_are_read_whole() -> None:
    """A gzip file may consist of members, one after the other."""
    text = json.dumps({"Records": [{"eventID": "a"}]}).encode()
    assert trail.unpack(gzip.compress(text[:9]) + gzip.compress(text[9:])) == [{"eventID": "a"}]

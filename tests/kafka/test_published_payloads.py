"""GitHub's published webhook payloads through everything: receiver, Kafka, owner, hook, mapper, topics.

The payloads are those of npm @octokit/webhooks-examples, the signatures what npm @octokit/webhooks-methods
makes of them (`tests/providers/github/NOTICE.md`). What comes out is judged by ours and the official schema.
"""

import asyncio
import base64
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import aiohttp
import orjson
import pytest
import rig
from core import Core, Process

from ingest.consuming import Follower
from ingest.directory import Directory
from ingest.producing import Outgoing
from ingest.providers.github import GitHub
from ingest.providers.github.settings import Settings
from ingest.publickeys import fetching
from ingest.registrations import Registry
from ingest.state import key
from ingest.storing import Store
from ingest.tasks import ended
from ingest.webhooks import Receiver
from sandbox.github.seed import owner_token, seed
from sandbox.github.server import running
from schemas.control import Inbox, Registration, Wish
from schemas.validation import checked
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
HERE = Path(__file__).parents[1] / "providers" / "github"
SECRET = "sluice-test-secret"
COUNT = 329
AT_ONCE = 16


class Sent(NamedTuple):
    """A delivery as GitHub would make it."""

    guid: str
    event: str
    body: bytes
    signature: str


def published() -> list[Sent]:
    """List the payloads, written as `JSON.stringify` writes them, with their known signatures."""
    payloads = orjson.loads(gzip.decompress((HERE / "payloads.json.gz").read_bytes()))
    signatures = orjson.loads((HERE / "signatures.json").read_bytes())
    return [
        Sent(str(uuid4()), event, orjson.dumps(payload), signature)
        for event, examples in payloads.items()
        for payload, signature in zip(examples, signatures[event], strict=True)
    ]


@asynccontextmanager
async def receiver(core: Core, wish: Wish) -> AsyncIterator[str]:
    """Run the receiver, with the organization's hook registered; give its address."""
    cluster = core.cluster
    made = Registration(
        incarnation=wish.incarnation, kind="OrganizationHook", axis="", id=uuid4().hex, hook="changed",
        sealed=core.keyring.seal(SECRET, f"{wish.name}/{wish.incarnation}"),
    )  # fmt: skip
    await rig.store(
        cluster, Outgoing("subscriptions", wish.partition, key(wish.name, made.kind, ""), made.dump())
    )
    async with AsyncExitStack() as stack:
        fetch = await stack.enter_async_context(fetching(cluster.config))
        follower = Follower(cluster)
        await follower.start()
        stack.push_async_callback(follower.stop)
        directory = Directory(cluster, follower)
        await directory.start()
        registry = Registry(cluster, follower, directory, core.keyring, core.kinds.__getitem__)
        one = Receiver(cluster.config, registry, Store(cluster, cluster.config.in_flight_bytes), fetch)
        task = asyncio.create_task(one.run())
        stack.push_async_callback(ended, task)
        await rig.until(lambda: not one.waiting() or task.done())
        yield f"{one.address}/v1/github/changed/{made.id}"


async def deliver(url: str, deliveries: list[Sent]) -> Counter[int]:
    """Send them with GitHub's headers, several at once; count the statuses."""
    places, statuses = asyncio.Semaphore(AT_ONCE), Counter[int]()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:

        async def send(one: Sent) -> None:
            headers = {
                "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/044aadd",
                "X-GitHub-Event": one.event, "X-GitHub-Delivery": one.guid, "X-GitHub-Hook-ID": "292430182",
                "X-Hub-Signature-256": one.signature,
            }  # fmt: skip
            async with places, session.post(url, data=one.body, headers=headers) as reply:
                statuses[reply.status] += 1

        await asyncio.gather(*map(send, deliveries))
    return statuses


async def test_all_published_payloads_go_through_everything(
    kafka: Broker, topic_prefix: str, official: Callable[[Mapping[str, Any]], list[str]]
) -> None:
    """Each of the 329 is accepted and stored; all but pings come out once, valid and of a known kind."""
    core = Core(await rig.topics(kafka.bootstrap, topic_prefix), {"github": GitHub})
    deliveries = published()
    wanted = {one.guid for one in deliveries if one.event != "ping"}
    tenant = seed(members=2, repos=1, teams=1, outsiders=0, events=0)
    async with running(tenant):
        given = {
            "organization": "acme", "token": owner_token(tenant), "audit_log": False,
            "endpoints": {"rest": tenant.url},
        }  # fmt: skip
        wish = await core.connect("hooked", "github", Settings.model_validate(given))
        async with receiver(core, wish) as url, Process(core):
            swapped = [one._replace(signature=deliveries[-1].signature) for one in deliveries[:20]]
            assert await deliver(url, swapped) == {410: len(swapped)}
            assert await deliver(url, deliveries) == {200: COUNT}
            stored = [Inbox.load(one) for one in await core.values("inbox")]
            await core.reached(wish, "running")
            await core.settled(wish)
            found = await core.published(len(wanted), "activities", "logons")

    bodies = {one.delivery_id: base64.b64decode(one.body) for one in stored if one.kind == "delivery"}
    assert bodies == {one.guid: one.body for one in deliveries}
    assert {guid: found[guid] for guid in wanted} == dict.fromkeys(wanted, 1)
    assert await core.events("dead-letters") == []
    events = [one for topic in ("activities", "logons") for one in await core.events(topic)]
    for event in events:
        checked(event)
        assert official(event) == []
        assert event["class_uid"] != 6003
    assert wanted <= {one["metadata"]["original_event_uid"] for one in events}

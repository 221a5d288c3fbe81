"""Push and poll through the real core on the real Kafka: what the log has is read at once, once."""

from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio
import rig
from core import Core, Process
from github_site import GitHubSite, fail

from ingest.providers.github import GitHub
from ingest.providers.github.settings import Settings
from sandbox.github.seed import owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant
from sandbox.github.webhooks import Delivery
from schemas.control import Wish
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
TOPICS = ("activities", "logons")


@pytest_asyncio.fixture(loop_scope="session")
async def core(kafka: Broker, topic_prefix: str) -> Core:
    """Give a deployment with topics of its own."""
    return Core(await rig.topics(kafka.bootstrap, topic_prefix), {"github": GitHub})


@pytest_asyncio.fixture(loop_scope="session")
async def tenant() -> AsyncIterator[GitHubTenant]:
    """Give a small organization with deliveries that failed."""
    made = seed(members=5, repos=3, teams=2, events=10)
    async with running(made):
        await fail(made)
        yield made


async def deliver(core: Core, wish: Wish, sent: Delivery) -> None:
    """Hand over a delivery as the receiver stores it."""
    headers = {"x-github-event": sent.event, "x-github-delivery": sent.guid}
    await core.deliver(wish, "changed", orjson.dumps(sent.payload), headers)


def joined(tenant: GitHubTenant) -> tuple[str, Delivery]:
    """Let somebody be added to a repository: the log's id and the delivery."""
    member = {"member": {"login": "octocat", "id": 5}}
    one = tenant.happen("repo.add_member", "acme-owner", user="octocat", hook=("member", "added", member))
    return one.id, next(each for each in tenant.webhooks.sent[::-1] if each.guid == one.guid)


async def test_a_delivery_makes_the_log_be_read(core: Core, tenant: GitHubTenant) -> None:
    """What the log has comes from there alone, at once and once, however often it is delivered."""
    site = GitHubSite(tenant)
    wish = await core.connect("pushed", "github", site.settings)
    async with Process(core):
        await core.reached(wish, "running")
        await core.settled(wish)
        uid, sent = joined(tenant)
        for _ in range(3):
            await deliver(core, wish, sent)

        async def met() -> bool:
            return uid in await core.published(1, *TOPICS)

        await rig.until(met, every=0.1)
        await core.settled(wish)
        found = await core.published(1, *TOPICS)
    assert found[uid] == 1
    assert sent.guid not in found
    assert set(found.values()) == {1}


async def test_without_a_log_the_delivery_is_published(core: Core, tenant: GitHubTenant) -> None:
    """With the log left alone a failed delivery is recovered, and redelivered it stays one."""
    given = {
        "organization": "acme", "token": owner_token(tenant), "audit_log": False,
        "endpoints": {"rest": tenant.url},
    }  # fmt: skip
    wish = await core.connect("alone", "github", Settings.model_validate(given))
    async with Process(core):
        uid, sent = joined(tenant)
        await tenant.webhooks.drained()
        await core.reached(wish, "running")
        await core.nudge(wish, "webhooks")

        async def met() -> bool:
            return sent.guid in await core.published(1, *TOPICS)

        await rig.until(met, every=0.1)
        await deliver(core, wish, sent)
        await core.settled(wish)
        found = await core.published(1, *TOPICS)
    assert found[sent.guid] == 1
    assert uid not in found

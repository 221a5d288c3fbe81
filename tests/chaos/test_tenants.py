"""Ten kills and a storm of faults at two tenants that push and are polled: nothing lost, nothing twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from chaos import Read, read_all

from ingest.config import load
from sandbox.github.driver import Driver as GitHubDriver
from sandbox.github.seed import connect
from sandbox.github.seed import seed as seed_github
from sandbox.github.server import running as running_github
from sandbox.github.tenant import GitHubTenant
from sandbox.okta.driver import Driver as OktaDriver
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running as running_okta
from sandbox.okta.tenant import OktaTenant
from sluice.connecting import Asked, built, sign_in
from sluice.operate import Desk
from sluice.processes import free_port
from sluice.up import Machine, machine

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(300)]
KILLS = ("ingest", "receive", "ingest", "kafka", "ingest", "receive", "ingest", "kafka", "receive", "ingest")
OKTA_FAULTS = ("429", "concurrency", "500", "503", "truncated", "html", "cut", "session")
GITHUB_FAULTS = ("429", "403 rate", "403 secondary", "502", "503", "truncated", "html", "cut")


@dataclass
class Pair:
    """Two tenants, and the product's processes around them."""

    okta: OktaTenant
    github: GitHubTenant
    machine: Machine

    async def connect(self, name: str, provider: str, settings: dict[str, Any]) -> None:
        """Connect one."""
        desk = await Desk.open(self.machine.config)
        asked = Asked(name=name, provider=provider, settings=settings)
        connected = await sign_in(desk, asked, built(desk.kind(provider), settings), {})
        await desk.store(connected.wish, 0)

    def truth(self) -> set[str]:
        """Name what the tenants' own logs have, by the provider's ids."""
        return {one.id for one in self.okta.truth} | {
            one.id for one in self.github.truth if one.id and not one.business
        }

    async def missing(self) -> tuple[set[str], Read]:
        """Compare the truth with what an independent reader finds."""
        found = await asyncio.to_thread(read_all, self.machine.cluster)
        return self.truth() - set(found.sources("activities", "logons")), found

    def storm(self, chance: Random) -> None:
        """Let some of the next calls fail, and lose or repeat some of the next deliveries."""
        self.okta.order("/api/v1/", *chance.choices(OKTA_FAULTS, k=3))
        self.github.order("/orgs/", *chance.choices(GITHUB_FAULTS, k=3))
        self.okta.deliveries.lose(1)
        self.okta.deliveries.repeat(1)
        self.github.webhooks.order(chance.choice(("lost", "twice", "forged")))


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Run Kafka, both tenants, and the roles that poll and receive."""
    port = free_port()
    config = load(session_seconds=4.0, receive_port=port, public_url=f"http://127.0.0.1:{port}")
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(machine(config, tmp_path / "kafka", ("ingest", "receive")))
        okta = await stack.enter_async_context(running_okta(OktaTenant(users=40, groups=5, late=(0.0, 2.0))))
        seed_history(okta, events=60)
        github = await stack.enter_async_context(
            running_github(seed_github(members=30, repos=20, teams=4, events=60))
        )
        yield Pair(okta, github, made)


async def test_ten_kills_and_a_storm_lose_nothing_and_double_nothing(pair: Pair) -> None:
    """Every occurrence of both tenants is published once, by whichever way it came, and nothing else is."""
    chance = Random(17)
    await pair.connect("okta", "okta", pair.okta.settings(oauth=True))
    url = pair.github.url
    addresses = {"rest": url, "app": url, "graphql": url}
    await pair.connect("github", "github", {**connect(pair.github), "enterprise": "", "endpoints": addresses})
    driving = [
        asyncio.create_task(OktaDriver(pair.okta, number=3).run(per_second=5.0)),
        asyncio.create_task(GitHubDriver(pair.github, number=3, lag=2.0).run(per_second=5.0)),
    ]
    for victim in KILLS:
        await asyncio.sleep(chance.uniform(1.5, 3.5))
        pair.storm(chance)
        if victim == "kafka":
            broker = pair.machine.broker
            assert broker is not None
            await broker.kill()
            await broker.start()
        else:
            pair.machine.processes.kill(victim)
    await asyncio.sleep(2.0)
    for task in driving:
        task.cancel()
    await asyncio.gather(*driving, return_exceptions=True)

    end = time.monotonic() + 120.0
    left, found = await pair.missing()
    while left and time.monotonic() < end:
        await asyncio.sleep(1.0)
        left, found = await pair.missing()

    assert sorted(left) == []
    assert found.twice() == []
    assert [one for one, count in found.sources("logons", "activities").items() if count > 1] == []
    assert set(found.sources("logons", "activities")) == pair.truth()
    assert len(pair.truth()) > 200

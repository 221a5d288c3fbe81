"""Large tenants are read within the provider's limits, at almost all they allow, in bounded memory.

Both sides live on one clock, which moves on only when no call is under way and everybody waits: an hour of
waiting takes no time, and what is judged is how calls are spread, not how fast this machine is. The tenant
counts by the documented limits; nothing is scaled down. In real time, over a network's delay:
``benchmarks/quota.py``.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from heapq import heappop
from pathlib import Path
from typing import Any, TypeVar

import pytest
from reading import STAMPED_AT, Door
from toy.clock import TestClock

from ingest.http import Client, Silent, open_session
from ingest.pace import Lane, Pace, lane
from ingest.provider import At, Axis, Instance, Page, Provider
from ingest.providers.github import GitHub
from ingest.providers.github.settings import Settings as GitHubSettings
from ingest.providers.okta import Okta
from ingest.providers.okta.settings import Settings as OktaSettings
from ingest.signin import Tokens
from ingest.windows import moment
from sandbox.clock import Clock
from sandbox.github.seed import connect, seed
from sandbox.github.server import running as running_github
from sandbox.okta.server import running as running_okta
from sandbox.okta.tenant import OktaTenant
from schemas.events import Origin, stamp
from schemas.validation import checked

pytestmark = pytest.mark.slow
T = TypeVar("T")

GROWTH = 32e6
"""Bytes by which this process, tenant included, may grow over the last four fifths of a read."""
LEAST = 0.9


class Still(TestClock):
    """A clock that stands still while a call is under way, as its client's meter tells."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0

    async def drive(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work, skipping over waiting that is for this clock alone."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self.settle()
            while self._sleepers and self._sleepers[0][2].done():
                heappop(self._sleepers)
            if self._sleepers and not self.under_way:
                await self.advance(max(0.0, self._sleepers[0][0] - self.now))
        return task.result()


class Wall(Clock):
    """The tenant's view of the same time."""

    def __init__(self, clock: Still) -> None:
        super().__init__()
        self._still, self._began = clock, time.time() - clock.time()

    def now(self) -> float:
        """Tell the time in seconds since 1970."""
        return self._began + self._still.time()


class Meter(Silent):
    """Tells the clock which calls are under way, and counts how they end."""

    def __init__(self, clock: Still) -> None:
        self._clock = clock
        self.calls = self.throttles = 0

    def waited(self, provider: str, seconds: float) -> None:
        """Note that a call begins."""
        self._clock.under_way += 1
        self.calls += 1

    def called(self, provider: str, api: str, operation: str, outcome: str, seconds: float) -> None:
        """Note that it has ended."""
        self._clock.under_way -= 1

    def throttled(self, provider: str, api: str, bucket: str) -> None:
        """Count it."""
        self.throttles += 1


@dataclass
class Told:
    """What a full read came to; `seconds` are the clock's, `grown` are bytes."""

    seconds: float
    calls: int
    events: set[str]
    grown: float


@dataclass
class Reader:
    """A provider behind the real client on the still clock."""

    provider: Provider[Any]
    clock: Still
    meter: Meter

    async def read(self, feed: str, key: str = "", who: Lane = "live") -> Told:
        """Read a feed whole, map, stamp and check its events, and keep no more than their ids."""
        found, sizes, calls, began = set[str](), list[float](), self.meter.calls, self.clock.time()
        at = At(Axis(key), None, moment(STAMPED_AT), moment(STAMPED_AT))

        async def through() -> None:
            lane.set(who)
            page: Page
            async for page in getattr(self.provider, feed)(at):
                found.update(self._uids(feed, page))
                sizes.append(rss())

        await self.clock.drive(through())
        grown = sizes[-1] - sizes[len(sizes) // 5]
        return Told(self.clock.time() - began, self.meter.calls - calls, found, grown)

    def _uids(self, name: str, page: Page) -> list[str]:
        feed, instance = self.provider.feeds()[name], self.provider.instance
        origin = Origin("acme", self.provider.name, instance.id, {"name": "x", "vendor_name": "x"})
        mapped = [one for record in page.records for one in feed.to[page.mapper](record, instance)]
        made = [one for one in mapped if isinstance(one, dict)]
        for number, one in enumerate(made):
            checked(stamp(one, origin, STAMPED_AT, index=number))
        return [one["metadata"]["original_event_uid"] for one in made]


def rss() -> float:
    """Tell the memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


@asynccontextmanager
async def reader(
    kind: type[Provider[Any]], settings: Any, clock: Still, wall: Clock
) -> AsyncIterator[Reader]:
    """Sign in."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        meter, pace, door = Meter(clock), Pace(clock=clock), Door()
        stack.push_async_callback(pace.close)
        provider = kind(settings, door, Instance(""))
        tokens = Tokens(session, clock=clock, now=wall.now)
        door.client = Client(provider, session, pace, tokens, meter, now=wall.now)
        stack.push_async_callback(door.client.close)
        provider.instance = await clock.drive(provider.identify())
        yield Reader(provider, clock, meter)


@pytest.mark.parametrize(
    ("sizes", "allowed"), [({}, 300), ({"/api/v1/users": 300}, 150)], ids=["a paid org", "half of its limits"]
)
async def test_an_org_of_fifty_thousand(sizes: Mapping[str, int], allowed: int) -> None:
    """All users, twice on end, with half of the org's limit as a token may; never refused."""
    clock = Still()
    tenant = OktaTenant(users=50_000, clock=Wall(clock), limits=sizes)
    async with running_okta(tenant):
        settings = OktaSettings.model_validate(tenant.settings())
        async with reader(Okta, settings, clock, tenant.clock) as one:
            tolds = [await one.read("users") for _ in range(2)]
    assert [len(told.events) for told in tolds] == [50_000] * 2
    assert [told.calls for told in tolds] == [250] * 2
    assert tenant.limits.refused == {}
    assert LEAST * allowed * sum(told.seconds for told in tolds) / 60 <= 500
    assert tenant.limits.busiest["/api/v1/users"] <= allowed
    assert max(told.grown for told in tolds) < GROWTH


async def test_groups_of_a_large_org() -> None:
    """Members are counted apart from lists: 500 calls a minute of a token's half, one a group."""
    clock = Still()
    tenant = OktaTenant(users=50_000, clock=Wall(clock))
    async with running_okta(tenant):
        settings = OktaSettings.model_validate(tenant.settings())
        async with reader(Okta, settings, clock, tenant.clock) as one:
            told = await one.read("groups")
    assert len(told.events) == tenant.groups.size
    assert tenant.limits.refused == {}
    assert told.calls >= LEAST * 500 * told.seconds / 60
    assert told.grown < GROWTH


@pytest.mark.parametrize("allowed", [15_000, 5_000], ids=["Enterprise Cloud", "a third of its limit"])
async def test_an_organization_of_ten_thousand_repositories(allowed: int) -> None:
    """Collaborators of every repository, one call each, in the hourly and by-the-minute limits of an App."""
    clock = Still()
    tenant = seed(members=2_000, repos=10_000, teams=5, clock=Wall(clock))
    tenant.limits.rules.installation = allowed
    async with running_github(tenant):
        given = {**connect(tenant), "endpoints": dict.fromkeys(("rest", "app"), tenant.url)}
        async with reader(GitHub, GitHubSettings.model_validate(given), clock, tenant.clock) as one:
            told = await one.read("privileges", "repositories")
            accounts = await one.read("accounts")
    estate = tenant.org.estate
    held = sum(len(estate.collaborators(repo)) for repo in estate.ids())
    assert (len(told.events), len(accounts.events)) == (held, 2_000 + 4 + 1)
    assert told.calls > 10_000
    assert tenant.limits.exceeded == {}
    assert told.calls >= LEAST * allowed * told.seconds / 3_600
    assert max(told.grown, accounts.grown) < GROWTH

"""The simulated limits: hourly ones with headers, secondary ones without."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.github.seed import owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant


@pytest.fixture
async def tenant() -> AsyncIterator[GitHubTenant]:
    """A small organisation with limits of its own."""
    async with running(seed(members=5, repos=5, events=3)) as tenant:
        yield tenant


@pytest.fixture
async def session(tenant: GitHubTenant) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with the owner's token."""
    async with aiohttp.ClientSession(
        tenant.url, headers={"Authorization": f"Bearer {owner_token(tenant)}"}
    ) as session:
        yield session


async def test_the_hour_runs_out_and_begins_anew(
    tenant: GitHubTenant, session: aiohttp.ClientSession
) -> None:
    """Headers count down to a refusal of either status, and after the reset all is well."""
    tenant.limits.rules.user = 3
    left, statuses = [], []
    for _ in range(5):
        async with session.get("/orgs/acme/teams") as answer:
            left.append(int(answer.headers["X-RateLimit-Remaining"]))
            statuses.append(answer.status)
            reset = int(answer.headers["X-RateLimit-Reset"])
            assert answer.headers["X-RateLimit-Resource"] == "core"
    assert (left, statuses) == ([2, 1, 0, 0, 0], [200, 200, 200, 403, 429])
    assert 3_500 < reset - tenant.clock.now() <= 3_600
    assert tenant.limits.exceeded["primary core"] == 2
    tenant.clock.advance(3_601)
    async with session.get("/orgs/acme/teams") as answer:
        assert answer.status == 200


async def test_the_log_has_a_limit_of_its_own(tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
    """1,750 an hour on another account than the rest; /rate_limit shows all and costs nothing."""
    async with session.get("/orgs/acme/audit-log") as answer:
        assert answer.headers["X-RateLimit-Limit"] == "1750"
        assert answer.headers["X-RateLimit-Resource"] == "audit_log"
    async with session.get("/rate_limit") as answer:
        told = (await answer.json())["resources"]
    assert (told["core"]["used"], told["audit_log"]["used"], told["core"]["limit"]) == (0, 1, 5_000)


async def test_points_a_minute(tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
    """A read is one point and a write five, for each endpoint; who goes over is told how long to wait."""
    tenant.limits.rules.points = 10
    for _ in range(10):
        async with session.get("/orgs/acme/teams") as answer:
            assert answer.status == 200
    async with session.get("/orgs/acme/teams") as answer:
        assert answer.status in {403, 429}
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert "secondary rate limit" in (await answer.json())["message"]
    async with session.get("/orgs/acme/members") as answer:
        assert answer.status == 200
    outcomes = []
    for _ in range(3):
        async with session.put("/orgs/acme/blocks/invited-one") as answer:
            outcomes.append(answer.status)
    assert outcomes[:2] == [204, 204]
    assert outcomes[2] in {403, 429}


async def test_writes_a_minute(tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
    """80 writes a minute over all endpoints."""
    tenant.limits.rules.writes = 2
    statuses = []
    for path in ("blocks/invited-one", "blocks/contractor-5", "memberships/invited-one"):
        async with session.put(f"/orgs/acme/{path}") as answer:
            statuses.append(answer.status)
    assert statuses[:2] == [204, 204]
    assert statuses[2] in {403, 429}
    assert tenant.limits.exceeded["secondary writes"] == 1


async def test_too_many_at_once(tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
    """A hundred calls at the same time are too many, and the judge sees how many there were."""
    tenant.limits.rules.concurrency, tenant.latency = 4, 0.1

    async def call() -> int:
        async with session.get("/orgs/acme/teams") as answer:
            return answer.status

    statuses = await asyncio.gather(*(call() for _ in range(6)))
    assert sorted(statuses)[:4] == [200] * 4
    assert all(one in {403, 429} for one in sorted(statuses)[4:])
    assert tenant.limits.most > 4
    assert tenant.limits.exceeded["concurrency"] == 2


async def test_nobody_has_sixty(tenant: GitHubTenant) -> None:
    """Without a token there are 60 calls an hour for an address."""
    async with aiohttp.ClientSession(tenant.url) as plain, plain.get("/meta") as answer:
        assert (answer.status, answer.headers["X-RateLimit-Limit"]) == (200, "60")

"""The simulated GitHub's people, its seed, and the process that runs them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.github.driver import WEIGHTS, Driver
from sandbox.github.seed import owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant


@pytest.fixture
async def tenant() -> AsyncIterator[GitHubTenant]:
    """A small organisation."""
    async with running(seed(members=12, repos=20, events=0)) as tenant:
        yield tenant


async def logged(tenant: GitHubTenant) -> list[str]:
    """The ids that an independent reader finds in the log."""
    where = tenant.url + "/enterprises/acme-inc/audit-log?include=all&order=asc&per_page=100"
    headers, seen = {"Authorization": f"Bearer {owner_token(tenant)}"}, list[str]()
    async with aiohttp.ClientSession(headers=headers) as session:
        while where:
            async with session.get(where) as answer:
                seen += [one["_document_id"] for one in await answer.json()]
                where = str(answer.links["next"]["url"]) if "next" in answer.links else ""
    return seen


@pytest.mark.parametrize("kind", sorted(WEIGHTS))
async def test_every_kind_of_act_is_logged(tenant: GitHubTenant, kind: str) -> None:
    """What is done has an entry in the log, and the truth knows its id."""
    driver = Driver(tenant, number=5)
    done = [one for _ in range(30) for one in driver.step(kind)]
    assert done
    assert {one.id for one in done} == set(await logged(tenant))


async def test_the_truth_is_the_log_once_all_is_indexed(tenant: GitHubTenant) -> None:
    """Late entries are missing at first, and in the end each occurrence is there once."""
    driver = Driver(tenant, number=2, lag=600)
    for _ in range(150):
        driver.step()
    due = [one.id for one in tenant.truth if one.visible <= tenant.clock.now()]
    assert len(due) <= len(await logged(tenant)) < len(tenant.truth)
    tenant.clock.advance(600)
    seen = await logged(tenant)
    assert sorted(seen) == sorted(one.id for one in tenant.truth)


async def test_the_same_number_does_the_same(tenant: GitHubTenant) -> None:
    """Two tenants of one seed number have the same people, and two drivers of one number act alike."""
    other = seed(members=12, repos=20, events=0)
    told = [
        [(one.action, one.actor) for _ in range(60) for one in Driver.step(driver)]
        for driver in (Driver(tenant, number=9), Driver(other, number=9))
    ]
    assert told[0] == told[1]
    assert [one.login for one in tenant.org.users.values()] == [one.login for one in other.org.users.values()]
    with pytest.raises(ValueError, match="no such action"):
        Driver(tenant, weights={"dance": 1})


def test_ten_thousand_repositories_are_cheap() -> None:
    """They are worked out when looked at: nothing is kept of them before."""
    estate = seed(members=3, repos=10_000, events=0).org.estate
    ids = estate.ids()
    assert len(ids) == len(set(ids)) == 10_000
    assert not estate.changed
    names = [estate.get(one) for one in ids[::997]]
    assert all(repo is not None and estate.find(repo.name) == repo for repo in names)


async def test_the_process_serves_acts_and_ends() -> None:
    """It says where it listens, obeys lines, answers nonsense with an error, and ends at SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox.github", "--users", "5", "--repos", "5", "--rate", "0", "--lag", "0",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    lines = ['{"do": "act", "kind": "join"}', '{"do": "dance"}', "nonsense", '{"do": "report"}']
    process.stdin.write("".join(line + "\n" for line in lines).encode())
    await process.stdin.drain()
    answers = [json.loads(await process.stdout.readline()) for _ in lines]
    headers = {"Authorization": f"Bearer {told['token']}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(told["url"] + "/orgs/acme/members", headers=headers) as answer,
    ):
        assert len(await answer.json()) == 6
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
    assert [one["action"] for one in answers[0]["done"]] == ["org.add_member"]
    assert ["error" in one for one in answers] == [False, True, True, False]
    assert set(told["settings"]) == {"organization", "enterprise", "app_id", "private_key", "installation_id"}

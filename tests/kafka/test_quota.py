"""Four real processes and one quota: the tenant counts, whoever dies."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from rig import store, topics, until

from ingest.cluster import Cluster
from ingest.producing import Outgoing
from schemas.control import Wish
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.quiet, pytest.mark.timeout(170)]
_WORKER = Path(__file__).with_name("spender.py")
LIMITS = {"quick": (20.0, 1.0), "slow": (120.0, 20.0)}
"""As the workers declare them."""


class Tenant:
    """Counts the calls of each endpoint, and who made them."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[float, str]]] = {name: [] for name in LIMITS}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Take a call."""
        self.calls[request.match_info["api"]].append((time.monotonic(), request.match_info["who"]))
        return web.json_response({})

    def fullest(self, api: str) -> int:
        """Count the calls of the fullest window."""
        per, times, best, first = LIMITS[api][1], [at for at, _ in self.calls[api]], 0, 0
        for number, at in enumerate(times):
            while times[first] <= at - per:
                first += 1
            best = max(best, number - first + 1)
        return best

    def used(self, api: str, since: float, end: float) -> float:
        """Tell which part of what is allowed between two moments was used."""
        n, per = LIMITS[api]
        return sum(since < at <= end for at, _ in self.calls[api]) / (n / per * (end - since))

    def callers(self, api: str, since: float) -> Counter[str]:
        """Tell who called since a moment."""
        return Counter(who for at, who in self.calls[api] if at > since)


class Crew:
    """The processes that spend, and what governance told of its waiting."""

    def __init__(self, cluster: Cluster, tenant: Tenant, folder: Path) -> None:
        self._cluster, self._tenant = cluster, tenant
        self._errors = (folder / "errors").open("wb")
        self.alive: dict[str, Process] = {}
        self.waits: list[tuple[str, float, float]] = []
        self._readers: list[asyncio.Task[None]] = []

    async def join(self, role: str) -> None:
        """Start one."""
        config = self._cluster.config
        environment = {
            **os.environ, "SLUICE_KAFKA": self._cluster.bootstrap, "SLUICE_PREFIX": config.prefix,
            "SLUICE_PARTITIONS": "2", "SLUICE_SESSION_SECONDS": "2",
        }  # fmt: skip
        made = await asyncio.create_subprocess_exec(
            sys.executable, str(_WORKER), role, self._tenant.url, env=environment, stdout=PIPE,
            stderr=self._errors,
        )  # fmt: skip
        self.alive[role] = made
        self._readers.append(asyncio.create_task(self._read(made)))

    async def _read(self, one: Process) -> None:
        assert one.stdout is not None
        async for line in one.stdout:
            if len(words := line.decode().split()) == 3 and words[0] in LIMITS:
                self.waits.append((words[0], float(words[1]), float(words[2])))

    async def kill(self, role: str) -> None:
        """End one as a crash would."""
        one = self.alive.pop(role)
        one.kill()
        await one.wait()

    async def close(self) -> None:
        """Leave no process behind."""
        for role in list(self.alive):
            await self.kill(role)
        await asyncio.gather(*self._readers)
        self._errors.close()

    def longest(self, api: str, since: float, end: float) -> float:
        """Tell how long governance waited at most for what it began between two moments."""
        return max(waited for name, at, waited in self.waits if name == api and since < at < end)


@pytest_asyncio.fixture(loop_scope="session")
async def tenant() -> AsyncIterator[Tenant]:
    """Serve a tenant."""
    made, app = Tenant(), web.Application()
    app.router.add_get("/{api}/{who}", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def crew(kafka: Broker, topic_prefix: str, tenant: Tenant, tmp_path: Path) -> AsyncIterator[Crew]:
    """Give a crew of none, and a connector."""
    cluster = await topics(kafka.bootstrap, topic_prefix)
    wish = Wish(name="c", provider="counted", instance="c", incarnation="1", partition=1)
    await store(cluster, Outgoing("connectors", 1, b"c", wish.dump()))
    made = Crew(cluster, tenant, tmp_path)
    try:
        yield made
    finally:
        await made.close()


async def passed(seconds: float) -> tuple[float, float]:
    """Let real time go by: the processes are at work."""
    began = time.monotonic()
    await until(lambda: time.monotonic() > began + seconds, seconds + 5)
    return began, time.monotonic()


async def test_four_processes_share_one_quota(crew: Crew, tenant: Tenant) -> None:
    """A poller, a scanner, a sweep and governance want all; holder and owner die; no window is passed."""
    for role in ("ingest", "live", "sweep", "governance"):
        await crew.join(role)
    await until(lambda: len(tenant.callers("slow", 0.0)) >= 3 and bool(crew.waits), 40)
    await passed(20.0)
    began, end = await passed(20.0)
    shares = {api: tenant.used(api, began, end) for api in LIMITS}
    waited = {api: crew.longest(api, began, end) for api in LIMITS}
    callers = {api: dict(tenant.callers(api, began)) for api in LIMITS}
    print(f"used {shares}, governance waited at most {waited} s, by {callers}")  # noqa: T201 the figures

    await crew.kill("live")
    await passed(2.0)
    await crew.join("live")
    await passed(6.0)
    await crew.kill("ingest")
    died = time.monotonic()
    await passed(2.0)
    await crew.join("ingest")
    await until(lambda: bool(tenant.callers("quick", died)["ingest"]), 30)
    again = next(at for at, who in tenant.calls["quick"] if at > died and who == "ingest") - died
    await passed(8.0)
    fullest = {api: tenant.fullest(api) for api in LIMITS}
    print(f"fullest windows {fullest}; polled again {again:.1f} s after the kill")  # noqa: T201 the figures

    for api, (n, _) in LIMITS.items():
        assert fullest[api] <= max(n + 1, 1.02 * n)
        assert shares[api] >= 0.9
        assert waited[api] <= 2.0
    assert not tenant.callers("quick", time.monotonic() - 5.0)["sweep"] > 0.2 * 5 * 20

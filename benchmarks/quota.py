"""What limits cost: large tenants read under their provider's limits, and what a stranger's request costs.

Reads: a simulated Okta org of 50,000 users and a GitHub organization of 10,000 repositories, in a process of
their own, are read by the real client within the documented limits, which the tenant counts. Each call takes
100 ms at the tenant. `--times 20` lets both clocks run twenty times as fast (delays and limits stay in
proportion; what a call costs this machine does not). In real time Okta takes a minute, GitHub forty. A list
whose next page is known from the one before is read one call at a time: where a page takes Okta longer than
0.2 s, that and not the limit bounds the rate.

Strangers: the CPU of this process for a request that our receiver refuses, less what a bare aiohttp server
takes to read and refuse the same one. Interleaved rounds, fed by a process on another core.
Run: ``python benchmarks/quota.py``; ``--json`` prints one JSON document, ``--quick`` takes seconds.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson
import uvloop
from aiohttp import web
from lab import rig
from receive import Gun, Volley, ours

from ingest.catalog import providers
from ingest.http import Client, Silent, open_session
from ingest.pace import Pace
from ingest.provider import At, Axis, Instance, Page, Provider
from ingest.signin import Tokens
from ingest.windows import moment, now_ms
from sandbox.clock import Clock
from sandbox.github.seed import connect, seed
from sandbox.github.server import running as running_github
from sandbox.okta.server import running as running_okta
from sandbox.okta.tenant import OktaTenant
from schemas.events import Origin, stamp
from schemas.validation import checked

LATENCY: Final = 0.1
PARTS: Final = 10
"""Memory is noted after each tenth of the pages; the first tenth fills caches and is no growth."""
SCANNER: Final = "GET /.env"
UNKNOWN: Final = "8 KB at an unknown address"
FORGED: Final = "8 KB with a wrong signature"


@dataclass(frozen=True)
class Job:
    """A feed to be read of a tenant of some size; `allowed` calls a second, by the tenant's own limits."""

    provider: str
    feed: str
    axis: str
    size: int
    allowed: float


class Fast:
    """Both sides' time: so many times as fast as the machine's, from a moment that both know."""

    def __init__(self, began: float, times: float) -> None:
        self._began, self._times = began, times

    def time(self) -> float:
        """Tell seconds since 1970."""
        return self._began + (time.time() - self._began) * self._times

    async def sleep(self, seconds: float) -> None:
        """Wait so much of this time."""
        await asyncio.sleep(seconds / self._times)


class Wall(Clock):
    """The tenant's view of it."""

    def __init__(self, fast: Fast) -> None:
        super().__init__()
        self._fast = fast

    def now(self) -> float:
        """Tell seconds since 1970."""
        return self._fast.time()


class Meter(Silent):
    """Counts calls, and replies that asked for patience."""

    def __init__(self) -> None:
        self.calls = self.throttled_ = 0

    def called(self, provider: str, api: str, operation: str, outcome: str, seconds: float) -> None:
        """Count it."""
        del provider, api, operation, outcome, seconds
        self.calls += 1

    def throttled(self, provider: str, api: str, bucket: str) -> None:
        """Count it."""
        del provider, api, bucket
        self.throttled_ += 1


# ---- the tenants, in a process of their own


async def serve(provider: str, size: int, began: float, times: float) -> None:
    """Serve a tenant until input ends; print its settings, then what it counted."""
    clock = Wall(Fast(began, times))
    async with _tenant(provider, size, clock, LATENCY / times) as (settings, counted):
        print(orjson.dumps(settings).decode(), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print(orjson.dumps(counted()).decode(), flush=True)


@asynccontextmanager
async def _tenant(provider: str, size: int, clock: Wall, latency: float) -> AsyncIterator[Any]:
    if provider == "okta":
        org = OktaTenant(users=size, clock=clock, latency=latency)
        async with running_okta(org):
            yield (
                org.settings(),
                lambda: {
                    "requests": dict(org.limits.requests),
                    "refused": org.limits.refused,
                    "busiest": org.limits.busiest,
                    "at once": org.limits.busiest_at_once,
                },
            )
        return
    tenant = seed(members=2_000, repos=size, teams=5, clock=clock)
    tenant.latency = latency
    async with running_github(tenant):
        settings = {**connect(tenant), "endpoints": dict.fromkeys(("rest", "app", "graphql"), tenant.url)}
        yield (
            settings,
            lambda: {
                "requests": dict(tenant.requests),
                "refused": tenant.limits.exceeded,
                "busiest": tenant.limits.busiest,
                "at once": tenant.limits.most,
            },
        )


# ---- the reader


class Door:
    """What a provider is made with, as it and its client need each other."""

    client: Client

    def __getattr__(self, name: str) -> Any:
        """Hand everything on."""
        return getattr(self.client, name)


@asynccontextmanager
async def signed_in(
    kind: type[Provider[Any]], settings: Mapping[str, Any], fast: Fast, meter: Meter
) -> AsyncIterator[Provider[Any]]:
    """Connect a provider, on the fast clock."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        pace, door = Pace(clock=fast), Door()
        stack.push_async_callback(pace.close)
        made = kind(kind.settings_type.model_validate(settings), door, Instance(""))
        tokens = Tokens(session, clock=fast, now=fast.time)
        door.client = Client(made, session, pace, tokens, meter, now=fast.time)
        stack.push_async_callback(door.client.close)
        made.instance = await made.identify()
        yield made


def events(made: Provider[Any], name: str, page: Page) -> int:
    """Map, stamp and check a page's events as the core does; count them."""
    feed, origin = made.feeds()[name], Origin("acme", made.name, made.instance.id, {"name": made.title})
    found = [one for record in page.records for one in feed.to[page.mapper](record, made.instance)]
    for number, one in enumerate(found):
        if isinstance(one, dict):
            one["metadata"].setdefault("product", {"name": made.title, "vendor_name": made.vendor})
            checked(stamp(one, origin, now_ms(), index=number))
    return len(found)


async def read(job: Job, times: float) -> dict[str, Any]:
    """Read one job's feed whole, and tell how that went."""
    began = time.time()
    asked = orjson.dumps([job.provider, job.size, began, times]).decode()
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", asked, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        settings = orjson.loads(await child.stdout.readline())
        fast, meter, sizes, count = Fast(began, times), Meter(), list[float](), 0
        async with signed_in(providers()[job.provider], settings, fast, meter) as made:
            before, started = meter.calls, fast.time()
            until = moment(now_ms())
            async for page in getattr(made, job.feed)(At(Axis(job.axis), None, until, until)):
                count += events(made, job.feed, page)
                sizes.append(rig.rss())
            seconds, calls = fast.time() - started, meter.calls - before
        told, _ = await child.communicate(b"")  # which ends its input
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    counted = orjson.loads(told)
    return {
        "tenant": f"{job.provider} {job.size:,}", "feed": f"{job.feed} {job.axis}".strip(), "calls": calls,
        "events": count, "seconds": seconds, "allowed/s": job.allowed, "reached/s": calls / seconds,
        "share": calls / seconds / job.allowed, "refused": sum(counted["refused"].values()),
        "throttled": meter.throttled_, "at once": counted["at once"], "RSS, MB": sizes[-1],
        "grown, MB": sizes[-1] - sizes[len(sizes) // PARTS],
    }  # fmt: skip


# ---- strangers


class Stranger(Gun):
    """Sends, as fast as answers come, what is to be refused."""

    def __init__(self, volley: Volley, what: str) -> None:
        """Prepare the requests of one kind."""
        super().__init__(volley, junk=what != FORGED)
        if what == SCANNER:
            self._parts = [(b"GET /.env HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.5\r\nX-Id: ", b"\r\n\r\n")]
        elif what == FORGED:
            self._parts = [(head, tail[:-1] + b" ") for head, tail in self._parts]


async def shoot(volley: Volley, what: str) -> dict[str, int]:
    """Fire, and tell what came back."""
    gun = Stranger(volley, what)
    await gun.run()
    return {"refused": gun.bad, "taken": gun.good}


@asynccontextmanager
async def bare() -> AsyncIterator[tuple[int, str]]:
    """Run a server that reads and refuses, and does nothing else."""

    async def refuse(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(status=410)

    runner = web.ServerRunner(web.Server(refuse, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1], f"/v1/pushing/changed/{'0' * 32}"
    finally:
        await runner.cleanup()


async def costs(way: Any, what: str, seconds: float) -> float:
    """Tell the CPU seconds of this process for a refused request."""
    async with way as (port, path):
        for length in (seconds / 4, seconds):
            volley = Volley(port, path, length, 64)
            process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--shoot", orjson.dumps([asdict(volley), what]).decode(),
                stdout=asyncio.subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, rig.cores()[1]),
            )  # fmt: skip
            with rig.Meter() as meter:
                told, _ = await process.communicate()
            found: dict[str, int] = orjson.loads(told)
    assert found["taken"] == 0, "a stranger was let in"
    return meter.cpu / float(found["refused"])


async def strangers(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Measure each kind in both ways, in turns."""
    found: dict[str, list[tuple[float, float]]] = {SCANNER: [], UNKNOWN: [], FORGED: []}
    async with rig.kafka(2) as cluster:
        for _ in range(rounds):
            for what, pairs in found.items():
                pairs.append((await costs(ours(cluster), what, seconds), await costs(bare(), what, seconds)))
    return [
        {
            "request": what, "ours, µs": statistics.median(a for a, _ in pairs) * 1e6,
            "bare aiohttp, µs": statistics.median(b for _, b in pairs) * 1e6,
            "beyond it, µs": statistics.median(a - b for a, b in pairs) * 1e6,
        }
        for what, pairs in found.items()
    ]  # fmt: skip


def jobs(*, quick: bool) -> list[Job]:
    """Say what is read: what a token may have of a paid org, and an App on Enterprise Cloud."""
    users, repos = (2_400, 100) if quick else (50_000, 10_000)
    return [
        Job("okta", "users", "", users, 600 * 0.5 / 60),
        Job("github", "privileges", "repositories", repos, 15_000 / 3_600),
    ]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON document")
    options.add_argument("--quick", action="store_true", help="only see that it works")
    options.add_argument("--times", type=float, default=1.0, help="how fast the clocks of the reads run")
    options.add_argument("--rounds", type=int, default=5, help="of the strangers")
    options.add_argument("--seconds", type=float, default=4.0, help="of each measurement of strangers")
    options.add_argument("--only", choices=("okta", "github", "strangers"), help="measure one thing")
    options.add_argument("--serve", help=argparse.SUPPRESS)
    options.add_argument("--shoot", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.serve:
        asyncio.run(serve(*orjson.loads(chosen.serve)))
        return
    if chosen.shoot:
        volley, what = orjson.loads(chosen.shoot)
        sys.stdout.buffer.write(orjson.dumps(uvloop.run(shoot(Volley(**volley), what))))
        return
    times, rounds, seconds = chosen.times, chosen.rounds, chosen.seconds
    if chosen.quick:
        times, rounds, seconds = 4.0, 1, 0.4
    document: dict[str, Any] = {"clocks run": f"{times:g} times as fast", "each call takes, s": LATENCY}
    asked = [one for one in jobs(quick=chosen.quick) if chosen.only in (None, one.provider)]
    if asked:
        document["reads"] = [rig.run(read(one, times)) for one in asked]
    if chosen.only in (None, "strangers"):
        document["strangers"] = rig.run(strangers(rounds, seconds))
    tables = [name for name in ("reads", "strangers") if name in document]
    rig.show(document, tables, as_json=chosen.json)


if __name__ == "__main__":
    main()

"""The receiver: deliveries of 8 KB verified, stored with acks=all and answered, against a plain handler.

The plain one is aiohttp with aiokafka as well set as we found: `send_and_wait` with batches of 256 KiB, with
and without a linger, idempotent; it verifies, routes and limits nothing. Both run in this process on one
core, one after the other in interleaved rounds, fed over kept connections by a process on the core of Kafka.
The same handler on FastAPI and on FastStream is a process of its own on the first core, if ``--setup`` has
made their environment; ``--quick`` leaves them out. Then 1,000 deliveries a second whether or not answers
come (latency counts from when each was due), alone and beside 3,000 requests a second of strangers.
Run: ``python benchmarks/receive.py``; ``--json`` prints one JSON document, ``--quick`` takes seconds.
"""

import argparse
import asyncio
import hmac
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import orjson
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer
from lab import rig

from ingest.cluster import Cluster
from ingest.consuming import Follower, Place, ends
from ingest.credentials import Keyring
from ingest.directory import Directory
from ingest.producing import Outgoing, Sender
from ingest.provider import Delivery, Hooked, Provider, Settings, hook
from ingest.publickeys import fetching
from ingest.registrations import Registry
from ingest.signatures import Hmac
from ingest.state import key
from ingest.storing import Store
from ingest.tasks import ended
from ingest.webhooks import Receiver
from schemas.control import Registration, Wish

OURS = "ours: verified and stored"
WAYS = (OURS, "plain, linger 0", "plain, linger 5 ms")
FRAMEWORKS = ("FastAPI", "FastStream")
LAB = Path(__file__).parent / "lab"
ENVIRONMENT = Path(__file__).parents[1] / ".venv-peers" / "frameworks"
SECRET = "a secret of this benchmark"
ID = "0123456789abcdef0123456789abcdef"


class Pushing(Provider[Settings]):
    """A provider that only pushes, signed as GitHub's deliveries are."""

    name: ClassVar[str] = "pushing"
    settings_type: ClassVar[type[Settings]] = Settings

    @hook(Hmac("X-Hub-Signature-256", prefix="sha256=", id="X-GitHub-Delivery"))
    def changed(self, delivery: Delivery) -> Iterable[Hooked]:
        """Give nothing: what is stored is measured, not what becomes of it."""
        del delivery
        return ()


@dataclass(frozen=True)
class Volley:
    """What a shooting process is to do: `rate` a second, or as fast as answers come (0)."""

    port: int
    path: str
    seconds: float
    connections: int
    rate: float = 0.0
    junk: float = 0.0


def body(number: int = 0) -> bytes:
    """Make a body of 8 KB that looks like a push notification."""
    chance = random.Random(number)
    items: list[dict[str, Any]] = []
    while len(orjson.dumps({"commits": items})) < 8192:
        who = chance.randrange(500)
        items.append(
            {
                "id": f"{chance.getrandbits(160):040x}",
                "tree": f"{chance.getrandbits(160):040x}",
                "distinct": True,
                "message": f"change {chance.randrange(10_000)} of the billing service",
                "added": ["docs/index.md"],
                "author": {"name": f"user{who}", "email": f"u{who}@acme.example"},
            }
        )
    return orjson.dumps({"commits": items})


class Shooter(asyncio.Protocol):
    """One kept connection with at most one request under way."""

    def __init__(self, gun: "Gun") -> None:
        """Keep whose it is."""
        self._gun, self.due = gun, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self.transport = cast("asyncio.Transport", transport)

    def fire(self, due: float) -> None:
        """Send a request that was due at a moment."""
        self.due = due
        self.transport.write(self._gun.request())

    def data_received(self, data: bytes) -> None:
        """Take an answer; all of ours are small enough to come whole."""
        self._gun.answered(self, data.startswith(b"HTTP/1.1 2"))


class Gun:
    """Fires requests at a receiver and notes what became of them."""

    def __init__(self, volley: Volley, *, junk: bool) -> None:
        """Prepare everything that does not differ between requests."""
        path = volley.path[:-4] + "beef" if junk else volley.path
        secret = b"another secret" if junk else SECRET.encode()
        self._parts = [_request(path, secret, body(number)) for number in range(64)]
        self._volley, self._rate = volley, volley.junk if junk else volley.rate
        self._free: list[Shooter] = []
        self._next = random.getrandbits(60) << 32
        self.good, self.bad, self._sent = 0, 0, 0
        self.latencies: list[float] = []
        self._end = 0.0

    def request(self) -> bytes:
        """Make the next request, with an id of its own."""
        self._next += 1
        head, tail = self._parts[self._next % len(self._parts)]
        return b"%b%032x%b" % (head, self._next, tail)

    def answered(self, shooter: Shooter, good: bool) -> None:
        """Note an answer and go on."""
        now = time.perf_counter()
        self.good, self.bad = self.good + good, self.bad + (not good)
        self.latencies.append(now - shooter.due)
        if self._rate:
            self._free.append(shooter)
        elif now < self._end:
            shooter.fire(now)

    async def run(self) -> None:
        """Connect, fire for the time asked for, wait for the last answers."""
        loop = asyncio.get_running_loop()
        for _ in range(self._volley.connections):
            _, made = await loop.create_connection(lambda: Shooter(self), "127.0.0.1", self._volley.port)
            self._free.append(made)
        began = time.perf_counter()
        self._end = began + self._volley.seconds
        if not self._rate:
            for shooter in self._free:
                shooter.fire(time.perf_counter())
        while (now := time.perf_counter()) < self._end:
            while self._rate and self._free and began + self._sent / self._rate <= now:
                self._free.pop().fire(began + self._sent / self._rate)
                self._sent += 1
            await asyncio.sleep(0.0005 if self._rate else 0.05)
        await asyncio.sleep(0.5)


def _request(path: str, secret: bytes, content: bytes) -> tuple[bytes, bytes]:
    signature = hmac.digest(secret, content, "sha256").hex()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        "User-Agent: GitHub-Hookshot/044aadd\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 292430182\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(content)}\r\nX-GitHub-Delivery: "
    )
    return head.encode(), b"\r\n\r\n" + content


async def shoot(volley: Volley) -> dict[str, Any]:
    """Fire, and tell the results."""
    real, junk = Gun(volley, junk=False), Gun(volley, junk=True)
    await asyncio.gather(real.run(), *([junk.run()] if volley.junk else []))
    ordered = sorted(real.latencies) or [0.0]
    return {
        "good": real.good, "bad": real.bad, "junk refused": junk.bad, "junk taken": junk.good,
        "p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)],
        "worst": ordered[-1],
    }  # fmt: skip


async def fired(volley: Volley) -> dict[str, Any]:
    """Have a process on the other core do it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--shoot", orjson.dumps(asdict(volley)).decode(),
        stdout=asyncio.subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, rig.cores()[1]),
    )  # fmt: skip
    told, _ = await process.communicate()
    found: dict[str, Any] = orjson.loads(told)
    return found


@asynccontextmanager
async def plain(cluster: Cluster, linger: int) -> AsyncIterator[tuple[int, str]]:
    """Run the plain handler."""
    producer = AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, acks="all", enable_idempotence=True, linger_ms=linger,
        max_batch_size=256 * 1024, max_request_size=16 * 1024 * 1024,
    )  # fmt: skip
    topic = cluster.name("inbox")

    async def take(request: web.Request) -> web.Response:
        await producer.send_and_wait(topic, await request.read(), key=b"bench", partition=0)
        return web.Response()

    app = web.Application()
    app.router.add_post("/hooks/{id}", take)
    runner = web.AppRunner(app, access_log=None)
    await producer.start()
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1], f"/hooks/{ID}"
    finally:
        await runner.cleanup()
        await producer.stop()


@asynccontextmanager
async def ours(cluster: Cluster) -> AsyncIterator[tuple[int, str]]:
    """Run our receiver with one registration."""
    keyring = Keyring([os.urandom(32)])
    wish = Wish(name="bench", provider="pushing", incarnation="1", partition=0)
    made = Registration(
        incarnation="1", kind="Hooked", axis="", id=ID, hook="changed", sealed=keyring.seal(SECRET, "bench/1")
    )
    async with Sender(cluster, "bench") as sender:
        await sender.write([Outgoing("connectors", 0, b"bench", wish.dump())])
        await sender.write([Outgoing("subscriptions", 0, key("bench", "Hooked", ""), made.dump())])
    config = cluster.config.model_copy(update={"receive_rate": 1e6})
    follower = Follower(cluster)
    await follower.start()
    directory = Directory(cluster, follower)
    await directory.start()
    registry = Registry(cluster, follower, directory, keyring, lambda _: Pushing)
    async with fetching(config) as fetch:
        receiver = Receiver(config, registry, Store(cluster, config.in_flight_bytes), fetch)
        task = asyncio.create_task(receiver.run())
        try:
            while receiver.waiting():  # noqa: ASYNC110 it has no event to wait for
                await asyncio.sleep(0.05)
            yield int(receiver.address.rpartition(":")[2]), f"/v1/pushing/changed/{ID}"
        finally:
            await ended(task)
            await follower.stop()


@asynccontextmanager
async def framework(name: str, cluster: Cluster) -> AsyncIterator[tuple[int, str, int]]:
    """Run the plain handler on a framework; its process id comes last."""
    process = await asyncio.create_subprocess_exec(
        ENVIRONMENT / "bin" / "python", LAB / "frameworks.py", name, cluster.bootstrap, cluster.name("inbox"),
        stdout=asyncio.subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, rig.cores()[0]),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        told = await asyncio.wait_for(process.stdout.readline(), 30)
        if not told:
            raise SystemExit(f"{name} does not start: make its environment anew with --setup")
        yield int(told), f"/hooks/{ID}", process.pid
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def way(name: str, cluster: Cluster) -> AsyncIterator[tuple[int, str, int]]:
    """Open one of the ways: port, path and the process that serves."""
    if name in FRAMEWORKS:
        async with framework(name, cluster) as opened:
            yield opened
        return
    opening = ours(cluster) if name == OURS else plain(cluster, 5 if "5 ms" in name else 0)
    async with opening as (port, path):
        yield port, path, os.getpid()


def cpu_of(pid: int) -> float:
    """Tell the CPU seconds that a process has had, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def setup() -> None:
    """Make the environment of the frameworks."""
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    pip: list[str | Path] = [ENVIRONMENT / "bin" / "pip", "install", "--quiet", "--require-hashes", "-r"]
    subprocess.run([*pip, LAB / "frameworks.txt"], check=True)


async def stored(cluster: Cluster) -> int:
    """Tell how many records the inbox has; nothing there is transactional, so offsets count records."""
    places = [Place("inbox", number) for number in range(cluster.owners)]
    return sum((await ends(cluster, places)).values())


async def measure(ways: tuple[str, ...], rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """Run all of it."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    delays: dict[str, list[dict[str, Any]]] = {}
    lost = 0
    async with rig.kafka(2) as cluster:
        for number in range(rounds + 1):
            for place in range(len(ways)):
                name = ways[(number + place) % len(ways)]
                async with way(name, cluster) as (port, path, pid):
                    await fired(Volley(port, path, 1.0, connections))
                    before, cpu = await stored(cluster), cpu_of(pid)
                    found = await fired(Volley(port, path, seconds, connections))
                    cpu = cpu_of(pid) - cpu
                    lost += max(0, found["good"] - (await stored(cluster) - before))
                    if number:  # the first round warms Kafka up
                        rates[name].append((found["good"] / seconds, cpu / max(1, found["good"])))
                        for junk in (0.0, 3000.0) if name == OURS else (0.0,):
                            volley = Volley(port, path, seconds, 200, rate=1000.0, junk=junk)
                            title = f"{name}{', 3,000 strangers/s' if junk else ''}"
                            delays.setdefault(title, []).append(await fired(volley))
    plain_best = max(statistics.median(rate for rate, _ in rates[name]) for name in WAYS[1:])
    left_out = [name for name in FRAMEWORKS if name not in ways]
    return {
        "body": f"{len(body())} bytes, signed; {connections} connections",
        "loop": "uvloop", "rounds": rounds, "seconds": seconds, "answered but not stored": lost,
        "not measured": f"{' and '.join(left_out)}: see --setup" if left_out else "",
        "rates": [rate(name, rates[name], plain_best) for name in ways],
        "delays": [delay(name, found) for name, found in delays.items()],
    }  # fmt: skip


def rate(name: str, found: list[tuple[float, float]], best: float) -> dict[str, Any]:
    """Make a line: medians of the rounds."""
    middle = statistics.median(rate for rate, _ in found)
    return {
        "way": name, "deliveries/s": middle, "times the best plain": middle / best,
        "µs of CPU each": statistics.median(cpu for _, cpu in found) * 1e6,
    }  # fmt: skip


def delay(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Make a line: medians of the rounds' percentiles."""
    return {
        "at 1,000/s": name, "p50, ms": statistics.median(one["p50"] for one in found) * 1e3,
        "p99, ms": statistics.median(one["p99"] for one in found) * 1e3,
        "worst p99, ms": max(one["p99"] for one in found) * 1e3,
        "answered": sum(one["good"] for one in found), "failed": sum(one["bad"] for one in found),
        "strangers taken": sum(one["junk taken"] for one in found),
        "strangers refused": sum(one["junk refused"] for one in found),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON document")
    options.add_argument("--quick", action="store_true", help="only see that it works")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options.add_argument("--connections", type=int, default=128)
    options.add_argument("--setup", action="store_true", help="make the environment of the frameworks")
    options.add_argument("--shoot", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.shoot:
        sys.stdout.buffer.write(orjson.dumps(uvloop.run(shoot(Volley(**orjson.loads(chosen.shoot))))))
        return
    if chosen.setup:
        setup()
        return
    rounds, seconds = (1, 1.0) if chosen.quick else (chosen.rounds, chosen.seconds)
    ways = WAYS if chosen.quick or not ENVIRONMENT.exists() else (*WAYS, *FRAMEWORKS)
    found = rig.run(measure(ways, rounds, seconds, chosen.connections))
    rig.show(found, ("rates", "delays"), as_json=chosen.json)


if __name__ == "__main__":
    main()

"""Kafka away for half a minute, and consumers that stand still: memory flat, all told, nothing lost."""

import asyncio
import hmac
import os
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import rig
from bench import World
from deployed import Deployed, free_port
from rig import store, until
from toy.tenant import SECRET, Tenant, running

from consumers.run import Spec, consumer
from ingest.cluster import Cluster
from ingest.config import Config
from ingest.consuming import Follower, Incoming
from ingest.producing import Outgoing
from ingest.tasks import ended
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(240)]
AWAY = 35.0


def resident(pid: int) -> float:
    """Tell a process's resident memory, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _there(cluster: Cluster, count: int) -> bool:
    return len(await rig.read(cluster, "logons")) >= count


async def test_kafka_is_away_for_half_a_minute(kafka: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """Deliveries get 503 with Retry-After, feeds wait, memory is flat; then nothing is lost or twice."""
    port = free_port()
    settings = {
        "SLUICE_KAFKA": kafka.bootstrap, "SLUICE_PREFIX": topic_prefix, "SLUICE_PARTITIONS": "2",
        "SLUICE_REPLICATION": "1", "SLUICE_KEY": b64encode(os.urandom(32)).decode(),
        "SLUICE_SESSION_SECONDS": "3", "SLUICE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SLUICE_RECEIVE_PORT": str(port), "SLUICE_IN_FLIGHT_BYTES": str(1024 * 1024),
    }  # fmt: skip
    async with running(Tenant(page=200)) as tenant, Deployed(tmp_path, settings) as product:
        users = [tenant.add_user(name) for name in ("ann", "bob")]
        assert (await product.call("topics", "create")).code == 0
        judge = Cluster(Config(kafka=kafka.bootstrap, prefix=topic_prefix, partitions=2, replication=1))
        await judge.learn()
        await asyncio.gather(product.run("ingest"), product.run("receive"))
        file = product.toy_settings(tenant.url, SECRET)
        said = await product.call("connect", "toy", "prod", "--settings", file)
        assert said.code == 0, said.err
        await until(lambda: len(tenant.hooks) == 1, 60)
        assert await tenant.push(tenant.act("login", users[0])) == [200]
        await until(lambda: _there(judge, 1), 60)
        pids = {name: process.pid for name, process in product.running.items()}
        before = {name: resident(pid) for name, pid in pids.items()}
        await kafka.kill()
        gone, answers, slowest, held = time.monotonic(), Counter[tuple[int, str]](), 0.0, dict(before)
        (hook,) = tenant.hooks.values()
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < gone + AWAY:
                round_ = [_pushed(session, tenant, hook, users[1]) for _ in range(20)]
                for one in await asyncio.gather(*round_):
                    answers[one[:2]] += 1
                    slowest = max(slowest, one[2])
                held = {name: max(held[name], resident(pid)) for name, pid in pids.items()}
        ready = [(await product.asked(name, "readyz"))[0] for name in pids]
        await kafka.start()
        back = time.monotonic()
        total = len(tenant.stream)
        # The owner reads at once what the receiver had to send away: it is nudged.
        await until(lambda: _there(judge, total), 90)
        took = time.monotonic() - back
        found = [orjson.loads(one.value() or b"") for one in await rig.read(judge, "logons")]
        alive = [process.returncode for process in product.running.values()]
    ids = Counter(one["metadata"]["original_event_uid"] for one in found)
    print(f"{dict(answers)}, slowest {slowest:.1f} s, whole after {took:.1f} s")  # noqa: T201 the figures are wanted
    print(f"MB before {before}, at most {held}")  # noqa: T201 the same

    assert set(answers) == {(503, "5")}
    assert slowest < 3.0
    assert ready[1] == 503
    assert all(held[name] - before[name] < 40 for name in pids)
    assert alive == [None, None]
    assert ids == Counter({record["id"]: 1 for record in tenant.stream})


async def _pushed(
    session: aiohttp.ClientSession, tenant: Tenant, hook: Any, user: str
) -> tuple[int, str, float]:
    """Deliver something that just happened, with 8 KB around it; give status, Retry-After and seconds."""
    record = tenant.act("login", user)
    body, sent = orjson.dumps({"entries": [record], "pad": "x" * 8000}), str(int(tenant.clock()))
    signature = hmac.digest(hook["secret"].encode(), sent.encode() + b"." + body, "sha256").hex()
    headers = {"X-Toy-Signature": f"sha256={signature}", "X-Toy-Time": sent, "X-Toy-Id": record["id"]}
    began = time.monotonic()
    async with session.post(hook["address"], data=body, headers=headers) as answer:
        return answer.status, answer.headers.get("Retry-After", ""), time.monotonic() - began


class Stuck:
    """A job that never gets done with anything."""

    def __init__(self, begun: list[bytes]) -> None:
        self._begun = begun

    def take(self, record: Incoming) -> None:
        """Nothing is kept."""

    def ready(self, commit: object) -> None:
        """Nothing is written beforehand."""

    async def handle(self, record: Incoming) -> Sequence[Outgoing]:
        """Begin, and wait for ever."""
        self._begun.append(record.key)
        await asyncio.Event().wait()
        return []

    def committed(self, record: Incoming) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is held."""


async def test_a_consumer_that_stands_still_slows_nobody(bench: Any, world: World, cluster: Cluster) -> None:
    """With every scan stuck and thousands waiting, events go out as before, and little waits in memory."""
    spec = Spec("dlp", ("scan-live", "scan-backlog"), "scans", {"scan-live": 4, "scan-backlog": 4})
    begun: list[bytes] = []
    follower = Follower(cluster)
    await follower.start()
    owner = consumer(cluster, spec, follower, lambda _: Stuck(begun))
    task = asyncio.create_task(owner.run())
    try:
        await until(lambda: len(owner._tenures) == 2 and not owner.waiting())
        alone = await _rate(bench, world, cluster, "alone")
        flood = [Outgoing("scan-live", number % 2, b"f%d" % number, b"x" * 100) for number in range(8000)]
        for start in range(0, len(flood), 1000):
            await store(cluster, *flood[start : start + 1000])
        await until(lambda: len(begun) == 4)
        beside = await _rate(bench, world, cluster, "beside")
        runs: list[Any] = [held for held, _ in owner._tenures.values()]
        waiting = [len(lane.waiting) for one in runs for lane in one._lanes.values()]
    finally:
        await ended(task, 5.0)
        await follower.stop()
    print(f"events/s {alone:.0f}, beside a stuck consumer {beside:.0f}; waiting {waiting}")  # noqa: T201 wanted

    assert len(begun) == 4
    assert beside > alone / 3
    assert max(waiting) < 8000 // 2


async def _rate(bench: Any, world: World, cluster: Cluster, name: str) -> float:
    """Publish a few thousand events of a new connector and tell how many a second."""
    now = int(time.time() * 1000)
    world.log = [{"id": number, "time": now, "who": f"u{number % 9}"} for number in range(4000)]
    world.page = 500
    before = len(await rig.read(cluster, "activities"))
    await bench.wish(name)
    async with bench.process():
        began = time.monotonic()

        async def done() -> bool:
            return len(await rig.read(cluster, "activities")) >= before + len(world.log)

        await until(done, 40, every=0.02)
        took = time.monotonic() - began
    await bench.wish(name, enabled=False, revision=2)
    return len(world.log) / took

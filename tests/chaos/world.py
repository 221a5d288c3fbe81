"""Everything that a run consists of, put up and taken down together."""

import asyncio
import base64
import json
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from ingest.cluster import Cluster
from ingest.config import load
from ingest.errors import Misconfigured
from ingest.state import parts_of
from sluice.connecting import Asked, built, sign_in
from sluice.operate import Desk
from sluice.processes import free_port
from tests.chaos.cluster import Trio, trio
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.judge import Verdict, judge
from tests.chaos.links import links
from tests.chaos.meters import Meters
from tests.chaos.pulse import SYNC_SECONDS, Pulse
from tests.chaos.reader import Reader
from tests.chaos.tenants import Tenant, tenants

SETTLE_SECONDS = 180.0


class World:
    """A run's parts; `complaints` are what was found wrong on the way."""

    def __init__(
        self, cluster: Trio, kafka: Cluster, fleet: Fleet, tenants: dict[str, Tenant], reader: Reader
    ) -> None:
        self.cluster, self.kafka, self.fleet = cluster, kafka, fleet
        self.tenants, self.reader, self.meters = tenants, reader, Meters(fleet)
        self.complaints: list[str] = []
        self._known = set[str]()
        self.pulse = Pulse(kafka, cluster.bootstrap)

    @staticmethod
    def now() -> float:
        """Tell the reader's time: monotonic seconds."""
        return time.monotonic()

    def complain(self, what: str) -> None:
        """Note something wrong."""
        self.complaints.append(what)

    async def connect(self) -> None:
        """Connect every tenant."""
        desk = await Desk.open(self.kafka.config)
        for one in self.tenants.values():
            settings = dict(one.settings())
            asked = Asked(name=one.name, provider=one.provider, settings=settings)
            wishes = (await desk.view()).wishes
            made = await sign_in(desk, asked, built(desk.kind(one.provider), settings), wishes)
            await desk.store(made.wish, 0)

    def missing(self) -> set[str]:
        """Name what happened and was not read yet."""
        first = self.reader.first
        return {one.id for tenant in self.tenants.values() for one in tenant.truth() if one.id not in first}

    def fresh(self, since: float) -> dict[str, float]:
        """By tenant, when the first thing that happened after a moment (s since 1970) could be read."""
        first, found = self.reader.first, {}
        for tenant in self.tenants.values():
            times = [first[one] for one in tenant.recent(since) if one in first]
            if times:
                found[tenant.name] = min(times)
        return found

    def stalls(self, begun: float, ended: float) -> dict[str, float]:
        """By tenant, the longest time in which a reader got nothing of it, in seconds."""
        place = {one.id: tenant.name for tenant in self.tenants.values() for one in tenant.truth()}
        times: dict[str, list[float]] = defaultdict(list)
        for source, at in list(self.reader.first.items()):
            if begun <= at <= ended:
                times[place.get(source, "")].append(at)
        return {
            name: max(b - a for a, b in pairwise([begun, *sorted(times[name]), ended]))
            for name in self.tenants
        }

    async def settled(self) -> bool:
        """Wait until all that happened was read; False when that takes too long."""
        end = self.now() + SETTLE_SECONDS
        while self.missing() and self.now() < end:  # noqa: ASYNC110 other processes' work
            await asyncio.sleep(1.0)
        # A second copy would come after the first one.
        await asyncio.sleep(3.0)
        return not self.missing()

    def verdict(self) -> Verdict:
        """Compare what was read with what happened."""
        assert not self.reader.error, self.reader.error
        truth = [one for tenant in self.tenants.values() for one in tenant.truth()]
        logs = {name: tenant.log() for name, tenant in self.tenants.items()}
        return judge(truth, list(self.reader.found), list(self.reader.reached), logs)

    def news(self) -> list[str]:
        """Tell what went wrong since the last look and can't become right any more."""
        verdict = self.verdict()
        wrong = {*verdict.doubled, *verdict.reordered}
        news, self._known = sorted(wrong - self._known), self._known | wrong
        return news

    def keep(self, path: Path) -> None:
        """Keep the evidence, for whoever looks into it."""
        truth = [one for tenant in self.tenants.values() for one in tenant.truth()]
        path.write_text(json.dumps({"truth": truth, "found": list(self.reader.found)}))


async def _learnt(kafka: Cluster) -> None:
    """Ask again while a broker does not know yet of the topics that another one has made."""
    end = World.now() + SYNC_SECONDS
    while True:
        try:
            return await kafka.learn()
        except Misconfigured:
            if World.now() > end:
                raise
            await asyncio.sleep(0.5)


@asynccontextmanager
async def world(
    folder: Path, slots: Sequence[str], *, okta: int, github: int, session: float, partitions: int = 6
) -> AsyncIterator[World]:
    """Put it all up: Kafka and the tenants first, then the processes, then the judge."""
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(links())
        cluster = await stack.enter_async_context(trio(folder / "kafka", slots, network))
        named = await stack.enter_async_context(tenants(okta, github))
        port = free_port()
        config = load(
            kafka=cluster.bootstrap, session_seconds=session, partitions=partitions, replication=3,
            key=base64.b64encode(os.urandom(32)).decode(), scanners=1,
            public_url=f"http://127.0.0.1:{port}", receive_port=port,
        )  # fmt: skip
        kafka = Cluster(config)
        await kafka.create_topics()
        await kafka.ready(60.0)
        await _learnt(kafka)
        processes = await stack.enter_async_context(
            fleet(config, cluster, network, slots, folder / "processes")
        )

        def reach(key: str, value: Any) -> tuple[str, int] | None:
            name, feed, *_ = [*parts_of(key.encode()), ""]
            if name not in named or feed != "log":
                return None
            return name, named[name].reached(value["position"])

        reader = stack.enter_context(Reader(kafka, cluster.bootstrap, reach))
        yield World(cluster, kafka, processes, named, reader)

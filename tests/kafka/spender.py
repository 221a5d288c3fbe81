"""A process that spends one tenant's quota: the owner's poller, or a holder in one lane.

Arguments: what it is (ingest, or a lane), and the tenant's address. A holder makes as many calls as it may;
governance one at a time, and prints for each how long it waited, in seconds.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import timedelta
from typing import Any

from consumers.connections import Connections
from ingest.cluster import Cluster
from ingest.config import load
from ingest.connectors import Services, WallClock
from ingest.consuming import Follower
from ingest.credentials import Keyring
from ingest.directory import Directory
from ingest.links import Links
from ingest.pace import lane
from ingest.provider import Api, At, Grant, Instance, Json, Limit, Mapped, Page, Provider, Settings, feed
from ingest.shares import Budget
from ingest.tenure import ingest

ROLE, URL = sys.argv[1], sys.argv[2]
LIMITS = {"quick": Limit(20, 1.0), "slow": Limit(120, 20.0)}
_AT_ONCE = 6


def nothing(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map to nothing."""
    del record, instance
    return []


async def hit(provider: Provider[Any], api: str) -> None:
    """Make a call."""
    await provider.http.call(api, "GET", f"/{api}/{ROLE}")


async def some(provider: Provider[Any], api: str) -> None:
    """Make calls, so many that there is always one to make."""
    for _ in range(50):
        await hit(provider, api)


class Counted(Provider[Settings]):
    """Two endpoints with a limit each."""

    name = "counted"
    settings_type = Settings

    def apis(self) -> Mapping[str, Api]:
        """Give each its budget."""
        return {name: Api(URL, limits={"calls": limit}) for name, limit in LIMITS.items()}

    async def identify(self) -> Instance:
        """Be who was connected."""
        return Instance("c")

    async def probe(self) -> AsyncIterator[Grant]:
        """Say that all is granted."""
        yield Grant("logons")

    @feed("user_activity", to=nothing, every=timedelta(seconds=0.1))
    async def quick(self, at: At) -> AsyncIterator[Page]:
        """Spend all there is of one."""
        del at
        await asyncio.gather(*(some(self, "quick") for _ in range(_AT_ONCE)))
        yield Page([], cursor=1)

    @feed("admin_activity", to=nothing, every=timedelta(seconds=0.1))
    async def slow(self, at: At) -> AsyncIterator[Page]:
        """Spend all there is of the other."""
        del at
        await asyncio.gather(*(some(self, "slow") for _ in range(_AT_ONCE)))
        yield Page([], cursor=1)


async def spend(connections: Connections, api: str) -> None:
    """Call again and again."""
    while True:
        try:
            async with connections.use("c") as provider:
                await hit(provider, api)
        except Exception as error:  # noqa: BLE001 told to whoever looks at the test
            print(f"{ROLE}: {error!r}", file=sys.stderr, flush=True)  # noqa: T201 the same
            await asyncio.sleep(0.5)


async def govern(connections: Connections, api: str) -> None:
    """Call now and then, and tell how long it took."""
    while True:
        await asyncio.sleep(1.5)
        async with connections.use("c") as provider:
            began = time.monotonic()
            await hit(provider, api)
        print(api, began, time.monotonic() - began, flush=True)  # noqa: T201 the figure is wanted


async def main() -> None:
    """Run until killed."""
    cluster = Cluster(load())
    await cluster.learn()
    follower = Follower(cluster)
    await follower.start()
    budget = Budget(cluster, follower)
    await budget.start()
    kinds: dict[str, type[Provider[Any]]] = {"counted": Counted}
    links = Links(Keyring([bytes(32)]), kinds)
    if ROLE == "ingest":
        services = Services(cluster, links, Keyring([bytes(32)]), WallClock(), "w")
        await ingest(services, follower, budget).run()
    directory = Directory(cluster, follower)
    await directory.start()
    connections = Connections(links.sharing(budget.holder), directory)
    lane.set(ROLE)  # type: ignore[arg-type]  # it is one
    work = govern if ROLE == "governance" else spend
    number = 1 if ROLE == "governance" else _AT_ONCE
    async with asyncio.TaskGroup() as group:
        for api in LIMITS:
            for _ in range(number):
                group.create_task(work(connections, api))


asyncio.run(main())

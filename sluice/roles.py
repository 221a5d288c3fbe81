"""The roles of a deployment, run in this process; scaling out is more of the same."""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from consumers.connections import Connections
from consumers.dlp.budget import Limits
from consumers.dlp.detectors import Rules
from consumers.dlp.scan import ScanJob
from consumers.dlp.scan import spec as scan_spec
from consumers.dlp.workers import Scanners
from consumers.governance.job import governance
from consumers.run import consumer
from ingest.cluster import Cluster
from ingest.config import Config
from ingest.connectors import Services, WallClock
from ingest.consuming import Follower
from ingest.credentials import Keyring
from ingest.custody import BorrowedTokens
from ingest.directory import Directory
from ingest.health import Health
from ingest.links import Links
from ingest.pace import lane
from ingest.publickeys import fetching
from ingest.registrations import Registry
from ingest.shares import Budget
from ingest.storing import Store
from ingest.tasks import ended
from ingest.tenure import ingest
from ingest.webhooks import Receiver

ROLES = ("ingest", "receive", "dlp", "governance")
_STOP_SECONDS = 6.0
_log = structlog.get_logger(part="roles")


class Running(Protocol):
    """A role at work."""

    async def run(self) -> None:
        """Work until cancelled."""
        ...

    def waiting(self) -> str:
        """Tell why it is not ready, or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What the roles of one process share."""

    cluster: Cluster
    config: Config
    keyring: Keyring
    follower: Follower
    directory: Directory
    links: Links
    connections: Connections
    budget: Budget


@asynccontextmanager
async def shared(config: Config, cluster: Cluster, roles: Sequence[str]) -> AsyncIterator[Shared]:
    """Open what the roles share: keys, who is connected, a follower, the quotas of those that call providers.

    Raises:
        ConfigError: There is no key.
        Misconfigured: Topics are missing.
        UnreadableError: Kafka does not answer.
    """
    await cluster.learn()
    follower = Follower(cluster)
    await follower.start()
    directory = Directory(cluster, follower)
    keyring = Keyring.of(config)
    links = Links(keyring, elsewhere=directory.elsewhere, ca_file=config.ca_file)
    budget = Budget(cluster, follower)
    lent = links.sharing(budget.holder) if config.share_quota else links
    connections = Connections(lent, directory, lambda wish: BorrowedTokens(cluster, keyring, wish))
    try:
        await directory.start()
        if config.share_quota and not set(roles) <= {"receive"}:
            await budget.start()
        yield Shared(cluster, config, keyring, follower, directory, links, connections, budget)
    finally:
        await connections.close()
        await budget.stop()
        await follower.stop()


async def run(
    roles: Sequence[str],
    config: Config,
    cluster: Cluster,
    stop: asyncio.Event,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Run roles until told to stop; `ready` gets the operator's address once it listens.

    Raises:
        ConfigError: There is no key, or the receiver can't listen.
        Misconfigured: Topics are missing.
        UnreadableError: Kafka does not answer.
    """
    _settle_memory()
    async with AsyncExitStack() as stack:
        common = await stack.enter_async_context(shared(config, cluster, roles))
        owners = [await _start(role, common, stack) for role in roles]
        health = Health(lambda: _waiting(owners), config.metrics_host, config.metrics_port)
        await health.start()
        stack.push_async_callback(health.stop)
        _log.info("running", roles=list(roles), operator=health.address)
        ready(health.address)
        tasks = [asyncio.create_task(_work(*one)) for one in zip(roles, owners, strict=True)]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            stopping.cancel()
            await asyncio.gather(*(ended(task, _STOP_SECONDS) for task in tasks))


def _settle_memory() -> None:
    """Keep the collector from walking what never goes away: types, SDKs' models, pages in flight.

    A seventh of the CPU of an event went into it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)


async def _work(role: str, owner: Running) -> None:
    """Run a role in its lane, which everything that it starts inherits."""
    lane.set("governance" if role == "governance" else "live")
    await owner.run()


def _waiting(owners: Sequence[Running]) -> str:
    return "; ".join(why for owner in owners if (why := owner.waiting()))


async def _start(role: str, common: Shared, stack: AsyncExitStack) -> Running:
    config, cluster = common.config, common.cluster
    if role == "ingest":
        worker = config.worker or f"{socket.gethostname()}-{os.getpid()}"
        services = Services(cluster, common.links, common.keyring, WallClock(), worker, config.public_url)
        return ingest(services, common.follower, common.budget if common.config.share_quota else None)
    if role == "receive":
        fetch = await stack.enter_async_context(fetching(config))
        registry = Registry(cluster, common.follower, common.directory, common.keyring, common.links.kind)
        return Receiver(config, registry, Store(cluster, config.in_flight_bytes), fetch)
    if role == "dlp":
        limits = Limits()
        rules = Rules.load(common.keyring.derive("findings"))
        scanners = await stack.enter_async_context(Scanners(config.scanners, limits, rules))
        return consumer(
            cluster,
            scan_spec(config.scanners),
            common.follower,
            lambda _: ScanJob(cluster, common.directory, common.connections, scanners, limits.size),
        )
    return await governance(cluster, common.follower, common.directory, common.connections)

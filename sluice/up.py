"""Everything on one machine: Kafka (embedded unless SLUICE_KAFKA names one), topics, a process a role."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import SecretStr

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.credentials import key_at
from sluice.broker import Broker, data_folder, embedded
from sluice.operate import announce, withdraw
from sluice.processes import Processes, free_port
from sluice.roles import ROLES

EMBEDDED_PARTITIONS = 8
_log = structlog.get_logger(part="up")


@dataclass(frozen=True, slots=True)
class Machine:
    """What runs."""

    cluster: Cluster
    config: Config
    processes: Processes
    broker: Broker | None

    @property
    def metrics(self) -> str:
        """The operator's address of the ingest process."""
        return self.processes.children[0].metrics + "/metrics"

    @property
    def receiver(self) -> str:
        """Where the receiver listens on this machine; providers reach it under SLUICE_PUBLIC_URL."""
        scheme = "https" if self.config.receive_certificate else "http"
        return f"{scheme}://{self.config.receive_host}:{self.config.receive_port}"


@asynccontextmanager
async def machine(
    config: Config, folder: Path | None, roles: tuple[str, ...] = ROLES
) -> AsyncIterator[Machine]:
    """Run everything while the block lasts; data lives in `folder`, or in a temporary one (None).

    Raises:
        BrokerError: Kafka can't be started.
        Misconfigured: The cluster does not answer, or topics can't be made.
    """
    async with AsyncExitStack() as stack:
        broker = None
        if not config.kafka:
            broker = await stack.enter_async_context(embedded(folder))
            config = config.model_copy(
                update={"kafka": broker.bootstrap, "partitions": EMBEDDED_PARTITIONS, "replication": 1}
            )
        if not config.key.get_secret_value() and not config.key_file:
            where = (folder or data_folder()).parent / "key"
            update = {"key": SecretStr(key_at(where)), "key_file": where}
            config = config.model_copy(update=update)
        if not config.receive_port:
            # Chosen here, so that the address stays when the process starts anew.
            config = config.model_copy(update={"receive_port": free_port()})
        cluster = Cluster(config)
        created = await cluster.create_topics()
        await cluster.ready()
        await cluster.learn()
        if created:
            _log.info("topics made", count=len(created))
        processes = await stack.enter_async_context(
            Processes(config, config.kafka, roles, broker.log.parent if broker else None)
        )
        made = Machine(cluster, config, processes, broker)
        announce(config.kafka, metrics=made.metrics, prefix=config.prefix, key_file=config.key_file or "")
        stack.callback(withdraw)
        yield made


async def up(config: Config, folder: Path | None, stop: asyncio.Event) -> None:
    """Run everything until told to stop.

    Raises:
        BrokerError: Kafka can't be started, or it died.
    """
    async with machine(config, folder or data_folder()) as made:
        _log.info("up", kafka=made.config.kafka, metrics=made.metrics, receiver=made.receiver)
        waiting = {asyncio.create_task(stop.wait())}
        if made.broker is not None:
            waiting.add(asyncio.create_task(made.broker.watch()))
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        for task in done:
            task.result()

"""Three nodes of the embedded Kafka as one KRaft cluster: replication 3, two in sync, combined roles.

Every process of the fleet has a listener of its own on every broker, advertised at a proxy of its own: a
broker tells each client where the others are, and only so does a cut between one process and one broker
stay between the two.
"""

import asyncio
import contextlib
import json
import random
import resource
import signal
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sluice.broker import Broker
from sluice.broker_folder import FORMAT, HOST, Stamp
from sluice.java import ROOTS
from tests.chaos.links import Link, Links

_PORTS = range(15000, 32000)
"""Below what systems give to outgoing connections, as for the single embedded node."""
_VERSION = ROOTS[0].rsplit(":", 1)[1]
_THREE = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "inter.broker.listener.name": "PLAINTEXT",
    "num.network.threads": "1",
    "num.replica.fetchers": "1",
    "replica.lag.time.max.ms": "5000",
    "broker.session.timeout.ms": "5000",
    "broker.heartbeat.interval.ms": "1000",
}
START_SECONDS = 90.0


class Node(Broker):
    """One of three: formatted as a member of the quorum that all three were told of."""

    voters = ""

    def _format(self, java: Path, jars: str, cluster: str) -> None:
        asked = ("format", "--initial-controllers", self.voters, "--ignore-formatted")
        command = self._command(
            java, jars, "kafka.tools.StorageTool", *asked, "--cluster-id", cluster, "--config"
        )
        with self.log.open("ab") as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise self._died()

    def fill(self) -> None:
        """Let every write beyond a file's first byte fail, as on a full disk: RLIMIT_FSIZE, no root."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    def empty(self) -> None:
        """Let writes succeed again; a broker that took its disk for dead has ended by then, or has to."""
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    async def again(self) -> None:
        """Start it wherever it stands: running, ended by itself, or killed."""
        await self.stop()
        await self.start()


class Trio:
    """The cluster. `bootstrap` is the judge's way in; a process takes `addresses` of its own name."""

    def __init__(self, nodes: Sequence[Node], links: dict[str, list[Link]]) -> None:
        self.nodes, self.links = list(nodes), links

    @property
    def bootstrap(self) -> str:
        """The addresses that no fault of a link touches."""
        return ",".join(node.bootstrap for node in self.nodes)

    def addresses(self, slot: str) -> str:
        """A process's own addresses, by its proxies."""
        return ",".join(f"{HOST}:{link.port}" for link in self.links[slot])

    def link(self, slot: str, node: int) -> list[Link]:
        """The way of a process to a broker (numbered from 1), or with 0 to all."""
        return self.links[slot][node - 1 : node] if node else self.links[slot]

    def leader(self) -> Node:
        """Find the active controller: every voter keeps on its disk whom it follows (KIP-595)."""
        told = []
        for node in self.nodes:
            path = node.data / "records" / "__cluster_metadata-0" / "quorum-state"
            with contextlib.suppress(OSError, ValueError, KeyError):
                state = json.loads(path.read_text())
                told.append((int(state["leaderEpoch"]), int(state["leaderId"])))
        leaders = [leader for _, leader in sorted(told) if leader > 0]
        return self.nodes[(leaders[-1] if leaders else 1) - 1]

    async def whole(self, seconds: float = 60.0) -> None:
        """Start every node that is not there; used when a fault is over."""
        async with asyncio.timeout(seconds):
            for node in self.nodes:
                if not node.running:
                    await node.again()


@asynccontextmanager
async def trio(folder: Path, slots: Sequence[str], network: Links, size: int = 3) -> AsyncIterator[Trio]:
    """Run the cluster while the block lasts."""
    async with AsyncExitStack() as stack:
        own = _free(size * (2 + len(slots)))
        plain, controllers, ways = own[:size], own[size : 2 * size], own[2 * size :]
        links: dict[str, list[Link]] = {
            slot: [await network.lead([ways[at * size + number]]) for number in range(size)]
            for at, slot in enumerate(slots)
        }
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        ids = [urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A") for _ in plain]
        voters = ",".join(f"{n + 1}@{HOST}:{controllers[n]}:{ids[n]}" for n in range(size))
        nodes = []
        for number in range(size):
            data = folder / f"node{number + 1}"
            data.mkdir(parents=True)
            Stamp(FORMAT, _VERSION, cluster, plain[number], controllers[number]).write(data)
            listeners = {"PLAINTEXT": (plain[number],) * 2, "CONTROLLER": (controllers[number],) * 2} | {
                _listener(slot): (ways[at * size + number], links[slot][number].port)
                for at, slot in enumerate(slots)
            }
            node = Node(
                data, port=plain[number], properties=_settings(number + 1, controllers, listeners, size),
                timeout=START_SECONDS,
            )  # fmt: skip
            node.voters = voters
            nodes.append(node)
            stack.push_async_callback(_ended, node)
        await asyncio.gather(*(node.start() for node in nodes))
        yield Trio(nodes, links)


def _settings(
    number: int, controllers: Sequence[int], listeners: dict[str, tuple[int, int]], size: int
) -> dict[str, str]:
    return (_THREE if size == 3 else {"inter.broker.listener.name": "PLAINTEXT"}) | {
        "node.id": str(number),
        "controller.quorum.bootstrap.servers": ",".join(f"{HOST}:{port}" for port in controllers),
        "listeners": ",".join(f"{name}://{HOST}:{port}" for name, (port, _) in listeners.items()),
        "advertised.listeners": ",".join(f"{name}://{HOST}:{port}" for name, (_, port) in listeners.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
    }


async def _ended(node: Node) -> None:
    with contextlib.suppress(ProcessLookupError, OSError):
        if node.running:
            node._signal(signal.SIGCONT)
    await node.stop()


def _listener(slot: str) -> str:
    return slot.upper().replace("-", "_")


def _free(count: int) -> list[int]:
    """Find free ports, all held until all are found."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in random.sample(_PORTS, len(_PORTS)):
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} free ports on {HOST}")

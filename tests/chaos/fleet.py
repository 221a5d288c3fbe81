"""The product's real processes, several of each role, each restarted when it ends, as a supervisor would."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ingest.config import Config
from sluice.processes import Child, Processes, free_port
from tests.chaos.cluster import Trio
from tests.chaos.links import Links

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
"""Debian's package libfaketime; without it no clock is stepped, and the report says so."""
STOP_SECONDS = 20.0


class Slot(Processes):
    """One process of the fleet: it keeps its name, its address and its clock's file over restarts."""

    def __init__(self, name: str, config: Config, kafka: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.role, self.folder = name, name.rpartition("-")[0], folder
        self.port = free_port() if self.role == "receive" else 0
        self.ended = 0
        self._clock = folder / "clock"
        self._clock.write_text("+0")
        own = config.model_copy(update={"worker": name, "receive_port": self.port})
        super().__init__(own, kafka, (self.role,), folder)

    @property
    def child(self) -> Child:
        """Its process, and where that tells its metrics."""
        return self.children[0]

    @property
    def running(self) -> bool:
        """Whether the process is there; it may be frozen."""
        return self.child.process is not None and self.child.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it is there."""
        process = self.child.process
        if process is not None and process.returncode is None:
            if number in {signal.SIGKILL, signal.SIGTERM}:
                self.ended += 1
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def terminate(self) -> bool:
        """Ask it to end and wait; False: it took longer than it may, and was killed."""
        process = self.child.process
        self.send(signal.SIGTERM)
        if process is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
                return True
        process.kill()
        return False

    def step(self, seconds: float) -> None:
        """Set its wall clock off by so much from now on; the monotonic clock stays."""
        self._clock.write_text(f"{seconds:+.0f}")

    def words(self, *levels: str) -> list[str]:
        """Give the lines that it logged at these levels."""
        log = self.folder / f"{self.role}.log"
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        return [line for line in lines if any(f'"level":"{one}"' in line for one in levels)]

    def _environment(self, child: Child) -> Mapping[str, str]:
        own = dict(super()._environment(child))
        if FAKETIME.exists():
            own |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return own


class Fleet:
    """All processes, by name."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = {one.name: one for one in slots}

    def of(self, role: str) -> list[Slot]:
        """List those of a role."""
        return [one for one in self.slots.values() if one.role == role]

    def fell(self) -> int:
        """Count the processes that ended though nobody ended them."""
        return sum(max(0, one.child.starts - 1 - one.ended) for one in self.slots.values())

    def thaw(self) -> None:
        """Let everything go on, whatever befell it."""
        for one in self.slots.values():
            one.send(signal.SIGCONT)


@asynccontextmanager
async def fleet(
    config: Config, cluster: Trio, network: Links, names: Sequence[str], folder: Path
) -> AsyncIterator[Fleet]:
    """Run the processes; receivers are behind one address, as behind a balancer."""
    async with AsyncExitStack() as stack:
        slots = [Slot(name, config, cluster.addresses(name), folder / name) for name in names]
        await network.lead([one.port for one in slots if one.role == "receive"], config.receive_port)
        for one in slots:
            await stack.enter_async_context(one)
        made = Fleet(slots)
        stack.callback(made.thaw)
        yield made

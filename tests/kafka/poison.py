"""A scanner as a process of its own that one record kills; ends well once so many results are committed."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence

from consumers.run import Spec, consumer
from ingest.cluster import Cluster
from ingest.config import load
from ingest.consuming import Follower, Incoming
from ingest.producing import Outgoing

SPEC = Spec("scan", ("scan-live", "scan-backlog"), "scans", {"scan-live": 4, "scan-backlog": 4})
_SLOW_SECONDS = 1.0


class Victim:
    """Handles records until one of them ends the process."""

    done: set[int]

    def __init__(self, goal: int) -> None:
        self._goal, self.finished = goal, asyncio.Event()
        self._count = 0

    def take(self, record: Incoming) -> None:
        """Nothing is kept."""

    def ready(self, commit: object) -> None:
        """Nothing is written beforehand."""

    async def handle(self, record: Incoming) -> Sequence[Outgoing]:
        """Die of poison, take a while over a slow record, write one finding for any other."""
        if record.value == b"POISON":
            os.kill(os.getpid(), signal.SIGKILL)
        if record.value == b"SLOW":
            await asyncio.sleep(_SLOW_SECONDS)
        name = (record.value or b"").split(b"|")[0]
        return [Outgoing("findings", record.partition, b"k", name)]

    def committed(self, record: Incoming) -> None:
        """End soon after nothing came any more."""
        self._count += 1
        self.finished.set()

    async def close(self) -> None:
        """Nothing to give back."""


async def main() -> None:
    """Run until nothing has been committed for two seconds."""
    cluster = Cluster(load())
    await cluster.learn()
    follower = Follower(cluster)
    await follower.start()
    victim = Victim(int(sys.argv[1]))
    owned = consumer(cluster, SPEC, follower, lambda _partition: victim)
    task = asyncio.create_task(owned.run())
    await victim.finished.wait()
    while True:
        victim.finished.clear()
        try:
            async with asyncio.timeout(2.5):
                await victim.finished.wait()
        except TimeoutError:
            break
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await follower.stop()


asyncio.run(main())

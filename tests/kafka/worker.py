"""An ingest process of its own, around a source that every process computes alike from the clock.

Arguments: when the log began (seconds since 1970), lines a second, and a file that holds the log's length
once it has ended.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from ingest.cluster import Cluster
from ingest.config import load
from ingest.connectors import Services, WallClock
from ingest.consuming import Follower
from ingest.credentials import Keyring
from ingest.links import Link
from ingest.provider import At, Grant, Instance, Json, Mapped, Page, Provider, Settings, feed
from ingest.tenure import ingest
from schemas.control import Wish
from schemas.events import event

BEGAN, RATE, END = float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
_PAGE = 100


def acted(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map a line; its number and its instance are its name."""
    yield event(
        6003, 1, record["time"], log_name="log", source_id=f"{instance.id}-{record['n']}",
        actor={"user": {"uid": f"u{record['n'] % 5}"}}, api={"operation": "Create"},
        src_endpoint={"name": "unknown"},
    )  # fmt: skip


class Clockwork(Provider[Settings]):
    """A log that grows with the clock."""

    name = "clockwork"
    settings_type = Settings

    async def probe(self) -> AsyncIterator[Grant]:
        """Say that all is granted."""
        yield Grant("logons")

    @feed("user_activity", to=acted, every=timedelta(seconds=0.05), repeats=timedelta(hours=1))
    async def log(self, at: At) -> AsyncIterator[Page]:
        """Read from a position on."""
        place: int = at.cursor or 0
        while place < (length := _length()):
            step = range(place, min(place + _PAGE, length))
            place = step.stop
            yield Page([{"n": n, "time": int((BEGAN + n / RATE) * 1000)} for n in step], cursor=place)


def _length() -> int:
    length = int((time.time() - BEGAN) * RATE)
    return min(length, int(END.read_text())) if END.exists() else length


class Doors:
    """Opens the one provider there is."""

    def kind(self, name: str) -> type[Provider[Any]]:
        """Give it."""
        del name
        return Clockwork

    @asynccontextmanager
    async def open(self, wish: Wish, **more: Any) -> AsyncIterator[Link]:
        """Connect at once."""
        del more
        instance = Instance(wish.name)
        yield Link(Clockwork(Settings(), None, instance), instance)  # type: ignore[arg-type]


async def main() -> None:
    """Run until told to stop."""
    cluster = Cluster(load())
    await cluster.learn()
    follower = Follower(cluster)
    await follower.start()
    services = Services(cluster, Doors(), Keyring([bytes(32)]), WallClock(), "worker")  # type: ignore[arg-type]
    try:
        await ingest(services, follower).run()
    finally:
        await follower.stop()


asyncio.run(main())

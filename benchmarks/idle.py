"""What an idle process uses: connectors of ten axes each in memory, all read to their end, nothing happens.

The whole ingest role runs in one process: membership, state, follower, group commit, feeds. Sources are in
memory and answer at once with an empty page, so this is the core's own cost and no provider's.
Run: ``python benchmarks/idle.py``; ``--json`` prints one JSON document, ``--quick`` takes seconds.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from lab import rig

from ingest.cluster import Cluster
from ingest.connectors import Services, WallClock
from ingest.consuming import Follower
from ingest.credentials import Keyring
from ingest.links import Links
from ingest.producing import Outgoing, Sender
from ingest.provider import (
    At,
    Axis,
    Event,
    Grant,
    Instance,
    Json,
    Page,
    Provider,
    Settings,
    feed,
)
from ingest.tenure import ingest
from schemas.control import Wish

AXES = 10


async def axes(provider: "Quiet") -> AsyncIterator[Axis]:
    """List the axes."""
    del provider
    for number in range(AXES):
        yield Axis(f"axis-{number}")


def nothing(record: Json, instance: Instance) -> Iterable[Event]:
    """Map what never comes."""
    del record, instance
    return ()


class Quiet(Provider[Settings]):
    """A source in which nothing happens."""

    name = "quiet"
    settings_type = Settings
    polls = 0

    async def identify(self) -> Instance:
        """Be another account each time."""
        return Instance(f"i-{id(self)}")

    async def probe(self) -> AsyncIterator[Grant]:
        """Say that all is granted."""
        yield Grant("user_activity")

    @feed("user_activity", to=nothing, every=timedelta(seconds=30), per=axes, repeats=timedelta(hours=1))
    async def log(self, at: At) -> AsyncIterator[Page]:
        """Give an empty page at an unchanged cursor."""
        Quiet.polls += 1
        yield Page([], cursor=at.cursor or "start")


async def connect(cluster: Cluster, first: int, count: int) -> None:
    """Ask for connectors, spread over the partitions."""
    wishes = [
        Wish(name=f"quiet-{n:04}", provider="quiet", incarnation="1", partition=n % cluster.owners)
        for n in range(first, first + count)
    ]
    async with Sender(cluster, "bench") as sender:
        await sender.write(
            [Outgoing("connectors", one.partition, one.name.encode(), one.dump()) for one in wishes]
        )


async def settled(connectors: int, polls: int) -> None:
    """Wait until every axis was read, and what a start writes is written.

    Raises:
        TimeoutError: They did not start within two minutes.
    """
    async with asyncio.timeout(120):
        while Quiet.polls - polls < connectors * AXES:  # noqa: ASYNC110 the source counts, nobody waits there
            await asyncio.sleep(0.1)
    await asyncio.sleep(3.0)


async def watched(connectors: int, seconds: float) -> dict[str, Any]:
    """Leave the process alone and see what it uses."""
    polls = Quiet.polls
    with rig.Meter() as meter:
        await asyncio.sleep(seconds)
    return {
        "connectors": connectors,
        "axes": connectors * AXES,
        "CPU, % of a core": meter.cpu / meter.wall * 100,
        "polls/s": (Quiet.polls - polls) / meter.wall,
        "RSS, MB": rig.rss(),
    }


async def measure(counts: list[int], seconds: float, partitions: int) -> dict[str, Any]:
    """Run the ingest role with more and more connectors."""
    async with rig.kafka(partitions) as cluster:
        follower = Follower(cluster)
        await follower.start()
        keyring = Keyring([os.urandom(32)])
        services = Services(cluster, Links(keyring, {"quiet": Quiet}), keyring, WallClock(), "bench")
        task = asyncio.create_task(ingest(services, follower).run())
        rows, before = [], 0
        try:
            for count in counts:
                polls = Quiet.polls
                await connect(cluster, before, count - before)
                await settled(count - before, polls)
                before = count
                rows.append(await watched(count, seconds))
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await follower.stop()
    return {"partitions": partitions, "loop": "uvloop", "seconds of each": seconds, "idle": rows}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON document")
    options.add_argument("--quick", action="store_true", help="only see that it works")
    options.add_argument("--seconds", type=float, default=30.0, help="of watching")
    options.add_argument("--connectors", type=int, nargs="+", default=[2, 100])
    options.add_argument("--partitions", type=int, default=8, help="the embedded Kafka has 8")
    chosen = options.parse_args()
    counts, seconds = ([2], 1.0) if chosen.quick else (sorted(chosen.connectors), chosen.seconds)
    rig.show(rig.run(measure(counts, seconds, chosen.partitions)), ("idle",), as_json=chosen.json)


if __name__ == "__main__":
    main()

"""Kafka goes away for ten seconds under a steady stream of deliveries: what callers get, what is kept.

Frozen (connections stay, nothing answers) and killed, each under 300 and 1,000 deliveries of 8 KB a second,
whether or not answers come. Nothing that was answered with success may be missing from the inbox; memory of
the receiver's process is told before, at its highest and 10 seconds after.
Run: ``python benchmarks/away.py``; ``--json`` prints one JSON document, ``--quick`` takes half a minute,
``--minutes 10`` kills Kafka once for so long, under 300 deliveries a second.
"""

import argparse
import asyncio
from typing import Any

from lab import rig
from receive import Volley, fired, ours, stored

from sluice.broker import Broker, embedded

BEFORE = 3.0


async def gone(broker: Broker, how: str, seconds: float) -> None:
    """Take Kafka away for a while."""
    if how == "frozen":
        broker.freeze()
        await asyncio.sleep(seconds)
        broker.thaw()
    else:
        await broker.kill()
        await asyncio.sleep(seconds)
        await broker.start()


async def peak(task: "asyncio.Task[dict[str, Any]]") -> float:
    """Watch this process's memory until a task has ended; its highest, in MB."""
    highest = rig.rss()
    while not task.done():
        highest = max(highest, rig.rss())
        await asyncio.sleep(0.1)
    return highest


async def outage(how: str, rate: float, seconds: float, after: float) -> dict[str, Any]:
    """Measure one, on a Kafka of its own."""
    async with embedded() as broker:
        cluster = await rig.cluster_of(broker, 2, "bench.")
        async with ours(cluster) as (port, path):
            await fired(Volley(port, path, 1.0, 64))
            before, memory = await stored(cluster), rig.rss()
            volley = Volley(port, path, BEFORE + seconds + after, 2500, rate=rate)
            shooting = asyncio.create_task(fired(volley))
            watching = asyncio.create_task(peak(shooting))
            await asyncio.sleep(BEFORE)
            began = asyncio.get_running_loop().time()
            await gone(broker, how, seconds)
            away = asyncio.get_running_loop().time() - began
            found, highest = await shooting, await watching
            kept = await stored(cluster) - before
            await asyncio.sleep(after)
    return {
        "Kafka": how, "deliveries/s": rate, "away, s": away, "answered 200": found["good"],
        "told to come again": found["bad"], "slowest answer, s": found["worst"],
        "answered but not stored": max(0, found["good"] - kept), "RSS before, MB": memory,
        "highest": highest, "after": rig.rss(),
    }  # fmt: skip


async def measure(
    rates: tuple[float, ...], seconds: float, after: float, hows: tuple[str, ...] = ("frozen", "killed")
) -> dict[str, Any]:
    """Run all of it."""
    ways = [(how, rate) for how in hows for rate in rates]
    return {"outages": [await outage(how, rate, seconds, after) for how, rate in ways]}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON document")
    options.add_argument("--quick", action="store_true", help="only see that it works")
    options.add_argument("--minutes", type=float, help="Kafka away once, for so long")
    chosen = options.parse_args()
    if chosen.minutes:
        work = measure((300.0,), 60 * chosen.minutes, 12.0, ("killed",))
    else:
        work = measure((100.0,), 2.0, 5.0) if chosen.quick else measure((300.0, 1000.0), 10.0, 12.0)
    found = rig.run(work)
    rig.show(found, ("outages",), as_json=chosen.json)


if __name__ == "__main__":
    main()

"""What the benchmarks on Kafka share: an embedded broker on a core of its own, topics, and the meters."""

import base64
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import orjson
import uvloop

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.log import configure
from sluice.broker import Broker, embedded

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop, as a deployment does, logging only what goes wrong."""
    configure("warning", pretty=False)
    return uvloop.run(work)


def cores() -> tuple[set[int], set[int]]:
    """Split what cores we may use: the first for this process, the rest for Kafka; one core serves both."""
    mine, *rest = sorted(os.sched_getaffinity(0))
    return {mine}, set(rest) or {mine}


def pin(pid: int, to: set[int]) -> None:
    """Keep all threads of a process on some cores; threads made later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), to)


@asynccontextmanager
async def kafka(partitions: int) -> AsyncIterator[Cluster]:
    """Run a Kafka in a temporary folder, all topics made, this process and Kafka on different cores."""
    mine, others = cores()
    async with embedded() as broker:
        pin(broker.pid, others)
        pin(os.getpid(), mine)
        # As `sluice.roles` does when it starts; what is compared with us in this process gains by it too.
        gc.collect()
        gc.freeze()
        gc.set_threshold(200_000, 10, 10)
        yield await cluster_of(broker, partitions, "bench.")


async def cluster_of(broker: Broker, partitions: int, prefix: str) -> Cluster:
    """Make the topics of a deployment on a broker."""
    return await deployed(broker.bootstrap, partitions, prefix)


async def deployed(kafka: str, partitions: int, prefix: str) -> Cluster:
    """Make the topics of a deployment."""
    key = base64.b64encode(os.urandom(32)).decode()
    settings: dict[str, Any] = {"kafka": kafka, "prefix": prefix, "key": key}
    cluster = Cluster(Config(**settings, partitions=partitions, replication=1, session_seconds=5.0))
    await cluster.create_topics()
    await cluster.ready()
    await cluster.learn()
    return cluster


class Meter:
    """Wall and CPU seconds of this process, all its threads, between entering and leaving."""

    wall = 0.0
    cpu = 0.0

    def __enter__(self) -> Self:
        """Start, adding to what was measured before."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.wall += time.perf_counter() - self._wall
        self.cpu += time.process_time() - self._cpu


def rss() -> float:
    """Tell the memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def spent(prepare: Callable[[], T], work: Callable[[T], object], rounds: int = 7) -> float:
    """Give the CPU seconds of work on what is prepared anew each time; the best of some rounds."""
    found = []
    for _ in range(rounds):
        given = prepare()
        started = time.process_time()
        work(given)
        found.append(time.process_time() - started)
    return min(found)


def show(document: Mapping[str, Any], tables: Sequence[str], *, as_json: bool) -> None:
    """Print a document: as JSON, or its tables (lists of rows) with everything else above them."""
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        return
    for name, value in document.items():
        if name not in tables:
            print(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")
    for name in tables:
        rows: list[Mapping[str, Any]] = document[name]
        widths = {
            column: max(len(column), *(len(_cell(row[column])) for row in rows)) + 2 for column in rows[0]
        }
        print(f"\n{name}")
        print("".join(column.rjust(width) for column, width in widths.items()))
        for row in rows:
            print("".join(_cell(row[column]).rjust(width) for column, width in widths.items()))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)

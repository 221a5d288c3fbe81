"""A connector's life on the real Kafka, around a source in memory."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

pytestmark = pytest.mark.kafka


async def until(met: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something the core does by itself."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)


def ids(messages: list[Any]) -> list[str]:
    """Name what was published."""
    return [orjson.loads(one.value())["metadata"]["original_event_uid"] for one in messages if one.value()]


async def test_publishes_each_occurrence_once(bench: Any, world: Any, readers: Any) -> None:
    """The log and the window reach the topic, each occurrence once, over two lives of the process."""
    now = int(time.time() * 1000)
    world.log = [{"id": n, "time": now} for n in range(10)]
    world.late = [{"id": f"w{n}", "time": now - n * 1000} for n in range(5)]
    await bench.wish("one")
    async with bench.process():
        await until(lambda: len(readers("activities")) >= 15)
        world.log += [{"id": n, "time": now} for n in range(10, 14)]
        await until(lambda: len(readers("activities")) >= 19)
    world.log += [{"id": n, "time": now} for n in range(14, 17)]
    world.late.append({"id": "w9", "time": now - 120_000})
    async with bench.process():
        await until(lambda: len(readers("activities")) >= 23)

    found = ids(readers("activities"))

    assert sorted(found) == sorted([str(n) for n in range(17)] + [f"w{n}" for n in range(5)] + ["w9"])

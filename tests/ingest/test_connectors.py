"""A connector's life on the real Kafka, around a source in memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

pytestmark = pytest.mark.kafka


async def until(met: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for something the core does by itself."""
    end = time.monotonic() + seconds
    while not await met():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)


def ids(messages: list[Any]) -> list[str]:
    """Name what was published, in order."""
    return [orjson.loads(one.value())["metadata"]["original_event_uid"] for one in messages if one.value()]


def latest(messages: list[Any]) -> dict[str, Any]:
    """Read a compacted topic as a table: key to the latest value, without what was deleted."""
    table = {one.key().decode(): one.value() for one in messages}
    return {key: orjson.loads(value) for key, value in table.items() if value}


async def test_publishes_each_occurrence_once(bench: Any, world: Any, read: Any) -> None:
    """The log and the window reach the topic, each occurrence once, over two lives of the process."""
    now = int(time.time() * 1000)
    world.log = [{"id": n, "time": now} for n in range(10)]
    world.late = [{"id": f"w{n}", "time": now - n * 1000} for n in range(5)]
    await bench.wish("one")

    async def count(n: int) -> bool:
        return len(await read("activities")) >= n

    async with bench.process():
        await until(lambda: count(15))
        world.log += [{"id": n, "time": now} for n in range(10, 14)]
        await until(lambda: count(19))
    world.log += [{"id": n, "time": now} for n in range(14, 17)]
    world.late.append({"id": "w9", "time": now - 120_000})
    async with bench.process():
        await until(lambda: count(23))

    found = ids(await read("activities"))

    assert sorted(found) == sorted([str(n) for n in range(17)] + [f"w{n}" for n in range(5)] + ["w9"])


async def test_a_bad_record_costs_itself_alone(bench: Any, world: Any, read: Any) -> None:
    """A record that can't be mapped is a dead letter; its neighbours are published with its page."""
    now = int(time.time() * 1000)
    world.log = [{"id": 1, "time": now}, {"id": 2, "time": now, "bad": True}, {"id": 3, "time": now}]
    await bench.wish("bad")

    async def done() -> bool:
        return len(await read("activities")) == 2 and len(await read("dead-letters")) == 1

    async with bench.process():
        await until(done)

    letters = [orjson.loads(one.value()) for one in await read("dead-letters")]

    assert ids(await read("activities")) == ["1", "3"]
    assert [(one["feed"], one["reason"], orjson.loads(one["raw"])["id"]) for one in letters] == [
        ("log", "bad-record", 2)
    ]


async def test_an_inventory_follows_what_is_there(bench: Any, world: Any, read: Any) -> None:
    """A file that is new, changed, shared and unshared is published each time; a gone one is deleted."""
    world.files = {f"f{n}": "a" for n in range(5)}
    await bench.wish("files")

    async def table(expected: dict[str, str]) -> bool:
        found = latest(await read("files"))
        return {
            one["resources"][0]["uid"]: one["resources"][0]["data"]["s"] for one in found.values()
        } == expected

    async with bench.process():
        await until(lambda: table({f"f{n}": "a" for n in range(5)}))
        for state in ("shared", "a", "shared"):
            world.files["f1"] = state
            await until(lambda state=state: table({f"f{n}": "a" for n in range(5)} | {"f1": state}))  # type: ignore[misc]
        del world.files["f4"]
        await until(lambda: table({"f0": "a", "f1": "shared", "f2": "a", "f3": "a"}))
    published = len(await read("files"))
    async with bench.process():
        reads = world.reads
        await until(lambda: _true(world.reads > reads + 2))

    assert published == 5 + 3 + 1
    assert len(await read("files")) == published


async def _true(value: bool) -> bool:
    return value


async def test_who_takes_over_goes_on_at_once(bench: Any, world: Any, read: Any) -> None:
    """A connector that ran is neither checked nor begun with its users again before its feeds read."""
    now = int(time.time() * 1000)
    world.log = [{"id": n, "time": now} for n in range(3)]
    await bench.wish("again")

    async def states() -> list[str]:
        told = [orjson.loads(one.value())["message"] for one in await read("health")]
        return [one.removeprefix("again: ") for one in told if one.startswith("again: ")]

    async def running(times: int) -> bool:
        return (await states()).count("running") >= times

    async with bench.process():
        await until(lambda: running(1))
    world.log += [{"id": n, "time": now} for n in range(3, 5)]

    async def all_read() -> bool:
        return len(await read("activities")) >= 5

    async with bench.process():
        await until(lambda: running(2))
        await until(all_read)

    assert await states() == ["checking", "first users", "running", "running"]

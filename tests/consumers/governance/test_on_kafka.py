"""The governance consumer on a real Kafka: one outcome a command, whoever dies and when."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from consumers.governance.asking import act, addressed, undo
from consumers.governance.book import written
from consumers.governance.job import governance
from ingest.consuming import Follower
from ingest.producing import Outgoing, Sender
from schemas.envelope import headers
from schemas.events import Origin, stamp
from schemas.validation import encode, validate

pytestmark = pytest.mark.kafka


async def until(met: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait for something the consumer does by itself."""
    end = time.monotonic() + seconds
    while not await met():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def process(cluster: Any, world: Any, kinds: Any) -> AsyncIterator[None]:
    """Run a process until it is killed at the end of the block."""
    follower = Follower(cluster)
    await follower.start()
    owner = await governance(cluster, follower, world, world, kinds)
    task = asyncio.create_task(owner.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await follower.stop()


def states(messages: list[Any]) -> list[tuple[str, str, bytes, int]]:
    """Tell each outcome's command and state, key and partition."""
    found = [(orjson.loads(one.value()), one) for one in messages]
    return [(m["command_uid"], m["unmapped"]["state"], o.key(), o.partition()) for m, o in found]


@pytest.fixture
def kinds(makers: Any) -> dict[str, Any]:
    """Give the one provider there is."""
    return {"memory": makers.memory}


async def test_commands_become_outcomes_once(
    cluster: Any, world: Any, makers: Any, kinds: Any, read: Any
) -> None:
    """Killed between intent and step, the next process finishes; a reader sees one outcome each."""
    wish = world.connect(partition=1)
    world.app.gate = asyncio.Event()
    do = act("prod", "quarantine", makers.target(), dry_run=False)

    async with Sender(cluster, "test") as sender:
        async with process(cluster, world, kinds):
            await sender.write([addressed(do, wish), addressed(do, wish)])
            async with asyncio.timeout(30):
                await world.app.reached.wait()
        assert states(read("outcomes")) == []
        assert any(one.key() == do.id.encode() for one in read("actions"))

        world.app.gate = None
        back = undo("prod", do.id)
        async with process(cluster, world, kinds):
            await sender.write([addressed(back, wish)])

            async def both() -> bool:
                return len(await asyncio.to_thread(read, "outcomes")) >= 2

            await until(both)
        async with process(cluster, world, kinds):
            last = act("prod", "quarantine", makers.target())
            await sender.write([addressed(do, wish), addressed(last, wish)])

            async def three() -> bool:
                return len(await asyncio.to_thread(read, "outcomes")) >= 3

            await until(three)

    found = states(read("outcomes"))
    assert found == [
        (do.id, "done", b"prod", 1), (back.id, "undone", b"prod", 1), (last.id, "planned", b"prod", 1)
    ]  # fmt: skip
    assert world.app.files[makers.file] == "open"
    assert world.app.done.count(f"move {makers.file}") == 1
    assert read("dead-letters") == []


async def test_an_event_becomes_an_outcome_by_policy(
    cluster: Any, world: Any, makers: Any, kinds: Any, read: Any
) -> None:
    """A public file, in another partition than its connector, is put away; the headers are as promised."""
    world.connect(partition=1)
    policy = world.rule()
    made = makers.shared()
    origin = Origin("default", "memory", "i1", {"name": "Memory", "vendor_name": "Memory"})
    validate(stamp(made, origin, makers.now))
    event = Outgoing("files", 0, b"k", encode(made), headers(made, origin, topic="files"))

    async with Sender(cluster, "test") as sender:
        await sender.write([written(policy), event])
        async with process(cluster, world, kinds):

            async def one() -> bool:
                return len(await asyncio.to_thread(read, "outcomes")) >= 1

            await until(one)

    (outcome,) = read("outcomes")
    (command,) = read("commands")
    assert command.partition() == 1
    told = dict(outcome.headers())
    assert told["ce_type"] == b"ocsf.file_remediation_activity.isolate"
    assert told["ce_subject"] == makers.file.encode()
    assert orjson.loads(outcome.value())["unmapped"]["policy"] == policy.name
    assert world.app.files[makers.file] == "away"

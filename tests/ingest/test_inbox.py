"""The inbox on the real Kafka: deliveries, nudges and redrives, worked off once, in any case."""

import base64
import time
from typing import Any

import orjson
import pytest
from rig import ids, latest, store, until

from ingest.producing import Outgoing, Transactions
from schemas.control import Inbox, InboxCursor

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]


def delivery(connector: str, records: list[dict[str, Any]]) -> Outgoing:
    """Make a stored delivery that carries lines of the log."""
    made = Inbox(
        kind="delivery",
        connector=connector,
        hook="pushed",
        method="POST",
        body=base64.b64encode(orjson.dumps(records)).decode(),
    )
    return Outgoing("inbox", 0, connector.encode(), made.dump())


def line(number: int) -> dict[str, Any]:
    """Make a line of the log."""
    return {"id": number, "time": int(time.time() * 1000)}


async def position(read: Any) -> int:
    """Read the owner's position in the inbox."""
    found = {one.key(): one.value() for one in await read("cursors")}.get(b"@inbox/0")
    return InboxCursor.load(found).offset if found else 0


async def worked_off(read: Any, count: int) -> None:
    """Wait until the owner has worked off so many records."""

    async def met() -> bool:
        return await position(read) >= count

    await until(met)


async def test_a_delivery_and_the_poll_publish_an_occurrence_once(bench: Any, world: Any, read: Any) -> None:
    """Pushed first or polled first, redelivered or not: each occurrence once."""
    await bench.wish("push")
    both, pushed_only = [line(1), line(2)], [line(3)]
    async with bench.process():
        await store(bench.cluster, delivery("push", both), delivery("push", both))
        await worked_off(read, 2)
        world.log = [*both, line(4)]
        world.log[0]["time"], world.log[1]["time"] = both[0]["time"], both[1]["time"]

        async def met() -> bool:
            return len(await read("activities")) >= 3

        await until(met)
        await store(bench.cluster, delivery("push", [world.log[2]]), delivery("push", pushed_only))
        await worked_off(read, 4)

    assert sorted(ids(await read("activities"))) == ["1", "2", "3", "4"]


async def test_what_comes_before_the_connector_is_connected_waits(bench: Any, world: Any, read: Any) -> None:
    """A delivery stored while nobody runs, or while the connector still signs in, is published."""
    await bench.wish("early")
    world.connected.clear()
    await store(bench.cluster, delivery("early", [line(1)]))
    async with bench.process() as process:
        await until(lambda: process.ownership.waiting() == "" and len(process.ownership._tenures) == 2)
        await store(bench.cluster, delivery("early", [line(2)]))
        world.connected.set()
        await worked_off(read, 2)

    assert sorted(ids(await read("activities"))) == ["1", "2"]


async def test_the_position_outlives_takeovers(bench: Any, world: Any, read: Any) -> None:
    """The position is a cursor of ours: two take-overs later nothing of the inbox is worked off again."""
    await bench.wish("twice")
    async with bench.process():
        await store(bench.cluster, delivery("twice", [line(1)]))
        await worked_off(read, 1)
    for _ in range(2):
        async with bench.process() as process:
            await until(lambda process=process: len(process.ownership._tenures) == 2)  # type: ignore[misc]
            await until(lambda process=process: process.ownership.waiting() == "")  # type: ignore[misc]
            seen = await position(read)
            assert seen == 1
    await store(bench.cluster, delivery("twice", [line(2)]))
    async with bench.process():
        await worked_off(read, 2)
    tombstones = [one for one in await read("cursors") if one.key() == b"@inbox/0" and one.value() is None]

    assert tombstones == []
    assert sorted(ids(await read("activities"))) == ["1", "2"]


async def test_a_put_back_record_is_put_back_once(bench: Any, read: Any) -> None:
    """A dead letter of a topic goes back onto it once, over two more take-overs; its letter is gone."""
    await bench.wish("back")
    raw = base64.b64encode(b'{"metadata":{"original_event_uid":"x"}}').decode()
    letter = {
        "v": 1, "id": "l1", "source": "topic", "connector": "back", "partition": 0, "topic": "activities",
        "key": base64.b64encode(b"k").decode(), "headers": {"ce_id": "7"}, "reason": "refused", "raw": raw,
        "binary": True,
    }  # fmt: skip
    redrive = orjson.dumps({"v": 1, "kind": "redrive", "connector": "back", "letter": letter})
    await store(
        bench.cluster,
        Outgoing("dead-letters", 0, b"l1", orjson.dumps(letter)),
        Outgoing("inbox", 0, b"back", redrive),
    )
    for _ in range(3):
        async with bench.process():
            await worked_off(read, 1)
            await until(lambda: True)
    found = await read("activities")

    assert [(one.value(), one.headers()) for one in found] == [(base64.b64decode(raw), [("ce_id", b"7")])]
    assert latest(await read("dead-letters")) == {}


async def test_a_discarded_letter_is_gone(bench: Any, read: Any) -> None:
    """Discarding takes the letter away, nothing else."""
    await bench.wish("discard")
    discard = {"v": 1, "kind": "discard", "connector": "discard", "hook": "l2"}
    await store(
        bench.cluster,
        Outgoing("dead-letters", 0, b"l2", b"{}"),
        Outgoing("inbox", 0, b"discard", orjson.dumps(discard)),
    )
    async with bench.process():
        await worked_off(read, 1)

    assert latest(await read("dead-letters")) == {}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xfe",
        b'{"v":99,"kind":"nudge","connector":"bad"}',
        b'{"v":1,"kind":"explode","connector":"bad"}',
        b'{"v":1,"kind":"delivery","connector":"bad","hook":"pushed","body":"!!!"}',
        b'{"v":1,"kind":"delivery","connector":"bad","hook":"pushed","body":"bm90IGpzb24="}',
        b'{"v":1,"kind":"delivery","connector":"bad","hook":"__class__","body":""}',
        b'{"v":1,"kind":"nudge","connector":"bad","feed":"none","axis":"none"}',
        b'{"v":1,"kind":"redrive","connector":"bad","letter":{"id":1}}',
        (b'{"v":1,"kind":"redrive","connector":"bad","letter":{"v":1,"id":"a","source":"topic","connector":"bad",'
        b'"reason":"r","topic":"nowhere","raw":"e30="}}'),
        (b'{"v":1,"kind":"redrive","connector":"bad","letter":{"v":1,"id":"a","source":"record","connector":"bad",'
        b'"reason":"r","feed":"log","raw":"{"}}'),
    ],
    ids=[
        "empty", "not-text", "newer", "kind", "not-base64", "not-json", "not-a-hook", "no-feed",
        "no-letter", "no-topic", "cut-off",
    ],
)  # fmt: skip
async def test_a_hostile_record_stops_nothing(bench: Any, world: Any, read: Any, value: bytes) -> None:
    """Whatever lies in the inbox, what comes after it is worked off and the feeds go on."""
    await bench.wish("bad")
    async with bench.process():
        await store(bench.cluster, Outgoing("inbox", 0, b"bad", value), delivery("bad", [line(1)]))
        await worked_off(read, 2)
        world.log = [line(2)]

        async def met() -> bool:
            return len(await read("activities")) >= 2

        await until(met)

    assert sorted(ids(await read("activities"))) == ["1", "2"]


async def test_a_late_group_commit_does_not_matter(bench: Any, read: Any) -> None:
    """The group's own offset is for lag tools: moved to anywhere, nothing is passed over or done twice."""
    await bench.wish("late")
    await store(bench.cluster, *(delivery("late", [line(number)]) for number in range(4)))
    admin = await bench.cluster.admin()
    await admin.close()
    predecessor = Transactions(bench.cluster, "owner-0")
    await predecessor.start()
    cursor = Outgoing("cursors", 0, b"@inbox/0", InboxCursor(offset=2).dump())
    await predecessor.commit([cursor])
    await predecessor.stop()
    async with bench.process():
        await worked_off(read, 4)

    assert sorted(ids(await read("activities"))) == ["2", "3"]

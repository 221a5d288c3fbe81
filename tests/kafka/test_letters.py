"""Dead letters from end to end: every consumer passes poison, and a retry counts once however it ends."""

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
import rig
from bench import World
from rig import ids, latest, store, until

from consumers.run import Spec, consumer
from ingest import metrics
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming
from ingest.producing import Outgoing, Transactions
from ingest.tasks import ended
from schemas.control import DeadLetter, Inbox

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]


def line(number: int, **more: Any) -> dict[str, Any]:
    """Make a line of the log."""
    return {"id": number, "time": int(time.time() * 1000), "who": "u1", **more}


async def letters(cluster: Cluster) -> list[DeadLetter]:
    """Read the letters that are there."""
    found = latest(await rig.read(cluster, "dead-letters"))
    return [DeadLetter.load(orjson.dumps(one)) for one in found.values()]


async def _letters(cluster: Cluster, count: int) -> bool:
    return len(await letters(cluster)) == count


async def _published(cluster: Cluster, count: int) -> bool:
    return len(await rig.read(cluster, "activities")) >= count


def redrive(letter: DeadLetter) -> Outgoing:
    """Ask for a retry, as the command line does."""
    asked = Inbox(kind="redrive", connector=letter.connector, incarnation=letter.incarnation,
                  letter=letter.model_dump(mode="json"))  # fmt: skip
    return Outgoing("inbox", letter.partition, letter.connector.encode(), asked.dump())


def counted(reason: str) -> float:
    """Read how many of a reason were counted in this process, of all feeds."""
    found = [one for each in metrics.dead_letters.collect() for one in each.samples]
    return sum(one.value for one in found if one.name.endswith("_total") and one.labels["reason"] == reason)


async def test_poison_in_a_feed_costs_itself(bench: Any, world: World, cluster: Cluster) -> None:
    """Bad lines among good ones are letters with their reason, counted; read again they are none anew."""
    before = counted("bad-record"), counted("mapping-failed")
    world.log = [line(number, bad=number % 5 == 0) for number in range(20)] + [{"id": 20}]
    await bench.wish("poisoned")
    async with bench.process():
        await until(lambda: _published(cluster, 16))
        await until(lambda: _letters(cluster, 5))
    async with bench.process():
        world.log += [line(number) for number in range(21, 25)]
        await until(lambda: _published(cluster, 20))
    found = await letters(cluster)

    assert sorted(one.reason for one in found) == ["bad-record"] * 4 + ["mapping-failed"]
    assert (counted("bad-record") - before[0], counted("mapping-failed") - before[1]) == (4, 1)
    assert {one.attempts for one in found} == {1}


@pytest.mark.parametrize("times", [1, 3])
async def test_a_retry_publishes_once_however_often_it_is_asked(
    bench: Any, world: World, cluster: Cluster, read: Any, times: int
) -> None:
    """Mended, a letter's record is published once and the letter is gone; the next poll adds none."""
    world.log = [line(0, bad=True), line(1)]
    await bench.wish("retried")
    async with bench.process():
        await until(lambda: _letters(cluster, 1))
        (letter,) = await letters(cluster)
        mended = letter.model_copy(update={"raw": letter.raw.replace("true", "false")})
        await store(cluster, *[redrive(mended)] * times)
        await until(lambda: _letters(cluster, 0))
        await until(lambda: _published(cluster, 2))
        world.log += [line(2)]
        await until(lambda: _published(cluster, 3))

    assert sorted(ids(await read("activities"))) == ["0", "1", "2"]


async def test_a_retry_that_fails_again_is_the_same_letter(
    bench: Any, world: World, cluster: Cluster, read: Any
) -> None:
    """Not mended, it stays one letter, of one more attempt."""
    world.log = [line(0, bad=True)]
    await bench.wish("again")
    async with bench.process():
        await until(lambda: _letters(cluster, 1))
        (first,) = await letters(cluster)
        await store(cluster, redrive(first))

        async def met() -> bool:
            return [one.attempts for one in await letters(cluster)] == [2]

        await until(met)

    assert [one.id for one in await letters(cluster)] == [first.id]
    assert await read("activities") == []


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_retry_cut_off_by_a_crash(
    bench: Any, world: World, cluster: Cluster, read: Any, cut: str
) -> None:
    """The owner dies before, or just after, the commit of what a retry led to: published once anyway."""
    world.log = [line(0, bad=True), line(1)]
    await bench.wish("crashing")
    process = bench.process()
    await process.__aenter__()
    await until(lambda: _letters(cluster, 1))
    (letter,) = await letters(cluster)
    mended = letter.model_copy(update={"raw": letter.raw.replace("true", "false")})
    if cut == "before":
        for held, _ in process.ownership._tenures.values():
            held.pause()  # it takes the retry up, and nothing of it is committed
    await store(cluster, redrive(mended))
    if cut == "after":
        await until(lambda: _letters(cluster, 0), every=0.005)
    else:
        await until(lambda: _queued(process))
    await process.crash()
    async with bench.process():
        await until(lambda: _letters(cluster, 0))
        world.log += [line(2)]
        await until(lambda: _published(cluster, 3))

    assert sorted(ids(await read("activities"))) == ["0", "1", "2"]


def _queued(process: Any) -> bool:
    held, _ = process.ownership._tenures[0]
    return bool(held._committer._queue)


class Fussy:
    """A consumer's job that can't stand some records."""

    def __init__(self, handled: list[bytes]) -> None:
        self._handled = handled

    def take(self, record: Incoming) -> None:
        """Nothing is kept."""

    def ready(self, commit: object) -> None:
        """Nothing is written beforehand."""

    async def handle(self, record: Incoming) -> Sequence[Outgoing]:
        """Refuse what is bad."""
        if record.value == b"bad":
            raise ValueError("it is bad")
        self._handled.append(record.value or b"")
        return [Outgoing("outcomes", record.partition, b"k", record.value)]

    def committed(self, record: Incoming) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(
    ("group", "lanes", "state"),
    [("dlp", ("scan-live", "scan-backlog"), "scans"),
     ("governance", ("commands", "findings", "files"), "actions")],
)  # fmt: skip
async def test_poison_in_a_consumer_and_its_retry(
    bench: Any, cluster: Cluster, group: str, lanes: tuple[str, ...], state: str
) -> None:
    """A record that can't be handled is a letter; put back by the owner it is handled once when it can be."""
    handled: list[bytes] = []
    spec = Spec(group, lanes, state, dict.fromkeys(lanes, 4))
    follower = Follower(cluster)
    await follower.start()
    running = asyncio.create_task(consumer(cluster, spec, follower, lambda _: Fussy(handled)).run())
    values = [b"1", b"bad", b"2"]
    await store(cluster, *(Outgoing(lanes[0], 0, b"k%d" % place, one) for place, one in enumerate(values)))
    await until(lambda: sorted(handled) == [b"1", b"2"])
    await until(lambda: _letters(cluster, 1))
    (letter,) = await letters(cluster)
    mended = letter.model_copy(update={"raw": "Mw=="})  # what was bad reads "3" now
    async with bench.process():
        await store(cluster, redrive(mended))
        await until(lambda: b"3" in handled)
        await until(lambda: _letters(cluster, 0))
    await ended(running, 5.0)
    await follower.stop()

    assert (letter.reason, letter.topic, letter.source) == ("handling-failed", lanes[0], "topic")
    assert sorted(handled) == [b"1", b"2", b"3"]


async def test_poison_in_the_inbox_is_a_letter_and_its_retry_is_read(
    bench: Any, world: World, cluster: Cluster, read: Any
) -> None:
    """A delivery that can't be read passes; put back when it can be, it brings what it carries."""
    await bench.wish("hooked")
    body = {"kind": "delivery", "connector": "hooked", "hook": "pushed", "body": "bm90IGpzb24="}
    await store(cluster, Outgoing("inbox", 0, b"hooked", orjson.dumps({"v": 1, **body})))
    async with bench.process():
        await until(lambda: _letters(cluster, 1))
        (letter,) = await letters(cluster)
        good = base64.b64encode(orjson.dumps([line(7)])).decode()
        raw = base64.b64encode(orjson.dumps({"v": 1, **body, "body": good})).decode()
        await store(cluster, redrive(letter.model_copy(update={"raw": raw})))
        await until(lambda: _published(cluster, 1))
        await until(lambda: _letters(cluster, 0))

    assert (letter.reason, letter.detail) == ("handling-failed", "JSONDecodeError")
    assert ids(await read("activities")) == ["7"]


async def test_a_delivery_of_a_newer_release_is_a_letter(bench: Any, cluster: Cluster) -> None:
    """What this release can't read waits as a dead letter until one that can is asked to retry it."""
    before = counted("handling-failed")
    await bench.wish("newer")
    newer = {"v": 2, "kind": "delivery", "connector": "newer"}
    await store(cluster, Outgoing("inbox", 0, b"newer", orjson.dumps(newer)))
    async with bench.process():
        await until(lambda: _letters(cluster, 1))
    (letter,) = await letters(cluster)

    assert "version 2; this release reads up to 1: upgrade" in letter.detail
    assert orjson.loads(base64.b64decode(letter.raw)) == newer
    assert counted("handling-failed") == before + 1


async def test_a_stranger_holds_a_retry_back_not_up(bench: Any, world: World, cluster: Cluster) -> None:
    """While another's transaction is open on the letters' topic a retry waits, and is done right after it."""
    world.log = [line(0, bad=True)]
    await bench.wish("held")
    async with bench.process():
        await until(lambda: _letters(cluster, 1))
        (letter,) = await letters(cluster)
        stranger = Transactions(cluster, "stranger")
        await stranger.start()
        await stranger._producer.begin_transaction()
        await stranger.send([Outgoing("activities", 0, b"x", b"{}"), Outgoing("activities", 1, b"x", b"{}")])
        await store(cluster, redrive(letter.model_copy(update={"raw": letter.raw.replace("true", "false")})))
        await until(lambda: _letters(cluster, 0))
        await until(lambda: _published(cluster, 1))
        await stranger.stop()

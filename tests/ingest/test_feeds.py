"""The loop of a feed: resumes where it was committed, publishes once, ends each error as declared."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.apis import Json
from ingest.cluster import Cluster
from ingest.config import Config
from ingest.consuming import Incoming
from ingest.errors import CursorLost, Misconfigured, Missing, NotAllowed, Retry, SourceError
from ingest.feeds import AxisFeed, Owner
from ingest.mapping import Preparation
from ingest.producing import BrokenError, Outgoing
from ingest.publish import Bytes, Committer, StoppedError
from ingest.reads import At, Axis, Feed, Gone, Instance, Mapped, Nudge, Page
from ingest.state import PartitionState
from schemas.control import Cursor, Wish
from schemas.events import Origin, event
from schemas.topics import TOPICS

START = 1_700_000_000_000
MINUTE = 60_000
CANARY = "canary-quoted-record"
Read = Callable[[At], AsyncIterator[Page]]


class Kafka:
    """What survives: committed records in order. It breaks at the transactions it is told to."""

    def __init__(self, *breaks: int) -> None:
        self.log: list[Outgoing] = []
        self.commits, self.breaks = 0, set(breaks)
        self.open = asyncio.Event()
        self.open.set()

    async def commit(self, records: Sequence[Outgoing]) -> None:
        """Take all, or break before taking any."""
        await self.open.wait()
        self.commits += 1
        if self.commits in self.breaks:
            raise BrokenError("cut off")
        self.log.extend(records)

    async def refuses(self, records: Sequence[Outgoing]) -> bool:
        """Refuse nothing."""
        return False

    def events(self, topic: str) -> list[str]:
        """Name what a reader finds on a topic, deletions with a minus."""
        return [
            "-" + one.key.decode().rpartition("/")[2]
            if one.value is None
            else orjson.loads(one.value)["metadata"]["original_event_uid"]
            for one in self.log
            if one.topic == topic
        ]

    def cursors(self) -> list[Cursor]:
        """List the cursors written, in order."""
        return [Cursor.load(one.value) for one in self.log if one.topic == "cursors" and one.value]


@dataclass
class Clock:
    """Milliseconds since 1970, moved by the test."""

    time: int = START

    def now(self) -> int:
        """Tell the time."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Wait for nothing."""


@dataclass
class Core:
    """One owner's life: from reading the state back to the end of its producer."""

    kafka: Kafka
    clock: Clock
    owner: Owner
    reports: list[tuple[str, str]] = field(default_factory=list)

    def feed(self, declared: Feed, read: Read, axis: str = "") -> AxisFeed:
        """Run a feed."""
        return AxisFeed(self.owner, declared, read, Axis(axis))


@asynccontextmanager
async def core(
    kafka: Kafka, clock: Clock | None = None, buckets: Sequence[str] = ("",)
) -> AsyncIterator[Core]:
    """Take over: read the state back from Kafka, and commit to it; `buckets` are the axes of full reads."""
    clock = clock or Clock()
    wish = Wish(name="c", provider="toy", partition=0, incarnation="1")
    state = PartitionState(0)
    state.take(Incoming("connectors", 0, 0, b"c", wish.dump(), (), 0))
    for offset, one in enumerate(kafka.log):
        if TOPICS[one.topic].role == "state":
            state.take(Incoming(one.topic, 0, offset, one.key, one.value, (), 0))
    state.settle()
    assert state.unreadable == ""
    mine = state.of(wish)
    cluster = Cluster(Config(kafka="nowhere:1"))
    cluster.counts = dict.fromkeys(TOPICS, 1)
    origin = Origin("t", "toy", "i", {"name": "T", "vendor_name": "T"}, account_type="Toy account")
    preparation = Preparation(cluster, wish, origin, Instance("i"), mine, clock.now)
    committer = Committer(kafka, Bytes(10**8))  # type: ignore[arg-type]  # an object with its interface
    made = Core(kafka, clock, Owner(wish, state, mine, committer, preparation, clock, "toy", 3_600_000))

    async def report(what: str, why: str) -> None:
        made.reports.append((what, why))

    made.owner.report = report
    made.owner.full_reads = lambda: [(FILES.name, axis) for axis in buckets]
    task = asyncio.create_task(committer.run())
    try:
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, BrokenError):
            await task


def acted(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map an occurrence: an id, or (id, time)."""
    name, time = record if isinstance(record, tuple) else (record, START)
    yield event(
        6003, 1, time, log_name="log", source_id=str(name), actor={"user": {"uid": "u"}},
        api={"operation": "Create"}, src_endpoint={"name": "unknown"},
    )  # fmt: skip


def listed(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map a file by its name, with a minus a deletion."""
    if record.startswith("-"):
        yield Gone("file", record[1:])
        return
    resource = {"uid": record, "name": record, "type": "file"}
    yield event(5023, 2, START, log_name="files", source_id=record, resources=[resource])


def log_feed(every: timedelta = timedelta(hours=1), **more: Any) -> Feed:
    """Declare a feed of occurrences."""
    return Feed("log", ("user_activity",), {"": acted}, every, **more)


FILES = Feed("files", ("dlp_backlog",), {"": listed}, timedelta(hours=1))


def reading(records: Sequence[Json], size: int, fails: Iterable[int] = ()) -> Read:
    """Read a list by position; it fails once before each of the pages named."""
    left = set(fails)

    async def read(at: At) -> AsyncIterator[Page]:
        place = at.cursor or 0
        while place < len(records):
            if place // size in left:
                left.discard(place // size)
                raise Retry("not now")
            part = records[place : place + size]
            place += len(part)
            yield Page(part, cursor=place)

    return read


async def settle(turns: int = 30) -> None:
    """Let everything run that can without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def through(kafka: Kafka, declared: Feed, read: Read, clock: Clock | None = None) -> int:
    """Read to the end, taking over anew each time Kafka breaks, and count the lives that took."""
    for lives in count(1):
        assert lives < 100
        async with core(kafka, clock) as life:
            feed = life.feed(declared, read)
            while True:
                try:
                    await feed.read_once()
                except Retry:
                    continue
                except StoppedError:
                    break
                return lives
    raise AssertionError


@given(
    st.integers(0, 12), st.integers(1, 4), st.sets(st.integers(1, 14), max_size=4),
    st.sets(st.integers(0, 12), max_size=3),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
@example(12, 1, set(range(1, 13)), set(range(13)))
def test_after_any_failure_exactly_the_rest_is_read(
    total: int, size: int, breaks: set[int], fails: set[int]
) -> None:
    """Wherever Kafka breaks or the provider fails, each record is published once and in order."""

    async def go() -> None:
        kafka = Kafka(*breaks)
        await through(kafka, log_feed(), reading(range(total), size, fails))
        assert kafka.events("activities") == [str(n) for n in range(total)]

    asyncio.run(go())


async def test_every_prefix_resumes_at_its_cursor() -> None:
    """A life that ended after any number of pages is continued by one that is given that page's cursor."""
    for pages in range(6):
        kafka, asked = Kafka(pages + 1), list[Json]()

        async def read(at: At, asked: list[Json] = asked) -> AsyncIterator[Page]:
            asked.append(at.cursor)
            async for page in reading(range(10), 2)(at):
                yield page

        await through(kafka, log_feed(), read)
        assert asked == ([None, pages * 2 or None] if pages < 5 else [None])
        assert kafka.events("activities") == [str(n) for n in range(10)]


async def test_a_page_of_fifty_thousand_is_published_once() -> None:
    """It is committed in parts; after a crash between two, what got through is not published again."""
    kafka = Kafka(30)
    whole = list(range(50_000))

    async def read(at: At) -> AsyncIterator[Page]:
        if at.cursor is None:
            yield Page(whole, cursor="end")

    assert await through(kafka, log_feed(), read) == 2
    found = kafka.events("activities")
    assert len(found) == 50_000
    assert found == [str(n) for n in whole]
    assert [one.position for one in kafka.cursors()] == ["end"]


async def test_no_more_than_one_page_is_read_ahead() -> None:
    """While a page waits for Kafka the next one is fetched, and none after it."""
    kafka, asked = Kafka(), list[int]()
    kafka.open.clear()

    async def read(at: At) -> AsyncIterator[Page]:
        for number in range(9):
            asked.append(number)
            yield Page([number], cursor=number)

    async with core(kafka) as life:
        task = asyncio.create_task(life.feed(log_feed(), read).read_once())
        await settle()
        assert asked == [0, 1]
        kafka.open.set()
        await task
    assert kafka.events("activities") == [str(n) for n in range(9)]


async def test_an_aborted_generator_is_closed() -> None:
    """After a failed commit, and when it is cancelled, what the generator holds open is let go at once."""
    for cancel in (True, False):
        kafka, closed = Kafka(*([] if cancel else [1])), list[int]()
        if cancel:
            kafka.open.clear()

        async def read(at: At, closed: list[int] = closed) -> AsyncIterator[Page]:
            try:
                for number in range(9):
                    yield Page([number], cursor=number)
            finally:
                closed.append(1)

        async with core(kafka) as life:
            task = asyncio.create_task(life.feed(log_feed(), read).read_once())
            await settle()
            if cancel:
                task.cancel()
            with pytest.raises((asyncio.CancelledError, StoppedError)):
                await task
            assert closed == [1], "cancelled" if cancel else "failed"
            kafka.open.set()


async def test_ack_comes_after_the_commit_or_not_at_all() -> None:
    """A queue's message is given up only once its records are in Kafka."""
    kafka, acked = Kafka(2), list[tuple[int, list[str]]]()

    def page(number: int) -> Page:
        async def ack() -> None:
            acked.append((number, kafka.events("activities")))

        return Page([number], ack=ack)

    async def read(at: At) -> AsyncIterator[Page]:
        for number in range(3):
            yield page(number)

    async with core(kafka) as life:
        with pytest.raises(StoppedError):
            await life.feed(log_feed(), read).read_once()
    assert acked == [(0, ["0"])]


async def test_the_same_cursor_twice_is_an_error() -> None:
    """A provider that turns in a circle is stopped after the first round."""
    kafka = Kafka()

    async def read(at: At) -> AsyncIterator[Page]:
        for number in range(10):
            yield Page([number], cursor="x")

    async with core(kafka) as life:
        with pytest.raises(Retry, match="same cursor"):
            await life.feed(log_feed(), read).read_once()
    assert kafka.events("activities") == ["0"]


@asynccontextmanager
async def running(life: Core, feed: AxisFeed) -> AsyncIterator["asyncio.Task[None]"]:
    """Run a feed's loop until it waits."""
    task = asyncio.create_task(feed.run())
    await settle()
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task


@pytest.mark.parametrize(
    ("error", "state", "why", "passes"),
    [
        (Retry("too many calls", after=50.0), "retrying", "too many calls", False),
        (NotAllowed("grant s3:GetObject"), "not allowed", "grant s3:GetObject", True),
        (Missing("the trail is gone"), "missing", "the trail is gone", True),
        (ValueError(CANARY), "failing", "ValueError", False),
        (SourceError("odd"), "failing", "SourceError", False),
    ],
)
async def test_each_error_ends_as_declared(error: Exception, state: str, why: str, passes: bool) -> None:
    """It shows in the state, keeps what was committed, pauses, and a nudge reads on at the cursor."""
    kafka, errors = Kafka(), [error]

    async def read(at: At) -> AsyncIterator[Page]:
        async for page in reading(range(4), 2)(at):
            yield page
            if errors:
                raise errors.pop()

    async with core(kafka) as life:
        feed = life.feed(log_feed(), read)
        async with running(life, feed):
            assert (feed.progress.state, feed.progress.first_pass.is_set()) == (state, passes)
            assert why in feed.progress.why
            assert CANARY not in feed.progress.why
            assert kafka.events("activities") == ["0", "1"]
            feed.nudge(Nudge("log"))
            await settle()
            assert feed.progress.state == "sleeping"
            assert feed.progress.why == ""
    assert kafka.events("activities") == ["0", "1", "2", "3"]


async def test_wrong_settings_stop_the_connector() -> None:
    """`Misconfigured` is the connector's to handle, not the feed's."""

    async def read(at: At) -> AsyncIterator[Page]:
        raise Misconfigured("give a region")
        yield Page([])

    async with core(Kafka()) as life:
        with pytest.raises(Misconfigured, match="give a region"):
            await life.feed(log_feed(), read).run()


async def test_a_lost_cursor_goes_on_where_the_provider_says() -> None:
    """The new place is durable before it is read from, and a gap is reported."""
    kafka = Kafka()

    async def read(at: At) -> AsyncIterator[Page]:
        if at.cursor is None:
            raise CursorLost("reset", cursor=7)
        async for page in reading(range(10), 5)(at):
            yield page

    async with core(kafka) as life:
        feed = life.feed(log_feed(), read)
        async with running(life, feed):
            assert feed.progress.state == "sleeping"
        assert [what for what, _ in life.reports] == ["gap"]
    assert [one.position for one in kafka.cursors()] == [7, 10]
    assert kafka.events("activities") == ["7", "8", "9"]


async def test_a_lost_window_begins_where_the_provider_says() -> None:
    """A windowed feed reads from `since`; without a gap nothing is reported."""
    kafka, asked = Kafka(), list[int]()

    async def read(at: At) -> AsyncIterator[Page]:
        asked.append(int(at.since.timestamp() * 1000))
        if len(asked) == 1:
            raise CursorLost("too old", since=timedelta(hours=1), gap=False)
        yield Page([])

    async with core(kafka) as life:
        feed = life.feed(log_feed(late=timedelta(minutes=1), lookback=timedelta(days=9)), read)
        async with running(life, feed):
            assert feed.progress.state == "sleeping"
        assert life.reports == []
    assert asked == [START - 9 * 24 * 60 * MINUTE, START - 61 * MINUTE]


async def test_a_cursor_that_is_always_lost_is_not_asked_for_without_end() -> None:
    """A provider that always says so is paced like any other failure."""
    asked = count()

    async def read(at: At) -> AsyncIterator[Page]:
        next(asked)
        raise CursorLost("gone", cursor=1)
        yield Page([])

    async with core(Kafka()) as life, running(life, life.feed(log_feed(), read)):
        await settle(300)
    assert next(asked) <= 3


async def test_a_stream_that_ends_at_once_is_paced() -> None:
    """A stream that ends by itself begins again, but not thousands of times a second."""
    asked = count()

    async def read(at: At) -> AsyncIterator[Page]:
        next(asked)
        await asyncio.sleep(0)
        return
        yield Page([])

    stream = Feed("log", ("user_activity",), {"": acted}, None)
    async with core(Kafka()) as life, running(life, life.feed(stream, read)):
        await settle(300)
    assert next(asked) <= 3


async def test_a_silent_stream_is_begun_again() -> None:
    """No page within the declared silence ends in `Retry`."""
    stream = Feed("log", ("user_activity",), {"": acted}, None, silence=timedelta(milliseconds=1))

    async def read(at: At) -> AsyncIterator[Page]:
        yield Page([1], cursor=1)
        await asyncio.Event().wait()

    async with core(Kafka()) as life:
        with pytest.raises(Retry, match="silent"):
            await life.feed(stream, read).read_once()


async def test_containers_read_whole_are_remembered() -> None:
    """What a page said is done is not fresh any more, also after a restart."""
    kafka, fresh = Kafka(), list[list[str]]()

    async def read(at: At) -> AsyncIterator[Page]:
        fresh.append(at.fresh(["a", "b", "c"]))
        yield Page(["r"], done=["a", "b"])

    for _ in range(2):
        async with core(kafka) as life:
            await life.feed(log_feed(), read).read_once()
    assert fresh == [["a", "b", "c"], ["c"]]


async def test_hints_reach_the_next_read_once() -> None:
    """What a nudge carried is handed to the feed, and `restart` begins at the beginning."""
    kafka, asked = Kafka(), list[tuple[Json, list[Json]]]()

    async def read(at: At) -> AsyncIterator[Page]:
        asked.append((at.cursor, list(at.hints)))
        async for page in reading(range(2), 2)(at):
            yield page

    async with core(kafka) as life:
        feed = life.feed(log_feed(), read)
        feed.nudge(Nudge("log", hint={"x": 1}))
        await feed.read_once()
        await feed.read_once()
        feed.nudge(Nudge("log", restart=True))
        await feed.read_once()
    assert asked == [(None, [{"x": 1}]), (2, []), (None, [])]
    assert kafka.events("activities") == ["0", "1"]


async def test_nothing_new_writes_nothing() -> None:
    """An empty page with the same cursor costs no transaction; one that moved waits a minute for company."""
    kafka, clock, place = Kafka(), Clock(), [1]

    async def read(at: At) -> AsyncIterator[Page]:
        yield Page([], cursor=place[0])

    async with core(kafka, clock) as life:
        feed = life.feed(log_feed(), read)
        for step in range(5):
            clock.time += 1000
            place[0] = 1 if step < 3 else step
            await feed.read_once()
        assert kafka.commits == 1
        clock.time += MINUTE
        await feed.read_once()
    assert kafka.commits == 2
    assert kafka.cursors()[-1].position == 4


# ---- windows


@dataclass
class Trail:
    """A source that shows records late, newest first, in pages of two, and breaks off now and then."""

    records: list[tuple[str, int, int]]
    true: int = START
    fails: list[bool] = field(default_factory=list)
    tokens: bool = False
    asked: list[Json] = field(default_factory=list)

    async def read(self, at: At) -> AsyncIterator[Page]:
        """Read [since, until), as far as it shows by now."""
        low, high = (round(one.timestamp() * 1000) for one in (at.since, at.until))
        self.asked.append(at.cursor)
        found = [(n, t) for n, t, shows in self.records if low <= t < high and shows <= self.true]
        found.sort(key=lambda one: -one[1])
        for start in range(0, len(found), 2):
            if self.fails and self.fails.pop():
                raise Retry("not now")
            yield Page(found[start : start + 2], cursor=f"t{start}" if self.tokens else None)


LATE = 10 * MINUTE
RECORD = st.tuples(st.integers(0, 120), st.integers(0, 7))
"""Minutes of its time, and how much later it shows: what a clock is wrong by is taken off the lateness."""
POLL = st.tuples(st.integers(1, 10), st.integers(-3, 3) | st.sampled_from([-60, 60]), st.booleans())
"""Minutes since the last poll, how wrong our clock is, and whether the process is a new one."""


@given(
    st.lists(RECORD, max_size=30), st.lists(POLL, max_size=20), st.lists(st.booleans(), max_size=20),
    st.sets(st.integers(1, 40), max_size=4), st.sampled_from([None, 3, 15, 60]),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
@example([(5, 0), (20, 0)], [(1, 60, False), (9, 0, False), (9, 0, True)], [], set(), None)
@example([(0, 2)], [(1, 60, False)], [], set(), None)
@example([(30, 10), (30, 0), (30, 3)], [(10, 0, False)] * 6, [True] * 3, {2}, 3)
def test_windows_lose_nothing_and_double_nothing(
    records: list[tuple[int, int]], polls: list[tuple[int, int, bool]], fails: list[bool],
    breaks: set[int], widest: int | None,
) -> None:  # fmt: skip
    """Late and tied records, broken pages, crashes and a clock that jumps: each record once."""

    async def go() -> None:
        trail = Trail([
            (f"r{n}", START + at * MINUTE, START + (at + late) * MINUTE)
            for n, (at, late) in enumerate(records)
        ], fails=fails)  # fmt: skip
        declared = log_feed(
            timedelta(minutes=10),
            late=timedelta(milliseconds=LATE), lookback=timedelta(hours=3), newest_first=True,
            widest=timedelta(minutes=widest) if widest else None,
        )  # fmt: skip
        kafka, clock = Kafka(*breaks), Clock()
        for gap, skew, _ in [*polls, *[(10, 0, False)] * 14]:
            trail.true += gap * MINUTE
            clock.time = trail.true + skew * MINUTE
            await through(kafka, declared, trail.read, clock)
        assert sorted(kafka.events("activities")) == sorted(f"r{n}" for n in range(len(records)))
        ends = [one.until for one in kafka.cursors() if one.until is not None]
        assert ends == sorted(ends)

    asyncio.run(go())


async def test_a_broken_window_is_read_again_whole() -> None:
    """A token belongs to the window it was given for: the retry begins without one, and loses nothing."""
    records = [(f"r{n}", START - n * MINUTE, 0) for n in range(1, 9)]
    trail, clock, kafka = Trail(records, fails=[False, True, False], tokens=True), Clock(), Kafka()
    declared = log_feed(late=timedelta(minutes=1), newest_first=True)
    async with core(kafka, clock) as life:
        feed = life.feed(declared, trail.read)
        with pytest.raises(Retry):
            await feed.read_once()
        assert kafka.events("activities") == ["r1", "r2"]
        # While it is retried, an hour passes and more happens.
        clock.time += 60 * MINUTE
        trail.records += [("late", START + 30 * MINUTE, 0)]
        await feed.read_once()
    assert trail.asked == [None, None]
    assert sorted(kafka.events("activities")) == sorted(["late", *(f"r{n}" for n in range(1, 9))])


# ---- full reads


def full(*names: str) -> Read:
    """List files, two a page, to the end."""

    async def read(at: At) -> AsyncIterator[Page]:
        start = at.cursor or 0
        for place in range(start, max(len(names), 1), 2):
            last = place + 2 >= len(names)
            yield Page(names[place : place + 2], cursor=None if last else place + 2, complete=last)

    return read


async def test_a_full_read_publishes_what_changed() -> None:
    """All at first, nothing the second time, also after a restart in between."""
    kafka = Kafka()
    for _ in range(3):
        async with core(kafka) as life:
            await life.feed(FILES, full("a", "b", "c")).read_once()
    assert kafka.events("files") == ["a", "b", "c"]
    last = kafka.cursors()[-1]
    assert (last.snapshot, last.finishing, last.position) == (3, False, None)


async def test_a_full_read_resumes_at_its_page() -> None:
    """After a crash it goes on as the same snapshot, and what was read counts as seen."""
    for at in range(1, 6):
        kafka = Kafka(at)
        await through(kafka, FILES, full("a", "b", "c", "d", "e"))
        assert kafka.events("files") == ["a", "b", "c", "d", "e"]


LIVE = Feed("changes", ("dlp_realtime",), {"": listed}, timedelta(hours=1))


async def test_live_changes_are_dropped_from_the_state_once_read_past() -> None:
    """The pages of a live feed do not pile up: a later full read takes their place."""
    kafka, clock = Kafka(), Clock()
    async with core(kafka, clock) as life:
        for names in (["a"], ["b"], ["a", "b"]):
            clock.time += 1000
            await life.feed(LIVE, reading(names, 2), f"x{clock.time}").read_once()
        for _ in range(2):
            clock.time += 1000
            await life.feed(FILES, full("a", "b")).read_once()
    last = {one.key: one.value for one in kafka.log if one.topic == "members"}
    assert not [raw for raw, value in last.items() if value is not None and b"@live" in raw]
    assert kafka.events("files") == ["a", "b"]
    async with core(kafka, clock) as life:
        await life.feed(FILES, full("a", "b")).read_once()
    assert kafka.events("files") == ["a", "b"]


async def test_what_another_full_read_has_not_come_to_is_not_deleted() -> None:
    """A file told of live in a bucket that was never listed survives the listing of another bucket."""
    kafka, clock = Kafka(), Clock()
    for restart in (False, True):
        async with core(kafka, clock, ["one", "other"]) as life:
            if not restart:
                await life.feed(LIVE, reading(["other/x"], 1)).read_once()
            for _ in range(2):
                clock.time += 1000
                await life.feed(FILES, full("one/a"), "one").read_once()
    assert kafka.events("files") == ["other/x", "one/a"]
    async with core(kafka, clock, ["one", "other"]) as life:
        clock.time += 1000
        for _ in range(2):
            await life.feed(FILES, full("other/x"), "other").read_once()
            await life.feed(FILES, full("one/a"), "one").read_once()
    assert kafka.events("files") == ["other/x", "one/a"]


async def test_what_came_and_went_unseen_is_deleted_once_all_was_read() -> None:
    """A file told of live and silently gone before any listing leaves with the last listing, once."""
    kafka, clock = Kafka(), Clock()
    async with core(kafka, clock) as life:
        await life.feed(LIVE, reading(["a", "ghost"], 1)).read_once()
        for _ in range(3):
            clock.time += 1000
            await life.feed(FILES, full("a")).read_once()
    assert kafka.events("files") == ["a", "ghost", "-ghost"]


async def test_what_is_not_known_to_be_read_holds_everything_back() -> None:
    """Before all axes are listed nothing is taken for gone."""
    kafka, clock = Kafka(), Clock()
    async with core(kafka, clock) as life:
        life.owner.full_reads = lambda: None
        await life.feed(LIVE, reading(["x"], 1)).read_once()
        for _ in range(2):
            clock.time += 1000
            await life.feed(FILES, full("a")).read_once()
    assert kafka.events("files") == ["x", "a"]


async def test_an_axis_that_is_no_more_leaves_no_cursor() -> None:
    """Its cursor is removed; where it held nothing, nothing is deleted."""
    kafka = Kafka()
    async with core(kafka) as life:
        feed = life.feed(FILES, full(), "gone")
        await feed.read_once()
        await feed.retire()
        assert ("files", "gone") not in life.owner.state.cursors
    assert [one for one in kafka.log if one.topic == "cursors"][-1].value is None


async def test_cancelled_while_it_finishes_deletes_nothing() -> None:
    """A connector disabled in the last step of a full read takes nothing for gone when it is enabled."""
    kafka, clock = Kafka(), Clock()
    async with core(kafka, clock) as life:
        await life.feed(FILES, full("a", "b", "c")).read_once()
        clock.time += 1000
        for stop in range(1, 9):
            commits = kafka.commits
            task = asyncio.create_task(life.feed(FILES, full("a", "b", "c")).read_once())
            for _ in range(1000):
                if kafka.commits >= commits + stop or task.done():
                    break
                await asyncio.sleep(0)
            kafka.open.clear()
            await settle(5)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            kafka.open.set()
            await settle()
        await life.feed(FILES, full("a", "b", "c")).read_once()
    assert kafka.events("files") == ["a", "b", "c"]

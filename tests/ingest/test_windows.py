"""Windows leave no gap, overlap by the lateness, respect the widest and never move back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeAlias

from hypothesis import example, given
from hypothesis import strategies as st

from ingest.inventory import entity_hash
from ingest.reads import Feed
from ingest.seen import SeenWindow
from ingest.windows import Window, millis, moment, remembered, windows
from schemas.control import Seen

NOW = 1_700_000_000_000
Polls: TypeAlias = list[tuple[int, int, int, bool]]
SPAN = st.integers(0, 10_000)


def feed(late: int, widest: int | None = None, lookback: int = 5_000) -> Feed:
    """Make a windowed feed; all in ms."""
    ms = timedelta(milliseconds=1)
    return Feed("f", (), {}, timedelta(seconds=1), late=late * ms, lookback=lookback * ms,
                widest=None if widest is None else widest * ms, repeats=late * ms)  # fmt: skip


@given(SPAN, st.none() | st.integers(1, 10_000), st.none() | st.integers(-30_000, 30_000))
@example(late=3_000, widest=1_000, until=-1_000)
def test_windows_cover_without_gaps(late: int, widest: int | None, until: int | None) -> None:
    """From the last end less the lateness (else the lookback) to now, each beginning where one ended."""
    done = None if until is None else NOW + until
    made = list(windows(feed(late, widest), done, NOW))
    assert made
    assert made[0].since <= (NOW - 5_000 if done is None else done - late)
    assert made[-1].until >= NOW
    assert all(before.until == after.since for before, after in pairwise(made))
    assert all(one.since <= one.until for one in made)
    if done is not None:
        assert made[-1].until == max(done, NOW)


@given(SPAN, st.integers(1, 10_000), st.none() | st.integers(-30_000, 30_000))
@example(late=3_000, widest=1_000, until=-1_000)
def test_no_window_is_wider_than_the_source_allows(late: int, widest: int, until: int | None) -> None:
    """The widest is the source's own limit: it holds also where records come later than that."""
    done = None if until is None else NOW + until
    assert all(one.until - one.since <= widest for one in windows(feed(late, widest), done, NOW))


def test_a_clock_that_went_back_reads_from_where_it_is() -> None:
    """With an end in the future the stretch around the present is read again, and the end stays."""
    made = list(windows(feed(100), NOW + 3_600_000, NOW))
    assert made[0].since <= NOW - 100
    assert made[-1].until == NOW + 3_600_000


def test_times_are_utc_milliseconds() -> None:
    """Durations and moments convert exactly."""
    assert millis(timedelta(minutes=20)) == 1_200_000
    assert moment(1_000) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


EVERY = 1_000
LATE = 3_000


class Source:
    """A log that shows each record some time after the time it bears, newest first, by a clock of its own."""

    def __init__(self, records: list[tuple[int, int]]) -> None:
        self.records = [(f"r{place}", time, time + delay) for place, (time, delay) in enumerate(records)]

    def read(self, window: Window, real: int) -> list[tuple[str, int]]:
        """List what a window has by now."""
        found = [(name, time) for name, time, shows in self.records
                 if shows <= real and window.since <= time < window.until]  # fmt: skip
        return sorted(found, key=lambda one: -one[1])


class Reader:
    """What the core does with a windowed feed, in a few lines: windows, pages, seen, cursor, expiry."""

    def __init__(self, widest: int | None) -> None:
        self.feed, self.until = feed(LATE, widest, lookback=LATE), NOW
        self.seen, self.pages = SeenWindow(), dict[int, Seen]()
        self.published: list[str] = []

    def poll(self, source: Source, real: int, clock: int, page: int, breaks: int) -> None:
        """Read up to now, in pages; after so many it breaks off, as a crash or an error would."""
        for window in windows(self.feed, self.until, clock):
            found = source.read(window, real)
            for start in range(0, len(found), page):
                if breaks == 0:
                    return
                breaks -= 1
                self._publish(found[start : start + page], clock)
            self.until = max(window.until, self.until)
        old = self.seen.expired(clock, self.until - LATE)  # as `Connector` does
        self.seen.drop(old)
        for number in old:
            del self.pages[number]

    def _publish(self, found: list[tuple[str, int]], clock: int) -> None:
        fresh = [(name, time) for name, time in found if not self.seen.has(entity_hash(name), time)]
        if fresh:
            self.published += [name for name, _ in fresh]
            pairs = [(entity_hash(name), time) for name, time in fresh]
            number, record = self.seen.page(pairs, "1", clock + remembered(self.feed))
            self.seen.add(number, record)
            self.pages[number] = record

    def restart(self) -> None:
        """Begin anew with what is stored."""
        self.seen = SeenWindow()
        for number, record in self.pages.items():
            self.seen.add(number, record)


RECORDS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40)
"""Times and delays in hundreds of ms: ties are frequent."""
POLLS = st.lists(st.tuples(st.integers(1, 10), st.integers(1, 4), st.integers(0, 6) | st.just(99),
                           st.booleans()), min_size=4, max_size=20)  # fmt: skip
"""A pause up to the feed's, records a page, pages until it breaks off (99: never), a restart before it."""


def run(source: Source, reader: Reader, polls: Polls, clock: Callable[[int], int]) -> None:
    """Poll as told, then regularly until everything that is to come has come and been forgotten."""
    real = NOW
    for pause, page, breaks, restart in [*polls, *[(10, 3, 99, False)] * 16]:
        real += pause * EVERY // 10
        if restart:
            reader.restart()
        reader.poll(source, real, clock(real), page, breaks)


@given(RECORDS, POLLS, st.none() | st.integers(500, 4_000), st.integers(-10, 10))
def test_every_occurrence_once(
    records: list[tuple[int, int]], polls: Polls, widest: int | None, skew: int
) -> None:
    """Late, tied, newest first, cut off, restarted, by another clock than ours: nothing lost or twice.

    Lateness and the difference of the clocks together are within what the feed declares.
    """
    within = LATE // 100 - abs(skew)
    source = Source([(NOW + 100 * time, 100 * min(delay, within)) for time, delay in records])
    reader = Reader(widest)
    run(source, reader, polls, lambda real: real + 100 * skew)

    assert sorted(reader.published) == sorted(name for name, _, _ in source.records)
    assert len(reader.seen) == 0


@given(RECORDS, POLLS, st.integers(-1, 40), st.integers(0, 40), st.integers(0, 30))
@example([(0, 0)], [(1, 1, 99, False), *[(10, 1, 99, False)] * 3, *[(1, 1, 99, False)] * 2], -1, 33, 30)
@example([(0, 0)], [(1, 1, 99, False), *[(10, 1, 99, False)] * 3, *[(1, 1, 99, False)] * 2], 32, 33, 30)
@example([(0, 0)], [(1, 1, 99, False), (10, 1, 99, False), (1, 1, 99, False)], 11, 12, 30)
def test_a_clock_that_is_set_ahead_and_back(
    records: list[tuple[int, int]], polls: Polls, ahead: int, back: int, by: int
) -> None:
    """Our clock is wrong for a while, or from the start, and corrected as we read: nothing lost or twice."""
    within = LATE // 100 - by
    source = Source([(NOW + 100 * time, 100 * min(delay, within)) for time, delay in records])
    reader = Reader(None)

    def clock(real: int) -> int:
        return real + (100 * by if NOW + 100 * ahead <= real < NOW + 100 * back else 0)

    run(source, reader, polls, clock)
    assert sorted(reader.published) == sorted(name for name, _, _ in source.records)

"""Windows leave no gap, overlap by the lateness, respect the widest and never move back."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from ingest.reads import Feed
from ingest.windows import millis, moment, windows

NOW = 1_700_000_000_000
SPAN = st.integers(0, 10_000)


def feed(late: int, widest: int | None = None, lookback: int = 5_000) -> Feed:
    """Make a windowed feed; all in ms."""
    ms = timedelta(milliseconds=1)
    return Feed("f", (), {}, timedelta(seconds=1), late=late * ms, lookback=lookback * ms,
                widest=None if widest is None else widest * ms)  # fmt: skip


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

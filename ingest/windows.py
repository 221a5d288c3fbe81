"""Which stretch of time a windowed feed reads next; all times in ms since 1970 (UTC), ends exclusive.

A window begins again where the last one ended, less the source's lateness: records that showed up late are
in it, and those seen before are dropped by their ids.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import NamedTuple

from ingest.reads import Feed


class Window(NamedTuple):
    """[since, until)."""

    since: int
    until: int


def millis(span: timedelta) -> int:
    """Turn a duration into ms."""
    return span // timedelta(milliseconds=1)


def now_ms() -> int:
    """Tell the time by the wall clock."""
    return time_ns() // 1_000_000


def moment(time: int) -> datetime:
    """Turn ms into a UTC time."""
    return datetime.fromtimestamp(time / 1000, UTC)


def remembered(feed: Feed) -> int:
    """Tell for how long an occurrence's id is needed after its commit, by our clock, ms.

    The source may bring it again for `repeats`. A clock that was set ahead, by less than the lateness,
    forgets that much early; set back again, it reads one pause more.
    """
    slack = timedelta() if feed.late is None else feed.late + (feed.every or timedelta())
    return millis(feed.repeats + slack)


def floor(feed: Feed, until: int | None, now: int) -> int:
    """Tell the oldest time the feed may still ask for."""
    if until is None:
        return now - millis(feed.lookback)
    return until - millis(feed.late or timedelta())


def windows(feed: Feed, until: int | None, now: int) -> Iterator[Window]:
    """Cut what is to be read into windows no wider than the source allows, oldest first.

    Without `until` it starts at the feed's lookback. A clock that went back reads the last stretch again and
    never moves the end back.
    """
    since = floor(feed, until, now)
    if until is not None and until > now:
        # The clock was ahead: what showed since the last poll, a pause ago, is read by today's clock.
        since = min(since, now - millis((feed.late or timedelta()) + (feed.every or timedelta())))
    end = max(now, until or 0)
    widest = max(millis(feed.widest) if feed.widest else end - since, 1)
    while True:
        stop = min(since + widest, end)
        yield Window(since, stop)
        if stop >= end:
            return
        since = stop

"""Every feed ends, resumes, and reads the same again."""

from collections import Counter
from itertools import pairwise
from typing import Any

import orjson
from reading import MOST_PAGES, Connected, Reading, all_pages

from ingest.windows import Window


def whole(records: Any) -> list[bytes]:
    """Write records so that they can be compared."""
    return [orjson.dumps(one, default=str, option=orjson.OPT_SORT_KEYS) for one in records]


async def test_a_feed_ends_and_does_not_loop(reader: tuple[Connected, str]) -> None:
    """A feed comes to its end, and no two pages with records that follow each other have one cursor."""
    one, name = reader
    for reading in await one.once(name):
        assert len(reading.pages) < MOST_PAGES
        cursors = whole(page.cursor for page in reading.pages if page.cursor is not None and page.records)
        assert all(before != after for before, after in pairwise(cursors))


async def test_a_tenant_is_not_empty(reader: tuple[Connected, str]) -> None:
    """The simulated tenant has something for every feed, else nothing would be judged."""
    one, name = reader
    assert any(page.records for page in all_pages(await one.once(name)))


async def test_a_full_read_says_that_it_is_whole(reader: tuple[Connected, str]) -> None:
    """Only the last page of a full read is complete, so that what it did not see can be deleted."""
    one, name = reader
    for reading in await one.once(name):
        ends = [page.complete for page in reading.pages]
        assert ends == [False] * (len(ends) - 1) + [one.feed(name).reads_all]


async def test_a_feed_resumes_after_any_page(resumable: tuple[Connected, str]) -> None:
    """Begun at any page's cursor, a feed yields exactly what came after that page."""
    one, name = resumable
    for reading in await one.once(name):
        for place, page in enumerate(reading.pages):
            if page.cursor is not None:
                rest = await one.calmly(name, reading.axis, reading.span, page.cursor)
                assert one.ids(name, rest) == one.ids(name, reading.pages[place + 1 :])


async def test_a_feed_reads_the_same_again(ending: tuple[Connected, str]) -> None:
    """Read a second time, everything has the id it had."""
    one, name = ending
    first, again = await one.once(name), await one.read(name)
    assert one.ids(name, all_pages(again)) == one.ids(name, all_pages(first))


async def test_windows_side_by_side_lose_nothing(windowed: tuple[Connected, str]) -> None:
    """A window cut in two at the very moment of a record has the same events as the whole."""
    one, name = windowed
    judged = 0
    for reading in await one.once(name):
        times = sorted(made["time"] for made in one.events(name, reading.pages))
        for cut in {*times[1:2], *times[-1:], *ties(times)}:
            if not reading.span.since < cut < reading.span.until:
                continue
            parts = [Window(reading.span.since, cut), Window(cut, reading.span.until)]
            pages = [page for span in parts for page in await one.calmly(name, reading.axis, span)]
            assert set(one.ids(name, pages)) == set(one.ids(name, reading.pages))
            judged += 1
    assert judged


def ties(times: list[int]) -> list[int]:
    """Find a moment that several records share."""
    return [time for time, count in Counter(times).items() if count > 1][:1]


async def test_a_window_keeps_to_its_bounds(windowed: tuple[Connected, str]) -> None:
    """What a window yields happened in it, give or take the second that some sources count in."""
    one, name = windowed
    found: list[Reading] = await one.once(name)
    for reading in found:
        for made in one.events(name, reading.pages):
            assert reading.span.since - 1000 <= made["time"] <= reading.span.until + 1000

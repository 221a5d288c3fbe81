"""The window of what was published: nothing twice while its page is kept, the same after a restart."""

import tracemalloc
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ingest.seen import SeenWindow
from schemas.control import Seen

FOUND = st.lists(
    st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 5_000_000)), min_size=1, max_size=8,
    unique_by=lambda one: one[0],
)  # fmt: skip


@given(st.lists(FOUND, max_size=12), st.data())
def test_it_is_a_set_of_the_pages_it_keeps(pages: list[list[tuple[int, int]]], data: st.DataObject) -> None:
    """Everything in a kept page is found; a restart from the kept records finds the same, and goes on."""
    window, kept = SeenWindow(), dict[int, tuple[Seen, list[tuple[int, int]]]]()
    for found in pages:
        number, record = window.page(found, "1", 100)
        assert number not in kept
        assert all(window.has(key, time) for key, time in found)
        window.add(number, Seen.load(record.dump()))
        kept[number] = record, found
        if data.draw(st.booleans()) and kept:
            gone = data.draw(st.lists(st.sampled_from(sorted(kept)), unique=True))
            window.drop(gone)
            for one in gone:
                del kept[one]
    again = SeenWindow()
    for number in data.draw(st.permutations(sorted(kept))):
        again.add(number, kept[number][0])
    for _, found in kept.values():
        assert all(window.has(key, time) and again.has(key, time) for key, time in found)
    assert window.expired(10**9, None) == list(kept)
    assert sorted(again.expired(10**9, None)) == sorted(kept)
    assert not again.has(2**64 - 1, 10**9)
    if kept:
        number, _ = again.page([(1, 1)], "1", 0)
        assert number > max(kept)
    else:
        assert len(again) == 0


def test_a_page_on_its_way_counts_at_once() -> None:
    """Between preparation and commit an occurrence is not taken a second time."""
    window = SeenWindow()
    window.page([(7, 1000)], "1", 0)
    assert window.has(7, 1000)
    assert not window.has(8, 1000)


def test_an_occurrence_is_looked_up_at_its_own_time() -> None:
    """Equal hashes hours apart are two occurrences only if their times differ by a bucket."""
    window = SeenWindow()
    number, record = window.page([(7, 1000)], "1", 0)
    window.add(number, record)
    assert window.has(7, 2000)
    assert not window.has(7, 9_000_000)


def test_pages_expire_when_they_can_come_no_more() -> None:
    """A page goes once its time to repeat is over and every open window begins after it."""
    window = SeenWindow()
    for time, expires in ((1_000, 50), (2_000, 50), (3_000, 500)):
        number, record = window.page([(time, time)], "1", expires)
        window.add(number, record)
    assert window.expired(60, 2_000) == [0]
    assert window.expired(60, None) == [0, 1]
    assert window.expired(50, None) == []
    assert window.expired(501, 3_001) == [0, 1, 2]
    window.drop([0, 1, 2])
    assert len(window) == 0


def test_memory_of_an_id_is_bounded() -> None:
    """What is remembered of 18 hours at 1.5 a second; dropped, it takes nothing."""
    count, chance = 100_000, Random(1)
    pages = [
        [(chance.getrandbits(64), number * 648) for number in range(start, start + 1000)]
        for start in range(0, count, 1000)
    ]
    records = [SeenWindow().page(found, "1", 0)[1] for found in pages]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        window = SeenWindow()
        for number, record in enumerate(records):
            window.add(number, record)
        held = tracemalloc.get_traced_memory()[0] - before
        window.drop(range(len(records)))
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    print(f"{held / count:.1f} bytes an id")  # noqa: T201 the figure is wanted

    assert held / count < 20
    assert left < 20_000

"""What a push should have brought: counted once, never for what came late, never for what was announced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.silence import GRACE_MS, UNLIKELY, Tally

NOW = 1_700_000_000_000


def test_what_no_delivery_brings_is_counted_after_the_grace() -> None:
    """Not before, and once."""
    tally = Tally()
    tally.found("log", [(1, NOW), (2, NOW)], NOW)
    assert tally.judge(NOW + GRACE_MS - 1) == {}
    assert tally.judge(NOW + GRACE_MS) == {"log": 2}
    assert tally.judge(NOW + 10 * GRACE_MS) == {}
    assert (tally.recovered, tally.missed, tally.suspect) == (2, 2, 0)


def test_a_delivery_may_come_after_the_poll() -> None:
    """What it carries is not missed; what it does not carry is, although something came."""
    tally = Tally()
    tally.found("log", [(1, NOW), (2, NOW)], NOW)
    tally.heard([("log", [1, 77])], NOW + 1000)
    assert tally.judge(NOW + GRACE_MS) == {"log": 1}
    assert tally.delivered == NOW + 1000


def test_a_nudge_announces_what_happened_before_it() -> None:
    """Also what the provider's log shows only hours later; not what happens afterwards."""
    tally = Tally()
    tally.found("log", [(1, NOW - 10)], NOW)
    tally.heard([("log", None)], NOW)
    tally.found("log", [(2, NOW - 5)], NOW + 3_600_000)
    tally.found("log", [(3, NOW + 5)], NOW + 3_600_000)
    assert tally.judge(NOW + 4_000_000) == {"log": 1}


def test_silence_that_is_unlikely_makes_suspect_until_something_comes() -> None:
    """A few in a row without a delivery; a delivery clears it; the total stays."""
    tally = Tally()
    for number in range(UNLIKELY):
        assert not tally.suspect
        tally.found("log", [(number, NOW)], NOW)
        tally.judge(NOW + GRACE_MS)
    assert tally.suspect == NOW + GRACE_MS
    tally.heard([], NOW + GRACE_MS + 1)
    assert (tally.suspect, tally.missed, tally.recovered) == (0, 0, UNLIKELY)


def test_deliveries_between_losses_are_no_silence() -> None:
    """Single losses are counted and shown; they don't make one suspect."""
    tally, now = Tally(), NOW
    for number in range(10 * UNLIKELY):
        tally.found("log", [(number, now)], now)
        now += GRACE_MS
        tally.judge(now)
        tally.heard([("log", [])], now)
    assert (tally.recovered, tally.suspect) == (10 * UNLIKELY, 0)


def test_made_anew_it_owes_nothing() -> None:
    """What waited for the former registration's delivery is not held against the fresh one."""
    tally = Tally(missed=UNLIKELY, suspect=NOW)
    tally.found("log", [(1, NOW)], NOW)
    tally.made_anew()
    assert tally.judge(NOW + GRACE_MS) == {}
    assert (tally.again, tally.missed, tally.suspect) == (1, 0, NOW)


def test_what_is_pending_is_bounded() -> None:
    """A push that is dead for a day at a high rate does not fill the memory."""
    tally = Tally()
    tally.found("log", ((number, NOW) for number in range(50_000)), NOW)
    assert 1000 < tally.judge(NOW + GRACE_MS)["log"] <= 10_000


@pytest.mark.parametrize("first", ["poll", "push"])
def test_another_registration_may_have_brought_it(first: str) -> None:
    """Where several hooks share the work, the delivery of one is taken off what another seems to miss."""
    one, other = Tally(), Tally()
    if first == "push":
        one.brought([("log", [1])], NOW)
        one.found("log", [], NOW)  # published by the delivery: the poll finds nothing new
    else:
        one.found("log", [(1, NOW)], NOW)
        other.heard([("log", [1])], NOW)
        one.brought([("log", [1])], NOW)
    assert one.judge(NOW + GRACE_MS) == {}
    assert one.delivered == 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["find", "bring", "wait"]), st.sets(st.integers(0, 9))), max_size=40
)


@given(STEPS)
def test_as_counted_by_hand(steps: list[tuple[str, set[int]]]) -> None:
    """Whatever the order, it counts what was found and not brought within the grace, and nothing else."""
    tally, now, waiting, lost = Tally(), NOW, dict[int, int](), 0
    for do, ids in steps:
        now += 40_000
        match do:
            case "find":
                tally.found("log", [(one, now) for one in sorted(ids)], now)
                for one in ids:
                    waiting.setdefault(one, now)
            case "bring":
                tally.heard([("log", ids)], now)
                waiting = {one: since for one, since in waiting.items() if one not in ids}
            case _:
                tally.judge(now)
                late = [one for one, since in waiting.items() if since <= now - GRACE_MS]
                lost += len(late)
                for one in late:
                    del waiting[one]
    assert tally.recovered == lost

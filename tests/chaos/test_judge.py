"""The judge can fail: each thing that may go wrong is put before it, and it finds each."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.judge import Found, Occurrence, Reached, Verdict, judge

FLOW = [Occurrence(f"e{n}", "t", float(n), float(n)) for n in range(10)]


def read(*sources: str, topic: str = "activities", **more: Any) -> list[Found]:
    """What a reader has of these, in this order, in one partition and of one entity."""
    return [
        Found(topic, 0, n, more.get("key", "k"), f"u-{source}", source, 100.0 + n)
        for n, source in enumerate(sources)
    ]


ALL = [one.id for one in FLOW]


def test_what_is_right_is_good() -> None:
    """Everything once and in order, a cursor behind its events: nothing is found."""
    verdict = judge(FLOW, read(*ALL), [Reached("t", 10, 109.0)], {"t": ALL})

    assert verdict.good
    assert verdict == Verdict()


@given(st.sampled_from(range(10)))
def test_a_lost_record_is_found(at: int) -> None:
    """One is missing: it is named."""
    verdict = judge(FLOW, read(*ALL[:at], *ALL[at + 1 :]))

    assert not verdict.good
    assert verdict.lost == [ALL[at]]


@given(st.sampled_from(range(10)), st.sampled_from(range(10)))
def test_a_doubled_record_is_found(which: int, where: int) -> None:
    """One is there twice, next to itself or far away, on the same topic or on another."""
    for topic in ("activities", "logons"):
        again = replace_topic(read(ALL[which])[0], topic, 50 + where)
        verdict = judge(FLOW, [*read(*ALL), again])

        assert not verdict.good
        assert ALL[which] in verdict.doubled


def test_a_doubled_state_is_found() -> None:
    """An inventory's record may be there again in another version, never in the same."""
    states = [Found("accounts", 0, n, "k", uid, "p1", 0.0) for n, uid in enumerate(("v1", "v2", "v1"))]

    assert judge([], states[:2]).good
    assert judge([], states).doubled == ["accounts v1"]


@given(st.integers(0, 8))
def test_a_reordered_record_is_found(at: int) -> None:
    """Two neighbours of an entity changed places."""
    order = [*ALL[:at], ALL[at + 1], ALL[at], *ALL[at + 2 :]]
    verdict = judge(FLOW, read(*order))

    assert verdict.reordered == [f"activities k: {ALL[at + 1]} before {ALL[at]}"]
    assert not verdict.good


def test_order_is_an_entitys_own() -> None:
    """Of two entities, or on two topics, either may be first."""
    first, second = read("e1", key="a")[0], read("e0", key="b")[0]
    third = replace_topic(read("e0", key="a")[0], "logons", 1)

    assert judge(FLOW[:2], [first, second]).reordered == []
    assert judge(FLOW[:2], [first, third]).reordered == []


def test_what_showed_late_is_not_reordered() -> None:
    """An event that the log showed only after the next one had happened could not be first."""
    late = Occurrence("e0", "t", 0.0, 1.5)

    assert judge([late, FLOW[1]], read("e1", "e0")).good
    assert not judge([late, FLOW[2]], read("e2", "e0")).good


def test_a_push_may_overtake_a_poll() -> None:
    """What a delivery brought may be there before what a poll brings: that is told, and told apart."""
    pushed = replace_pushed(FLOW[1])
    verdict = judge([FLOW[0], pushed], read("e1", "e0"))

    assert verdict.good
    assert verdict.overtaken == 1


def test_what_never_happened_is_found() -> None:
    """A record of something that the tenant does not know."""
    assert judge(FLOW, read(*ALL, "ghost")).strange == ["ghost"]


def test_a_cursor_ahead_of_its_events_is_found() -> None:
    """A cursor could be read, the event before it not: never, or not within the time of a transaction."""
    cursor = [Reached("t", 10, 101.0)]
    never, late = read(*ALL[:9]), read(*ALL)
    late[9] = late[9]._replace(at=110.5)

    assert judge(FLOW, never, cursor, {"t": ALL}).ahead == ["t: e9 before 10"]
    assert judge(FLOW, late, cursor, {"t": ALL}).ahead == ["t: e9 before 10"]
    assert judge(FLOW, late, [Reached("t", 9, 101.0)], {"t": ALL}).ahead == []
    assert judge(FLOW, late, cursor, {"t": ALL}, grace=10.0).ahead == []


def test_the_verdict_says_what_it_found() -> None:
    """Its text has the numbers and the first names."""
    told = str(judge(FLOW, read(*ALL[1:])))

    assert "lost 1 ['e0']" in told
    assert "doubled 0 []" in told


def replace_topic(one: Found, topic: str, offset: int) -> Found:
    """The same record elsewhere."""
    return one._replace(topic=topic, offset=offset)


def replace_pushed(one: Occurrence) -> Occurrence:
    """The same occurrence, brought by a delivery."""
    return one._replace(pushed=True)

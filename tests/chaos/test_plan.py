"""The plan of a run: its seed alone decides it, and every kind of fault has its turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.plan import BROKER, CONSUMERS, KINDS, LINK, PROCESS, SOURCE, Layout, plan

LAYOUT = Layout(("ingest-0", "ingest-1", "receive-0", "dlp-0", "governance-0"), ("okta1", "github1"))
SEEDS = st.integers(0, 2**32)
CYCLES = st.integers(1, 150)


@given(SEEDS, CYCLES)
def test_the_same_seed_gives_the_same_plan(seed: int, cycles: int) -> None:
    """A run can be had again from its seed; a longer one begins with the same cycles."""
    made = plan(seed, cycles, LAYOUT)

    assert [str(one) for one in plan(seed, cycles, LAYOUT)] == [str(one) for one in made]
    assert plan(seed, cycles + 7, LAYOUT)[:cycles] == made
    assert [one.number for one in made] == list(range(1, cycles + 1))


@given(SEEDS)
def test_another_seed_gives_another_plan(seed: int) -> None:
    """Twenty cycles of two seeds are never the same."""
    assert plan(seed, 20, LAYOUT) != plan(seed + 1, 20, LAYOUT)


@given(SEEDS)
def test_every_kind_has_its_turn(seed: int) -> None:
    """As many cycles as there are kinds, thrice: every kind was dealt, some of them together."""
    made = plan(seed, 3 * len(KINDS), LAYOUT)

    assert {kind for one in made for kind in one.kinds} == set(KINDS)
    assert any(len(one.faults) > 1 for one in made)
    assert any(len(one.faults) == 1 for one in made)


@given(SEEDS, CYCLES)
def test_each_fault_can_be_done(seed: int, cycles: int) -> None:
    """Its victim exists and fits its kind; one broker at most is away; a freeze outlasts the session."""
    for cycle in plan(seed, cycles, LAYOUT):
        assert 1 <= len(cycle.faults) <= 3
        assert len(cycle.kinds) == len(cycle.faults)
        assert sum(one.kind in BROKER for one in cycle.faults) <= 1
        for one in cycle.faults:
            assert 0.0 <= one.after <= 2.0
            assert one.kind == "clock-step" or 0.0 <= one.seconds <= LAYOUT.session + 3.0
            if one.kind in {*PROCESS, *LINK, "clock-step", "slow-consumer"}:
                assert one.victim in LAYOUT.slots
            if one.kind in SOURCE:
                assert one.victim in LAYOUT.tenants
            if one.kind == "slow-consumer":
                assert one.victim.startswith(CONSUMERS)
            if one.kind == "freeze":
                assert one.seconds > LAYOUT.session
            assert 0 <= one.node <= LAYOUT.nodes


def test_some_kinds_only() -> None:
    """A plan may be of one kind; one that there is not is refused with those that there are."""
    assert {kind for one in plan(1, 9, LAYOUT, ["kill"]) for kind in one.kinds} == {"kill"}
    with pytest.raises(ValueError, match="no such fault: meteor; there are: kill"):
        plan(1, 1, LAYOUT, ["meteor"])

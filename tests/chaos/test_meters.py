"""Metrics that lie are found: failures that are not told, fencings of nobody, events that nobody can read."""

from tests.chaos.meters import Sample, boasts, failed, lies, total
from tests.chaos.plan import Cycle, Fault


def cycle(*kinds: str) -> Cycle:
    """A cycle of these faults."""
    return Cycle(1, tuple(Fault(kind, "x", 0.0, 1.0) for kind in kinds))


def sample(name: str, value: float, **labels: str) -> dict[Sample, float]:
    """What a process tells of one counter."""
    return {(f"sluice_{name}_total", tuple(sorted(labels.items()))): value}


CALLS = {
    **sample("source_requests", 90.0, provider="a", outcome="ok"),
    **sample("source_requests", 7.0, provider="a", outcome="retry"),
    **sample("source_requests", 3.0, provider="b", outcome="error"),
}


def test_samples_are_summed_by_their_labels() -> None:
    """Over all samples that have the labels asked for."""
    assert total(CALLS, "source_requests") == 100.0
    assert total(CALLS, "source_requests", provider="a") == 97.0
    assert total(CALLS, "fenced") == 0.0
    assert failed(CALLS) == 10.0


def test_failures_must_be_told() -> None:
    """What a tenant did to ten calls is told of ten calls, unless the process died that knew of them."""
    assert lies(cycle("outage"), CALLS, {"outage": 10}) == []
    assert lies(cycle("outage"), CALLS, {"outage": 11}) == ["11 calls failed, told are 10"]
    assert lies(cycle("outage", "kill"), CALLS, {"outage": 11}) == []


def test_throttling_must_be_told() -> None:
    """Each call that was throttled is counted as throttled too."""
    told = {**CALLS, **sample("source_throttled", 2.0, provider="a")}

    assert lies(cycle("throttle"), told, {"throttle": 2}) == []
    assert lies(cycle("throttle"), told, {"throttle": 3}) == ["3 calls were throttled, told are 2"]


def test_what_did_not_happen_must_not_be_told() -> None:
    """A dead letter where no record was bad; a fencing where the other one was dead."""
    letters, fenced = sample("dead_letters", 1.0, reason="bad-record"), sample("fenced", 1.0)

    assert lies(cycle("kill"), letters, {}) == ["1 dead letters, and no record was bad"]
    assert lies(cycle("kill"), fenced, {}) == ["1 fenced, and nobody lived who could have been"]
    assert lies(cycle("freeze"), fenced, {}) == []


def test_no_more_may_be_counted_than_can_be_read() -> None:
    """A counter may miss what a killed process published; it never counts what was aborted."""
    told = sample("events_published", 10.0, topic="logons", feed="log")

    assert boasts(told, {"logons": 10, "activities": 5}) == []
    assert boasts(told, {"logons": 9}) == ["10 events counted on logons, read were 9"]

"""The ledger: what is read back is what was put, and nothing is kept for ever but what must be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.governance.ledger import Ledger, run_key, strings
from ingest.errors import Misconfigured
from schemas.control import ActionRecord, ActionRun, Command, Target

DAY = 86_400_000
STATES = st.sampled_from(["intent", "done", "held", "undone", "planned"])


def record(state: str, at: int, policy: str = "p", version: str = "v1") -> ActionRecord:
    """Make a command's record."""
    target = Target(kind="file", id="f", version=version)
    command = Command(id="c", connector="prod", target=target, policy=policy)
    return ActionRecord(command=command, state=state, at=at, versions=(version,), by="u")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | STATES, st.integers(0, 60 * DAY)), max_size=12))
def test_reading_back_gives_the_same(changes: list[tuple[str, str | None, int]]) -> None:
    """A ledger that lived through all changes equals one that read the latest of each key."""
    lived, latest = Ledger(), dict[str, bytes | None]()
    for key, state, at in changes:
        made = None if state is None else record(state, at)
        lived.put(key, made)
        latest[key] = None if made is None else made.dump()
    read = Ledger()
    for key, value in latest.items():
        read.take(key, value)

    for key in "abc":
        assert lived.get(key) == read.get(key)
    command = record("", 0).command
    assert lived.barred(command) == read.barred(command)
    assert sorted(lived.expired(40 * DAY)) == sorted(read.expired(40 * DAY))


@pytest.mark.parametrize(
    ("state", "policy", "kept"),
    [
        ("done", "p", False),
        ("held", "p", False),
        ("undone", "p", True),
        ("undone", "", False),
        ("intent", "p", True),
    ],
)
def test_what_is_kept(state: str, policy: str, kept: bool) -> None:
    """After 31 days only what is under way, and what a policy must not repeat, is left."""
    ledger = Ledger()
    ledger.put("c", record(state, 0, policy))

    assert list(ledger.expired(31 * DAY - 1)) == []
    assert list(ledger.expired(31 * DAY)) == ([] if kept else ["c"])


def test_a_damaged_past_stops_the_partition() -> None:
    """What can't be read, or was written by a newer release, is not passed over."""
    for value in (b"{", b'{"v": 99}', b"[]"):
        with pytest.raises(Misconfigured, match="actions: c: "):
            Ledger().take("c", value)


def test_runs_are_apart() -> None:
    """A named run, a policy's day and commands by hand count apart, and by connector."""
    command = record("", 0).command
    keys = {
        run_key(command, "2026-01-01"), run_key(command, "2026-01-02"),
        run_key(command.model_copy(update={"run": "r"}), "2026-01-01"),
        run_key(command.model_copy(update={"policy": ""}), "2026-01-01"),
        run_key(command.model_copy(update={"connector": "other"}), "2026-01-01"),
    }  # fmt: skip
    assert len(keys) == 5
    ledger = Ledger()
    ledger.take(min(keys), ActionRun(count=3, at=0).dump())
    assert ledger.runs[min(keys)].count == 3


def test_texts_in_a_state() -> None:
    """A version is found wherever an action keeps it; long texts and large states are cut."""
    state = {"source": {"etag": "e1", "size": 3}, "tags": ["a", {"b": "c"}], "long": "x" * 300}

    assert set(strings(state)) == {"e1", "a", "c"}
    assert len(strings([str(n) for n in range(1000)])) == 64

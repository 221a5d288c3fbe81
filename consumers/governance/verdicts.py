"""How a command can end, and which error means which end."""

import asyncio
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from ingest.errors import Changed, Misconfigured, Missing, NotAllowed, Refused, Retry, SourceError
from ingest.log import redact
from ingest.provider import Step

State = Literal[
    "intent", "done", "planned", "refused", "failed", "held", "skipped", "undone", "unknown", "already"
]

UNKNOWN, SUCCESS, FAILURE, ABSENT, PARTIAL, UNSUPPORTED, ERROR, OTHER = 0, 1, 2, 3, 4, 5, 6, 99
"""OCSF's `status_id` of a remediation."""
AGAIN: Final = (Retry, OSError, asyncio.TimeoutError)
"""Errors after which another try may succeed, and after which it is open whether the call took effect."""


class Verdict(NamedTuple):
    """The end of a command: our word, OCSF's number, what was done, and the reason if it was not."""

    state: State
    status_id: int
    desc: str
    why: str = ""
    steps: tuple[str, ...] = ()


def done(steps: Sequence[str], *, undo: bool = False) -> Verdict:
    """Report what was carried out and verified."""
    said = "; ".join(steps) or "carried out before, verified now"
    return Verdict(
        "undone" if undo else "done", SUCCESS, f"undone: {said}" if undo else said, "", tuple(steps)
    )


def already() -> Verdict:
    """Report that the target was as wanted."""
    return Verdict("already", SUCCESS, "nothing to do: it is so already")


def planned(steps: Sequence[Step]) -> Verdict:
    """Report a dry run."""
    said = tuple(one.say for one in steps)
    return Verdict("planned", OTHER, f"dry run, would: {'; '.join(said)}", "", said)


def held(steps: Sequence[Step], cap: int, name: str) -> Verdict:
    """Report a command that waits for a person."""
    said = tuple(one.say for one in steps)
    why = f"the run has touched {cap} targets, its cap: look at them, then `sluice approve {name}`"
    return Verdict("held", OTHER, f"held back, would: {'; '.join(said)}", why, said)


def refused(why: str, status_id: int = FAILURE) -> Verdict:
    """Report that we, or the provider, will not do it."""
    return Verdict("refused", status_id, "nothing was done", why)


def skipped(why: str) -> Verdict:
    """Report a command that has lost its occasion."""
    return Verdict("skipped", OTHER, "nothing was done", why)


def unknown(why: str) -> Verdict:
    """Report that it can't be told whether the target was changed."""
    return Verdict("unknown", UNKNOWN, "it is unknown whether anything was changed", why)


def partial(finished: Sequence[str], left: Sequence[Step], why: str) -> Verdict:
    """Report that some of the steps were taken."""
    undone = "; ".join(one.say for one in left)
    return Verdict(
        "failed",
        PARTIAL,
        f"only in part: {'; '.join(finished)}",
        f"left to do: {undone}. {why}",
        tuple(finished),
    )


def failed(error: Exception) -> Verdict:
    """Judge an error of the provider, or one of ours on the way to it."""
    why = redact(str(error))[:500] or type(error).__name__
    match error:
        case Missing():
            return Verdict("failed", ABSENT, "nothing was done: the target does not exist", why)
        case Changed() | Refused():
            return refused(why)
        case NotAllowed():
            return refused(f"not allowed: {why}; `sluice status` shows which grant is missing")
        case Misconfigured():
            return Verdict("failed", ERROR, "nothing was done: the connector does not work", why)
        case SourceError() | OSError():
            return Verdict("failed", FAILURE, "it failed", why)
        case _:
            # What an unexpected error says may hold a record's content.
            return Verdict("failed", ERROR, "it failed", f"unexpected {type(error).__name__}; see the log")

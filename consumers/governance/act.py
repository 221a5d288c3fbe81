"""One command's way through the provider: look, plan, both durable, do each step, look again.

The same way serves a command that is new, one that was found half done after a crash, and one that is tried
again: it looks first and does what is left. Steps are idempotent, so toward the provider they happen at least
once. What an undo does is a plan as well, and goes the same way.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
import structlog

from consumers.governance import verdicts
from consumers.governance.verdicts import AGAIN, Verdict
from ingest.errors import Missing, Refused, SourceError
from ingest.producing import BrokenError
from ingest.provider import Action, Json, Provider, Ref, Step
from ingest.publish import StoppedError
from ingest.windows import now_ms
from schemas.control import ActionRecord, PlannedStep

FRESH: Final = 5.0
"""Seconds after the intent's commit within which a step may begin."""
_LOOKS: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 3.0)
"""Pauses in seconds between looks while the provider's readers catch up with its writers."""
_log = structlog.get_logger(part="governance")

Save = Callable[[ActionRecord], Awaitable[None]]
"""Makes a record durable in a transaction of its own; it fails if the partition is another's by now."""


class Tempo(NamedTuple):
    """Time, as tests may replace it: monotonic seconds, a pause, ms since 1970."""

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep
    now: Callable[[], int] = now_ms


class Preview(NamedTuple):
    """What an action would do, for a person to decide on; no steps: nothing is left to do."""

    steps: tuple[str, ...]
    irreversible: bool


async def preview(provider: Provider[Any], action: Action[Any], target: Ref, options: Json) -> Preview:
    """Look and plan without doing anything.

    Raises:
        SourceError: As the provider says (Missing, Refused, NotAllowed …).
    """
    state = plain(await action.look(provider, target, options or {}))
    return Preview(tuple(one.say for one in action.plan(state, options or {})), action.irreversible)


def plain(state: Json) -> Json:
    """Bring a state into the form it has after a crash, so that both ways are one."""
    return orjson.loads(orjson.dumps(state))


@dataclass
class Attempt:
    """Carries one command out, or takes one back (`undoing`: what was done then).

    `record` is what is durable. `allow` is asked before the first change and may hold the command back.
    """

    provider: Provider[Any]
    action: Action[Any]
    target: Ref
    options: Json
    record: ActionRecord
    save: Save
    tempo: Tempo
    undoing: ActionRecord | None = None
    dry_run: bool = False
    allow: Callable[[Sequence[Step]], Verdict | None] = lambda _steps: None
    seen: Json = None
    _saved: float = -math.inf

    async def run(self) -> Verdict:
        """Go the whole way, or what is left of it.

        Raises:
            Retry: And its kin in `AGAIN`: try again, or ask `give_up` for the verdict.
            StoppedError: The partition was handed over; nothing more was done.
        """
        try:
            return await self._run()
        except (*AGAIN, StoppedError, BrokenError):
            raise
        except Exception as error:  # noqa: BLE001 every failure of an action is an outcome
            return await self.give_up(error)

    async def _run(self) -> Verdict:
        begun = self.begun
        self.seen = plain(await self._look())
        steps = self._plan(self.seen)
        if begun:
            # What was done though its result was not kept is done, for the undo as well.
            left = {one.do for one in steps}
            done = {one.do: None for one in self.record.plan if one.do not in left}
            self.record = self.record.model_copy(update={"results": {**done, **self.record.results}})
            return await self._through(steps) if steps else self._finished()
        if not steps:
            return verdicts.already()
        if self.dry_run:
            return verdicts.planned(steps)
        if (hold := self.allow(steps)) is not None:
            return hold
        plan = tuple(PlannedStep(**one._asdict()) for one in steps)
        update = {"state": "intent", "before": self.seen, "plan": plan, "at": self.tempo.now()}
        await self._keep(self.record.model_copy(update=update))
        return await self._through(steps)

    @property
    def begun(self) -> bool:
        """Whether something may have been changed."""
        return self.record.state == "intent"

    async def _look(self) -> Json:
        return await self.action.look(self.provider, self.target, self.options)

    def _plan(self, state: Json) -> list[Step]:
        if self.undoing is None:
            return self.action.plan(state, self.options)
        steps = self.action.undo(self.undoing.before, state, self.undoing.results)
        if steps is None:
            raise Refused(f"{self.action.name} can't be undone")
        return steps

    async def _keep(self, record: ActionRecord) -> None:
        begun = self.tempo.clock()
        await self.save(record)
        self.record, self._saved = record, begun

    async def _through(self, steps: Sequence[Step]) -> Verdict:
        for step in steps:
            while self.tempo.clock() - self._saved >= FRESH:
                # After a freeze the partition may be another's: only a commit tells.
                await self._keep(self.record)
            result = plain(await self.action.do(self.provider, self.target, step))
            results = {**self.record.results, step.do: result}
            await self._keep(self.record.model_copy(update={"results": results}))
        for pause in (*_LOOKS, None):
            self.seen = plain(await self._look())
            left = self._plan(self.seen)
            if not left:
                break
            if pause is None:
                why = "the provider does not show the change after 10 seconds"
                return verdicts.partial(self._said(), left, why)
            await self.tempo.pause(pause)
        return self._finished()

    def _said(self) -> tuple[str, ...]:
        return tuple(one.say for one in self.record.plan if one.do in self.record.results)

    def _finished(self) -> Verdict:
        """Report success; a step whose result a crash swallowed was taken all the same."""
        return verdicts.done(tuple(one.say for one in self.record.plan), undo=self.undoing is not None)

    async def give_up(self, error: Exception) -> Verdict:
        """Judge an error that ends the command; once begun, what the provider shows decides.

        Raises:
            StoppedError: The partition was handed over.
        """
        if not isinstance(error, SourceError | OSError):
            _log.error("action failed", action=self.action.name, exc_info=error)
        if not self.begun:
            return verdicts.failed(error)
        try:
            self.seen = plain(await self._look())
            left = self._plan(self.seen)
        except Missing:
            if self.action.irreversible:
                return self._finished()
            return verdicts.unknown("the target does not exist any more")
        except Exception as again:  # noqa: BLE001 nothing can be read back: that is the answer
            return verdicts.unknown(verdicts.failed(error).why or type(again).__name__)
        if not left:
            return self._finished()
        verdict = verdicts.failed(error)
        return verdicts.partial(self._said(), left, verdict.why) if self.record.results else verdict

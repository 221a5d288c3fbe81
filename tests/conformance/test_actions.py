"""Every action of every provider, by the way governance carries it out: planned, done, verified, undone.

The record of an attempt is kept here instead of on a topic; `test_acting` shows that way once, on Kafka.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
from practice import Practised, Trial
from reading import Connected
from sites import PRACTICES, SITES
from tenants import ALWAYS, secrets_of

from consumers.governance.act import Attempt, Tempo, plain
from consumers.governance.verdicts import AGAIN, Verdict
from ingest.provider import Action, Json, Ref, Step
from schemas.control import ActionRecord, Command, Target

pytestmark = pytest.mark.slow

Case: TypeAlias = tuple[Practised, str]
NOBODY = ("../../nobody", "nobody-4711", "")


class Performance:
    """One target of an action, and what was kept of the attempts on it."""

    def __init__(self, one: Connected, name: str, target: Ref, options: Json) -> None:
        self.one, self.target, self.options = one, target, options
        self.action: Action[Any] = next(each for each in one.provider.actions if each.name == name)
        self.kept: list[ActionRecord] = []

    async def attempt(self, *, dry_run: bool = False, undoing: ActionRecord | None = None) -> Verdict:
        """Carry it out, or take it back; an error to try again after is judged as after the last try."""
        self.kept = []

        async def save(record: ActionRecord) -> None:
            self.kept.append(ActionRecord.load(record.dump()))

        command = Command(
            id="c1", connector="judged", action=self.action.name, target=Target(**self.target._asdict()),
            asked_at=0,
        )  # fmt: skip
        clock = self.one.clock
        attempt = Attempt(
            self.one.provider, self.action, self.target, self.options or {},
            ActionRecord(command=command, state=""), save, Tempo(pause=clock.sleep), undoing, dry_run,
        )  # fmt: skip

        async def run() -> Verdict:
            try:
                return await attempt.run()
            except AGAIN as error:
                return await attempt.give_up(error)

        return await clock.drive(run())

    async def look(self) -> Json:
        """Read the state."""

        async def looked() -> Json:
            return await self.action.look(self.one.provider, self.target, self.options or {})

        return await self.one.clock.drive(looked())

    async def do_twice(self, steps: Sequence[Step]) -> dict[str, Json]:
        """Do each step and once more, as after a crash, and give the first results."""

        async def done() -> dict[str, Json]:
            found: dict[str, Json] = {}
            for step in steps:
                found[step.do] = plain(await self.action.do(self.one.provider, self.target, step))
                await self.action.do(self.one.provider, self.target, step)
            return found

        return await self.one.clock.drive(done())


async def performed(acted: Case, *, refused: bool = False) -> tuple[Performance, Trial]:
    """Find a target to try an action on."""
    practised, name = acted
    trial = practised.practice.trials[name]
    find = trial.refused if refused else trial.find
    assert find is not None
    target, options = await find(practised.practice)
    return Performance(await practised.by(trial.sign_in), name, target, options), trial


async def test_there_and_back(acted: Case) -> None:
    """A dry run and a second call change nothing, what was done is read back, undo restores what was."""
    practice = acted[0].practice
    it, trial = await performed(acted)
    untouched = await practice.changes()
    dry = await it.attempt(dry_run=True)
    assert (dry.state, it.kept, await practice.changes()) == ("planned", [], untouched), dry
    assert dry.steps

    done = await it.attempt()
    assert done.state == "done", done
    record = it.kept[-1]
    assert [one.state for one in it.kept] == ["intent"] * len(it.kept)
    assert (it.kept[0].results, it.kept[0].before) == ({}, record.before)
    assert set(record.results) == {one.do for one in record.plan}
    assert len(record.dump()) < 100_000
    changed = await practice.changes()
    assert changed != untouched

    assert (await it.attempt()).state == "already"
    assert (it.kept, await practice.changes()) == ([], changed)

    back = await it.attempt(undoing=record)
    if it.action.irreversible:
        assert back.state == "refused", back
        assert "can't be undone" in back.why
        assert await practice.changes() == changed
        return
    assert back.state == "undone", back
    assert trial.kept(plain(await it.look())) == trial.kept(record.before)
    changed = await practice.changes()
    assert (await it.attempt(undoing=record)).state == "already"
    assert await practice.changes() == changed


async def test_a_step_done_twice_is_as_once(acted: Case) -> None:
    """Each step may be done again after a crash, there and back: what is read back is as if done once."""
    it, trial = await performed(acted)
    before = plain(await it.look())
    results = await it.do_twice(it.action.plan(before, it.options or {}))
    state = plain(await it.look())
    assert it.action.plan(state, it.options or {}) == []
    back = it.action.undo(before, state, results)
    assert (back is None) is it.action.irreversible
    if back is not None:
        await it.do_twice(back)
        now = plain(await it.look())
        assert it.action.undo(before, now, results) == []
        assert trial.kept(now) == trial.kept(before)


async def test_a_target_that_is_none(acted: Case) -> None:
    """What does not exist, or is no id, is an outcome that says so; nothing is changed."""
    practice = acted[0].practice
    it, _ = await performed(acted)
    untouched = await practice.changes()
    for uid in NOBODY:
        it.target = it.target._replace(id=uid, data=None)
        verdict = await it.attempt()
        assert verdict.state in {"refused", "failed"}, (uid, verdict)
        assert "unexpected" not in verdict.why
        assert verdict.why
    assert (it.kept, await practice.changes()) == ([], untouched)


async def test_a_refusal_is_an_outcome(refusable: Case) -> None:
    """What the provider would decline, or we, ends in a refusal with its reason, and nothing is changed."""
    practice = refusable[0].practice
    it, _ = await performed(refusable, refused=True)
    untouched = await practice.changes()
    for dry_run in (True, False):
        verdict = await it.attempt(dry_run=dry_run)
        # Some refusals are the provider's own, which only the change itself meets.
        assert verdict.state == "refused" or (dry_run and verdict.state == "planned"), verdict
        assert bool(verdict.why) is (verdict.state == "refused")
        assert await practice.changes() == untouched


async def test_what_is_forbidden_is_an_outcome(acted: Case) -> None:
    """Permissions that are missing end in a refusal that shows no secret."""
    practice = acted[0].practice
    it, trial = await performed(acted)
    site, untouched = practice.sites[trial.sign_in], await practice.changes()
    await site.fault("403", ALWAYS)
    try:
        verdict = await it.attempt()
    finally:
        await site.heal()
    assert verdict.state in {"refused", "failed"}, verdict
    assert verdict.why
    assert await practice.changes() == untouched
    for secret in (*site.issued(), *secrets_of(site.settings)):
        assert secret not in f"{verdict}"


@pytest.mark.parametrize("name", sorted(PRACTICES))
def test_every_action_and_hook_is_tried(name: str) -> None:
    """A practice has a sample for each action, and a caller for each hook."""
    practice, kind = PRACTICES[name], SITES[name].kind
    assert set(practice.trials) == {action.name for action in kind.actions}
    assert set(practice.guarded) == set(kind.hooks())

"""A process may die anywhere: the next one brings each command to exactly one outcome."""

from typing import Any

import pytest

from consumers.governance.asking import act, approve, undo


async def through(line: Any, command: Any, crash: type[BaseException], at: int) -> bool:
    """Send a command, dying at the n-th place; then again in a new process unless it was done."""
    line.world.app.fuse.left = at
    died = False
    try:
        await line.send(command)
    except crash:
        died = True
        line.restart()
        if line.world.app.fuse.passed[-1] != "after results":
            await line.send(command)
    line.world.app.fuse.left = None
    return died


@pytest.mark.parametrize("at", range(20))
async def test_dying_anywhere_while_doing_and_undoing(line: Any, world: Any, makers: Any, at: int) -> None:
    """Whatever the place, the file ends up away, then back; each command has one outcome."""
    command = act("prod", "quarantine", makers.target(), dry_run=False, run="r", cap=5)

    await through(line, command, makers.crash, at)

    assert world.app.files[makers.file] == "away"
    assert [one["unmapped"]["state"] for one in line.outcomes] == ["done"]
    assert line.record(command.id)["before"] == {"at": "open", "copy": False, "etag": "e1"}
    assert line.record("@run/prod/r")["count"] == 1

    await through(line, undo("prod", command.id), makers.crash, at)

    assert world.app.files[makers.file] == "open"
    assert world.app.copies == set()
    assert [one["unmapped"]["state"] for one in line.outcomes] == ["done", "undone"]


@pytest.mark.parametrize("at", range(16))
async def test_dying_while_deleting_for_good(line: Any, world: Any, makers: Any, at: int) -> None:
    """That the target is gone after our intent is the proof that it is deleted."""
    command = act("prod", "delete", makers.target(), dry_run=False, irreversible=True)

    await through(line, command, makers.crash, at)

    assert [one["unmapped"]["state"] for one in line.outcomes] == ["done"]
    assert world.app.files == {}


@pytest.mark.parametrize("at", range(16))
async def test_dying_while_approved(line: Any, world: Any, makers: Any, at: int) -> None:
    """An approval that was under way goes on, and counts once."""
    world.app.files = dict.fromkeys("ab", "open")
    first, second = (
        act("prod", "quarantine", makers.target(name), dry_run=False, run="r", cap=1) for name in "ab"
    )
    await line.send(first)
    await line.send(second)

    await through(line, approve("prod", second.id), makers.crash, at)

    assert [one["unmapped"]["state"] for one in line.outcomes] == ["done", "held", "done"]
    assert world.app.files["b"] == "away"
    assert line.record("@run/prod/r")["count"] == 2


async def test_all_places_are_tried(line: Any, world: Any, makers: Any) -> None:
    """The ranges above reach beyond the last place there is."""
    await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    assert 10 <= len(world.app.fuse.passed) < 20


async def test_a_half_done_command_of_a_lost_connector_is_unknown(line: Any, world: Any, makers: Any) -> None:
    """What was begun and can't be read back is not called skipped."""
    command = act("prod", "quarantine", makers.target(), dry_run=False)
    world.app.fuse.left = 3
    with pytest.raises(makers.crash):
        await line.send(command)
    line.restart()
    world.connect(enabled=False)

    assert (await line.send(command)).state == "unknown"


async def test_a_half_done_command_on_a_lost_target_is_unknown(line: Any, world: Any, makers: Any) -> None:
    """Where somebody else may have removed the target, it can't be told what our step did."""
    command = act("prod", "quarantine", makers.target(), dry_run=False)
    world.app.fuse.left = 4
    with pytest.raises(makers.crash):
        await line.send(command)
    line.restart()
    world.app.files.clear()

    assert (await line.send(command)).state == "unknown"


async def test_a_job_starts_from_nothing_when_it_is_used_again(line: Any, world: Any, makers: Any) -> None:
    """After `close` only what is read back counts."""
    command = act("prod", "quarantine", makers.target(), dry_run=False)
    await line.send(command)
    await line.job.close()
    line.job.ready(line._intent)

    outcome = await line.send(command)

    assert outcome is not None
    assert outcome.state == "already"

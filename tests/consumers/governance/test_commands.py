"""Commands from start to end: done, refused, held, approved, undone, and once only."""

import asyncio
from typing import Any

import pytest

from consumers.governance.act import preview
from consumers.governance.asking import act, approve, undo
from ingest.errors import (
    Changed,
    Misconfigured,
    Missing,
    NotAllowed,
    Refused,
    Retry,
    SignInAgain,
)
from ingest.provider import Ref
from ingest.publish import StoppedError
from schemas.control import Command


async def test_carries_out_and_verifies(line: Any, world: Any, makers: Any, official: Any) -> None:
    """Both steps are done, the prior state is kept, the outcome fits the official schema."""
    command = act("prod", "quarantine", makers.target(), dry_run=False)

    outcome = await line.send(command)

    assert (outcome.state, outcome.steps) == ("done", ("copy it", "move it away"))
    assert outcome.command == command.id
    assert world.app.files[makers.file] == "away"
    (made,) = line.outcomes
    assert official(made) == []
    assert (made["class_uid"], made["activity_id"], made["status_id"]) == (7002, 1, 1)
    assert made["file"]["uid"] == made["unmapped"]["target"]["id"] == makers.file
    assert line.record(command.id)["before"] == {"at": "open", "copy": False, "etag": "e1"}


async def test_the_intent_is_durable_before_the_first_call(line: Any, world: Any, makers: Any) -> None:
    """The first thing written holds prior state and plan; each result follows in a commit of its own."""
    await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    places = [place for place in world.app.fuse.passed if "commit" in place or "before" in place]
    assert places[:3] == ["before commit", "after commit", "before copy"]
    assert line.intents == 3


async def test_a_dry_run_changes_nothing(line: Any, world: Any, makers: Any, official: Any) -> None:
    """A dry run only looks, and says what it would do."""
    outcome = await line.send(act("prod", "quarantine", makers.target()))

    assert (outcome.state, outcome.steps) == ("planned", ("copy it", "move it away"))
    assert outcome.dry_run
    assert world.app.done == []
    assert line.intents == 0
    assert official(line.outcomes[0]) == []


async def test_the_same_command_twice_is_one(line: Any, world: Any, makers: Any) -> None:
    """A command that comes again makes no second outcome, in this process or the next."""
    command = act("prod", "quarantine", makers.target(), dry_run=False)
    await line.send(command)

    assert await line.send(command) is None
    line.restart()
    assert await line.send(command) is None
    assert len(line.outcomes) == 1
    assert len(world.app.done) == 2


async def test_what_is_so_already_is_left_alone(line: Any, world: Any, makers: Any) -> None:
    """Another command for what is done finds an empty plan."""
    world.app.files[makers.file] = "away"

    outcome = await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    assert (outcome.state, outcome.good) == ("already", True)
    assert world.app.done == []


@pytest.mark.parametrize(
    ("error", "state", "status"),
    [
        (Missing("it is gone"), "failed", 3),
        (Changed("a newer version is there"), "refused", 2),
        (Refused("a lock holds it"), "refused", 2),
        (NotAllowed("s3:PutObject"), "refused", 2),
        (Misconfigured("the role is gone"), "failed", 6),
        (SignInAgain("401"), "failed", 2),
        (KeyError("Secret content"), "failed", 6),
    ],
)
async def test_a_refusal_is_an_outcome(
    line: Any, world: Any, makers: Any, official: Any, error: Exception, state: str, status: int
) -> None:
    """What the provider says on looking ends the command, and nothing else."""
    world.app.look_faults = [error]

    outcome = await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    assert (outcome.state, line.outcomes[0]["status_id"]) == (state, status)
    assert "Secret content" not in str(line.outcomes[0])
    assert official(line.outcomes[0]) == []
    assert world.app.done == []


async def test_a_refused_second_step_is_partial(line: Any, world: Any, makers: Any, official: Any) -> None:
    """Where one step was done and the next refused, the outcome says what is left; it can be undone."""
    moved = world.app.do

    async def refuses(name: str, step: str, change: Any) -> None:
        if step == "move":
            raise Refused("a lock holds it")
        await moved(name, step, change)

    world.app.do = refuses
    command = act("prod", "quarantine", makers.target(), dry_run=False)

    outcome = await line.send(command)

    assert (outcome.state, line.outcomes[0]["status_id"]) == ("failed", 4)
    assert outcome.desc == "only in part: copy it"
    assert "left to do: move it away" in outcome.why
    assert official(line.outcomes[0]) == []
    assert (await line.send(undo("prod", command.id))).state == "undone"
    assert world.app.copies == set()


async def test_a_user_is_remediation_activity(line: Any, world: Any, makers: Any, official: Any) -> None:
    """What is no file is class 7001, with its target among the observables."""
    world.app.files["u1"] = "open"

    outcome = await line.send(act("prod", "suspend", makers.target("u1", "user"), dry_run=False))

    assert (outcome.state, outcome.why) == ("refused", "the last admin can't be suspended")
    (made,) = line.outcomes
    assert (made["class_uid"], made["activity_id"]) == (7001, 2)
    assert made["observables"] == [{"type_id": 31, "name": "unmapped.target.id", "value": "u1"}]
    assert official(made) == []


async def test_patience_is_bounded(line: Any, world: Any, makers: Any) -> None:
    """A provider that never answers is asked five times, then the command has failed."""
    world.app.look_faults = [Retry("throttled") for _ in range(5)]

    outcome = await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    assert (outcome.state, outcome.why, line.retries) == ("failed", "throttled", 4)


async def test_a_time_out_that_took_effect_is_done(line: Any, world: Any, makers: Any) -> None:
    """A call that was lost on its way back is seen to have worked by looking."""
    kept = world.app.do

    async def loses(name: str, step: str, change: Any) -> None:
        await kept(name, step, change)
        if step == "move":
            raise TimeoutError

    world.app.do = loses

    outcome = await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    assert outcome.state == "done"
    assert world.app.done == [f"copy {makers.file}", f"move {makers.file}"]


async def test_what_cannot_be_read_back_is_unknown(line: Any, world: Any, makers: Any, official: Any) -> None:
    """After a lost call, a provider that can't be read leaves it open; an undo is still possible."""
    world.app.faults = [TimeoutError() for _ in range(5)]
    look, count = world.app.look, 0

    def blind(name: str) -> dict[str, Any]:
        nonlocal count
        count += 1
        if count > 1:
            raise TimeoutError
        state: dict[str, Any] = look(name)
        return state

    world.app.look = blind
    command = act("prod", "quarantine", makers.target(), dry_run=False)

    outcome = await line.send(command)

    assert (outcome.state, line.outcomes[0]["status_id"]) == ("unknown", 0)
    assert official(line.outcomes[0]) == []
    assert line.record(command.id)["before"]["at"] == "open"


async def test_waits_for_eventual_consistency(line: Any, world: Any, makers: Any) -> None:
    """A change that is not shown at once is looked for again; ten seconds later it counts as not done."""
    world.app.stale = 3
    assert (await line.send(act("prod", "quarantine", makers.target(), dry_run=False))).state == "done"
    assert world.clock.pauses == [0.25, 0.5, 1.0]

    world.app.files["b"], world.app.stale, world.clock.pauses = "open", 99, []
    outcome = await line.send(act("prod", "quarantine", makers.target("b"), dry_run=False))
    assert (outcome.state, line.outcomes[-1]["status_id"]) == ("failed", 4)
    assert sum(world.clock.pauses) == pytest.approx(9.75)


async def test_deleting_for_good_needs_a_word(line: Any, world: Any, makers: Any, official: Any) -> None:
    """Without `--irreversible` it is refused; with it, what is gone is the proof; there is no undo."""
    target = makers.target()
    refused = await line.send(act("prod", "delete", target, dry_run=False))
    assert refused.state == "refused"
    assert "--irreversible" in refused.why
    assert (await line.send(act("prod", "delete", target))).state == "planned"

    command = act("prod", "delete", target, dry_run=False, irreversible=True)
    done = await line.send(command)
    assert (done.state, line.outcomes[-1]["activity_id"]) == ("done", 2)
    assert world.app.files == {}

    world.app.files[makers.file] = "open"
    back = await line.send(undo("prod", command.id))
    assert (back.state, back.why) == ("refused", "delete can't be undone")
    assert all(official(one) == [] for one in line.outcomes)


async def test_a_policy_never_deletes_for_good(line: Any, world: Any, makers: Any) -> None:
    """A command that claims a policy and irreversibility is refused."""
    world.rule()
    command = act("prod", "delete", makers.target(), dry_run=False, irreversible=True)

    outcome = await line.send(command.model_copy(update={"policy": "rule"}))

    assert outcome.state == "refused"
    assert makers.file in world.app.files


@pytest.mark.parametrize("how", ["removed", "removing", "disabled", "elsewhere"])
async def test_skips_what_is_not_connected(
    line: Any, world: Any, makers: Any, official: Any, how: str
) -> None:
    """A connector that is gone, going, off or in another partition is left alone, and the outcome says so."""
    match how:
        case "removed":
            world.wishes.clear()
        case "removing":
            world.connect(removing=True)
        case "disabled":
            world.connect(enabled=False)
        case _:
            world.wishes["prod"] = world.wishes["prod"].model_copy(update={"partition": 1})

    outcome = await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    assert outcome.state == "skipped"
    assert world.app.looks == 0
    assert line.retries == 2
    assert official(line.outcomes[0]) == []


async def test_an_unknown_action_is_unsupported(line: Any, makers: Any, official: Any) -> None:
    """What the provider can't do is said as such."""
    outcome = await line.send(act("prod", "teleport", makers.target(), dry_run=False))

    assert (outcome.state, line.outcomes[0]["status_id"]) == ("refused", 5)
    assert "teleport" in outcome.why
    assert official(line.outcomes[0]) == []


async def test_a_connector_that_does_not_work(line: Any, world: Any, makers: Any) -> None:
    """Settings that don't work end the command with what to fix; a busy one is asked again."""
    world.lent = [Retry("busy"), Misconfigured("the key that sealed them is missing")]

    outcome = await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    assert (outcome.state, outcome.why) == ("failed", "the key that sealed them is missing")
    assert line.retries == 1


@pytest.mark.parametrize("name", ["", "@position/commands", "@run/prod/x", "a/b", "a b", "x" * 129])
async def test_an_id_cannot_reach_other_records(line: Any, makers: Any, name: str) -> None:
    """Ids share a topic with positions and counts, so only plain ones are taken."""
    command = act("prod", "quarantine", makers.target()).model_copy(update={"id": name})

    with pytest.raises(ValueError, match="plain characters"):
        await line.send(command)


# ---- undo


async def test_undo_brings_back(line: Any, world: Any, makers: Any, official: Any) -> None:
    """An undo restores the prior state, verifies it, and drops what was kept; a second one finds it so."""
    command = act("prod", "quarantine", makers.target(), dry_run=False)
    await line.send(command)
    line.restart()

    dry = await line.send(undo("prod", command.id, dry_run=True))
    assert (dry.state, dry.steps) == ("planned", ("bring it back", "drop the copy"))
    back = await line.send(undo("prod", command.id))

    assert (back.state, back.of, back.action) == ("undone", command.id, "quarantine")
    assert world.app.files[makers.file] == "open"
    assert world.app.copies == set()
    assert line.outcomes[-1]["activity_id"] == 3
    assert line.outcomes[-1]["metadata"]["correlation_uid"] == command.id
    assert official(line.outcomes[-1]) == []
    kept = line.record(command.id)
    assert (kept["state"], "before" in kept) == ("undone", False)
    assert (await line.send(undo("prod", command.id))).state == "already"


async def test_undo_of_what_never_was(line: Any, makers: Any) -> None:
    """An unknown id, a dry run and a refusal have nothing to take back."""
    dry = act("prod", "quarantine", makers.target())
    await line.send(dry)

    assert "nothing is known of nope" in (await line.send(undo("prod", "nope"))).why
    outcome = await line.send(undo("prod", dry.id))
    assert (outcome.state, "changed nothing" in outcome.why) == ("refused", True)


async def test_undo_keeps_off_another_account(line: Any, world: Any, makers: Any) -> None:
    """A name that is connected to another account by now does not get the old account's undo."""
    command = act("prod", "quarantine", makers.target(), dry_run=False)
    await line.send(command)
    world.wishes["prod"] = world.wishes["prod"].model_copy(update={"instance": "i2"})

    outcome = await line.send(undo("prod", command.id))

    assert (outcome.state, "another account" in outcome.why) == ("skipped", True)
    assert world.app.files[makers.file] == "away"


async def test_prior_state_is_kept_for_thirty_days(line: Any, world: Any, makers: Any) -> None:
    """After the undo period the undo is refused, and on the next chance the record is deleted."""
    day = 86_400_000
    command = act("prod", "quarantine", makers.target(), dry_run=False)
    await line.send(command)

    world.clock.at += 30 * day + 1
    assert "older than 30 days" in (await line.send(undo("prod", command.id))).why
    assert line.record(command.id) is not None
    world.clock.at += day
    await line.send(undo("prod", "nope"))
    assert line.record(command.id) is None


# ---- the cap


def capped(makers: Any, name: str, **more: Any) -> Command:
    """Make a command of a run that may touch two targets."""
    return act("prod", "quarantine", makers.target(name), dry_run=False, run="r1", cap=2, **more)


async def test_the_cap_holds_and_approval_goes_on(line: Any, world: Any, makers: Any, official: Any) -> None:
    """The third target of the run is held, also by the next process; approved, it is done."""
    world.app.files = dict.fromkeys("abcd", "open")
    states = [(await line.send(capped(makers, name))).state for name in "ab"]
    line.restart()
    third = capped(makers, "c")
    held = await line.send(third)

    assert states == ["done", "done"]
    assert (held.state, held.steps) == ("held", ("copy it", "move it away"))
    assert f"sluice approve {third.id}" in held.why
    assert world.app.files["c"] == "open"
    assert line.record("@run/prod/r1")["count"] == 2

    line.restart()
    go = approve("prod", third.id)
    done = await line.send(go)
    assert (done.state, done.of, world.app.files["c"]) == ("done", third.id, "away")
    assert (await line.send(approve("prod", third.id))).state == "refused"
    assert (await line.send(capped(makers, "d"))).state == "held"
    assert (await line.send(undo("prod", go.id))).state == "undone"
    assert world.app.files["c"] == "open"
    assert all(official(one) == [] for one in line.outcomes)


async def test_the_count_is_in_the_intent(line: Any, world: Any, makers: Any) -> None:
    """Count and intent are one transaction; what was done already or only planned does not count."""
    world.app.files = {"a": "away", "b": "open", "c": "open"}
    await line.send(capped(makers, "a"))
    await line.send(capped(makers, "b").model_copy(update={"dry_run": True}))
    assert line.record("@run/prod/r1") is None

    await line.send(capped(makers, "c"))

    first = next(one for one in line.commits if any(b"intent" in (r.value or b"") for r in one))
    assert {record.key.decode() for record in first if record.key.startswith(b"@run")} == {"@run/prod/r1"}
    assert line.record("@run/prod/r1")["count"] == 1


async def test_a_run_ends_with_the_day(line: Any, world: Any, makers: Any) -> None:
    """A policy's run is its day; counts are forgotten two days later."""
    world.rule()
    world.app.files = dict.fromkeys("ab", "open")

    async def send(name: str) -> str:
        command = act("prod", "quarantine", makers.target(name), dry_run=False, cap=1)
        state: str = (await line.send(command.model_copy(update={"policy": "rule"}))).state
        return state

    assert [await send("a"), await send("b")] == ["done", "held"]
    world.clock.at += 86_400_000
    world.app.files["c"] = "open"
    assert await send("c") == "done"
    runs = [key for key, value in line.state.items() if key.startswith(b"@run") and value]
    assert len(runs) == 2
    world.clock.at += 2 * 86_400_000
    await send("c")
    runs = [key for key, value in line.state.items() if key.startswith(b"@run") and value]
    assert runs == []


# ---- freezes


async def test_a_freeze_between_intent_and_call(line: Any, world: Any, makers: Any) -> None:
    """A process that slept after its commit proves first that it still owns the partition."""
    passed = world.app.fuse.burn

    def burn(place: str) -> None:
        passed(place)
        if place == "after commit" and line.intents == 1:
            world.clock.seconds += 60.0

    world.app.fuse.burn = burn

    assert (await line.send(act("prod", "quarantine", makers.target(), dry_run=False))).state == "done"
    before = world.app.fuse.passed[: world.app.fuse.passed.index("before copy")]
    assert before.count("after commit") == 2


async def test_a_freeze_in_which_the_partition_was_lost(line: Any, world: Any, makers: Any) -> None:
    """Another process took over while we slept: our commit is fenced, and no call is made."""
    passed = world.app.fuse.burn

    def burn(place: str) -> None:
        passed(place)
        if place == "after commit":
            world.clock.seconds += 60.0
        if place == "before commit" and world.clock.seconds:
            raise StoppedError

    world.app.fuse.burn = burn
    command = act("prod", "quarantine", makers.target(), dry_run=False)

    with pytest.raises(StoppedError):
        await line.send(command)

    assert world.app.done == []
    assert (line.outcomes, line.record(command.id)["state"]) == ([], "intent")


async def test_a_state_too_large_to_keep(line: Any, world: Any, makers: Any) -> None:
    """What could not be undone, as its prior state does not fit into a record, is not begun."""
    world.app.look = lambda _name: {"at": "open", "copy": False, "pad": "x" * 1_000_000}

    outcome = await line.send(act("prod", "quarantine", makers.target(), dry_run=False))

    assert (outcome.state, "too large" in outcome.why) == ("refused", True)
    assert world.app.done == []


async def test_preview_only_looks(world: Any, makers: Any) -> None:
    """What a person is asked about is the plan, and whether there is a way back."""
    provider = makers.memory(world.app)
    ref = Ref("file", makers.file)

    assert await preview(provider, provider.actions[0], ref, None) == (("copy it", "move it away"), False)
    assert (await preview(provider, provider.actions[1], ref, None)).irreversible
    assert world.app.done == []


async def test_cancelled_work_is_no_outcome(line: Any, world: Any, makers: Any) -> None:
    """A hand-over in the middle of a step leaves the intent, and nothing else."""
    world.app.gate = asyncio.Event()
    command = act("prod", "quarantine", makers.target(), dry_run=False)
    task = asyncio.create_task(line.send(command))
    await world.app.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert line.outcomes == []
    assert line.record(command.id)["state"] == "intent"

"""Policies meet events: which commands follow, once, and never against what a person took back."""

from typing import Any

import pytest

from consumers.governance.asking import undo
from schemas.control import Wish


async def test_a_public_file_is_quarantined(line: Any, world: Any, makers: Any) -> None:
    """The event becomes a command in the connector's partition, and that an outcome with its cause."""
    world.rule()
    world.wishes["prod"] = world.wishes["prod"].model_copy(update={"partition": 0})

    (command,) = await line.see(makers.shared(), "files")
    outcome = await line.send(command)

    assert (line.commands[0].partition, line.commands[0].key) == (0, b"prod")
    assert (command.target.id, command.target.version, command.target.data) == (makers.file, "e1", None)
    assert (outcome.state, outcome.policy) == ("done", "rule")
    assert line.outcomes[0]["metadata"]["correlation_uid"] == command.cause


@pytest.mark.parametrize(
    ("exposure", "wanted", "count"),
    [
        ("public", "public", 1),
        ("external", "public", 0),
        ("public", "external", 1),
        ("internal", "external", 0),
        ("private", "private", 1),
        ("no such word", "private", 0),
    ],
)
async def test_exposure_at_least(
    line: Any, world: Any, makers: Any, exposure: str, wanted: str, count: int
) -> None:
    """A policy means its word and all wider ones."""
    world.rule(match={"on": "file", "exposure": wanted})

    assert len(await line.see(makers.shared(exposure=exposure), "files")) == count


@pytest.mark.parametrize(
    ("match", "said", "count"),
    [
        ({}, {}, 1),
        ({"detectors": ("us_ssn", "iban")}, {}, 1),
        ({"detectors": ("iban",)}, {}, 0),
        ({"min_confidence": 75}, {"confidence": 75}, 1),
        ({"min_confidence": 85}, {"confidence": 75}, 0),
        ({"min_count": 4}, {"count": 3}, 0),
        ({"min_count": 3}, {"count": 3}, 1),
        ({"min_count": 1}, {"count": None}, 0),
        ({"connectors": ("prod",)}, {}, 1),
        ({"connectors": ("memory",)}, {}, 1),
        ({"connectors": ("other",)}, {}, 0),
        ({"name": "*.csv"}, {}, 1),
        ({"name": "arn:aws:s3:::data/*"}, {}, 1),
        ({"name": "*.pdf"}, {}, 0),
        ({}, {"activity": 3}, 0),
        ({}, {"activity": 2}, 1),
        ({}, {"target": "not an object"}, 0),
    ],
)
async def test_findings(
    line: Any, world: Any, makers: Any, match: dict[str, Any], said: dict[str, Any], count: int
) -> None:
    """Each filter lets pass what it names; closed findings ask for nothing."""
    world.rule(match={"on": "finding", **match})

    assert len(await line.see(makers.finding(**said), "findings")) == count


async def test_a_finding_asks_once(line: Any, world: Any, makers: Any) -> None:
    """A finding that is updated by a rescan has the same command; another version has another."""
    world.rule(match={"on": "finding"})

    first = await line.see(makers.finding(), "findings")
    again = await line.see(makers.finding(activity=2), "findings")
    newer = await line.see(makers.finding(version="e2"), "findings")

    assert first[0].id == again[0].id
    assert newer[0].id != first[0].id
    await line.send(first[0])
    assert await line.send(again[0]) is None


async def test_a_dry_policy_does_not_stand_in_the_way(line: Any, world: Any, makers: Any) -> None:
    """What a policy only planned it does once it is switched on; what it lost is skipped."""
    world.rule(match={"on": "finding"}, dry_run=True)
    (dry,) = await line.see(makers.finding(), "findings")
    assert (await line.send(dry)).state == "planned"

    world.rule(match={"on": "finding"})
    (real,) = await line.see(makers.finding(activity=2), "findings")
    world.policies.clear()

    outcome = await line.send(real)

    assert real.id != dry.id
    assert (outcome.state, "does not ask for it any more" in outcome.why) == ("skipped", True)
    assert world.app.done == []


async def test_undone_on_purpose_stays_undone(line: Any, world: Any, makers: Any) -> None:
    """The echo of an undo does not start the policy again, now or in the next process; a new version does."""
    world.rule()
    (command,) = await line.see(makers.shared(), "files")
    await line.send(command)
    await line.see(makers.shared(exposure="private"), "files")
    back = undo("prod", command.id)
    await line.send(back)

    for _ in range(2):
        (echo,) = await line.see(makers.shared(), "files")
        outcome = await line.send(echo)
        assert (outcome.state, outcome.why) == ("skipped", f"it was undone on purpose by {back.id}")
        line.restart()
    assert world.app.files[makers.file] == "open"

    world.clock.at += 365 * 86_400_000
    await line.send(undo("prod", "nope"))
    line.restart()
    (late,) = await line.see(makers.shared(), "files")
    assert (await line.send(late)).state == "skipped"
    (newer,) = await line.see(makers.shared(version="e2"), "files")
    assert (await line.send(newer)).state == "done"


async def test_shared_again_is_acted_on_again(line: Any, world: Any, makers: Any) -> None:
    """Nobody took it back: a file that somebody opens anew is put away anew; our own echo changes nothing."""
    world.rule()
    (command,) = await line.see(makers.shared(), "files")
    await line.send(command)
    (echo,) = await line.see(makers.shared(), "files")
    assert (await line.send(echo)).state == "already"

    world.app.files[makers.file] = "open"
    (again,) = await line.see(makers.shared(), "files")

    assert (await line.send(again)).state == "done"


async def test_what_waits_for_approval_waits_once(line: Any, world: Any, makers: Any) -> None:
    """Further events about a held target make no second command to approve."""
    world.rule(cap=1)
    world.app.files["x"] = "open"
    for name in (makers.file, "x"):
        (command,) = await line.see(makers.shared(name), "files")
        await line.send(command)
    (again,) = await line.see(makers.shared("x"), "files")

    outcome = await line.send(again)

    assert (outcome.state, outcome.why) == ("skipped", f"the same waits for approval as {command.id}")


async def test_containers_and_files_are_told_apart(line: Any, world: Any, makers: Any) -> None:
    """An action on containers is for those alone; others reach them only if the policy names the type."""
    bucket = makers.shared("arn:aws:s3:::data", kind="bucket", version="")
    world.rule("files")
    world.rule("locks", action="lock")

    assert [one.action for one in await line.see(bucket, "files")] == ["lock"]
    assert [one.action for one in await line.see(makers.shared(), "files")] == ["quarantine"]
    assert await line.see(makers.shared("a/", kind="folder"), "files") == []
    world.rule("files", match={"on": "file", "exposure": "public", "types": ("bucket",)})
    both = await line.see(makers.shared("arn:aws:s3:::data", kind="bucket", version=""), "files")
    assert [(one.action, one.target.kind) for one in both] == [("quarantine", "file"), ("lock", "space")]


async def test_an_unknown_source_is_waited_for_and_passed_over(line: Any, world: Any, makers: Any) -> None:
    """A fresh event waits for its connector to be known; an old one does not."""
    world.rule()
    world.wishes.clear()

    assert await line.see(makers.shared(), "files") == []
    assert line.retries == 2
    assert await line.see(makers.shared(), "files", at=makers.now - 120_000) == []
    assert line.retries == 2


async def test_other_tenants_and_disabled_connectors_are_left_alone(
    line: Any, world: Any, makers: Any
) -> None:
    """An event meets only its own tenant's connector, and only while that is on."""
    world.rule()
    world.wishes = {"other": Wish(**{**world.wishes["prod"].model_dump(), "name": "other", "tenant": "b"})}
    assert await line.see(makers.shared(), "files", at=0) == []
    world.connect(enabled=False)
    assert await line.see(makers.shared(), "files", at=0) == []

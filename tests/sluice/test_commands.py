"""The command line against the real Kafka, as a process."""

import asyncio
import base64
import json
import os
import pty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumers.governance import verdicts
from consumers.governance.outcomes import origin, outcome, record
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Place, read_to_end
from ingest.producing import Outgoing, Transactions
from ingest.provider import Step
from schemas.control import Command, DeadLetter, Inbox, Status, Wish
from sluice.operate import Desk, now

pytestmark = pytest.mark.kafka


@pytest.fixture
def sluice(shell: Any, cluster: Cluster) -> Any:
    """Give the command line, pointed at the test's topics."""
    return shell.of(cluster)


async def read(cluster: Cluster, topic: str) -> list[Incoming]:
    """Read a topic whole."""
    found: list[Incoming] = []
    places = [Place(topic, number) for number in range(cluster.counts[topic])]
    await read_to_end(cluster, places, found.append)
    return found


async def stored(desk: Desk, **more: Any) -> Wish:
    """Store the wish of a connector of AWS, which the command line knows."""
    wish = Wish(name="prod", provider="aws", instance="123456789012", partition=1, incarnation="1", **more)
    await desk.write(Outgoing("connectors", 1, b"prod", wish.dump()))
    return wish


async def test_topics_create_and_check(sluice: Any) -> None:
    """All are made, a second time none is; they are then as meant, until someone changes them."""
    sluice.environment["SLUICE_PREFIX"] += "other."
    missing = await sluice("topics", "check")
    assert (missing.code, missing.out) == (1, "")
    assert "create them with `sluice topics create`" in missing.err
    first = json.loads((await sluice("topics", "create", "--json")).out)
    assert sluice.environment["SLUICE_PREFIX"] + "inbox" in first["created"]
    assert json.loads((await sluice("topics", "create", "--json")).out) == {"created": []}
    checked = await sluice("topics", "check", "--json")
    assert (checked.code, json.loads(checked.out)) == (0, [])


async def test_tail_is_read_committed(sluice: Any, cluster: Cluster) -> None:
    """The last records of a topic as JSON lines, over transactions' markers; what was aborted never shows."""
    producer = Transactions(cluster, "tail-test")
    await producer.start()
    for number in range(30):
        value = orjson.dumps({"number": number})
        await producer.commit([Outgoing("logons", number % 2, b"k", value, [("ce_id", b"%d" % number)])])
        await producer.refuses([Outgoing("logons", number % 2, b"k", b'{"aborted": true}')])
    await producer.stop()
    last = [json.loads(line) for line in (await sluice("tail", "logons", "-n", "3")).out.splitlines()]
    assert [one["value"]["number"] for one in last] == [27, 28, 29]
    assert last[-1]["headers"] == {"ce_id": "29"}
    assert last[-1]["key"] == "k"
    prefixed = await sluice("tail", cluster.name("logons"), "--since", "1h")
    assert len(prefixed.out.splitlines()) == 30
    assert (await sluice("tail", "logons", "--since", "2001-01-01", "-n", "0")).out == ""
    future = await sluice("tail", "logons", "--since", "2999-01-01")
    assert (future.code, future.out) == (0, "")
    wrong = await sluice("tail", "logons", "--since", "yesterday")
    assert wrong.code == 2
    assert (await sluice("tail", "nothing")).code == 2


async def test_tail_shows_what_is_no_json(sluice: Any, cluster: Cluster, desk: Desk) -> None:
    """A tombstone, a broken value and odd bytes are a line each."""
    rows = [Outgoing("scans", 0, b"\xff", None), Outgoing("scans", 0, b"b", b"\xff{")]
    await desk.write(*rows)
    shown = [json.loads(line) for line in (await sluice("tail", "scans")).out.splitlines()]
    assert [one["value"] for one in shown] == [None, "\ufffd{"]


async def test_status(sluice: Any, desk: Desk) -> None:
    """What is wished and what the owner reports stand side by side; waiting ends in time."""
    wish = await stored(desk)
    alone = json.loads((await sluice("status", "--json")).out)
    assert [(one["name"], one["state"], one["applied"]) for one in alone] == [("prod", "unowned", False)]
    late = await sluice("status", "prod", "--wait", "running", "--timeout", "0.5")
    assert late.code == 1
    report = Status(connector="prod", state="degraded", why="grant s3:GetObject", revision=1, incarnation="1",
                    grants={"dlp_backlog": ("s3:GetObject",)}, at=now())  # fmt: skip
    await desk.write(Outgoing("cursors", wish.partition, b"prod/@status", report.dump()))
    told = await sluice("status", "prod", "--wait", "degraded", "--json")
    assert told.code == 0
    assert json.loads(told.out)["missing"] == {"dlp_backlog": ["s3:GetObject"]}
    plain = await sluice("status", "prod")
    assert "grant s3:GetObject" in plain.out
    unknown = await sluice("status", "other")
    assert unknown.code == 2
    assert "there are: prod" in unknown.err


async def test_a_report_of_a_predecessor_counts_as_none(sluice: Any, desk: Desk) -> None:
    """A name connected anew has nothing to do with what was reported of the old one."""
    await stored(desk)
    report = Status(connector="prod", state="running", revision=9, incarnation="0", at=now())
    await desk.write(Outgoing("cursors", 1, b"prod/@status", report.dump()))
    assert json.loads((await sluice("status", "prod", "--json")).out)["state"] == "unowned"


async def test_damaged_wishes_are_passed_over(sluice: Any, desk: Desk) -> None:
    """What is no wish, or one of a newer release, is named on stderr; the others are listed."""
    await stored(desk)
    await desk.write(Outgoing("connectors", 0, b"odd", b"{"), Outgoing("connectors", 0, b"new", b'{"v": 99}'))
    said = await sluice("status", "--json")
    assert [one["name"] for one in json.loads(said.out)] == ["prod"]
    assert "odd: passed over" in said.err
    assert "upgrade" in said.err


async def test_connect_refuses_wrong_settings(sluice: Any, canary: str, tmp_path: Path) -> None:
    """The fields are named with what to do; no value, from the file or by reference, is repeated."""
    (tmp_path / "secret").write_text(canary)
    file = tmp_path / "aws.yaml"
    file.write_text(f"secret_access_key: file:secret\nregions: {canary}\nrole: {canary}\n")
    said = await sluice("connect", "aws", "prod", "--settings", str(file))
    assert (said.code, said.out) == (2, "")
    assert "regions" in said.err
    assert "role: there is no such setting; there are: endpoints, reserve, role_arn" in said.err
    other = await sluice("connect", "nothing", "prod", "--settings", "-", given=b"{}")
    assert other.code == 2
    assert "known are: aws" in other.err
    missing = await sluice("connect", "aws", "prod", "--settings", str(tmp_path / "none.yaml"))
    assert missing.code == 2
    assert "can't be read" in missing.err


async def test_apply_shows_its_plan(sluice: Any, desk: Desk, canary: str) -> None:
    """A dry run shows what would be done and does nothing; nothing to do is no question."""
    await stored(desk)
    settings = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "env:APPLY_SECRET"}
    document = {
        "connectors": [{"name": "second", "provider": "aws", "settings": settings}],
        "policies": [{"name": "p", "match": {"on": "finding"}, "action": "quarantine"}],
    }
    given = orjson.dumps(document)
    said = await sluice("apply", "-", "--dry-run", "--prune", "--json", given=given, APPLY_SECRET=canary)
    assert said.code == 0, said.err
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert {one["name"]: one["plan"] for one in lines} == {
        "second": "create",
        "p": "create",
        "prod": "remove",
    }
    assert list((await desk.view()).wishes) == ["prod"]
    unset = await sluice("apply", "-", "--dry-run", given=given)
    assert unset.code == 2
    assert "second.secret_access_key: the environment has no APPLY_SECRET" in unset.err
    assert (await sluice("apply", "-", "--yes", given=b"{}")).code == 0


async def test_disable_and_disconnect(sluice: Any, desk: Desk) -> None:
    """Without an owner both are accepted and say so; what is no connector is a wrong call."""
    await stored(desk)
    off = await sluice("disable", "prod", "--no-wait", "--json")
    assert json.loads(off.out) == {"name": "prod", "change": "stored", "state": None}
    assert not (await desk.wish("prod")).enabled
    gone = await sluice("disconnect", "prod", "--yes", "--timeout", "0.5", "--json")
    assert (gone.code, json.loads(gone.out)["change"]) == (0, "unowned")
    assert "`sluice disconnect prod` again completes it" in gone.err
    assert (await sluice("enable", "other")).code == 2


async def test_dead_letters(sluice: Any, desk: Desk, cluster: Cluster) -> None:
    """Listed, shown by the beginning of an id, handed to the owner to be tried again or discarded."""
    letters = [
        DeadLetter(id=f"{n}" * 32, source="record", connector="prod", partition=1, feed="trail",
                   mapper="trail", reason="bad-record", raw='{"a": 1}', truncated=n == 3, at=n)
        for n in (1, 2, 3)
    ]  # fmt: skip
    await desk.write(*(Outgoing("dead-letters", 1, one.id.encode(), one.dump()) for one in letters))
    await desk.write(Outgoing("dead-letters", 1, b"2" * 32, None))
    listed = [json.loads(line) for line in (await sluice("dead-letters", "list", "--json")).out.splitlines()]
    assert [one["id"][0] for one in listed] == ["1", "3"]
    assert json.loads((await sluice("dead-letters", "show", "1111")).out)["raw"] == '{"a": 1}'
    for wrong in (
        ("show", "9999"),
        ("show", "1"),
        ("retry",),
        ("retry", "1111", "--all"),
        ("discard", "1111"),
    ):
        assert (await sluice("dead-letters", *wrong)).code == 2, wrong
    retried = await sluice("dead-letters", "retry", "--all", "--connector", "prod", "--json")
    assert retried.code == 1
    assert json.loads(retried.out) == {"asked": "retry", "letters": 1}
    assert "cut short" in retried.err
    assert (await sluice("dead-letters", "discard", "3333", "--yes")).code == 0
    redrive, discard = await read(cluster, "inbox")
    assert (redrive.partition, redrive.key) == (1, b"prod")
    asked = Inbox.load(redrive.value or b"")
    assert asked.kind == "redrive"
    assert DeadLetter.load(orjson.dumps(asked.letter)) == letters[0]
    assert Inbox.load(discard.value or b"").hook == "3" * 32


@asynccontextmanager
async def governance(desk: Desk, wish: Wish) -> AsyncIterator[list[Command]]:
    """Answer commands as the governance role does: a dry run with a plan, all else with success."""
    follower, asked = Follower(desk.cluster), list[Command]()
    waiting: asyncio.Queue[Command] = asyncio.Queue()

    def take(records: list[Incoming]) -> None:
        for one in records:
            waiting.put_nowait(Command.load(one.value or b""))

    async def answer() -> None:
        while True:
            command = await waiting.get()
            asked.append(command)
            steps = [Step("block", "block public access")]
            verdict = verdicts.planned(steps) if command.dry_run else verdicts.done(["block public access"])
            made = outcome(command, command, verdict, None, None, now())
            place, target = origin(wish, "prod", {}), command.target.id if command.target else "unknown"
            await desk.write(record(made, place, "prod", wish.partition, target, now()))

    await follower.start()
    follower.follow(Place("commands", wish.partition), 0, take)
    task = asyncio.create_task(answer())
    try:
        yield asked
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await follower.stop()


async def test_act_off_a_terminal(sluice: Any, desk: Desk) -> None:
    """A dry run prints its plan, --yes acts and --wait tells the outcome; undo finds the command."""
    wish = await stored(desk)
    target = "arn:aws:s3:::bucket/key"
    async with governance(desk, wish) as asked:
        dry = await sluice("act", "prod", "quarantine", target, "--dry-run", "--json", "--option", "days=3")
        assert dry.code == 0, dry.err
        assert json.loads(dry.out)["state"] == "planned"
        assert json.loads(dry.out)["steps"] == ["block public access"]
        real = await sluice("act", "prod", "quarantine", target, "--yes", "--wait", "--json")
        assert (real.code, json.loads(real.out)["state"]) == (0, "done")
        sent = await sluice("undo", asked[1].id, "--yes", "--json")
        assert sent.code == 0
        undo = json.loads(sent.out)["command"]
    assert [(one.kind, one.dry_run, one.options) for one in asked[:2]] == [
        ("do", True, {"days": 3}),
        ("do", False, None),
    ]
    commands = [Command.load(one.value or b"") for one in await read(desk.cluster, "commands")]
    last = next(one for one in commands if one.id == undo)
    assert (last.kind, last.of, last.connector, last.dry_run) == ("undo", asked[1].id, "prod", False)


async def test_act_that_can_not_be(sluice: Any, desk: Desk) -> None:
    """Unknown actions and options are wrong calls; without a governance role nothing is changed."""
    await stored(desk)
    for wrong in (("nothing", "x"), ("quarantine", "x", "--option", "novalue"), ("delete", "x")):
        said = await sluice("act", "prod", *wrong, "--dry-run")
        assert said.code == 2
    alone = await sluice("act", "prod", "quarantine", "x", "--dry-run", "--timeout", "0.5")
    assert alone.code == 1
    assert "sluice run governance" in alone.err
    assert (await sluice("approve", "nothing-like-it")).code == 2


@pytest.mark.parametrize(("reply", "acted"), [(b"y\n", True), (b"\n", False)])
async def test_act_on_a_terminal_asks(sluice: Any, desk: Desk, reply: bytes, acted: bool) -> None:
    """The plan is shown, then it is asked; only a yes acts."""
    wish = await stored(desk)
    master, slave = pty.openpty()
    async with governance(desk, wish) as asked:
        process = await asyncio.create_subprocess_exec(
            *sluice.call("act", "prod", "quarantine", "arn:aws:s3:::b/k"), env=sluice.environment,
            stdin=slave, stderr=slave, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        os.write(master, reply)
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    os.close(master)
    os.close(slave)
    assert process.returncode == 0
    assert b"block public access" in out
    commands = [Command.load(one.value or b"") for one in await read(desk.cluster, "commands")]
    assert [one.dry_run for one in commands] == ([True, False] if acted else [True])
    assert asked[0].dry_run


async def test_key_rotate(sluice: Any, desk: Desk) -> None:
    """A wish sealed by the older key is sealed by the newer one; without the older it is said what to do."""
    await stored(desk, sealed=desk.keyring.seal({"secret_access_key": "x"}, "prod/1"))
    old = sluice.environment["SLUICE_KEY"]
    new = base64.b64encode(os.urandom(32)).decode()
    closed = await sluice("key", "rotate", SLUICE_KEY=new)
    assert closed.code == 1
    assert "add it as an older key" in closed.err
    assert json.loads((await sluice("key", "rotate", "--json", SLUICE_KEY=f"{new},{old}")).out) == {
        "resealed": ["prod"]
    }
    assert (await desk.wish("prod")).generation == 2


async def test_doctor(sluice: Any, desk: Desk) -> None:
    """A sound installation is all ok; a connector that nobody runs is not."""
    sound = await sluice("doctor", "--json")
    lines = {line["what"]: line for line in map(json.loads, sound.out.splitlines())}
    assert sound.code == 0, sound.out
    assert set(lines) == {
        "python",
        "java",
        "schemas",
        "key",
        "kafka",
        "brokers",
        "topics",
        "connectors",
        "clock",
    }
    await stored(desk)
    sick = await sluice("doctor")
    assert sick.code == 1
    assert "WRONG connectors" in sick.out


async def test_a_kafka_that_is_away(sluice: Any) -> None:
    """An address where nothing listens ends with 1 and says what to check."""
    said = await sluice("status", SLUICE_KAFKA="127.0.0.1:9")
    assert (said.code, said.out) == (1, "")
    assert "check SLUICE_KAFKA" in said.err

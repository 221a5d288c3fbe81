"""Writes the records of this release to `tests/fixtures/v1`, one a file, as they lie on their topics.

Run once for a version of the formats: `python tests/support/stored.py`. Files that are there are never
written again: what an older release stored is what later ones have to read. A file holds topic, key and
value exactly as stored, the name of what reads it, and what that made of it then (`means`: every field, also
those left out of the value because they were at their default). `deployment.jsonl` holds all records of a
small deployment that ran for a while.
"""

import asyncio
import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import rig
from bench import Bench, World
from confluent_kafka import Message

from consumers.lanes import Position
from ingest.cluster import Cluster
from ingest.inventory import members
from ingest.producing import Outgoing
from ingest.seen import SeenWindow
from ingest.state import INBOX, STATUS, key
from ingest.windows import now_ms
from schemas.control import (
    ActionRecord,
    ActionRun,
    Command,
    Cursor,
    DeadLetter,
    FeedStatus,
    Former,
    Inbox,
    InboxCursor,
    PlannedStep,
    Policy,
    PolicyMatch,
    Record,
    Registration,
    Scan,
    ScanRequest,
    Status,
    Target,
    Token,
    Wish,
)
from schemas.topics import TOPICS
from sluice.broker import embedded

FOLDER = Path(__file__).parents[1] / "fixtures" / "v1"
AT = 1_767_225_600_000
"""2026-01-01T00:00:00Z, ms."""


class Stored(NamedTuple):
    """One record as it lies on its topic."""

    name: str
    topic: str
    key: bytes
    value: bytes
    kind: str


FILE = Target(kind="file", id="arn:1/Löhne.csv", version="etag-1", acting_as="u1", data={"bucket": "b"})


def _record(name: str, topic: str, raw: bytes, record: Record) -> Stored:
    return Stored(name, topic, raw, record.dump(), type(record).__name__)


def _wishes() -> Iterator[Stored]:
    wish = Wish(
        name="prod", provider="plain", tenant="acme", instance="i-prod", instance_name="Prod",
        settings={"region": "eu", "big": "9007199254740993"}, components=("files",), sealed="k1.c2VhbGVk",
        generation=3, partition=1, incarnation="1", revision=7,
    )  # fmt: skip
    yield _record("wish", "connectors", b"prod", wish)
    removing = wish.model_copy(update={"name": "old", "enabled": False, "removing": True})
    yield _record("wish-removing", "connectors", b"old", removing)
    match = PolicyMatch(on="finding", detectors=("iban",), min_count=3, connectors=("prod",), name="*.csv")
    policy = Policy(
        name="payroll", match=match, action="quarantine", options={"to": "q"}, dry_run=False, cap=5
    )
    yield _record("policy", "policies", b"payroll", policy)


def _state() -> Iterator[Stored]:
    cursor = Cursor(incarnation="1", position=12)
    yield _record("cursor", "cursors", key("prod", "log", ""), cursor)
    cursor = Cursor(incarnation="1", position={"token": "9007199254740993"}, until=AT, done=("a/b.gz",))
    yield _record("cursor-window", "cursors", key("prod", "window", "eu-1/a"), cursor)
    cursor = Cursor(incarnation="1", snapshot=4, page=2, started_at=AT, finished_began=AT - 9, held=120,
                    finished_at=AT + 5)  # fmt: skip
    yield _record("cursor-listing", "cursors", key("prod", "files", ""), cursor)
    yield _record("inbox-cursor", "cursors", key(INBOX, "1"), InboxCursor(offset=3))
    status = Status(
        connector="prod", state="degraded", why="logons: no right", revision=7, incarnation="1", owner="w1",
        instance="i-prod", instance_name="Prod", grants={"logons": ("a", "b")},
        feeds={"log": FeedStatus(state="well", axes=1, published=12, last_success=AT, last_event=AT)},
        subscriptions={"hook/": "active"}, at=AT,
    )  # fmt: skip
    yield _record("status", "cursors", key("prod", STATUS), status)
    window = SeenWindow()
    number, seen = window.page([(2**63 + place, AT + 400_000 * place) for place in range(3)], "1", AT + 9)
    yield _record("seen", "seen", key("prod", str(number)), seen)
    page = members("1", 3, "files", [("f1", 7), ("f2", 8)], AT, live=False)
    yield _record("members", "members", key("prod", "files", "", "3", "0"), page)
    page = members("1", 0, "files", [("f3", 9)], AT, live=True)
    yield _record("members-live", "members", key("prod", "@live", "", "0", "1"), page)
    registration = Registration(
        incarnation="1", kind="hook", axis="", id="0" * 32, hook="pushed", sealed="k1.c2VhbGVk",
        address="https://hooks.example/v1/plain/pushed/0", state="active", registered={"id": 5}, expires=AT,
        at=AT, renewed=AT, delivered=AT, recovered=1, missed=1, suspect=AT, again=1,
        former=Former(id="1" * 32, sealed="k1.b2xk", address="a", registered={"id": 4}, until=AT),
    )  # fmt: skip
    yield _record("registration", "subscriptions", key("prod", "hook", ""), registration)
    token = Token(incarnation="1", generation=3, sealed="k1.dG9rZW4=", intent="k1.aW50ZW50", at=AT)
    yield _record("token", "credentials", key("prod"), token)
    scan = Scan(connector="prod", incarnation="1", version="etag-1", rules="r1", status="complete",
                detectors={"iban": 3}, at=AT)  # fmt: skip
    yield _record("scan", "scans", b"acme/plain/i-prod/arn:1/L\xc3\xb6hne.csv", scan)
    position = Position(offset=40, done="BQ==", clean=False, attempts={41: 2})
    yield _record("position", "scans", b"@position/scan-live", position)
    action = ActionRecord(
        command=_command(), state="done", instance="i-prod", before={"acl": ["AllUsers"]},
        plan=(PlannedStep(do="copy", say="copy it", data={"to": "q"}),), results={"copy": {"etag": "2"}},
        by="c9", versions=("etag-1", "etag-2"), why="", at=AT,
    )  # fmt: skip
    yield _record("action", "actions", b"c1", action)
    yield _record("action-run", "actions", b"@run/prod/r1", ActionRun(count=4, at=AT))


def _command() -> Command:
    return Command(
        id="c1", connector="prod", action="quarantine", target=FILE, options={"to": "q"}, dry_run=False,
        irreversible=True, policy="payroll", run="r1", cause="f1", cap=5, asked_at=AT,
    )  # fmt: skip


def _work() -> Iterator[Stored]:
    delivery = Inbox(
        kind="delivery", connector="prod", incarnation="1", at=AT, hook="pushed", axis="", method="POST",
        headers={"content-type": "application/json"}, query={"a": "b"}, body="W10=", delivery_id="d1",
    )  # fmt: skip
    yield _record("inbox-delivery", "inbox", b"prod", delivery)
    nudge = Inbox(kind="nudge", connector="prod", at=AT, feed="log", hint={"after": 3}, restart=True)
    yield _record("inbox-nudge", "inbox", b"prod", nudge)
    letter = _letter()
    redrive = Inbox(kind="redrive", connector="prod", incarnation="1", at=AT,
                    letter=letter.model_dump(mode="json"))  # fmt: skip
    yield _record("inbox-redrive", "inbox", b"prod", redrive)
    discard = Inbox(kind="discard", connector="prod", at=AT, hook="letter-1")
    yield _record("inbox-discard", "inbox", b"prod", discard)
    request = ScanRequest(connector="prod", provider="plain", tenant="acme", instance="i-prod",
                          incarnation="1", file=FILE, cause="changed", asked_at=AT)  # fmt: skip
    yield _record("scan-request", "scan-live", b"acme/plain/i-prod/arn:1/L\xc3\xb6hne.csv", request)
    yield _record("command", "commands", b"prod", _command())
    undo = Command(kind="undo", id="c2", connector="prod", of="c1", dry_run=False, asked_at=AT)
    yield _record("command-undo", "commands", b"prod", undo)
    approve = Command(kind="approve", id="c3", connector="prod", of="c1", dry_run=False, asked_at=AT)
    yield _record("command-approve", "commands", b"prod", approve)
    yield _record("letter", "dead-letters", b"letter-1", letter)
    put_back = DeadLetter(
        id="scan-live-1-5", source="topic", connector="", partition=1, topic="scan-live", key="aw==",
        headers={"ce_id": "x"}, reason="poison", detail="it ended the process 3 times", raw="e30=",
        binary=True, truncated=True, attempts=2, at=AT,
    )  # fmt: skip
    yield _record("letter-topic", "dead-letters", b"scan-live-1-5", put_back)


def _letter() -> DeadLetter:
    return DeadLetter(id="letter-1", source="record", connector="prod", partition=1, incarnation="1",
                      feed="log", mapper="acted", reason="bad-record", detail="it says it is bad",
                      raw='{"id": 99, "bad": true}', at=AT)  # fmt: skip


def records() -> Iterator[Stored]:
    """Make a record of each kind."""
    yield from _wishes()
    yield from _state()
    yield from _work()


def _write(path: Path, text: str) -> int:
    if path.exists():
        return 0
    path.write_text(text, encoding="utf-8")
    return 1


async def deployment() -> str:
    """Let a deployment run, and take down all that lies on its topics then: a line a record."""
    async with embedded() as broker:
        cluster = await rig.topics(broker.bootstrap, "fixture.", tenant="acme")
        world = World(
            log=[{"id": number, "time": AT + number, "who": "u1", "bad": number == 3} for number in range(8)],
            files={"f1": "a", "f2": "b"}, late=[{"id": f"w{n}", "time": AT - n * 1000} for n in range(3)],
        )  # fmt: skip
        bench = Bench(cluster, world, key=bytes(range(32)))
        bench.clock.shift = AT - now_ms()
        await bench.wish("prod", provider="registering", partition=1, tenant="acme")
        pushed = Inbox(kind="delivery", connector="prod", incarnation="1", hook="pushed", method="POST",
                       body=base64.b64encode(orjson.dumps([{"id": 100, "time": AT}])).decode())  # fmt: skip
        await rig.store(cluster, Outgoing("inbox", 1, b"prod", pushed.dump()))
        async with bench.process():
            await rig.until(lambda: _published(cluster, 11))
            await rig.until(lambda: world.reads > 2 and len(world.registered) == 1)
        lines = [_line(cluster, one) for topic in TOPICS for one in rig.whole(cluster, topic)]
    return "".join(lines)


async def _published(cluster: Cluster, count: int) -> bool:
    return len(await rig.read(cluster, "activities")) >= count


def _line(cluster: Cluster, one: Message) -> str:
    value = one.value()
    told = {
        "topic": cluster.bare(one.topic() or ""),
        "partition": one.partition(),
        "key": (one.key() or b"").decode(),
        "headers": [
            [name, head.decode() if isinstance(head, bytes) else head]
            for name, head in dict(one.headers() or {}).items()
        ],
        "value": None if value is None else value.decode(),
    }
    return json.dumps(told, ensure_ascii=False) + "\n"


def main() -> int:
    """Write what is not there yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    kinds = {kind.__name__: kind for kind in Record.__subclasses__()}
    written = 0
    for one in records():
        means = kinds[one.kind].load(one.value).model_dump(mode="json")
        told = {"topic": one.topic, "key": one.key.decode(), "value": one.value.decode(), "kind": one.kind,
                "means": means}  # fmt: skip
        written += _write(FOLDER / f"{one.name}.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    lived = FOLDER / "deployment.jsonl"
    if not lived.exists():
        written += _write(lived, asyncio.run(deployment()))
    sys.stdout.write(f"{written} written, the others are as they were\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

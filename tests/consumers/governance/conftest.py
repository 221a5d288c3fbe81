"""An app in memory, a partition in memory whose process can die anywhere, and a cluster of one's own."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import orjson
import pytest
import pytest_asyncio
import rig
from pydantic import SecretStr

from consumers.governance.act import Tempo
from consumers.governance.job import GovernanceJob
from consumers.governance.means import Means
from consumers.governance.outcomes import Outcome, told
from ingest.cluster import Cluster
from ingest.config import Config
from ingest.consuming import Incoming
from ingest.errors import Missing, Refused, Retry
from ingest.producing import Outgoing
from ingest.provider import Action, Instance, Json, Provider, Ref, Settings, Step
from schemas.control import Command, Policy, PolicyMatch, Target, Wish
from schemas.envelope import headers
from schemas.events import Event, Origin, event, stamp
from schemas.validation import encode, validate
from sluice.broker import Broker

NOW = 1_780_000_000_000
FILE = "arn:aws:s3:::data/people.csv"


class Crash(BaseException):
    """The process is gone."""


class Fuse:
    """Counts the places a process can die at, and dies at the chosen one."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.passed: list[str] = []

    def burn(self, place: str) -> None:
        """Pass a place, or die there."""
        self.passed.append(place)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash(place)


@dataclass
class App:
    """What the app holds: files and where they are; `faults` are raised by the next calls, in order."""

    files: dict[str, str] = field(default_factory=lambda: {FILE: "open"})
    copies: set[str] = field(default_factory=set)
    looks: int = 0
    done: list[str] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    look_faults: list[Exception] = field(default_factory=list)
    stale: int = 0
    fuse: Fuse = field(default_factory=Fuse)
    gate: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def look(self, name: str) -> dict[str, Json]:
        """Read a file's state."""
        self.fuse.burn("look")
        self.looks += 1
        if self.look_faults:
            raise self.look_faults.pop(0)
        if name not in self.files:
            raise Missing(f"{name} does not exist")
        if self.stale and self.done:
            self.stale -= 1
            return {"at": "open", "copy": False, "etag": "e1"}
        return {"at": self.files[name], "copy": name in self.copies, "etag": "e1"}

    async def do(self, name: str, step: str, change: Callable[[], object]) -> None:
        """Change something, or fail."""
        self.fuse.burn(f"before {step}")
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        change()
        self.done.append(f"{step} {name}")
        self.fuse.burn(f"after {step}")


class Quarantine:
    """Copy, then move away."""

    name: ClassVar[str] = "quarantine"
    capability: ClassVar[Any] = "file_governance"
    on: ClassVar[Any] = "file"
    irreversible: ClassVar[bool] = False

    async def look(self, p: "Memory", target: Ref, options: Json) -> Json:
        """Read where the file is."""
        return p.app.look(target.id)

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Copy what is not copied, move what is not moved."""
        if state["at"] != "open":
            return []
        first = [] if state["copy"] else [Step("copy", "copy it")]
        return [*first, Step("move", "move it away")]

    async def do(self, p: "Memory", target: Ref, step: Step) -> Json:
        """Do one step."""
        app, name = p.app, target.id
        changes: dict[str, Callable[[], object]] = {
            "copy": lambda: app.copies.add(name),
            "move": lambda: app.files.update({name: "away"}),
            "back": lambda: app.files.update({name: "open"}),
            "drop": lambda: app.copies.discard(name),
        }
        await app.do(name, step.do, changes[step.do])
        return {"of": name}

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Bring it back."""
        back = [Step("back", "bring it back")] if now["at"] != before["at"] else []
        return [*back, *([Step("drop", "drop the copy")] if now["copy"] else [])]


class Delete:
    """Delete for good; afterwards there is nothing to look at."""

    name: ClassVar[str] = "delete"
    capability: ClassVar[Any] = "file_governance"
    on: ClassVar[Any] = "file"
    irreversible: ClassVar[bool] = True

    async def look(self, p: "Memory", target: Ref, options: Json) -> Json:
        """Read whether the file is there."""
        return p.app.look(target.id)

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Delete it."""
        return [Step("delete", "delete it for good")]

    async def do(self, p: "Memory", target: Ref, step: Step) -> Json:
        """Delete it."""
        await p.app.do(target.id, step.do, lambda: p.app.files.pop(target.id, None))

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """There is no way back."""
        return None


class Suspend(Quarantine):
    """The same for a person, and refused by the app."""

    name: ClassVar[str] = "suspend"
    capability: ClassVar[Any] = "user_governance"
    on: ClassVar[Any] = "user"

    async def do(self, p: "Memory", target: Ref, step: Step) -> Json:
        """Refuse."""
        raise Refused("the last admin can't be suspended")


class Lock(Quarantine):
    """An action on containers."""

    name: ClassVar[str] = "lock"
    capability: ClassVar[Any] = "sharing_control"
    on: ClassVar[Any] = "space"


class Memory(Provider[Settings]):
    """The app as a provider."""

    name = "memory"
    account_type = "Memory"
    settings_type = Settings
    actions: ClassVar[tuple[Action[Any], ...]] = (Quarantine(), Delete(), Suspend(), Lock())

    def __init__(self, app: App) -> None:
        super().__init__(Settings(), None, Instance("i1"))  # type: ignore[arg-type]
        self.app = app


class Clock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.seconds, self.pauses = 0.0, []  # type: tuple[float, list[float]]
        self.at = NOW

    async def pause(self, seconds: float) -> None:
        """Note a pause and go on at once."""
        self.pauses.append(seconds)

    @property
    def tempo(self) -> Tempo:
        """The time for the code under test."""
        return Tempo(lambda: self.seconds, self.pause, lambda: self.at)


@dataclass
class World:
    """Connectors, policies, the app: what `Means` is made of."""

    app: App = field(default_factory=App)
    clock: Clock = field(default_factory=Clock)
    wishes: dict[str, Wish] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    lent: list[Exception] = field(default_factory=list)

    def means(self, tempo: Tempo | None = None) -> Means:
        """Put them together."""
        return Means(self, self, self, {"memory": Memory}, tempo or self.clock.tempo)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Provider[Any]]:
        """Lend the provider, or fail to."""
        if self.lent:
            raise self.lent.pop(0)
        yield Memory(self.app)

    def connect(self, name: str = "prod", **more: Any) -> Wish:
        """Add a connector."""
        known = {"provider": "memory", "instance": "i1", "partition": 0, "incarnation": "1"}
        wish = Wish(name=name, **{**known, **more})
        self.wishes[name] = wish
        return wish

    def rule(self, name: str = "rule", **more: Any) -> Policy:
        """Add a policy: quarantine what is public, really."""
        match = PolicyMatch(**more.pop("match", {"on": "file", "exposure": "public"}))
        policy = Policy(**{"name": name, "match": match, "action": "quarantine", "dry_run": False, **more})
        self.policies[name] = policy
        return policy


class Line:
    """One partition without Kafka: what was committed, and one process at a time that works on it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state: dict[bytes, bytes | None] = {}
        self.outcomes: list[Event] = []
        self.commands: list[Outgoing] = []
        self.commits: list[list[Outgoing]] = []
        self.intents = 0
        self.offset = 0
        self.retries = 0
        self.restart()

    def restart(self) -> None:
        """Begin a process with what was committed."""
        self.job = GovernanceJob(0, self.world.means())
        for key, value in self.state.items():
            self.job.take(Incoming("actions", 0, 0, key, value, (), 0))
        self.job.ready(self._intent)

    async def _intent(self, records: list[Outgoing]) -> None:
        self.world.app.fuse.burn("before commit")
        self.intents += 1
        self._write(records)
        self.world.app.fuse.burn("after commit")

    def _write(self, records: list[Outgoing]) -> None:
        self.commits.append(list(records))
        for one in records:
            if one.topic == "actions":
                self.state[one.key] = one.value
            elif one.topic == "outcomes":
                assert one.value is not None
                self.outcomes.append(orjson.loads(one.value))
            else:
                self.commands.append(one)

    async def handle(self, record: Incoming) -> None:
        """Work a record off as the runner does: retries, then results and position at once."""
        while True:
            try:
                results = await self.job.handle(record)
                break
            except Retry:
                self.retries += 1
        self.world.app.fuse.burn("before results")
        self._write(list(results))
        self.world.app.fuse.burn("after results")
        self.job.committed(record)

    async def send(self, command: Command) -> Outcome | None:
        """Work one command off and return its outcome, if it made one."""
        self.offset += 1
        key = command.connector.encode()
        count = len(self.outcomes)
        await self.handle(Incoming("commands", 0, self.offset, key, command.dump(), (), NOW))
        return told(orjson.dumps(self.outcomes[-1])) if len(self.outcomes) > count else None

    async def see(
        self, made: Event, topic: str, at: int = NOW, source: tuple[str, str] = ("memory", "i1")
    ) -> list[Command]:
        """Work one event off and return the commands it caused."""
        origin = Origin("default", *source, {"name": "Memory", "vendor_name": "Memory"})
        validate(stamp(made, origin, NOW, revision=str(self.offset)))
        self.offset += 1
        count = len(self.commands)
        head = headers(made, origin, topic=topic)
        await self.handle(Incoming(topic, 0, self.offset, b"k", encode(made), head, at))
        return [Command.load(one.value or b"") for one in self.commands[count:]]

    def record(self, key: str) -> dict[str, Any] | None:
        """Read a record of the state as it is on the topic."""
        value = self.state.get(key.encode())
        return orjson.loads(value) if value else None


def shared(name: str = FILE, exposure: str = "public", version: str = "e1", kind: str = "file") -> Event:
    """Make the inventory event of a file, shaped as the AWS provider makes it."""
    resource = {
        "uid": name, "name": name.rsplit("/", 1)[-1], "type": kind, "version": version, "labels": [exposure],
        "data": {"bucket": "data", "etag": version, "exposure": exposure},
    }  # fmt: skip
    return event(5023, 2, NOW, log_name="files", source_id=name, resources=[resource])


def finding(name: str = FILE, version: str = "e1", **said: Any) -> Event:
    """Make a finding, shaped as the scan makes it."""
    more: dict[str, Any] = {
        "connector": "prod",
        "detector": "us_ssn",
        "count": 3,
        "confidence": 75,
        "status": "complete",
    } | said
    more.setdefault("target", {"kind": "file", "id": name, "version": version})
    return event(
        2006, more.pop("activity", 1), NOW, log_name="findings", source_id=f"f-{name}-{version}", status_id=1,
        finding_info={"uid": f"f-{name}-{version}"}, unmapped=more,
        data_security={"detection_system_id": 8, "detection_pattern": "us_ssn"},
    )  # fmt: skip


@pytest.fixture
def makers() -> Any:
    """Give the makers of events and targets: tests can't import from here."""

    class Makers:
        shared = staticmethod(shared)
        finding = staticmethod(finding)
        file = FILE
        now = NOW
        crash = Crash
        memory = Memory

        @staticmethod
        def target(name: str = FILE, kind: str = "file") -> Target:
            return Target(kind=kind, id=name, version="e1")

    return Makers


@pytest.fixture
def world() -> World:
    """Give an app with one file, and one connector to it."""
    made = World()
    made.connect()
    return made


@pytest.fixture
def line(world: World) -> Line:
    """Give a partition in memory."""
    return Line(world)


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(kafka: Broker, topic_prefix: str) -> Cluster:
    """Give a cluster with topics of its own, two partitions each."""
    key = base64.b64encode(os.urandom(32)).decode()
    made = Cluster(
        Config(
            kafka=kafka.bootstrap,
            prefix=topic_prefix,
            partitions=2,
            replication=1,
            session_seconds=2.0,
            key=SecretStr(key),
        )
    )
    await made.create_topics()
    await made.ready()
    await made.learn()
    return made


@pytest.fixture
def read(cluster: Cluster) -> Callable[[str], list[Any]]:
    """Give an independent read-committed reader (librdkafka) of a topic, from start to its end."""
    return partial(rig.whole, cluster)

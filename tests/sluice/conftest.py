"""A provider without a network, a deployment on the real Kafka, and the command line as its users call it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.connectors import Services, WallClock
from ingest.consuming import Follower
from ingest.credentials import Keyring, new_key
from ingest.provider import (
    At,
    Grant,
    Instance,
    Json,
    Mapped,
    Misconfigured,
    Page,
    Provider,
    Ref,
    Settings,
    Step,
    feed,
)
from ingest.tenure import ingest
from sluice.broker import Broker
from sluice.operate import Desk

CANARY = "canary-5a1f0c77-never-shown"


class NotebookSettings(Settings, frozen=True):
    """Where the notebook lies, and its password."""

    account: str
    password: SecretStr
    pages: int = 3


class Tear:
    """Tears a page out."""

    name: ClassVar[str] = "tear"
    capability: ClassVar[Any] = "file_governance"
    on: ClassVar[Any] = "file"
    irreversible: ClassVar[bool] = False

    async def look(self, p: "Notebook", target: Ref, options: Json) -> Json:
        """Say that it is there."""
        return {"there": True}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Tear it."""
        return [Step("tear", "tear the page out")]

    async def do(self, p: "Notebook", target: Ref, step: Step) -> Json:
        """Nothing is left to do in a test."""
        return None

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Glue it."""
        return [Step("glue", "glue the page in")]


class Burn(Tear):
    """Can't be taken back."""

    name = "burn"
    irreversible = True


class Notebook(Provider[NotebookSettings]):
    """An app that is only memory: anyone with a password may read it, but for its groups."""

    name = "notebook"
    title = "Notebook"
    settings_type = NotebookSettings
    components: ClassVar[Mapping[str, tuple[str, ...]]] = {"margins": ()}
    actions = (Tear(), Burn())

    async def identify(self) -> Instance:
        """Tell the account; a wrong password is refused."""
        if self.settings.password.get_secret_value() == "wrong":
            raise Misconfigured("the notebook refuses the password: set another")
        return Instance(self.settings.account, "My notebook")

    async def probe(self) -> AsyncIterator[Grant]:
        """Grant the users, not the groups."""
        yield Grant("accounts")
        yield Grant("groups", ("groups:read",), "ask the owner")

    @feed("accounts", to=lambda record, instance: _nobody(record), every=timedelta(hours=1))
    async def users(self, at: At) -> AsyncIterator[Page]:
        """List nobody."""
        yield Page([], complete=True)


class Diary(Notebook):
    """One a person, never at rest."""

    name = "diary"
    many = False
    can_disable = False


def _nobody(record: Json) -> Iterable[Mapped]:
    return []


KINDS: dict[str, type[Provider[Any]]] = {"notebook": Notebook, "diary": Diary}


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(kafka: Broker, topic_prefix: str) -> Cluster:
    """Give a cluster with topics of its own, two partitions each."""
    config = Config(
        kafka=kafka.bootstrap, prefix=topic_prefix, partitions=2, replication=1, session_seconds=2.0,
        key=SecretStr(new_key()),
    )  # fmt: skip
    made = Cluster(config)
    await made.create_topics()
    await made.ready()
    await made.learn()
    return made


@pytest.fixture
def desk(cluster: Cluster) -> Desk:
    """Give an operator's desk with the two apps in memory."""
    return Desk(cluster, Keyring.of(cluster.config), KINDS)


class Ingest:
    """What `sluice run ingest` is, as a task."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __aenter__(self) -> Self:
        cluster = self._desk.cluster
        self._follower = Follower(cluster)
        await self._follower.start()
        services = Services(cluster, self._desk.links, self._desk.keyring, WallClock(), "test")
        self._task = asyncio.create_task(ingest(services, self._follower).run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._follower.stop()


@pytest.fixture
def owner(desk: Desk) -> Ingest:
    """Give an ingest process, to be entered."""
    return Ingest(desk)


class Said(NamedTuple):
    """What a call of the command line left."""

    code: int
    out: str
    err: str


class Shell:
    """Calls `sluice` as a process, with a home of its own and nobody at a terminal."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            "PATH": os.environ["PATH"], "XDG_DATA_HOME": str(home), "HOME": str(home),
            "PYTHONWARNINGS": "ignore",
        }  # fmt: skip

    def of(self, cluster: Cluster) -> "Shell":
        """Point it at a cluster."""
        config = cluster.config
        self.environment |= {
            "SLUICE_KAFKA": cluster.bootstrap, "SLUICE_PREFIX": config.prefix, "SLUICE_PARTITIONS": "2",
            "SLUICE_REPLICATION": "1",
            "SLUICE_KEY": config.key.get_secret_value(),
        }  # fmt: skip
        return self

    @staticmethod
    def call(*arguments: str) -> tuple[str, ...]:
        """Give the whole command."""
        return (sys.executable, "-m", "sluice", *arguments)

    async def __call__(self, *arguments: str, given: bytes = b"", **environment: str) -> Said:
        """Call it; no call ever prints a trace or the canary."""
        process = await asyncio.create_subprocess_exec(
            *self.call(*arguments), env=self.environment | environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate(given)
        said = Said(process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in said.err, said.err
        assert CANARY not in said.out + said.err
        return said


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Give the command line."""
    return Shell(tmp_path)


@pytest.fixture
def canary() -> str:
    """Give a secret that must show up nowhere."""
    return CANARY

"""Sluice as its users run it: processes of the command line, each with an empty home, on any Kafka."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp
import rig
import toy

_WITH_TOY = (
    f"import ingest.providers as found; found.__path__.append({str(Path(toy.__file__).parent)!r}); "
    "from sluice.__main__ import main; main()"
)


class Said(NamedTuple):
    """What a call of the command line left."""

    code: int
    out: str
    err: str


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Deployed:
    """Roles as processes and calls of the command line, by who they are to Kafka."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder, self._settings = folder, dict(settings)
        self.running: dict[str, Process] = {}
        self._ports: dict[str, int] = {}
        self._homes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self.running):
            await self.kill(name)

    def home(self) -> Path:
        """Make a home that has nothing in it: a fresh machine."""
        self._homes += 1
        made = self.folder / f"home-{self._homes}"
        made.mkdir(parents=True)
        return made

    def _environment(self, **more: str) -> dict[str, str]:
        home = str(self.home())
        return {
            "PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "HOME": home, "XDG_DATA_HOME": home,
            "XDG_CACHE_HOME": home, "NO_COLOR": "1", "PYTHONWARNINGS": "ignore", **self._settings, **more,
        }  # fmt: skip

    async def call(self, *arguments: str, **more: str) -> Said:
        """Call the command line; `more` are further settings."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WITH_TOY, *arguments, env=self._environment(**more), stdin=DEVNULL,
            stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        return Said(process.returncode or 0, out.decode(), err.decode())

    async def run(self, name: str, *roles: str, **more: str) -> None:
        """Start a process with roles and wait until it says that it is ready."""
        self._ports[name] = free_port()
        environment = self._environment(SLUICE_METRICS_PORT=str(self._ports[name]), **more)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _WITH_TOY, "run", *(roles or (name,)), env=environment, stdin=DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip
        await rig.until(lambda: self._ready(name), 40)

    async def _ready(self, name: str) -> bool:
        assert self.running[name].returncode is None, self.log(name)
        return (await self.asked(name, "readyz"))[0] == 200

    async def asked(self, name: str, what: str) -> tuple[int, str]:
        """Ask a process on its operator's port: healthz, readyz, metrics; 0 if it does not listen."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self._ports[name]}/{what}") as reply,
            ):
                return reply.status, await reply.text()
        except aiohttp.ClientError:
            return 0, ""

    async def metric(self, name: str, line: str) -> float:
        """Read one sample of a process's metrics; 0 if it is not there."""
        _, text = await self.asked(name, "metrics")
        found = [each.rsplit(" ", 1)[1] for each in text.splitlines() if each.startswith(line)]
        return sum(float(each) for each in found)

    async def kill(self, name: str) -> None:
        """End a process as a crash would."""
        process = self.running.pop(name)
        if process.returncode is None:
            process.kill()
        await process.wait()

    def log(self, name: str) -> str:
        """Give what a process has said."""
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def toy_settings(self, url: str, secret: str) -> str:
        """Write the settings file of a connector to a simulated tenant and name it."""
        path = self.folder / "toy.json"
        path.write_text(json.dumps({"url": url, "client_secret": secret}), encoding="utf-8")
        return str(path)

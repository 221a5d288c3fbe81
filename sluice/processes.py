"""Roles as child processes of one machine: a process each, restarted when it ends, gone with their parent."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import structlog

from ingest.config import Config

TETHER = "SLUICE_TETHERED"
"""Set for children: they end when their standard input does, also after a kill -9 of the parent."""
_BACKOFF = (0.2, 10.0)
_STOP_SECONDS = 8.0
_log = structlog.get_logger(part="processes")


@dataclass(slots=True)
class Child:
    """One role's process; `metrics` is its operator's address."""

    role: str
    metrics: str
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    healthy: asyncio.Event = field(default_factory=asyncio.Event)


class Processes:
    """Starts a process a role and keeps each running."""

    def __init__(self, config: Config, kafka: str, roles: tuple[str, ...], logs: Path | None = None) -> None:
        self._config, self._kafka, self._logs = config, kafka, logs
        self.children = [Child(role, f"http://127.0.0.1:{free_port()}") for role in roles]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._keep(child)) for child in self.children]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(_end(child.process) for child in self.children if child.process))

    def kill(self, role: str) -> None:
        """Kill a role's process as hard as it goes; it is started again."""
        for child in self.children:
            if child.role == role and child.process is not None and child.process.returncode is None:
                child.process.kill()

    async def _keep(self, child: Child) -> None:
        pause = _BACKOFF[0]
        while True:
            started = asyncio.get_running_loop().time()
            child.process = await self._start(child)
            child.starts += 1
            code = await child.process.wait()
            if asyncio.get_running_loop().time() - started > _BACKOFF[1]:
                pause = _BACKOFF[0]
            _log.warning("process ended and is started again", role=child.role, code=code)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACKOFF[1])

    async def _start(self, child: Child) -> asyncio.subprocess.Process:
        log = None
        if self._logs is not None:
            log = (self._logs / f"{child.role}.log").open("ab")
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sluice", "run", child.role,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=log,
                env={**os.environ, **self._environment(child)},
            )  # fmt: skip
        finally:
            if log is not None:
                log.close()

    def _environment(self, child: Child) -> Mapping[str, str]:
        config = self._config
        return {
            TETHER: "1",
            "SLUICE_KAFKA": self._kafka,
            "SLUICE_PREFIX": config.prefix,
            "SLUICE_KEY": config.key.get_secret_value(),
            "SLUICE_METRICS_HOST": "127.0.0.1",
            "SLUICE_METRICS_PORT": child.metrics.rpartition(":")[2],
            # The same name after a restart: it takes its work back at once.
            "SLUICE_WORKER": config.worker or f"{socket.gethostname()}-{child.role}",
            "SLUICE_SESSION_SECONDS": str(config.session_seconds),
            "SLUICE_SCANNERS": str(config.scanners),
            "SLUICE_PUBLIC_URL": config.public_url,
            "SLUICE_CA_FILE": str(config.ca_file or ""),
            "SLUICE_RECEIVE_HOST": config.receive_host,
            "SLUICE_RECEIVE_PORT": str(config.receive_port),
            "SLUICE_RECEIVE_CERTIFICATE": str(config.receive_certificate or ""),
            "SLUICE_RECEIVE_PRIVATE_KEY": str(config.receive_private_key or ""),
            "SLUICE_RECEIVE_CLIENT_CA": str(config.receive_client_ca or ""),
            "SLUICE_RECEIVE_RATE": str(config.receive_rate),
        }


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def tether(stop: asyncio.Event) -> None:
    """End with the parent: wait for the end of standard input, then say stop."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
    stop.set()


def free_port() -> int:
    """Find a port that is free now, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

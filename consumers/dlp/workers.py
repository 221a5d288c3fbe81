"""The pool of processes that scan: a file can end one of them, and never the service.

What a process dies of becomes a verdict: more than `wall` or `cpu` seconds, more than `memory` bytes, or a
crash twice (the second time in a fresh process, as the first may have been an accident of the machine's).
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import structlog

from consumers.dlp.budget import Limits
from consumers.dlp.detectors import Rules
from consumers.dlp.engine import unscanned
from consumers.dlp.frames import pack_setup, receive, send
from consumers.dlp.status import Reason, Status, Verdict

STARTUP = 60.0  # seconds
SIGNALS = {signal.SIGXCPU: Reason.CPU, signal.SIGKILL: Reason.MEMORY}
ROOT = str(Path(__file__).parents[2])

log = structlog.get_logger()


class WorkerError(RuntimeError):
    """A scan process does not start; no file is to blame."""


class _DiedError(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class _Worker:
    """One process, started when needed."""

    def __init__(self, setup: bytes, limits: Limits) -> None:
        self._setup, self._limits = setup, limits
        self._process: asyncio.subprocess.Process | None = None
        self._jobs = 0

    @property
    def pid(self) -> int:
        """The process's id, 0 when there is none."""
        return self._process.pid if self._process else 0

    async def start(self) -> asyncio.subprocess.Process:
        """Start the process unless it runs, and wait until it is ready."""
        if self._process is not None:
            return self._process
        self._jobs = 0
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "consumers.dlp.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": ROOT, "MALLOC_ARENA_MAX": "1", "PATH": os.defpath},
            start_new_session=True,  # the terminal's interrupt is for the service to handle
        )
        try:
            async with asyncio.timeout(STARTUP):
                await send(_writer(process), self._setup, None)
                await receive(_reader(process))
        except (EOFError, OSError, TimeoutError):
            await self.stop()
            raise WorkerError(
                f"the scan process of {sys.executable} does not start; run `sluice doctor`"
            ) from None
        except asyncio.CancelledError:
            await self.stop()
            raise
        return process

    async def stop(self) -> int:
        """Kill the process and collect it; gives its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        _writer(process).close()
        status = await process.wait()
        with contextlib.suppress(OSError):
            await _writer(process).wait_closed()
        return status

    async def scan(self, content: Path | bytes, name: str) -> Verdict:
        """Have one file scanned.

        Raises:
            _DiedError: The process ended, or was ended at its time limit.
        """
        process = await self.start()
        head = _head(content, name)
        body = content if isinstance(content, bytes) else None
        try:
            async with asyncio.timeout(self._limits.wall):
                await send(_writer(process), head, body)
                reply: dict[str, Any] = orjson.loads(await receive(_reader(process)))
                verdict = Verdict.from_json(orjson.dumps(reply["verdict"]))
        except TimeoutError:
            await self.stop()
            raise _DiedError(Reason.TIMEOUT) from None
        except (EOFError, OSError, ValueError, KeyError):
            raise _DiedError(await self._cause(process)) from None
        except asyncio.CancelledError:
            await self.stop()
            raise
        if reply["fault"]:
            log.error("scan_failed", fault=reply["fault"], kind=verdict.kind)
        self._jobs += 1
        if not reply["again"] or self._jobs >= self._limits.jobs:
            await self.stop()
        return verdict

    async def _cause(self, process: asyncio.subprocess.Process) -> Reason:
        """Why the pipe ended: the status of a process that ended by itself, known a moment later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await process.wait()
        by_itself = process.returncode
        await self.stop()
        return (
            SIGNALS.get(signal.Signals(-by_itself), Reason.CRASH)
            if by_itself and by_itself < 0
            else Reason.CRASH
        )


class Scanners:
    """A pool of scan processes: ``async with Scanners(2, Limits(), rules) as s: await s.scan(...)``.

    As many scans run at once as there are processes; more wait their turn. Leaving the block ends them all.
    """

    def __init__(self, count: int, limits: Limits, rules: Rules) -> None:
        self.rules_hash = rules.hash
        setup = pack_setup(rules, limits)
        self._workers = [_Worker(setup, limits) for _ in range(count)]
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._renewals: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.start())
        except* WorkerError as problems:
            await self._stop()
            raise problems.exceptions[0] from None
        for worker in self._workers:
            self._idle.put_nowait(worker)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run now."""
        return tuple(pid for worker in self._workers if (pid := worker.pid))

    async def scan(self, content: Path | bytes, name: str) -> Verdict:
        """Scan a file by path or content; `name` tells apart kinds of text and is not in the verdict.

        Raises:
            WorkerError: No process can be started.
        """
        worker = await self._idle.get()
        try:
            reason = Reason.CRASH
            for _ in range(2):
                try:
                    return await worker.scan(content, name)
                except _DiedError as death:
                    reason = death.reason
                    log.warning("scan_process_ended", reason=reason.value)
                if reason is not Reason.CRASH:
                    break
            return unscanned(Status.UNSCANNABLE, reason, self.rules_hash, size=await _size(content))
        finally:
            self._renew(worker)

    def _renew(self, worker: _Worker) -> None:
        """Put a worker back, started anew in the background if its process is gone."""
        task = asyncio.create_task(self._ready(worker))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _ready(self, worker: _Worker) -> None:
        try:
            await worker.start()
        except WorkerError as problem:
            log.error("scan_process_missing", problem=str(problem))  # noqa: TRY400 - its text says all.
        self._idle.put_nowait(worker)

    async def _stop(self) -> None:
        for task in self._renewals:
            task.cancel()
        await asyncio.gather(*self._renewals, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in self._workers))


def _head(content: Path | bytes, name: str) -> bytes:
    head = {"name": name}
    if isinstance(content, Path):
        head["path"] = str(content.absolute())
    return orjson.dumps(head)


async def _size(content: Path | bytes) -> int:
    if isinstance(content, bytes):
        return len(content)
    try:
        return (await asyncio.to_thread(content.stat)).st_size
    except OSError:
        return 0


def _writer(process: asyncio.subprocess.Process) -> asyncio.StreamWriter:
    assert process.stdin is not None
    return process.stdin


def _reader(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    assert process.stdout is not None
    return process.stdout

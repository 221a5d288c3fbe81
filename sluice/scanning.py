"""`sluice scan`: the engine of the scan on files of this machine; nothing leaves it."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

from consumers.dlp.budget import Limits
from consumers.dlp.detectors import Rules
from consumers.dlp.engine import unscanned
from consumers.dlp.status import Reason, Status, Verdict
from consumers.dlp.workers import Scanners, WorkerError
from sluice.terminal import FailedError, WrongCallError, printable

LEVELS = {"low": 65, "medium": 75, "high": 85, "65": 65, "75": 75, "85": 85}


def level_of(text: str) -> int:
    """Read a level of confidence.

    Raises:
        WrongCallError: It is none.
    """
    if text not in LEVELS:
        raise WrongCallError(f"--fail-on {text!r} is no level: low, medium, high, or 65, 75, 85")
    return LEVELS[text]


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """List the files meant, folders in order of their names; links inside folders are not followed.

    Raises:
        WrongCallError: A path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise WrongCallError(f"there is no {path}")
        if not path.is_dir():
            yield path
            continue
        for folder, inner, names in os.walk(path):
            inner.sort()
            for name in sorted(names):
                one = Path(folder, name)
                if one.is_file() and not one.is_symlink():
                    yield one


async def scanned(paths: Iterable[Path], processes: int) -> AsyncIterator[tuple[Path, Verdict]]:
    """Scan files in processes of their own and yield the verdicts in the order of the paths.

    Raises:
        FailedError: No scan process starts.
    """
    try:
        async with Scanners(processes, Limits(), Rules.load(os.urandom(32))) as scanners:
            async for each in _in_order(paths, scanners, processes):
                yield each
    except WorkerError as error:
        raise FailedError(str(error)) from None


async def _in_order(
    paths: Iterable[Path], scanners: Scanners, processes: int
) -> AsyncIterator[tuple[Path, Verdict]]:
    waiting: deque[tuple[Path, asyncio.Task[Verdict]]] = deque()
    try:
        for path in paths:
            waiting.append((path, asyncio.create_task(_scan(scanners, path))))
            if len(waiting) >= 2 * processes:
                yield await _first(waiting)
        while waiting:
            yield await _first(waiting)
    finally:
        for _, task in waiting:
            task.cancel()


async def _scan(scanners: Scanners, path: Path) -> Verdict:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        # A name that is no UTF-8 can't be told to a scan process, so the content is.
        with contextlib.suppress(OSError):
            content = await asyncio.to_thread(_held, path)
            return await scanners.scan(content, printable(path.name))
        return unscanned(Status.UNSCANNABLE, Reason.UNREADABLE, scanners.rules_hash)
    return await scanners.scan(path, path.name)


def _held(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(Limits().size + 1)


async def _first(waiting: deque[tuple[Path, asyncio.Task[Verdict]]]) -> tuple[Path, Verdict]:
    path, task = waiting.popleft()
    return path, await task


def shown(path: Path, verdict: Verdict) -> dict[str, Any]:
    """Make the JSON line of a file: masked values and places only."""
    return {
        "path": str(path).encode("utf-8", "backslashreplace").decode(),
        "status": str(verdict.status),
        "reasons": [str(reason) for reason in verdict.reasons],
        "kind": str(verdict.kind),
        "size": verdict.size,
        "findings": [
            {
                "detector": one.detector, "title": one.title, "confidence": one.confidence,
                "count": one.count, "distinct": one.distinct, "estimated": one.estimated, "test": one.test,
                "reasons": list(one.reasons),
                "places": [
                    {"where": place.where, "offset": place.offset, "masked": place.masked}
                    for place in one.places
                ],
            }
            for one in verdict.findings
        ],
    }  # fmt: skip

"""Scans one file in this process, which may die of it: `workers` is how a service does it."""

import time
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import hyperscan

from consumers.dlp.budget import Budget, ExhaustedError, Limits, UnreadableError
from consumers.dlp.detectors import Rules
from consumers.dlp.extract import extract
from consumers.dlp.extract.segments import Part
from consumers.dlp.matching import Matcher
from consumers.dlp.sniff import Kind, sniff
from consumers.dlp.status import Reason, Status, Verdict
from consumers.dlp.tally import Tally


class Engine:
    """A rule set and limits, compiled once and used for many files; for one thread."""

    def __init__(self, rules: Rules, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._matcher = Matcher(rules)
        self.rules_hash = rules.hash

    def scan(self, content: Path | bytes, name: str) -> Verdict:
        """Scan a file by its path or its content; the name tells apart kinds of text and is not repeated.

        Hostile content ends in a verdict. What can end the process instead is listed in `workers`.
        """
        if isinstance(content, bytes):
            return self._scan(BytesIO(content), len(content), name)
        try:
            with content.open("rb") as source:
                return self._scan(source, content.stat().st_size, name)
        except OSError:
            return self._unscanned(Status.UNSCANNABLE, Reason.UNREADABLE)

    def _unscanned(self, status: Status, reason: Reason, size: int = 0) -> Verdict:
        return unscanned(status, reason, self.rules_hash, size=size)

    def _scan(self, source: BinaryIO, size: int, name: str) -> Verdict:
        if size > self.limits.size:
            return self._unscanned(Status.SKIPPED, Reason.SIZE, size)
        started = time.monotonic()
        sniffed = sniff(source, name)
        budget = Budget(self.limits, size)
        tally = Tally(self._matcher)
        text_bytes = 0
        try:
            for segment in extract(source, name, sniffed, budget):
                tally.feed(segment)
                budget.tick()
                if segment.kind not in (Part.NAME, Part.PROPERTY):
                    text_bytes += (len(segment.text) if segment.high is None else segment.high) - segment.low
        except (ExhaustedError, UnreadableError) as problem:
            budget.note(problem.reason)
        except (MemoryError, hyperscan.NoMemoryError):
            budget.note(Reason.MEMORY)
        return Verdict(
            status=_status(sniffed.kind, budget.notes, text_bytes),
            reasons=tuple(budget.notes),
            kind=sniffed.kind,
            size=size,
            text_bytes=text_bytes,
            seconds=round(time.monotonic() - started, 6),
            rules_hash=self.rules_hash,
            findings=tally.findings(),
        )


def unscanned(status: Status, reason: Reason, rules_hash: str, *, size: int = 0) -> Verdict:
    """Make the verdict on a file of which nothing was read."""
    return Verdict(status, (reason,), "", size, 0, 0.0, rules_hash)


def _status(kind: Kind, notes: list[Reason], text_bytes: int) -> Status:
    if not notes:
        return Status.COMPLETE
    if notes == [Reason.UNSUPPORTED] and kind in (Kind.IMAGE, Kind.BINARY, Kind.OLE):
        return Status.SKIPPED
    return Status.PARTIAL if text_bytes else Status.UNSCANNABLE

"""Limits of a scan, and the budget one file has for all that is nested in it."""

import time
from dataclasses import dataclass, field

from consumers.dlp.status import Reason

MIB = 1 << 20
RATIO_FREE = 16 * MIB  # below this much text no ratio is a danger


@dataclass(frozen=True, slots=True)
class Limits:
    """What one scan may use; sizes in bytes, times in seconds.

    Those from ``inflated`` to ``cells`` end in a partial result; ``wall``, ``cpu`` and ``memory`` end the
    process. ``seconds`` is where extraction stops by itself, so it is best well below ``wall``.
    """

    size: int = 256 * MIB
    inflated: int = 256 * MIB
    ratio: int = 200
    members: int = 10_000
    depth: int = 4
    pages: int = 2_000
    cells: int = 5_000_000
    seconds: float = 20.0
    wall: float = 30.0
    cpu: int = 30
    memory: int = 512 * MIB
    jobs: int = 1_000


class ExhaustedError(Exception):
    """The budget of the file is used up; what was read until then counts."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class UnreadableError(Exception):
    """This part of the file can't be read; its siblings may still be."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(slots=True)
class Budget:
    """What is left for one top-level file: it counts what came out, never what a header declares."""

    limits: Limits
    size: int
    inflated: int = 0
    members: int = 0
    pages: int = 0
    cells: int = 0
    started: float = field(default_factory=time.monotonic)
    notes: list[Reason] = field(default_factory=list)

    def inflate(self, count: int) -> None:
        """Spend bytes that came out of a compressed part."""
        self.inflated += count
        if self.inflated > self.limits.inflated:
            raise ExhaustedError(Reason.BYTES)
        if self.inflated > RATIO_FREE and self.inflated > self.size * self.limits.ratio:
            raise ExhaustedError(Reason.RATIO)
        self.tick()

    def member(self, depth: int) -> None:
        """Spend one member of a container that lies `depth` containers deep."""
        self.members += 1
        if self.members > self.limits.members:
            raise ExhaustedError(Reason.MEMBERS)
        if depth > self.limits.depth:
            raise UnreadableError(Reason.DEPTH)

    def page(self) -> None:
        """Spend one page."""
        self.pages += 1
        if self.pages > self.limits.pages:
            raise ExhaustedError(Reason.PAGES)
        self.tick()

    def row(self, cells: int) -> None:
        """Spend the cells of one row."""
        self.cells += cells
        if self.cells > self.limits.cells:
            raise ExhaustedError(Reason.CELLS)

    def tick(self) -> None:
        """Stop when the time is up."""
        if time.monotonic() - self.started > self.limits.seconds:
            raise ExhaustedError(Reason.SECONDS)

    def note(self, reason: Reason) -> None:
        """Remember that something was left out."""
        if reason not in self.notes:
            self.notes.append(reason)

"""One lane of one partition: what waits, what is under way, what is done, and the position that says so.

Pure bookkeeping. All offsets below the position are done or were never there (compaction, retention and
transaction markers leave gaps); the bitmap names those done beyond it.
"""

import asyncio
import base64
from collections import deque

from pydantic import Field

from ingest.consuming import Incoming
from schemas.control import Record

WINDOW = 256
"""Offsets beyond the position that may be under way or done."""


class Position(Record):
    """How far a lane of a partition is worked off: all below `offset`, and those of the bitmap beyond it.

    Not `clean`: a process runs it, or died while it did. `attempts` counts careful starts by offset.
    """

    offset: int = 0
    done: str = ""
    clean: bool = True
    attempts: dict[int, int] = Field(default_factory=dict)


class Lane:
    """The records of a lane on their way through this process."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.position = Position()
        self.waiting: deque[Incoming] = deque()
        self.open: set[int] = set()
        self.done: set[int] = set()
        self.careful_until = 0
        self.some = asyncio.Event()
        self._highest = -1

    def resume(self, *, careful: bool) -> int:
        """Begin at the position read back and return the offset to read from."""
        start = self.position.offset
        bits = base64.b64decode(self.position.done)
        self.done = {
            start + 8 * n + bit for n, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1
        }
        self._highest = start - 1
        self.careful_until = start + WINDOW if careful and not self.position.clean else 0
        return start

    def deliver(self, records: list[Incoming]) -> None:
        """Take in what was read, in order."""
        self.waiting.extend(records)
        self._highest = max(self._highest, records[-1].offset)
        self.some.set()

    def next(self, busy: set[bytes]) -> Incoming | None:
        """Pick the first record whose key is not busy, now under way; None: nothing can go on."""
        while self.waiting and self._over(self.waiting[0]):
            self.waiting.popleft()
        self.advance()
        for index, record in enumerate(self.waiting):
            if record.offset >= self.position.offset + WINDOW:
                return None
            if record.key not in busy and not self._over(record):
                del self.waiting[index]
                self.open.add(record.offset)
                return record
        return None

    def _over(self, record: Incoming) -> bool:
        return record.offset < self.position.offset or record.offset in self.done

    def finish(self, offset: int) -> None:
        """Note that a record is done."""
        self.open.discard(offset)
        self.done.add(offset)
        self.advance()

    def advance(self) -> None:
        """Move the position to the first record that is not done."""
        while self.waiting and self._over(self.waiting[0]):
            self.waiting.popleft()
        first = self.waiting[0].offset if self.waiting else self._highest + 1
        offset = max(self.position.offset, min([first, *self.open]))
        if offset == self.position.offset:
            return
        self.done = {one for one in self.done if one >= offset}
        attempts = {one: n for one, n in self.position.attempts.items() if one >= offset}
        self.position = self.position.model_copy(update={"offset": offset, "attempts": attempts})

    def attempt(self, offset: int) -> int:
        """Count a careful start of a record; it is durable once the position is."""
        count = self.position.attempts.get(offset, 0) + 1
        attempts = {**self.position.attempts, offset: count}
        self.position = self.position.model_copy(update={"attempts": attempts})
        return count

    def marked(self, *, clean: bool) -> Position:
        """Give the position to write."""
        bits = bytearray()
        for beyond in sorted(one - self.position.offset for one in self.done):
            bits += bytes(beyond // 8 + 1 - len(bits))
            bits[beyond // 8] |= 1 << beyond % 8
        done = base64.b64encode(bytes(bits)).decode()
        self.position = self.position.model_copy(update={"done": done, "clean": clean})
        return self.position

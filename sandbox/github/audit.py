"""The audit log: events become visible later than they happen, and git events are kept a week only.

Source: "Get the audit log for an organization" of the REST reference; "Reviewing the audit log".
"""

import base64
import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox.github.answers import Json
from sandbox.github.phrase import Search

DAY = 86_400_000
RETENTION, GIT_RETENTION, UNASKED = 180 * DAY, 7 * DAY, 90 * DAY


@dataclass(order=True, frozen=True, slots=True)
class Entry:
    """An event with its place: event time in ms, then id; `visible` is the ms from which it is shown."""

    at: int
    id: str
    visible: int = field(compare=False)
    record: Json = field(compare=False)
    git: bool = field(compare=False, default=False)
    enterprise: bool = field(compare=False, default=False)


def document_id(number: int, salt: str) -> str:
    """An id as the log has them: 16 bytes in URL-safe base64 without padding."""
    digest = hashlib.sha256(f"{salt}/{number}".encode()).digest()[:16]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class AuditLog:
    """Every event in the order of event time."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Put an event where its time belongs, which need not be the end."""
        if not self.entries or self.entries[-1] < entry:
            self.entries.append(entry)
        else:
            insort(self.entries, entry)

    def page(
        self,
        now: int,
        found: Search,
        *,
        include: str = "web",
        descending: bool = True,
        after: tuple[int, str] | None = None,
        size: int = 30,
        enterprise: bool = False,
        before: bool = False,
    ) -> tuple[list[Entry], bool]:
        """Up to `size` events after a place in the asked order, and whether there are more.

        `before`: those that come ahead of the place instead, in the asked order still.
        """
        walk_down = descending != before
        picked: list[Entry] = []
        for entry in self._walk(now, found, after, down=walk_down):
            shown = entry.visible <= now and entry.at >= now - (GIT_RETENTION if entry.git else RETENTION)
            wanted = include == "all" or entry.git == (include == "git")
            if shown and wanted and (enterprise or not entry.enterprise) and found.matches(entry.record):
                if len(picked) == size:
                    return (picked[::-1] if before else picked), True
                picked.append(entry)
        return (picked[::-1] if before else picked), False

    def _walk(self, now: int, found: Search, after: tuple[int, str] | None, *, down: bool) -> Iterator[Entry]:
        start = found.start if found.start is not None or found.end is not None else now - UNASKED
        low = bisect_left(self.entries, start, key=lambda e: e.at) if start is not None else 0
        high = (
            bisect_right(self.entries, found.end, key=lambda e: e.at)
            if found.end is not None
            else len(self.entries)
        )
        if after is not None and down:
            high = min(high, bisect_left(self.entries, after, key=lambda e: (e.at, e.id)))
        elif after is not None:
            low = max(low, bisect_right(self.entries, after, key=lambda e: (e.at, e.id)))
        steps = range(high - 1, low - 1, -1) if down else range(low, high)
        return (self.entries[i] for i in steps)

"""What polls find that a push should have brought: counted, and unlikely silence told from a quiet hour.

A poll often finds an occurrence seconds before its delivery comes, so what it found is judged only after a
grace. Where a hook only nudges, ids can't be compared: what happened before a nudge counts as announced, so
that a poll which learns of it late (an audit log that lags) accuses nobody.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

GRACE_MS = 120_000
"""How long a delivery may lag behind the poll that found its occurrence."""
UNLIKELY = 3
"""So many occurrences found by the poll alone, with no delivery since, make a registration suspect."""
_MOST_PENDING = 10_000

Told: TypeAlias = Sequence[tuple[str, Collection[int] | None]]
"""What a delivery brought, by feed: hashes of its occurrences' ids, or None for a nudge."""


@dataclass(slots=True)
class Tally:
    """How one registration is doing; times in ms since 1970."""

    delivered: int = 0
    recovered: int = 0
    missed: int = 0
    suspect: int = 0
    again: int = 0
    _pending: dict[str, dict[int, int]] = field(default_factory=dict)
    _nudged: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Give what is stored with the registration."""
        return {
            "delivered": self.delivered, "recovered": self.recovered, "missed": self.missed,
            "suspect": self.suspect, "again": self.again,
        }  # fmt: skip

    def heard(self, told: Told, now: int) -> None:
        """Note a delivery: it works, whatever was suspected."""
        self.delivered, self.missed, self.suspect, self.again = now, 0, 0, 0
        self.brought(told, now)

    def brought(self, told: Told, now: int) -> None:
        """Take what a delivery brought, maybe another registration's, off what is missed."""
        for feed, ids in told:
            if ids is None:
                self._nudged[feed] = now
                self._pending.pop(feed, None)
                continue
            pending = self._pending.get(feed, {})
            for one in ids:
                pending.pop(one, None)

    def found(self, feed: str, occurrences: Iterable[tuple[int, int]], now: int) -> None:
        """Note what a poll was the first to find: (hash of the id, when it happened)."""
        announced = self._nudged.get(feed, 0)
        pending = self._pending.setdefault(feed, {})
        for one, happened in occurrences:
            if happened > announced and len(pending) < _MOST_PENDING:
                pending.setdefault(one, now)

    def judge(self, now: int) -> Mapping[str, int]:
        """Count, by feed, what no delivery brought within the grace; enough of it makes suspect."""
        lost: Counter[str] = Counter()
        for feed, pending in self._pending.items():
            late = [one for one, since in pending.items() if since <= now - GRACE_MS]
            for one in late:
                del pending[one]
            if late:
                lost[feed] += len(late)
        self.recovered += lost.total()
        self.missed += lost.total()
        if self.missed >= UNLIKELY and not self.suspect:
            self.suspect = now
        return lost

    def awaits(self) -> bool:
        """Tell whether there is anything that a delivery may still bring."""
        return any(self._pending.values())

    def made_anew(self) -> None:
        """Begin again with a fresh registration, which owes nothing of what came before."""
        self.missed, self.again = 0, self.again + 1
        self._pending.clear()

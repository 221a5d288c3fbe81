"""One bucket for one scope key: what was spent in the window, and when there is room again.

A cell never lets more than its share's `n` units into any window of `per` seconds: it keeps the window's
spending as a log.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ingest.apis import Limit
from ingest.ledger import CellKey
from schemas.quota import QuotaNeed

_SLOTS: Final = 12
"""How finely a window's spending is told to the ledger."""


class Share(NamedTuple):
    """What may be spent of a limit: `n` units in any window, evenly at `rate` units a second.

    `kept` of them is for governance alone; `elsewhere` is what other processes have spent, for the metric.
    """

    n: float
    rate: float
    at_once: int | None = None
    kept: float = 0.0
    elsewhere: float = 0.0


@dataclass(slots=True)
class Cell:
    """One bucket for one scope key: what was spent in the window, what the provider said is left."""

    key: CellKey = ("", "", "")
    log: deque[list[float]] = field(default_factory=deque)
    used: float = 0.0
    busy: int = 0
    flying: float = 0.0
    smooth_at: float = -math.inf
    left: float = math.inf
    left_until: float = -math.inf
    paused: float = -math.inf
    limit: Limit | None = None
    elsewhere: float = 0.0
    least: float = 1.0
    lately: list[float] = field(default_factory=lambda: [0.0] * 4)
    rates: list[float] = field(default_factory=lambda: [0.0] * 4)
    since: float = -math.inf

    def ready(self, now: float, limit: Limit, share: Share, cost: float, rank: int) -> float:
        """Tell when `cost` may be spent; infinity: once a call ends or a share grows."""
        if cost > share.n or (share.at_once is not None and self.busy >= share.at_once):
            return math.inf
        reserve = share.kept if rank else 0.0
        at = max(self.paused, self._room(now, limit, cost, share.n - reserve))
        if now < self.left_until and self.left - cost < reserve:
            at = max(at, self.left_until)
        if rank and self.smooth_at - _burst(limit, rank) > now:
            at = max(at, self.smooth_at - _burst(limit, rank))
        return at

    def _room(self, now: float, limit: Limit, cost: float, most: float) -> float:
        self.forget(now, limit)
        excess = self.used + cost - most
        if excess <= 1e-9 or not self.log:
            return now
        for at, units, _ in self.log:
            excess -= units
            if excess <= 1e-9:
                return at + limit.per
        return self.log[-1][0] + limit.per

    def forget(self, now: float, limit: Limit) -> None:
        """Drop what has left the window."""
        while self.log and self.log[0][0] + limit.per <= now:
            self.used -= self.log.popleft()[1]
        if not self.log:
            self.used = 0.0

    def spend(self, now: float, limit: Limit, share: Share, cost: float, rank: int) -> None:
        """Count a call that begins now."""
        if self.log and now - self.log[-1][2] < limit.per / 500:
            self.log[-1][0] = now
            self.log[-1][1] += cost
        else:
            self.log.append([now, cost, now])
        self.used += cost
        self.left -= cost
        self.busy += 1
        self.flying += cost
        self.limit, self.elsewhere, self.least = limit, share.elsewhere, cost
        self.lately[rank] += cost
        self.smooth_at = max(self.smooth_at, now) + cost / share.rate

    def part(self, now: float) -> float:
        """Tell which part, 0 to 1, of the limit is left."""
        if self.limit is None:
            return 1.0
        self.forget(now, self.limit)
        ours = self.limit.n - self.used - self.elsewhere
        left = min(ours, self.left if now < self.left_until else math.inf)
        return max(0.0, left / self.limit.n)

    def need(self, now: float, limit: Limit, waiting: "Waiting") -> QuotaNeed:
        """Tell what it wants: what waits, and what was spent in the last second or so."""
        self.forget(now, limit)
        if (passed := now - self.since) >= 1.0:
            self.rates = [units / passed for units in self.lately]
            self.lately, self.since = [0.0] * 4, now
        slots: dict[int, tuple[float, float]] = {}
        for at, units, _ in self.log:
            place = int(at * _SLOTS / limit.per)
            slots[place] = (now - at, slots.get(place, (0.0, 0.0))[1] + units)
        api, bucket, key = self.key
        want = [a + b for a, b in zip(waiting.units, self.rates, strict=True)]
        return QuotaNeed(
            api=api, bucket=bucket, key=key, n=limit.n, per=limit.per, at_once=limit.at_once,
            want=(want[0], want[1], want[2], want[3]), least=waiting.least if waiting.calls else self.least,
            calls=waiting.calls + self.busy or int(any(self.rates) or any(self.lately)),
            busy=self.busy, log=tuple(slots.values()),
        )  # fmt: skip

    def idle(self, now: float) -> bool:
        """Tell whether forgetting this cell would change nothing."""
        quiet = self.limit is None or not self.log or self.log[-1][0] + self.limit.per < now
        return quiet and not self.busy and self.left_until < now and self.paused < now


def reserve(n: float) -> float:
    """Leave the last units of a window to governance where that costs less than a tenth of it."""
    return max(1.0, 0.03 * n) if n >= 12 else 0.0


def _burst(limit: Limit, rank: int) -> float:
    """How far, in seconds, a lane may run ahead of the even rate."""
    if limit.n >= 20:
        return (0.05 if rank == 1 else 0.02) * limit.per
    return 0.5 * limit.per * (limit.n - 1) / limit.n if rank == 1 and limit.n > 1 else 0.0


@dataclass(slots=True)
class Waiting:
    """What waits for a cell: units by lane, calls, the smallest cost."""

    limit: Limit | None = None
    units: list[float] = field(default_factory=lambda: [0.0] * 4)
    calls: int = 0
    least: float = math.inf

"""Rate limits: org-wide buckets per endpoint group, a share of each for one principal, calls at once.

Numbers of the buckets are the defaults for a paid org (rate-limits reference); real orgs differ.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from sandbox.okta.errors import Refused

WINDOW = 60.0
DEFAULTS: Final[Mapping[str, int]] = {
    "/api/v1/users": 600,
    "/api/v1/users/{id}": 2000,
    "/api/v1/groups": 500,
    "/api/v1/groups/{id}": 1000,
    "/api/v1/apps": 100,
    "/api/v1/apps/{id}": 500,
    "/api/v1/logs": 120,
    "/api/v1/eventHooks": 100,
    "/api/v1": 1200,
    "/oauth2/v1/clients": 100,
    "/oauth2/v1": 2000,
}


@dataclass(slots=True)
class Window:
    """A running count and when it began."""

    start: float
    used: int = 0


class Limits:
    """Counts per bucket in windows of 60 s from a first call; `requests` and `refused` are for judges.

    `share` is the part of a bucket that one token or app may use, `at_once` the calls in parallel.
    """

    def __init__(self, now: Callable[[], float], sizes: Mapping[str, int] | None = None) -> None:
        self._now = now
        self.sizes = {**DEFAULTS, **(sizes or {})}
        self.share, self.at_once, self.twice = 0.5, 75, False
        self.running = self.busiest_at_once = 0
        self.requests, self.refused, self.busiest = Counter[str](), Counter[str](), Counter[str]()
        self.violated: Callable[[str], None] = lambda _bucket: None
        self._windows: dict[tuple[str, str], Window] = {}

    def spend(self, bucket: str, principal: str) -> list[tuple[str, str]]:
        """Count a call and give its headers; Refused with 429 when a bucket is empty."""
        self.requests[bucket] += 1
        whole, part = self.sizes[bucket], max(1, int(self.sizes[bucket] * self.share))
        told = [self._count(bucket, "", whole), self._count(bucket, principal, part)]
        self.busiest[bucket] = max(self.busiest[bucket], whole - told[0][1])
        over = any(left < 0 for _, left, _ in told)
        headers = self._headers(told)
        if over:
            self.refused[bucket] += 1
            if any(left == -1 for _, left, _ in told):
                self.violated(bucket)
            raise Throttled(headers)
        return headers

    def _count(self, bucket: str, principal: str, size: int) -> tuple[int, int, int]:
        now = self._now()
        window = self._windows.get((bucket, principal))
        if window is None or now >= window.start + WINDOW:
            window = self._windows[bucket, principal] = Window(now)
        window.used += 1
        return size, size - window.used, ceil(window.start + WINDOW)

    def _headers(self, told: list[tuple[int, int, int]]) -> list[tuple[str, str]]:
        shown = told if self.twice else [min(told, key=lambda one: one[1])]
        return [pair for size, left, reset in shown for pair in lines(size, max(0, left), reset)]

    def enter(self) -> None:
        """Begin a call; Refused when too many run, in the way that is told apart by two zeros."""
        if self.running >= self.at_once:
            self.refused["concurrency"] += 1
            self.violated("concurrency")
            raise Throttled(lines(0, 0, ceil(self._now() + 120)))
        self.running += 1
        self.busiest_at_once = max(self.busiest_at_once, self.running)

    def leave(self) -> None:
        """End a call."""
        self.running -= 1


class Throttled(Refused):
    """Too many requests; `lines` are the rate headers, which may repeat."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        super().__init__("E0000047")
        self.lines = lines


def lines(size: int, left: int, reset: int) -> list[tuple[str, str]]:
    """The three headers; `reset` in seconds since 1970."""
    return [
        ("X-Rate-Limit-Limit", str(size)),
        ("X-Rate-Limit-Remaining", str(left)),
        ("X-Rate-Limit-Reset", str(reset)),
    ]

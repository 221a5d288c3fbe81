"""Rate limits: the hourly ones that headers tell, and the secondary ones that none tells.

Source: "Rate limits for the REST API", "Rate limits and node limits for the GraphQL API".
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from sandbox.github.answers import Refused, secondary
from sandbox.github.call import Caller

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(slots=True)
class Rules:
    """How much is allowed; set them lower to see a limit soon. `hour` and `minute` are in seconds."""

    installation: int = 15_000
    user: int = 5_000
    nobody: int = 60
    audit_log: int = 1_750
    scim: int = 15_000
    search: int = 30
    graphql: int = 10_000
    graphql_user: int = 5_000
    points: int = 900
    graph_points: int = 2_000
    concurrency: int = 100
    writes: int = 80
    hour: float = 3_600.0
    minute: float = 60.0


@dataclass(slots=True)
class Window:
    """An hour of one caller in one bucket."""

    limit: int
    reset: float
    used: int = 0

    def headers(self, bucket: str) -> dict[str, str]:
        """As responses carry it."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Used": str(self.used),
            "X-RateLimit-Reset": str(int(self.reset)),
            "X-RateLimit-Resource": bucket,
        }


@dataclass(slots=True)
class Limits:
    """Counts calls; `exceeded` says which limits were run into, so that a judge sees bad manners.

    `busiest` is the largest number of points of a family in any minute, `most` the most calls at once.
    """

    rules: Rules = field(default_factory=Rules)
    exceeded: Counter[str] = field(default_factory=Counter)
    busiest: Counter[str] = field(default_factory=Counter)
    most: int = 0
    running: int = 0
    _windows: dict[tuple[str, str], Window] = field(default_factory=dict)
    _points: dict[tuple[str, str], deque[tuple[float, int]]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    _sums: Counter[tuple[str, str]] = field(default_factory=Counter)
    _dialect: int = 0

    def window(self, caller: Caller, bucket: str, now: float) -> Window:
        """The present hour of a caller; it starts with the first call."""
        key = (caller.key, bucket)
        found = self._windows.get(key)
        if found is None or now >= found.reset:
            found = self._windows[key] = Window(self._limit(caller, bucket), now + self.rules.hour)
        return found

    def charge(self, caller: Caller, bucket: str, now: float, cost: int = 1) -> Window:
        """Count a call on its hour; 403 or 429 when that is used up."""
        window = self.window(caller, bucket, now)
        if window.used + cost > window.limit:
            self.exceeded[f"primary {bucket}"] += 1
            whom = {"installation": "installation ID", "oauth": "user ID", "app": "app ID"}.get(caller.kind)
            raise Refused(
                self._status(),
                f"API rate limit exceeded for {whom or caller.key} {caller.installation or caller.id}.",
                window.headers(bucket),
            )
        window.used += cost
        return window

    def refund(self, window: Window) -> None:
        """Give a call back: 304 is free."""
        window.used -= 1

    def enter(self) -> None:
        """Begin a call; too many at once are refused."""
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running > self.rules.concurrency:
            self.exceeded["concurrency"] += 1
            raise secondary(1, self._status())

    def leave(self) -> None:
        """End a call."""
        self.running -= 1

    def pace(self, caller: Caller, family: str, method: str, now: float) -> None:
        """Count points of a minute: 5 for a write, 1 for a read, and writes as such."""
        allowed = self.rules.graph_points if family == "/graphql" else self.rules.points
        points = 1 if method not in WRITES or family == "/graphql" else 5
        self._spend(caller, family, points, allowed, now)
        if method in WRITES and family != "/graphql":
            self._spend(caller, "writes", 1, self.rules.writes, now)

    def _spend(self, caller: Caller, family: str, points: int, allowed: int, now: float) -> None:
        key = (caller.key, family)
        spent = self._points[key]
        while spent and spent[0][0] <= now - self.rules.minute:
            self._sums[key] -= spent.popleft()[1]
        if self._sums[key] + points > allowed:
            self.exceeded[f"secondary {family}"] += 1
            raise secondary(
                max(1, round(spent[0][0] + self.rules.minute - now) if spent else 1), self._status()
            )
        spent.append((now, points))
        self._sums[key] += points
        self.busiest[family] = max(self.busiest[family], self._sums[key])

    def _limit(self, caller: Caller, bucket: str) -> int:
        rules = self.rules
        if caller.kind == "nobody":
            return rules.nobody
        if bucket == "graphql":
            return rules.graphql if caller.kind == "installation" else rules.graphql_user
        if bucket == "core":
            return rules.installation if caller.kind == "installation" else rules.user
        return {"audit_log": rules.audit_log, "scim": rules.scim, "search": rules.search}[bucket]

    def _status(self) -> int:
        """Both 403 and 429 are documented for the same thing; take turns."""
        self._dialect += 1
        return 403 if self._dialect % 2 else 429

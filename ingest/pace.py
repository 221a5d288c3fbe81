"""Budgets: what may be spent at a provider, by whom first, and what its replies change about that.

A bucket of an `Api` is counted in a cell per scope key. A cell never lets more than `n` units into any
window of `per` seconds: it keeps the window's spending as a log. Lanes below governance are also smoothed, so
that a burst does not empty a window for the hour that follows, and leave the last units of larger windows to
governance.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from ingest.apis import Cost, Limit, Text
from ingest.errors import Misconfigured

Lane: TypeAlias = Literal["governance", "live", "reconcile", "sweep"]
LANES: Final[tuple[Lane, ...]] = ("governance", "live", "reconcile", "sweep")

lane: ContextVar[Lane] = ContextVar("lane", default="live")
"""Whose turn it is: set by whoever starts the work, inherited by its tasks."""


class Clock(Protocol):
    """Monotonic seconds, and a way to let them pass."""

    def time(self) -> float:
        """Tell the time in seconds since an arbitrary moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class LoopClock:
    """The machine's monotonic clock."""

    def time(self) -> float:
        """Tell the monotonic time."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait in the running loop."""
        await asyncio.sleep(seconds)


class Shares(Protocol):
    """Where this process's part of a limit comes from; call `Pace.wake` when a grant changes."""

    def granted(self, api: str, bucket: str, key: str, limit: Limit, who: Lane) -> Limit | None:
        """Say what a lane of this process may spend now of `limit`; None: no valid grant, so no call."""
        ...


class Alone:
    """The whole limit, for a process that shares it with nobody."""

    def granted(self, api: str, bucket: str, key: str, limit: Limit, who: Lane) -> Limit | None:
        """Grant everything."""
        del api, bucket, key, who
        return limit


class Spent(NamedTuple):
    """A call that was let through: how long it waited, in seconds, and what it spent, by bucket."""

    waited: float
    cells: "Mapping[str, Cell]"
    costs: Mapping[str, float]


@dataclass(slots=True)
class Cell:
    """One bucket for one scope key: what was spent in the window, what the provider said is left."""

    log: deque[list[float]] = field(default_factory=deque)
    used: float = 0.0
    busy: int = 0
    flying: float = 0.0
    smooth_at: float = -math.inf
    left: float = math.inf
    left_until: float = -math.inf
    paused: float = -math.inf
    limit: Limit | None = None

    def ready(self, now: float, limit: Limit, cost: float, rank: int) -> float:
        """Tell when `cost` may be spent; infinity: once a call ends or a share grows."""
        if cost > limit.n or (limit.at_once is not None and self.busy >= limit.at_once):
            return math.inf
        reserve = _reserve(limit.n) if rank else 0.0
        at = max(self.paused, self._room(now, limit, cost, reserve))
        if now < self.left_until and self.left - cost < reserve:
            at = max(at, self.left_until)
        if rank and self.smooth_at - _burst(limit, rank) > now:
            at = max(at, self.smooth_at - _burst(limit, rank))
        return at

    def _room(self, now: float, limit: Limit, cost: float, reserve: float) -> float:
        self.forget(now, limit)
        excess = self.used + cost - (limit.n - reserve)
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

    def spend(self, now: float, limit: Limit, cost: float) -> None:
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
        self.limit = limit
        self.smooth_at = max(self.smooth_at, now) + cost / _rate(limit)

    def part(self, now: float) -> float:
        """Tell which part, 0 to 1, of the limit is left."""
        if self.limit is None:
            return 1.0
        self.forget(now, self.limit)
        left = min(self.limit.n - self.used, self.left if now < self.left_until else math.inf)
        return max(0.0, left / self.limit.n)

    def idle(self, now: float) -> bool:
        """Tell whether forgetting this cell would change nothing."""
        quiet = self.limit is None or not self.log or self.log[-1][0] + self.limit.per < now
        return quiet and not self.busy and self.left_until < now and self.paused < now


def _reserve(n: float) -> float:
    """Leave the last units of a window to governance where that costs less than a tenth of it."""
    return max(1.0, 0.03 * n) if n >= 12 else 0.0


def _rate(limit: Limit) -> float:
    return (0.95 if limit.n >= 20 else 1.0) * limit.n / limit.per


def _burst(limit: Limit, rank: int) -> float:
    """How far, in seconds, a lane may run ahead of the even rate."""
    if limit.n >= 20:
        return (0.05 if rank == 1 else 0.02) * limit.per
    return 0.5 * limit.per * (limit.n - 1) / limit.n if rank == 1 and limit.n > 1 else 0.0


class _Need(NamedTuple):
    bucket: str
    key: tuple[str, str, str]
    limit: Limit
    cost: float


@dataclass(slots=True, eq=False)
class _Waiter:
    api: str
    needs: list[_Need]
    rank: int
    number: int
    granted: "asyncio.Future[Mapping[str, Cell]]"
    like: tuple[tuple[str, str, str], ...] = ()


_Queue: TypeAlias = "dict[tuple[tuple[str, str, str], ...], dict[_Waiter, None]]"
"""One lane's waiters in their order, grouped by the cells they need: a group's first goes first."""


class Pace:
    """All budgets of one connector, and the queue in front of them."""

    def __init__(self, shares: Shares | None = None, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or LoopClock()
        self._shares: Shares = shares or Alone()
        self._cells: dict[tuple[str, str, str], Cell] = {}
        self._waiting: tuple[_Queue, ...] = tuple({} for _ in LANES)
        self._numbers = count()
        self._paused: dict[str, float] = {}
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf
        self._prune_above = 1024

    @asynccontextmanager
    async def spend(
        self,
        api: str,
        limits: Mapping[str, Limit],
        cost: Cost = 1,
        *,
        acting_as: str | None = None,
        axis: str = "",
    ) -> AsyncIterator[Spent]:
        """Wait for every bucket a call needs, spend, and hold its place among the concurrent until the end.

        A number is charged to each of the api's buckets, a mapping to those it names.

        Raises:
            Misconfigured: A bucket that is not declared, or a cost above its limit.
        """
        began = self.clock.time()
        needs = _needs(api, limits, cost, acting_as or "", axis)
        granted: asyncio.Future[Mapping[str, Cell]] = asyncio.get_running_loop().create_future()
        like = tuple(need.key for need in needs) or ((api, "", ""),)
        rank = LANES.index(lane.get())
        cells = await self._admit(_Waiter(api, needs, rank, next(self._numbers), granted, like))
        try:
            yield Spent(self.clock.time() - began, cells, {need.bucket: need.cost for need in needs})
        finally:
            for need in needs:
                cells[need.bucket].busy -= 1
                cells[need.bucket].flying -= need.cost
            self._pump()

    async def _admit(self, waiter: _Waiter) -> Mapping[str, Cell]:
        self._waiting[waiter.rank].setdefault(waiter.like, {})[waiter] = None
        self._pump()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                for need in waiter.needs:
                    cell = waiter.granted.result()[need.bucket]
                    cell.busy -= 1
                    cell.flying -= need.cost
            self._leave(waiter)
            self._pump()
            raise

    def pause(self, seconds: float, api: str = "", bucket: str = "", spent: Spent | None = None) -> None:
        """Let nothing through for a while: in one bucket of a call, in its api, or (neither) everywhere."""
        until = self.clock.time() + max(0.0, seconds)
        cell = spent.cells.get(bucket) if spent else None
        if cell is not None:
            cell.paused = max(cell.paused, until)
        else:
            self._paused[api] = max(self._paused.get(api, until), until)
        self._pump()

    def heed(self, spent: Spent, told: Mapping[str, tuple[float, float | None]]) -> None:
        """Believe a reply's headers: what is left until the reset, less what is still on its way there.

        Without a time of reset, what was told holds for a second.
        """
        now = self.clock.time()
        for bucket, (left, reset) in told.items():
            cell = spent.cells.get(bucket)
            if cell is None or not math.isfinite(left):
                continue
            cell.left = left - (cell.flying - spent.costs[bucket])
            cell.left_until = now + (
                1.0 if reset is None or not math.isfinite(reset) else min(reset, 86_400.0)
            )
        self._pump()

    def wake(self) -> None:
        """Look at the queue again, because a share has changed."""
        self._pump()

    async def close(self) -> None:
        """Stop the alarm; cancel who waits before."""
        self._ring_at(math.inf)

    def _ready(self, waiter: _Waiter, now: float) -> tuple[float, list[tuple[str, str, str]]]:
        at = max(self._paused.get("", now), self._paused.get(waiter.api, now))
        short: list[tuple[str, str, str]] = []
        for need in waiter.needs:
            mine = self._mine(need, waiter.rank)
            cell = self._cells.get(need.key)
            if cell is None:
                cell = self._cells[need.key] = Cell()
            then = now + 1 if mine is None else cell.ready(now, mine, need.cost, waiter.rank)
            if then > now:
                short.append(need.key)
            at = max(at, then)
        return at, short

    def _pump(self) -> None:
        """Let through who may go, best lane first; who waits for a cell keeps it from those behind."""
        now, soonest = self.clock.time(), math.inf
        kept: set[tuple[str, str, str]] = set()
        for queue in self._waiting:
            heads = [(next(iter(group)).number, like) for like, group in queue.items()]
            heapify(heads)
            while heads:
                like = heappop(heads)[1]
                if kept and not kept.isdisjoint(like):
                    continue
                waiter = next(iter(queue[like]))
                at, short = self._ready(waiter, now)
                if at > now:
                    kept.update(short)
                    soonest = min(soonest, at)
                    continue
                self._leave(waiter)
                self._grant(waiter, now)
                if group := queue.get(like):
                    heappush(heads, (next(iter(group)).number, like))
        self._ring_at(soonest)
        if len(self._cells) > self._prune_above:
            self._prune(now)

    def _leave(self, waiter: _Waiter) -> None:
        queue = self._waiting[waiter.rank]
        group = queue.get(waiter.like, {})
        group.pop(waiter, None)
        if not group:
            queue.pop(waiter.like, None)

    def _grant(self, waiter: _Waiter, now: float) -> None:
        if waiter.granted.done():
            return
        for need in waiter.needs:
            self._cells[need.key].spend(now, self._mine(need, waiter.rank) or need.limit, need.cost)
        waiter.granted.set_result({need.bucket: self._cells[need.key] for need in waiter.needs})

    def _mine(self, need: _Need, rank: int) -> Limit | None:
        api, bucket, key = need.key
        return self._shares.granted(api, bucket, key, need.limit, LANES[rank])

    def _prune(self, now: float) -> None:
        wanted = {key for queue in self._waiting for like in queue for key in like}
        self._cells = {k: c for k, c in self._cells.items() if k in wanted or not c.idle(now)}
        self._prune_above = max(1024, 2 * len(self._cells))

    def _ring_at(self, at: float) -> None:
        if at == self._alarm_at and self._alarm is not None:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = None if at == math.inf else asyncio.ensure_future(self._ring(at))

    async def _ring(self, at: float) -> None:
        await self.clock.sleep(max(0.0, at - self.clock.time()))
        self._alarm, self._alarm_at = None, math.inf
        self._pump()


def retry_after(headers: Text, now: float) -> float | None:
    """Read how long a reply asks us to wait, in seconds: `Retry-After` as a number or a date, at most a day.

    A date is measured against the reply's own `Date`, so that a wrong clock on either side does no harm;
    `now` (seconds since 1970) serves where there is none.
    """
    said = headers.get("retry-after", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        until, today = _moment(said), _moment(headers.get("date", ""))
        if until is None:
            return None
        seconds = until - (now if today is None else today)
    return min(max(seconds, 0.0), 86_400.0) if math.isfinite(seconds) else None


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _needs(api: str, limits: Mapping[str, Limit], cost: Cost, acting_as: str, axis: str) -> list[_Need]:
    costs = cost if isinstance(cost, Mapping) else dict.fromkeys(limits, cost)
    found = []
    for bucket, units in costs.items():
        limit = limits.get(bucket)
        if limit is None:
            raise Misconfigured(
                f"{api} has no bucket {bucket!r}; it has {', '.join(sorted(limits)) or 'none'}"
            )
        if not 0 <= units <= limit.n:
            raise Misconfigured(f"a call of {units:g} units never fits {api}'s {bucket}, {limit.n:g} units")
        if units:
            key = {"instance": "", "acting_as": acting_as, "axis": axis}[limit.scope]
            found.append(_Need(bucket, (api, bucket, key), limit, float(units)))
    return found

"""Budgets: what may be spent at a provider, by whom first, and what its replies change about that.

A bucket of an `Api` is counted in a cell per scope key. A cell never lets more than `n` units into any
window of `per` seconds: it keeps the window's spending as a log. Lanes below governance are also smoothed, so
that a burst does not empty a window for the hour that follows, and leave the last units of larger windows to
governance.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from ingest.apis import Cost, Limit, Text
from ingest.cells import Cell, Share, Waiting, reserve
from ingest.errors import Misconfigured
from ingest.ledger import CellKey, even
from schemas.quota import QuotaNeed

Lane: TypeAlias = Literal["governance", "live", "reconcile", "sweep"]
LANES: Final[tuple[Lane, ...]] = ("governance", "live", "reconcile", "sweep")

lane: ContextVar[Lane] = ContextVar("lane", default="live")
"""Whose turn it is: set by whoever starts the work, inherited by its tasks."""

_LOOK_SECONDS: Final = 0.2


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

    def bind(self, pace: "Pace | None") -> None:
        """Take note of who asks; None: nobody any more."""
        ...

    def granted(self, api: str, bucket: str, key: str, limit: Limit, who: Lane) -> Share | None:
        """Say what a lane of this process may spend now of `limit`; None: no valid grant, so no call."""
        ...

    def heard(self, place: CellKey, seconds: float, left: float | None) -> None:
        """Take note of what the provider said: so much is left, or (None) to pause."""
        ...


class Alone:
    """The whole limit, for a process that shares it with nobody."""

    def bind(self, pace: "Pace | None") -> None:
        """Need nobody."""

    def granted(self, api: str, bucket: str, key: str, limit: Limit, who: Lane) -> Share | None:
        """Grant everything."""
        del api, bucket, key, who
        return Share(limit.n, even(limit.n, limit.per), limit.at_once, reserve(limit.n))

    def heard(self, place: CellKey, seconds: float, left: float | None) -> None:
        """Tell nobody."""


class Spent(NamedTuple):
    """A call that was let through: how long it waited, in seconds, and what it spent, by bucket."""

    waited: float
    cells: "Mapping[str, Cell]"
    costs: Mapping[str, float]


class _Need(NamedTuple):
    bucket: str
    key: CellKey
    limit: Limit
    cost: float


@dataclass(slots=True, eq=False)
class _Waiter:
    api: str
    needs: list[_Need]
    rank: int
    number: int
    granted: "asyncio.Future[Mapping[str, Cell]]"
    like: tuple[CellKey, ...] = ()


_Queue: TypeAlias = "dict[tuple[CellKey, ...], dict[_Waiter, None]]"
"""One lane's waiters in their order, grouped by the cells they need: a group's first goes first."""


class Pace:
    """All budgets of one connector, and the queue in front of them."""

    def __init__(self, shares: Shares | None = None, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or LoopClock()
        self._shares: Shares = shares or Alone()
        self._shares.bind(self)
        self._cells: dict[CellKey, Cell] = {}
        self._waiting: tuple[_Queue, ...] = tuple({} for _ in LANES)
        self._numbers = count()
        self._paused: dict[str, float] = {}
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf
        self._prune_above = 1024
        self._looking = False

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
        cell = spent.cells.get(bucket) if spent else None
        place = cell.key if cell is not None else (api, "", "")
        self.hold(place, max(0.0, seconds))
        self._shares.heard(place, max(0.0, seconds), None)

    def hold(self, place: CellKey, seconds: float) -> None:
        """Do so, without telling others: it is from them."""
        until = self.clock.time() + seconds
        if place[1]:
            cell = self._cells.setdefault(place, Cell(place))
            cell.paused = max(cell.paused, until)
        else:
            self._paused[place[0]] = max(self._paused.get(place[0], until), until)
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
            until = 1.0 if reset is None or not math.isfinite(reset) else min(reset, 86_400.0)
            cell.left_until = now + until
            if cell.limit is not None and cell.left < cell.limit.n - cell.used:
                self._shares.heard(cell.key, until, cell.left)
        self._pump()

    def wake(self) -> None:
        """Look at the queue again, because a share has changed."""
        self._pump()

    def used(self, place: CellKey) -> float:
        """Tell how much of a bucket was spent in the window."""
        cell = self._cells.get(place)
        if cell is None or cell.limit is None:
            return 0.0
        cell.forget(self.clock.time(), cell.limit)
        return cell.used

    def needs(self, places: Iterable[CellKey]) -> list[QuotaNeed]:
        """Tell what is wanted and spent of some buckets."""
        waiting: dict[CellKey, Waiting] = {}
        for rank, queue in enumerate(self._waiting):
            for group in queue.values():
                for need in next(iter(group)).needs:
                    one = waiting.setdefault(need.key, Waiting())
                    one.limit, one.calls = need.limit, one.calls + len(group)
                    one.units[rank] += need.cost * len(group)
                    one.least = min(one.least, need.cost)
        now, found = self.clock.time(), []
        for place in places:
            cell, one = self._cells.get(place), waiting.get(place, Waiting())
            if cell is not None and (limit := one.limit or cell.limit) is not None:
                found.append(cell.need(now, limit, one))
        return found

    async def close(self) -> None:
        """Stop the alarm; cancel who waits before."""
        self._ring_at(math.inf)
        self._shares.bind(None)

    def _ready(self, waiter: _Waiter, now: float) -> tuple[float, list[CellKey]]:
        at = now
        short: list[CellKey] = []
        for need in waiter.needs:
            cell = self._cells.get(need.key)
            if cell is None:
                cell = self._cells[need.key] = Cell(need.key)
            mine = self._mine(need, waiter.rank)
            then = now + 1 if mine is None else cell.ready(now, need.limit, mine, need.cost, waiter.rank)
            if then > now:
                short.append(need.key)
            at = max(at, then)
        # After the shares: a grant may bring a pause.
        return max(at, self._paused.get("", now), self._paused.get(waiter.api, now)), short

    def _pump(self) -> None:
        """Look at the queue; a grant that comes while we look has us look again at the alarm."""
        if self._looking:
            return
        self._looking = True
        try:
            self._let_through()
        finally:
            self._looking = False

    def _let_through(self) -> None:
        """Let through who may go, best lane first; who waits for a cell keeps it from those behind."""
        now, soonest = self.clock.time(), math.inf
        kept: set[CellKey] = set()
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
        # What is granted may change: whoever shares looks again, often, while something waits.
        waits = any(self._waiting) and not isinstance(self._shares, Alone)
        self._ring_at(min(soonest, now + _LOOK_SECONDS) if waits else soonest)
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
            share = self._mine(need, waiter.rank) or Share(need.limit.n, even(need.limit.n, need.limit.per))
            self._cells[need.key].spend(now, need.limit, share, need.cost, waiter.rank)
        waiter.granted.set_result({need.bucket: self._cells[need.key] for need in waiter.needs})

    def _mine(self, need: _Need, rank: int) -> Share | None:
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

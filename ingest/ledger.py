"""Who may spend how much of a provider's quota: the owner's arithmetic, without Kafka, the time given.

A bucket's limit holds in every window of its length, over all processes. What one holder can have spent in
any window that matters is bounded by what it told of its log and by each share it may still go by; the sum of
these bounds never passes the limit. So a share is taken back by making it smaller, and is another's only once
that was acknowledged or has expired, and only as what was spent of it leaves the window:

- windows as short as a grant lives are divided: a share is a part of the limit;
- longer ones are leased: the even rate is divided, and a share is what its holder has spent in the window
  plus what its rate brings until the grant expires;
- what is spent of windows longer than ten seconds is stored; what may be missing there is bounded, and
  counted as spent by whoever takes over.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from schemas.quota import QuotaAsk, QuotaGrant, QuotaHeard, QuotaNeed, QuotaShare

RENEW: Final = 1.0
VALID: Final = 3.0
"""Seconds that a grant holds, as its holder counts from when it asked."""
QUIET: Final = VALID + 1.0
"""The same as the owner counts, from when it granted; so long a new owner grants nothing."""
_TURN: Final = 5.0
"""Where not all can have something at a time, they take turns of so many seconds."""
_STORED: Final = 10.0
"""Nothing is stored of windows no longer than this: a new owner waits until they have passed."""
_FORGOTTEN: Final = 60.0
"""Seconds after its last ask until a holder is forgotten."""
_BEFORE: Final = "@before"
CellKey: TypeAlias = tuple[str, str, str]
Log: TypeAlias = "list[tuple[float, float]]"


def kept(n: float) -> float:
    """Tell how many units of a window are left to governance: so few that they may be spent twice."""
    return max(1.0, 0.02 * n) if n >= 12 else 0.0


def even(n: float, per: float) -> float:
    """Tell the rate, in units a second, that spreads a window's units over it and leaves a little."""
    return (0.95 if n >= 20 else 1.0) * n / per


class Want(NamedTuple):
    """What one holder wants of what is to be divided: by lane, and the least that is of use to it."""

    lanes: Sequence[float]
    least: float = 0.0

    @property
    def best(self) -> int:
        """The best lane that wants something."""
        return next((rank for rank, units in enumerate(self.lanes) if units > 0), len(self.lanes))


def divide(total: float, wants: Mapping[str, Want], *, whole: bool, spare: bool = True) -> dict[str, float]:
    """Divide among holders, in their order: to each the least first, then lane by lane, evenly within one.

    What nobody asked for is divided as well if `spare`; `whole` gives no parts of what is the least of use.
    """
    given, rest = dict.fromkeys(wants, 0.0), max(0.0, total)
    order = sorted(wants, key=lambda name: wants[name].best)
    served = []
    for name in order:
        if (least := wants[name].least) <= rest + 1e-9:
            given[name], rest = least, rest - least
            served.append(name)
    for rank in range(4):
        short = {name: sum(wants[name].lanes[: rank + 1]) - given[name] for name in served}
        rest = _fill(given, {name: units for name, units in short.items() if units > 1e-9}, rest)
    for name in served if spare else ():
        given[name] += rest / len(served)
    if whole and served:
        unit = min((wants[name].least for name in served if wants[name].least), default=1.0)
        loose = sum(given[name] % unit for name in served) + 1e-6
        for name in served:
            more = unit if given[name] % unit > 1e-9 and loose >= unit else 0.0
            given[name], loose = given[name] - given[name] % unit + more, loose - more
    return given


def _fill(given: dict[str, float], short: dict[str, float], rest: float) -> float:
    while short and rest > 1e-9:
        part = min(rest / len(short), *short.values())
        for name in list(short):
            given[name] += part
            short[name] -= part
            if short[name] <= 1e-9:
                del short[name]
            rest -= part
    return rest


class _Sent(NamedTuple):
    number: int
    n: float
    at_once: int
    until: float


@dataclass(slots=True)
class _Holding:
    """What one holder told of a cell, and the grants that it may still go by."""

    need: QuotaNeed
    at: float = -math.inf
    log: Log = field(default_factory=list)
    sent: list[_Sent] = field(default_factory=list)

    def used(self, now: float) -> float:
        return sum(units for at, units in self.log if at + self.need.per > now)

    def bound(self, now: float) -> float:
        """The most it can have in a window from now on; a grant that ended unheard of counts as spent."""
        for one in [one for one in self.sent if one.until <= now]:
            self.sent.remove(one)
            if (unheard := one.n - self.used(one.until)) > 0:
                self.log.append((one.until, unheard))
        self.log = [(at, units) for at, units in self.log if at + self.need.per > now]
        return max(self.used(now), max((one.n for one in self.sent), default=0.0))

    def calls(self) -> int:
        return max(self.need.busy, max((one.at_once for one in self.sent), default=0))


@dataclass(slots=True)
class _Cell:
    """One bucket for one scope key: its holders, what is stored of it, what others than we have spent."""

    holders: dict[str, _Holding] = field(default_factory=dict)
    stored: dict[str, Log] = field(default_factory=dict)
    elsewhere: float = 0.0
    elsewhere_until: float = -math.inf
    opened: bool = False

    def unsaved(self, name: str, per: float, now: float, units: float) -> float:
        """How much of a holder's units is not stored, when a grant made now will have expired."""
        saved = sum(part for at, part in self.stored.get(name, ()) if at + per > now + QUIET)
        return max(0.0, units - saved)


class Ledger:
    """One connector's quota. Times are the owner's monotonic seconds.

    `inherited`: there was an owner before. It may have granted until now, and spent what is not stored.
    """

    def __init__(self, connector: str, owner: str, reserve: float, began: float, *, inherited: bool) -> None:
        self._connector, self._owner, self._reserve = connector, owner, reserve
        self._began, self._inherited = began, inherited
        self._number = 0
        self._asks: dict[str, tuple[int, float]] = {}
        self._cells: dict[CellKey, _Cell] = {}
        self._pauses: dict[CellKey, float] = {}
        self._hungry: set[str] = set()
        self._near: set[str] = set()
        self.unsaved = False

    # ---- what holders tell

    def hear(self, ask: QuotaAsk, now: float, *, near: bool = False) -> list[str]:
        """Take in an ask and name who is to have a grant now, the asker last.

        Ask and grant of a `near` holder follow each other without anything in between.
        """
        if ask.number <= self._asks.get(ask.holder, (0, 0.0))[0]:
            return []
        self._asks = {name: one for name, one in self._asks.items() if now - one[1] < _FORGOTTEN}
        self._asks[ask.holder] = (ask.number, now)
        self._near &= self._asks.keys()
        if near:
            self._near.add(ask.holder)
        paused = [self._heard(one, now) for one in ask.heard]
        for need in ask.needs:
            self._take(ask, need, now, near=near)
        if now < self.quiet_until:
            return []
        others = self._hungry
        if any(paused) or (ask.holder in self._hungry and self._best(ask) == 0):
            others = {name for name, (_, at) in self._asks.items() if now - at < VALID}
        return [*sorted(others - {ask.holder}), ask.holder]

    @property
    def quiet_until(self) -> float:
        """Until when nothing is granted, because a former owner's grants may be in force."""
        return self._began + QUIET if self._inherited else -math.inf

    def _take(self, ask: QuotaAsk, need: QuotaNeed, now: float, *, near: bool) -> None:
        cell = self._cells.setdefault((need.api, need.bucket, need.key), _Cell())
        if not cell.opened:
            cell.opened = True
            if self._inherited:
                before = cell.holders.setdefault(_BEFORE, _Holding(need))
                before.need = need.model_copy(update={"calls": 0})
                before.log.append((self._began + VALID, _margin(need.n, need.per)))
        mine = cell.holders.setdefault(ask.holder, _Holding(need))
        mine.need, mine.at = need, now
        mine.log = [(now - age, units) for age, units in need.log]
        seen = ask.seen if ask.owner == self._owner else 0
        oldest = max((one.number for one in mine.sent if one.number <= seen), default=0)
        mine.sent = [one for one in mine.sent if one.number >= oldest and need.calls and not near]
        for name, one in list(cell.holders.items()):
            if not one.bound(now) and not one.sent and now - one.at > QUIET:
                del cell.holders[name]

    def _heard(self, told: QuotaHeard, now: float) -> bool:
        place, until = (told.api, told.bucket, told.key), now + told.seconds
        if told.left is None:
            self._pauses[place] = max(self._pauses.get(place, until), until)
        elif cell := self._cells.get(place):
            ns = [one.need.n for one in cell.holders.values() if one.need.calls]
            used = sum(one.used(now) for one in cell.holders.values())
            cell.elsewhere, cell.elsewhere_until = max(0.0, min(ns, default=0) - told.left - used), until
        return told.left is None

    @staticmethod
    def _best(ask: QuotaAsk) -> int:
        return min((Want(need.want).best for need in ask.needs), default=4)

    # ---- what they get

    def grant(self, holder: str, now: float) -> QuotaGrant:
        """Make a holder's grant, and count on its being used."""
        self._number += 1
        self._hungry.discard(holder)
        shares = []
        for (api, bucket, key), cell in self._cells.items():
            mine = cell.holders.get(holder)
            if mine is None or not mine.need.calls or now - mine.at >= VALID:
                continue
            n, rate, calls = self._share(cell, holder, now)
            mine.sent.append(_Sent(self._number, n, calls, now + QUIET))
            if Want(mine.need.want).best == 0 and n - mine.used(now) < mine.need.least:
                self._hungry.add(holder)
            others = sum(one.used(now) for name, one in cell.holders.items() if name != holder)
            shares.append(
                QuotaShare(
                    api=api, bucket=bucket, key=key, n=n, rate=rate, elsewhere=others,
                    at_once=None if mine.need.at_once is None else calls,
                    kept=kept(mine.need.n) if mine.need.want[0] else 0.0,
                )
            )  # fmt: skip
        self._pauses = {place: until for place, until in self._pauses.items() if until > now}
        pauses = tuple(
            QuotaHeard(api=api, bucket=bucket, key=key, seconds=until - now)
            for (api, bucket, key), until in self._pauses.items()
        )
        return QuotaGrant(
            connector=self._connector, holder=holder, owner=self._owner, number=self._number,
            to=self._asks.get(holder, (0, now))[0], shares=tuple(shares), pauses=pauses,
        )  # fmt: skip

    def _turns(self, cell: _Cell, now: float) -> dict[str, _Holding]:
        """Who wants something, in an order that is the same in all buckets and moves on."""
        names = sorted(name for name, (_, at) in self._asks.items() if now - at < VALID)
        first = int(now / _TURN) % max(1, len(names))
        found = ((name, cell.holders.get(name)) for name in [*names[first:], *names[:first]])
        return {name: one for name, one in found if one and one.need.calls and now - one.at < VALID}

    def _share(self, cell: _Cell, holder: str, now: float) -> tuple[float, float, int]:
        active, mine = self._turns(cell, now), cell.holders[holder]
        urgent = Want(mine.need.want).best == 0
        calls, active = self._calls(cell, active, holder, urgent=urgent)
        if not calls or holder not in active:
            return 0.0, 0.0, 0
        most, per = min(one.need.n for one in active.values()), mine.need.per
        n = max(most * (1 - self._reserve), min(most, 1.0))
        if now < cell.elsewhere_until and per > QUIET:
            n = min(n, most - cell.elsewhere)
        left = kept(n)
        bounds = {name: one.bound(now) for name, one in cell.holders.items()}
        room = n - (0.0 if urgent else left) - sum(bounds.values()) + bounds[holder]
        wants = {name: _beyond(one.need, left, min(per, 1.0)) for name, one in active.items()}
        if per <= QUIET:
            scaled = {name: Want([w * per for w in one.lanes], one.least) for name, one in wants.items()}
            part = divide(n - left, scaled, whole=True)[holder]
            rate = part / per
        else:
            rates = divide(even(n, per), {name: Want(one.lanes) for name, one in wants.items()}, whole=False)
            rate = rates[holder]
            free = n - left - sum(one.used(now) for one in cell.holders.values())
            alone = len(active) == 1 and holder in self._near
            part = mine.used(now) + (free if alone else self._lease(free, rates, wants, holder))
            room = min(room, self._durable(cell, bounds, holder, now))
        if rate <= 0 and not urgent:
            return 0.0, 0.0, calls
        return max(0.0, min(part + (left if urgent else 0.0), room)), max(rate, 1 / per), calls

    @staticmethod
    def _lease(free: float, rates: Mapping[str, float], wants: Mapping[str, Want], holder: str) -> float:
        """What a holder may spend of a long window until it is heard again."""
        wanted = {}
        for name, want in wants.items():
            lanes = [0.0] * 4
            lanes[min(want.best, 3)] = max(rates[name] * 2 * RENEW, want.lanes[0], want.least)
            wanted[name] = Want(lanes, want.least if rates[name] > 0 else 0.0)
        return divide(free, wanted, whole=False, spare=False)[holder]

    def _calls(
        self, cell: _Cell, active: dict[str, _Holding], holder: str, *, urgent: bool
    ) -> tuple[int, dict[str, _Holding]]:
        """How many calls at once, and between whom the units are divided: those who may call at all."""
        bounds = [one.need.at_once for one in active.values() if one.need.at_once is not None]
        if not bounds:
            return 1, active
        total = min(bounds)
        left = 1 if total >= 4 else 0
        wants = {}
        for name, one in active.items():
            lanes = [0.0] * 4
            lanes[min(Want(one.need.want).best, 3)] = float(one.need.calls)
            wants[name] = Want(lanes, 1.0)
        given = divide(total - left, wants, whole=True)
        others = sum(one.calls() for name, one in cell.holders.items() if name != holder)
        room = total - (0 if urgent else left) - others
        calls = int(max(0, min(given.get(holder, 0.0) + (left if urgent else 0), room)))
        return calls, {name: one for name, one in active.items() if given[name] or name == holder}

    # ---- what is stored

    def _durable(self, cell: _Cell, bounds: Mapping[str, float], holder: str, now: float) -> float:
        """The most a holder may have while a crash of all leaves no more than the margin unknown."""
        need = cell.holders[holder].need
        margin = _margin(need.n, need.per)
        if margin >= need.n:
            return math.inf
        gaps = {name: cell.unsaved(name, need.per, now, one.used(now)) for name, one in cell.holders.items()}
        self.unsaved = self.unsaved or sum(gaps.values()) > margin / 2
        others = sum(cell.unsaved(name, need.per, now, b) for name, b in bounds.items() if name != holder)
        saved = bounds[holder] - cell.unsaved(holder, need.per, now, bounds[holder])
        return saved + margin - others

    def logs(self) -> dict[CellKey, dict[str, Log]]:
        """Give what is to be stored, for `dumped` and, once that is durable, `saved`."""
        self.unsaved = False
        return {
            place: {name: list(one.log) for name, one in cell.holders.items() if one.log}
            for place, cell in self._cells.items()
            if any(one.need.per > _STORED for one in cell.holders.values())
        }

    def dumped(self, logs: Mapping[CellKey, Mapping[str, Log]], now: float, wall: int) -> Any:
        """Turn it into JSON; `wall` is now in ms since 1970."""
        return [
            [*place, max(one.need.per for one in self._cells[place].holders.values()),
             {who: [[wall - int((now - at) * 1000), units] for at, units in log] for who, log in of.items()}]
            for place, of in logs.items()
        ]  # fmt: skip

    def saved(self, logs: Mapping[CellKey, Mapping[str, Log]]) -> None:
        """Count on its being found by the next owner."""
        for place, of in logs.items():
            self._cells[place].stored = dict(of)

    def restore(self, found: Any, now: float, wall: int) -> None:
        """Take what a former owner stored; the clocks of two machines may be five seconds apart."""
        for api, bucket, key, per, of in found:
            cell = self._cells.setdefault((api, bucket, key), _Cell())
            need = QuotaNeed(api=api, bucket=bucket, key=key, n=0.0, per=per)
            for name, log in of.items():
                ages = [(max(0.0, (wall - ms) / 1000 - 5.0), units) for ms, units in log]
                cell.stored[name] = [(now - age, units) for age, units in ages]
                cell.holders[name] = _Holding(need, log=list(cell.stored[name]))


def _beyond(need: QuotaNeed, left: float, seconds: float) -> Want:
    """What a holder wants; governance beyond what is left to it anyway."""
    first, *others = need.want
    if not first:
        return Want(need.want, need.least)
    return Want([max(0.0, first - left / seconds), *others], max(0.0, need.least - left))


def _margin(n: float, per: float) -> float:
    """How many units of a window may be spent before it is stored."""
    return min(n, max(1.0, 0.05 * n, _STORED / per * n))

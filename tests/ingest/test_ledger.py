"""The owner's arithmetic: a model of holders, lost messages, crashes and take-overs never passes a limit."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.ledger import VALID, Ledger
from schemas.quota import QuotaAsk, QuotaGrant, QuotaHeard, QuotaNeed

STEP = 0.05
WALL = 1_800_000_000_000


@dataclass
class Spender:
    """A process that spends whatever it may, and tells of it as the wire has it."""

    name: str
    lane: int
    n: float
    per: float
    near: bool = False
    eager: float = 1e9
    number: int = 0
    asked: dict[int, float] = field(default_factory=dict)
    grant: QuotaGrant | None = None
    until: float = -1.0
    log: list[tuple[float, float]] = field(default_factory=list)
    alive: bool = True
    next_ask: float = 0.0
    after: int = 0

    def used(self, now: float) -> float:
        """Sum its window."""
        return sum(units for at, units in self.log if at + self.per > now)

    def ask(self, now: float, heard: tuple[QuotaHeard, ...] = ()) -> QuotaAsk:
        """Tell what it wants; nothing at all gives everything back."""
        self.number += 1
        self.asked[self.number] = now
        wanting = self.eager > 0
        if not wanting:
            self.grant, self.after = None, self.number
        want = [0.0] * 4
        want[self.lane] = min(self.eager, 1e6) if wanting else 0.0
        width = max(self.per / 12, 1e-9)
        slots: dict[int, tuple[float, float]] = {}
        for at, units in self.log:
            if at + self.per > now:
                old = slots.get(int(at / width), (at, 0.0))
                slots[int(at / width)] = (max(old[0], at), old[1] + units)
        need = QuotaNeed(
            api="a", bucket="b", n=self.n, per=self.per, want=(want[0], want[1], want[2], want[3]),
            least=1.0, calls=int(wanting), log=tuple((now - at, units) for at, units in slots.values()),
        )  # fmt: skip
        return QuotaAsk(
            connector="c", incarnation="1", holder=self.name, number=self.number,
            owner=self.grant.owner if self.grant else "", seen=self.grant.number if self.grant else 0,
            needs=(need,), heard=heard,
        )  # fmt: skip

    def take(self, grant: QuotaGrant) -> None:
        """Go by a grant, unless it is older than what it goes by."""
        old = self.grant
        newer = old is None or old.owner != grant.owner or grant.number > old.number
        if newer and grant.to in self.asked and grant.to > self.after:
            self.grant, self.until = grant, self.asked[grant.to] + VALID

    def spend(self, now: float) -> float:
        """Spend calls of one unit while the share allows it and it wants to."""
        spent = 0.0
        if self.grant is None or now >= self.until or not self.grant.shares:
            return 0.0
        share = self.grant.shares[0]
        while spent < self.eager * STEP and self.used(now) + 1 <= share.n + 1e-9:
            self.log.append((now, 1.0))
            spent += 1
        self.log = [one for one in self.log if one[0] + self.per > now]
        return spent


class World:
    """Holders, an owner that dies and is replaced, and a wire that loses, doubles and delays."""

    def __init__(
        self, n: float, per: float, lanes: list[int], seed: int = 1, loss: float = 0.0, reserve: float = 0.0
    ) -> None:
        self.n, self.per, self.loss, self.reserve = n, per, loss, reserve
        self.chance, self.now, self.owners = random.Random(seed), 1000.0, 0
        self.holders = [Spender(f"h{i}", lane, n, per) for i, lane in enumerate(lanes)]
        self.wire: list[tuple[float, Any]] = []
        self.durable: Any = None
        self.saving: list[tuple[float, Any, Any, int]] = []
        self.truth: list[tuple[float, float]] = []
        self.names = len(lanes)
        self.own()

    def own(self) -> None:
        """Take over: with what is durable, and a poller of its own."""
        self.owners += 1
        self.ledger = Ledger("c", f"o{self.owners}", self.reserve, self.now, inherited=self.owners > 1)
        if self.durable is not None:
            self.ledger.restore(self.durable, self.now, WALL + int(self.now * 1000))
        self.near = Spender(f"near{self.owners}", 1, self.n, self.per, near=True)
        self.saving.clear()

    def post(self, message: Any) -> None:
        """Put a message on the wire."""
        for _ in range(1 if self.chance.random() > 0.05 else 2):
            if self.chance.random() >= self.loss:
                self.wire.append((self.now + self.chance.choice((0.0, 0.01, 0.05, 0.3)), message))

    def renew(self) -> None:
        """Let the owner's own poller ask and be answered, all at once."""
        for name in self.ledger.hear(self.near.ask(self.now), self.now, near=True):
            grant = self.ledger.grant(name, self.now)
            if name == self.near.name:
                self.near.take(grant)
            else:
                self.post(grant)

    def step(self) -> float:
        """Let a moment pass; tell what was spent in it."""
        self.now += STEP
        due = [one for one in self.wire if one[0] <= self.now]
        self.wire = [one for one in self.wire if one[0] > self.now]
        for _, message in due:
            if isinstance(message, QuotaAsk):
                names = self.ledger.hear(message, self.now)
                self.renew()
                for name in names:
                    if name != self.near.name:
                        self.post(self.ledger.grant(name, self.now))
            else:
                for holder in self.holders:
                    if holder.alive and holder.name == message.holder:
                        holder.take(message)
        self.renew()
        self.save()
        for holder in self.holders:
            if holder.alive and self.now >= holder.next_ask:
                holder.next_ask = self.now + 1.0
                self.post(holder.ask(self.now))
        spent = sum(one.spend(self.now) for one in [*self.holders, self.near] if one.alive)
        self.truth.append((self.now, spent))
        return spent

    def ticks(self, seconds: float) -> None:
        """Let seconds pass."""
        for _ in range(round(seconds / STEP)):
            self.step()

    def save(self) -> None:
        """Store what the ledger wants stored; durable a moment later."""
        for one in [one for one in self.saving if one[0] <= self.now]:
            self.saving.remove(one)
            if one[3] == self.owners:
                self.durable = one[2]
                self.ledger.saved(one[1])
        if self.ledger.unsaved and not self.saving:
            logs = self.ledger.logs()
            dumped = self.ledger.dumped(logs, self.now, WALL + int(self.now * 1000))
            self.saving.append((self.now + 0.1, logs, dumped, self.owners))

    def fullest(self) -> float:
        """Sum the fullest window."""
        best, total, start = 0.0, 0.0, 0
        for at, units in self.truth:
            total += units
            while self.truth[start][0] <= at - self.per + 1e-6:
                total -= self.truth[start][1]
                start += 1
            best = max(best, total)
        return best

    def used(self, since: float) -> float:
        """Sum what was spent since a moment."""
        return sum(units for at, units in self.truth if at > since)


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 120),
    per=st.sampled_from([1.0, 2.0, 10.0, 60.0, 300.0]),
    lanes=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
    loss=st.sampled_from([0.0, 0.1, 0.5]),
    reserve=st.sampled_from([0.0, 0.2]),
)
def test_no_window_is_ever_exceeded(
    n: int, per: float, lanes: list[int], seed: int, loss: float, reserve: float
) -> None:
    """Whatever is lost, whoever dies and takes over, the sum of all processes stays within the limit."""
    world = World(float(n), per, lanes, seed, loss, reserve)
    for _ in range(1000):
        dice = world.chance.random()
        if dice < 0.004:
            victim = world.chance.choice(world.holders)
            victim.alive = False
            world.names += 1
            world.holders.append(Spender(f"h{world.names}", victim.lane, victim.n, victim.per))
            world.holders = world.holders[-8:]
        elif dice < 0.006:
            world.own()
        elif dice < 0.02:
            one = world.chance.choice([*world.holders, world.near])
            one.eager = world.chance.choice([0.0, 1.0, n / per / 3, 1e9])
        world.step()
    # Of a single call nothing can be reserved, or nobody ever had it.
    assert world.fullest() <= max(n * (1 - reserve), min(n, 1.0)) + 1e-6


@pytest.mark.parametrize(("n", "per"), [(4, 1.0), (10, 1.0), (100, 10.0), (60, 30.0), (150, 30.0)])
@pytest.mark.parametrize("lanes", [[1, 2, 3], [3, 3, 3], [0, 1, 3]])
def test_nine_tenths_are_used_by_four(n: int, per: float, lanes: list[int]) -> None:
    """Four who want all they can get use at least nine tenths of what is allowed between them."""
    world = World(float(n), per, lanes)
    while world.now < 1000.0 + 2 * per + 20:
        world.step()
    assert world.used(world.now - per) >= 0.9 * n
    assert world.fullest() <= n


@pytest.mark.parametrize(("n", "per"), [(2, 1.0), (10, 1.0), (60, 60.0)])
def test_governance_waits_two_seconds_at_most_behind_a_sweep(n: int, per: float) -> None:
    """Where sweeps have spent all they may, a command that comes then is let through soon."""
    world = World(float(n), per, [3, 3, 0])
    governance, world.near.lane = world.holders[2], 3
    governance.eager = 0.0
    while world.now < 1000.0 + 1.5 * per + 10:
        world.step()
    assert not governance.log
    began, governance.eager, governance.next_ask = world.now, 1.0, world.now
    while not governance.log:
        world.step()
        assert world.now - began <= 2.0
    assert world.fullest() <= n


def test_a_limit_that_the_hour_changes_is_shared() -> None:
    """From the change on, and once what was spent before has left the window, the smaller limit holds."""
    world = World(100.0, 10.0, [1, 3])
    while world.now < 1040.0:
        world.step()
    for one in [*world.holders, world.near]:
        one.n = 40.0
    world.ticks(25.0)
    world.truth = [one for one in world.truth if one[0] > 1052.0]
    assert 36 <= world.fullest() <= 40


def test_a_pause_is_told_to_all_at_once() -> None:
    """What one holder heard of the provider, all have with their next grant, which is pushed."""
    world = World(10.0, 1.0, [1, 3])
    world.ticks(5.0)
    pause = QuotaHeard(api="a", bucket="b", seconds=30.0)
    names = world.ledger.hear(world.holders[0].ask(world.now, (pause,)), world.now)
    assert {"h0", "h1"} <= set(names)
    for name in names:
        (told,) = world.ledger.grant(name, world.now).pauses
        assert (told.api, told.bucket, told.seconds) == ("a", "b", 30.0)


def test_what_others_spend_is_taken_from_all() -> None:
    """A header that says less is left than we know of makes the shares smaller until its reset."""
    world = World(100.0, 60.0, [1])
    world.near.eager = 0.0
    world.ticks(3.0)
    used = world.used(0.0)
    told = QuotaHeard(api="a", bucket="b", seconds=30.0, left=100 - used - 60)
    world.ledger.hear(world.holders[0].ask(world.now, (told,)), world.now)
    assert world.ledger.grant("h0", world.now).shares[0].n <= 40
    world.ticks(45.0)
    assert world.holders[0].grant is not None
    assert world.holders[0].grant.shares[0].n > 40

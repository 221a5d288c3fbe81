"""Budgets keep every window, use what there is, and serve the lanes in their order."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy.clock import TestClock

from ingest.apis import Cost, Limit
from ingest.cells import Share
from ingest.errors import Misconfigured
from ingest.pace import LANES, Lane, Pace, lane

Log = list[tuple[float, float, str]]


async def call(
    pace: Pace,
    limits: Mapping[str, Limit],
    log: Log,
    *,
    cost: Cost = 1,
    who: Lane = "live",
    takes: float = 0.0,
    acting_as: str | None = None,
    axis: str = "",
) -> None:
    """Make one call that takes a while, and note when it began."""
    lane.set(who)
    async with pace.spend("api", limits, cost, acting_as=acting_as, axis=axis) as spent:
        units = sum(spent.costs.values())
        log.append((pace.clock.time(), units, who))
        if takes:
            await pace.clock.sleep(takes)


def fullest(log: Log, per: float) -> float:
    """Sum the units of the fullest window [t, t + per)."""
    return max(sum(units for at, units, _ in log if start <= at < start + per - 1e-6) for start, _, _ in log)


def run(clock: TestClock, calls: list[tuple[float, Lane, float]], limit: Limit) -> Log:
    """Let calls (arrival, lane, cost) go through one bucket."""
    log: Log = []

    async def arrive(pace: Pace, at: float, who: Lane, cost: float) -> None:
        await clock.sleep(at)
        await call(pace, {"b": limit}, log, cost=cost, who=who)

    async def everything() -> None:
        pace = Pace(clock=clock)
        await asyncio.gather(*(arrive(pace, *one) for one in calls))
        await pace.close()

    asyncio.run(clock.drive(everything()))
    return log


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    per=st.sampled_from([1.0, 7.0, 60.0, 3600.0]),
    calls=st.lists(
        st.tuples(st.floats(0, 2), st.sampled_from(LANES), st.floats(0.05, 1)), min_size=1, max_size=120
    ),
)
def test_window_never_exceeded(n: int, per: float, calls: list[tuple[float, Lane, float]]) -> None:
    """No window of `per` seconds holds more than n units, whatever arrives in which lane."""
    scaled = [(at * per, who, max(0.1, round(part * min(n, 8), 2))) for at, who, part in calls]

    log = run(TestClock(), [(at, who, min(cost, n)) for at, who, cost in scaled], Limit(n, per))

    assert len(log) == len(calls)
    assert fullest(log, per) <= n + 1e-6


@pytest.mark.parametrize("who", LANES)
@pytest.mark.parametrize("n", [1, 2, 7, 10, 12, 19, 20, 100])
def test_ninety_percent_used(n: int, who: Lane) -> None:
    """With work waiting, at least nine tenths of what the limit allows is used, in each lane."""
    log = run(TestClock(), [(0.0, who, 1.0)] * (6 * n), Limit(n, 10.0))

    used = sum(units for at, units, _ in log if at < 1000.0 + 50.0)
    assert used >= 0.9 * 5 * n
    assert fullest(log, 10.0) <= n


@pytest.mark.parametrize(
    ("n", "per", "within"), [(400, 3600.0, 2.0), (100, 60.0, 2.0), (12, 60.0, 2.0), (2, 1.0, 1.0)]
)
def test_governance_passes_a_saturated_sweep(n: int, per: float, within: float) -> None:
    """A governance command waits at most two seconds behind a sweep that has spent all it may."""
    calls: list[tuple[float, Lane, float]] = [(0.0, "sweep", 1.0)] * (2 * n)
    log = run(TestClock(), [*calls, (per * 1.4, "governance", 1.0)], Limit(n, per))

    at = next(at for at, _, who in log if who == "governance")
    assert at - (1000.0 + per * 1.4) <= within


async def test_lanes_in_order_and_fair_within() -> None:
    """Who waits is served by lane, and first come first served within one."""
    clock, order = TestClock(), list[str]()
    pace, limits = Pace(clock=clock), {"b": Limit(1, 1.0)}

    async def one(name: str, who: Lane) -> None:
        lane.set(who)
        async with pace.spend("api", limits):
            order.append(name)

    async def all_of_them() -> None:
        await one("first", "live")
        waiting: list[tuple[str, Lane]] = [
            ("s1", "sweep"), ("s2", "sweep"), ("r1", "reconcile"), ("l1", "live"), ("l2", "live"),
            ("g1", "governance"),
        ]  # fmt: skip
        await asyncio.gather(*(one(*each) for each in waiting))

    await clock.drive(all_of_them())
    await pace.close()

    assert order == ["first", "g1", "l1", "l2", "r1", "s1", "s2"]


async def test_at_once_bounds_concurrency() -> None:
    """At most `at_once` calls are under way, and a call's end lets the next one through."""
    clock, log = TestClock(), Log()
    pace, limits = Pace(clock=clock), {"b": Limit(1000, 1.0, at_once=3)}

    async def everything() -> None:
        await asyncio.gather(*(call(pace, limits, log, takes=10.0, who="governance") for _ in range(9)))

    await clock.drive(everything())
    await pace.close()

    assert [at - 1000.0 for at, _, _ in log] == [0.0] * 3 + [10.0] * 3 + [20.0] * 3


async def test_scopes_are_counted_apart() -> None:
    """A bucket per user lets two users go at once and makes one's second call wait."""
    clock, log = TestClock(), Log()
    pace = Pace(clock=clock)
    limits = {
        "user": Limit(1, 10.0, scope="acting_as"),
        "axis": Limit(1, 10.0, scope="axis"),
        "all": Limit(100, 10.0),
    }

    async def everything() -> None:
        calls = [("ann", "1"), ("bob", "2"), ("ann", "3"), ("cid", "2")]
        await asyncio.gather(
            *(call(pace, limits, log, acting_as=a, axis=x, who="governance") for a, x in calls)
        )

    await clock.drive(everything())

    assert [at - 1000.0 for at, _, _ in log] == [0.0, 0.0, 10.0, 10.0]
    async with pace.spend("api", limits, cost={"all": 1}) as spent:
        assert spent.cells["all"].part(clock.time()) == pytest.approx(0.97)
    await pace.close()


async def test_one_full_bucket_does_not_hold_up_another() -> None:
    """A call that waits for its own axis leaves the shared bucket to the others."""
    clock, log = TestClock(), Log()
    pace, limits = Pace(clock=clock), {"axis": Limit(1, 3600.0, scope="axis"), "all": Limit(10, 1.0)}

    async def everything() -> None:
        await call(pace, limits, log, axis="slow", who="governance")
        late = asyncio.ensure_future(call(pace, limits, log, axis="slow", who="governance"))
        await clock.settle()
        await call(pace, limits, log, axis="quick")
        assert clock.time() == 1000.0
        late.cancel()

    await clock.drive(everything())
    await pace.close()


async def test_cancelled_waiters_leave_nothing_behind() -> None:
    """A cancelled call gives its place back, waiting or admitted."""
    clock, log = TestClock(), Log()
    pace, limits = Pace(clock=clock), {"b": Limit(10, 1.0, at_once=1)}
    holding = asyncio.ensure_future(call(pace, limits, log, takes=100.0))
    await clock.settle()
    waiting = asyncio.ensure_future(call(pace, limits, log))
    await clock.settle()

    waiting.cancel()
    await clock.settle()
    holding.cancel()
    last = asyncio.ensure_future(call(pace, limits, log))
    await clock.advance(1.0)

    assert last.done()
    assert len(log) == 2
    await pace.close()


async def test_pauses_hold_everyone() -> None:
    """A pause holds a bucket, an api or everything, governance included; a shorter one ends no longer one."""
    clock, log = TestClock(), Log()
    pace, limits = Pace(clock=clock), {"b": Limit(100, 1.0), "c": Limit(100, 1.0)}
    async with pace.spend("api", limits) as spent:
        pace.pause(30.0, "api", "b", spent)
        pace.pause(5.0, "api", "b", spent)

    async def everything() -> None:
        await call(pace, limits, log, cost={"c": 1}, who="governance")
        await call(pace, limits, log, cost={"b": 1}, who="governance")
        pace.pause(7.0, "other")
        await call(pace, limits, log)
        pace.pause(9.0)
        await call(pace, limits, log, cost=0)

    await clock.drive(everything())
    await pace.close()

    assert [at - 1000.0 for at, _, _ in log] == [0.0, 30.0, 30.0, 39.0]


async def test_headers_overrule_the_limit() -> None:
    """What a reply says is left, less what is still under way, holds until its reset."""
    clock, log = TestClock(), Log()
    pace, limits = Pace(clock=clock), {"b": Limit(10, 1.0)}

    async def everything() -> None:
        async with pace.spend("api", limits), pace.spend("api", limits) as second:
            pace.heed(second, {"b": (2.0, 50.0), "unheard of": (0.0, None)})
        await asyncio.gather(*(call(pace, limits, log, who="governance") for _ in range(3)))

    await clock.drive(everything())
    await pace.close()

    assert [round(at - 1000.0) for at, _, _ in log] == [0, 50, 50]


async def test_shares_are_asked_each_time() -> None:
    """Without a valid share nothing is called; a share that arrives lets the queue go on."""

    class Ledger:
        """Grants what it is told to."""

        now: float | None = None

        def bind(self, pace: Pace | None) -> None:
            """Need nobody."""

        def granted(self, api: str, bucket: str, key: str, limit: Limit, who: Lane) -> Share | None:
            """Grant a part."""
            return None if self.now is None else Share(self.now, self.now / limit.per)

        def heard(self, place: tuple[str, str, str], seconds: float, left: float | None) -> None:
            """Tell nobody."""

    clock, log, ledger = TestClock(), Log(), Ledger()
    pace, limits = Pace(ledger, clock), {"b": Limit(10, 10.0)}
    waiting = [asyncio.ensure_future(call(pace, limits, log, who="governance")) for _ in range(4)]
    await clock.advance(100.0)
    assert log == []

    ledger.now = 2.0
    pace.wake()
    await clock.advance(9.9)
    assert len(log) == 2
    await clock.advance(0.2)
    assert len(log) == 4

    await asyncio.gather(*waiting)
    await pace.close()


async def test_impossible_costs_are_refused() -> None:
    """A cost above its limit, a negative one and an unknown bucket say so instead of waiting for ever."""
    pace = Pace()
    bad: list[Cost] = [11, -1, {"nope": 1}, float("nan")]
    for cost in bad:
        with pytest.raises(Misconfigured):
            async with pace.spend("api", {"b": Limit(10, 1.0)}, cost):
                raise AssertionError


async def test_forgotten_cells_do_not_pile_up() -> None:
    """Ten thousand axes that came and went leave no more than the recent ones."""
    clock = TestClock()
    pace, limits = Pace(clock=clock), {"b": Limit(1, 1.0, scope="axis")}
    for number in range(10_000):
        async with pace.spend("api", limits, axis=str(number)):
            clock.now += 0.01

    assert len(pace._cells) <= 2048
    await pace.close()

"""The holder's side: what is asked, gone by and given back, at the owner and elsewhere."""

import asyncio
from collections.abc import Iterable
from typing import Any

from toy.clock import TestClock

from ingest.apis import Limit
from ingest.ledger import QUIET
from ingest.pace import Lane, Pace, lane
from ingest.producing import Outgoing
from ingest.publish import Unit
from ingest.shares import Holder, Owned
from ingest.state import PartitionState
from schemas.control import Status, Wish
from schemas.quota import QuotaAsk, QuotaGrant

LIMITS = {"b": Limit(100, 60.0)}
WISH = Wish(name="c", provider="p", incarnation="1", partition=0)


class Scene:
    """An owner and a holder elsewhere, with a wire between them that the test moves."""

    def __init__(self, clock: TestClock, state: PartitionState | None = None) -> None:
        self.clock, self.is_sure, self.wire = clock, True, list[QuotaAsk]()
        self.sent: list[Outgoing] = []
        self.stored: list[Outgoing] = []
        self.state = state or PartitionState(0)
        self.state.wishes["c"] = WISH
        budget: Any = self
        committer: Any = self
        membership: Any = None
        self.owned = Owned(budget, self.state, committer, membership)
        self.log: list[tuple[float, float, str]] = []

    def now(self) -> float:
        """Tell the time."""
        return self.clock.time()

    def sure(self, owned: Owned, seconds: float) -> bool:
        """Say whether the partition is surely ours."""
        del owned, seconds
        return self.is_sure

    def send(self, records: list[Outgoing]) -> None:
        """Keep what goes to Kafka."""
        self.sent += records

    async def commit(self, unit: Unit) -> None:
        """Store at once."""
        self.stored += unit.records
        for note in unit.committed:
            note()

    def near(self) -> Pace:
        """Make the owner's own budget."""
        return Pace(self.owned.holder(WISH), self.clock)

    def far(self) -> tuple[Holder, Pace]:
        """Make a budget elsewhere."""
        holder = Holder(WISH, self._missed)
        return holder, Pace(holder, self.clock)

    def _missed(self, holder: Holder) -> None:
        if (ask := holder.ask()) is not None:
            self.wire.append(QuotaAsk.load(ask.dump()))

    def deliver(self, holder: Holder) -> None:
        """Let asks and grants arrive."""
        while self.wire:
            for ask in self.wire:
                self.owned.asked(ask)
            self.wire.clear()
            for record in self.owned.answers():
                assert record.value is not None
                less = holder.apply(QuotaGrant.load(record.value))
                if holder.pace is not None:
                    holder.pace.wake()
                if less:
                    self._missed(holder)

    def calls(self, pace: Pace, count: int, who: Lane = "live") -> "list[asyncio.Task[None]]":
        """Make calls."""

        async def one() -> None:
            lane.set(who)
            async with pace.spend("a", LIMITS) as spent:
                self.log.append((self.clock.time(), sum(spent.costs.values()), who))

        return [asyncio.ensure_future(one()) for _ in range(count)]


async def closed(paces: Iterable[Pace], tasks: "Iterable[asyncio.Task[None]]") -> None:
    """Leave nothing running."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for pace in paces:
        await pace.close()


async def test_an_idle_connector_writes_nothing() -> None:
    """A poll every half a minute, whose owner is alone, sends and stores nothing in ten minutes."""
    clock = TestClock()
    scene = Scene(clock)
    pace = scene.near()
    for _ in range(20):
        scene.calls(pace, 1)
        await clock.advance(30.0)
    assert len(scene.log) == 20
    assert (scene.sent, scene.stored) == ([], [])
    await pace.close()


async def test_nothing_is_spent_while_it_is_not_sure_whose_it_is() -> None:
    """An owner that lost its place makes no call until it has it again."""
    clock = TestClock()
    scene = Scene(clock)
    scene.is_sure, pace = False, scene.near()
    tasks = scene.calls(pace, 1)
    await clock.advance(20.0)
    assert not scene.log
    scene.is_sure = True
    scene.owned.tick()
    await clock.settle()
    assert scene.log
    await closed([pace], tasks)


async def test_a_new_owner_knows_what_was_spent() -> None:
    """What an owner spent is stored or bounded: with its successor it stays within the window."""
    clock = TestClock()
    scene = Scene(clock)
    pace = scene.near()
    tasks = scene.calls(pace, 200)
    await clock.advance(45.0)
    spent = len(scene.log)
    assert 60 <= spent <= 100
    assert scene.stored[-1].key == b"c/@quota/"

    await closed([], tasks)
    state = PartitionState(0)
    state.of(WISH).status = Status(connector="c", state="running", incarnation="1")
    state.wishes["c"] = WISH
    for record in scene.stored[-1:]:
        assert record.value is not None
        state._load(("cursors", record.key), ["c", "@quota", ""], record.value, [])
    heir = Scene(clock, state)
    began, other = clock.time(), heir.near()
    more = heir.calls(other, 200)
    await clock.advance(59.0)
    everything = [*scene.log, *heir.log]
    assert min(at for at, _, _ in heir.log) >= began + QUIET
    starts = [at for at, _, _ in everything]
    assert max(sum(1 for at in starts if start <= at < start + 60.0) for start in starts) <= 100
    await closed([pace, other], more)


async def test_a_holder_elsewhere_asks_goes_by_it_and_gives_it_back() -> None:
    """A call elsewhere waits for its share; a share holds three seconds; who wants nothing asks no more."""
    clock = TestClock()
    scene = Scene(clock)
    holder, pace = scene.far()
    tasks = scene.calls(pace, 1)
    await clock.settle()
    assert len(scene.wire) == 1
    assert not scene.log
    scene.deliver(holder)
    await clock.settle()
    assert len(scene.log) == 1

    await clock.advance(3.5)
    scene.wire.clear()
    late = scene.calls(pace, 1)
    await clock.settle()
    assert len(scene.log) == 1
    scene.deliver(holder)
    await clock.settle()
    assert len(scene.log) == 2
    for _ in range(4):
        await clock.advance(1.0)
        scene._missed(holder)
        scene.deliver(holder)
    assert not holder.active
    assert holder.ask() is None
    await closed([pace], [*tasks, *late])


async def test_governance_holds_a_little_without_an_owner() -> None:
    """With nobody to grant, two hundredths of a window serve governance after a second, and nobody else."""
    clock = TestClock()
    scene = Scene(clock)
    _, pace = scene.far()
    tasks = [*scene.calls(pace, 5, "sweep"), *scene.calls(pace, 5, "governance")]
    await clock.advance(2.0)
    assert [who for _, _, who in scene.log] == ["governance"] * 2
    await clock.advance(50.0)
    assert len(scene.log) == 2
    await closed([pace], tasks)


async def test_a_pause_heard_by_one_holds_all() -> None:
    """What the provider told a holder elsewhere stops the owner's own pollers too."""
    clock = TestClock()
    scene = Scene(clock)
    holder, far = scene.far()
    near = scene.near()
    tasks = [*scene.calls(far, 1), *scene.calls(near, 1)]
    await clock.settle()
    scene.deliver(holder)
    await clock.settle()
    far.pause(20.0, "a")
    scene.deliver(holder)
    tasks += scene.calls(near, 1)
    await clock.advance(19.0)
    assert len(scene.log) == 2
    await clock.advance(2.0)
    assert len(scene.log) == 3
    await closed([far, near], tasks)


async def test_a_link_that_closes_gives_back_what_it_held() -> None:
    """After the owner's link is made anew, the whole window less what was spent can be had."""
    clock = TestClock()
    scene = Scene(clock)
    first = scene.near()
    await asyncio.gather(*scene.calls(first, 3, "governance"))
    await first.close()
    await clock.advance(5.0)
    second = scene.near()
    tasks = scene.calls(second, 97, "governance")
    await clock.advance(5.0)
    assert len(scene.log) == 100
    await closed([second], tasks)


async def test_a_pause_elsewhere_does_not_upset_who_waits() -> None:
    """Groups that wait for a share while another api rests get it together, each once."""
    clock = TestClock()
    scene = Scene(clock)
    pace, got = scene.near(), list[str]()
    limits = {"b": Limit(100, 1.0, scope="axis")}

    async def one(axis: str) -> None:
        async with pace.spend("y", limits, axis=axis):
            got.append(axis)

    tasks = [asyncio.ensure_future(one("0"))]
    await clock.advance(0.1)
    pace.pause(20.0, "x")
    scene.is_sure = False
    await clock.advance(5.0)
    tasks += [asyncio.ensure_future(one(str(number))) for number in range(1, 6)]
    await clock.advance(0.5)
    scene.is_sure = True
    pace.wake()
    await clock.advance(3.0)
    assert sorted(got) == ["0", "1", "2", "3", "4", "5"]
    await closed([pace], tasks)


async def test_what_a_holder_elsewhere_spends_is_stored() -> None:
    """A holder that spends alone is not held to what may be lost: its totals are stored for it."""
    clock = TestClock()
    scene = Scene(clock)
    holder, pace = scene.far()
    tasks = scene.calls(pace, 300)
    for _ in range(120):
        await clock.advance(0.5)
        scene.deliver(holder)
    spent = sum(units for at, units, _ in scene.log if at >= scene.clock.time() - 60.0)
    assert scene.stored
    assert spent > 40  # 16 without: what a crash may lose
    await closed([pace], tasks)

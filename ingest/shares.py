"""A process's part of the quotas: what it asks for on `budget`, goes by, and grants where it is the owner.

A `Holder` is one link's. Elsewhere it asks the owner, once a second while it wants something; at the owner
its ask does not go through Kafka. Who wants nothing says so once, and then nothing.

An owner grants only what it is sure to own: its place in the group is asked for while it grants, and what it
granted itself lapses without that, as everybody's does. So a process that was frozen or cut off spends
nothing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final
from uuid import uuid4

import structlog

from ingest.apis import Limit
from ingest.cells import Share
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Membership, Place, ends
from ingest.ledger import QUIET, RENEW, VALID, CellKey, Ledger, even, kept
from ingest.pace import Clock, Lane, LoopClock, Pace
from ingest.producing import Outgoing, Sender
from ingest.publish import Committer, StoppedError, Unit
from ingest.state import PartitionState, key
from ingest.tasks import asked_to_stop, ended
from ingest.windows import now_ms
from schemas.control import Cursor, UnreadableRecordError, Wish
from schemas.quota import QuotaAsk, QuotaGrant, QuotaHeard

_STORED: Final = ("@quota", "")
"""Where a connector's totals are stored among its cursors: as a feed that nobody has."""
_TO: Final = "to"
_AGAIN_SECONDS: Final = 0.05
_LATER_SECONDS: Final = 0.5
_UNSURE_SECONDS = 0.2
_log = structlog.get_logger(part="quota")


class Holder:
    """The shares of one link. `miss` is told when they don't do, `sure` (at the owner) says if they hold."""

    def __init__(
        self, wish: Wish, miss: "Callable[[Holder], None]", sure: Callable[[], bool] | None = None
    ) -> None:
        self.wish, self.name, self._miss, self._sure = wish, uuid4().hex, miss, sure
        self.pace: Pace | None = None
        self.closing = False
        self.asked_at = 0.0
        self._number = 0
        self._asked: dict[int, float] = {}
        self._grant: QuotaGrant | None = None
        self._shares: dict[CellKey, Share] = {}
        self._until = 0.0
        self._wanted: set[CellKey] = set()
        self._lack: dict[CellKey, tuple[float, float]] = {}
        self._given_back: dict[CellKey, int] = {}
        self._heard: dict[tuple[CellKey, bool], tuple[int, float, QuotaHeard]] = {}

    # ---- what Pace asks

    def bind(self, pace: Pace | None) -> None:
        """Take note of who asks; None: nobody any more."""
        self.closing = pace is None
        if pace is None:
            self._miss(self)
        self.pace = pace

    def granted(self, api: str, bucket: str, key: str, limit: Limit, who: Lane) -> Share | None:
        """Give the share in force; without one governance has a few units once a second has passed."""
        place, now = (api, bucket, key), self._now()
        new = place not in self._wanted
        self._wanted.add(place)
        share, used = self._in_force(place, now), self.pace.used(place) if self.pace else 0.0
        lacks = share is None or self._short(share, used)
        if (new and len(self._wanted) == 1) or (lacks and now - self.asked_at >= _AGAIN_SECONDS):
            self._miss(self)
            share = self._in_force(place, now)
        if share is not None:
            self._lack.pop(place, None)
            return share
        since, base = self._lack.get(place, (now, used))
        base = min(base, used)  # what has left the window is not to be had again without an owner
        self._lack[place] = since, base
        if who != "governance" or now - since < RENEW or not kept(limit.n):
            return None
        return Share(base + kept(limit.n), even(limit.n, limit.per), limit.at_once and 1)

    def heard(self, place: CellKey, seconds: float, left: float | None) -> None:
        """Keep what the provider said until the owner knows it; a pause is urgent."""
        api, bucket, name = place
        told = QuotaHeard(api=api, bucket=bucket, key=name, seconds=seconds, left=left)
        self._heard[place, left is None] = (self._number + 1, self._now(), told)
        if left is None:
            self._miss(self)

    def _in_force(self, place: CellKey, now: float) -> Share | None:
        holds = now < self._until if self._sure is None else self._sure()
        return self._shares.get(place) if holds else None

    def _short(self, share: Share, used: float) -> bool:
        """Whether, at the owner, another share may be had at once; elsewhere it comes by itself."""
        return self._sure is not None and used + 1 > share.n

    def _now(self) -> float:
        return self.pace.clock.time() if self.pace else 0.0

    def lose(self) -> None:
        """Forget the shares: they are not to be counted on."""
        self._shares = {}

    # ---- what the owner is told and tells

    @property
    def lacking(self) -> bool:
        """Whether something waits for a share."""
        return bool(self._lack)

    @property
    def active(self) -> bool:
        """Whether it wants something, or has something to give back or to tell."""
        return bool(self._wanted or self._heard)

    def ask(self) -> QuotaAsk | None:
        """Say what is wanted; what is not wanted any more is given back with that."""
        if self.pace is None or not self.active:
            return None
        self.asked_at = now = self._now()
        self._number += 1
        self._asked = {number: at for number, at in self._asked.items() if now - at < VALID}
        first = min(self._asked, default=self._number)
        self._given_back = {place: one for place, one in self._given_back.items() if one >= first}
        self._heard = {place: one for place, one in self._heard.items() if one[1] + one[2].seconds > now}
        self._asked[self._number] = now
        needs = self.pace.needs(self._wanted)
        self._wanted &= {(one.api, one.bucket, one.key) for one in needs}
        if self.closing:
            needs = [one.model_copy(update={"calls": 0, "want": (0.0, 0.0, 0.0, 0.0)}) for one in needs]
        for need in needs:
            if not need.calls:
                place = (need.api, need.bucket, need.key)
                self._wanted.discard(place)
                self._shares.pop(place, None)
                self._lack.pop(place, None)
                self._given_back[place] = self._number
        heard = [
            one.model_copy(update={"seconds": one.seconds - now + at}) for _, at, one in self._heard.values()
        ]
        return QuotaAsk(
            connector=self.wish.name, incarnation=self.wish.incarnation, holder=self.name,
            number=self._number, owner=self._grant.owner if self._grant else "",
            seen=self._grant.number if self._grant else 0, needs=tuple(needs), heard=tuple(heard),
        )  # fmt: skip

    def apply(self, grant: QuotaGrant) -> bool:
        """Go by a grant; tell whether something became less, which is to be acknowledged at once."""
        old, at = self._grant, self._asked.get(grant.to)
        stale = old is not None and old.owner == grant.owner and grant.number <= old.number
        if stale or at is None or self.pace is None:
            return False
        self._grant, self._until, before = grant, at + VALID, self._shares
        self._shares = {
            place: Share(one.n, one.rate, one.at_once, one.kept, one.elsewhere)
            for one in grant.shares
            if grant.to > self._given_back.get(place := (one.api, one.bucket, one.key), 0)
        }
        self._heard = {place: one for place, one in self._heard.items() if one[0] > grant.to}
        for told in grant.pauses:
            self.pace.hold((told.api, told.bucket, told.key), told.seconds)
        less = (place for place, share in self._shares.items() if place in before)
        return any(self._shares[place].n < before[place].n for place in less)


class Owned:
    """The quotas of one partition's connectors, while it is ours."""

    def __init__(
        self, budget: "Budget", state: PartitionState, committer: Committer, membership: Membership
    ) -> None:
        self._budget, self._state, self._committer, self.membership = budget, state, committer, membership
        self._known = {name for name, one in state.connectors.items() if one.status is not None}
        self._began, self._owner = budget.now(), uuid4().hex
        self._ledgers: dict[tuple[str, str], Ledger] = {}
        self._near: dict[str, set[Holder]] = {}
        self._asks: list[QuotaAsk] = []
        self._storing: dict[str, asyncio.Task[None]] = {}

    @property
    def partition(self) -> int:
        """The partition."""
        return self._state.partition

    def holder(self, wish: Wish) -> Holder:
        """Make the holder of a link of this process's own."""
        made = Holder(wish, self._renew, lambda: self._budget.sure(self, VALID))
        self._near.setdefault(wish.name, set()).add(made)
        return made

    def asked(self, ask: QuotaAsk) -> None:
        """Take an ask, to be answered once it is sure whose the partition is."""
        self._asks = [one for one in self._asks if one.holder != ask.holder]
        self._asks.append(ask)

    def answers(self) -> list[Outgoing]:
        """Answer what was asked."""
        asks, self._asks = self._asks, []
        found: list[Outgoing] = []
        for ask in asks:
            try:
                found += self._answer(ask)
            except Exception:  # noqa: BLE001 one holder's ask is not the others'
                _log.exception("quota ask passed over", connector=ask.connector)
        return found

    def _answer(self, ask: QuotaAsk) -> list[Outgoing]:
        ledger = self._ledger(ask.connector, ask.incarnation)
        if ledger is None:
            return []
        # What was spent here is told before the others' asks are weighed, and cut back after.
        near = list(self._near.get(ask.connector, ()))
        for one in near:
            self._renew(one)
        names = ledger.hear(ask, self._budget.now())
        for one in near:
            self._renew(one)
        self._save(ledger, ask.connector)
        return self._grants(ledger, ask.connector, names)

    def resumed(self) -> None:
        """Begin anew, if another may have owned it meanwhile: what that one granted may be in force."""
        if self._budget.sure(self, QUIET):
            return
        self._began, self._owner = self._budget.now(), uuid4().hex
        self._known |= set(self._state.wishes)
        self._ledgers.clear()
        for one in [one for holders in self._near.values() for one in holders]:
            one.lose()

    def tick(self) -> None:
        """Let what lacks a share here look again."""
        for one in [one for holders in self._near.values() for one in holders if one.lacking]:
            if one.pace is not None:
                one.pace.wake()

    def _grants(self, ledger: Ledger, connector: str, names: Iterable[str]) -> list[Outgoing]:
        near = {one.name for one in self._near.get(connector, ())}
        made = [ledger.grant(name, self._budget.now()) for name in names if name not in near]
        return [
            Outgoing("budget", self.partition, connector.encode(), one.dump(), [(_TO, one.holder.encode())])
            for one in made
        ]

    def _renew(self, holder: Holder) -> None:
        """Ask and grant at once, without Kafka."""
        if holder.closing:
            self._near[holder.wish.name].discard(holder)
        ledger = self._ledger(holder.wish.name, holder.wish.incarnation)
        sure = holder.closing or self._budget.sure(self, VALID)
        if ledger is None or not sure or (ask := holder.ask()) is None:
            return
        names = ledger.hear(ask, self._budget.now(), near=True)
        if holder.name in names:
            holder.apply(ledger.grant(holder.name, self._budget.now()))
        self._budget.send(self._grants(ledger, holder.wish.name, names))
        self._save(ledger, holder.wish.name)

    def _save(self, ledger: Ledger, name: str) -> None:
        """Store what is spent, once too much of it is not: whoever spent it."""
        if ledger.unsaved and name not in self._storing and (wish := self._state.wishes.get(name)):
            self._storing[name] = asyncio.create_task(self._store(wish, ledger))
            self._storing[name].add_done_callback(lambda _: self._storing.pop(name))

    def _ledger(self, name: str, incarnation: str) -> Ledger | None:
        wish = self._state.wishes.get(name)
        if wish is None or wish.incarnation != incarnation:
            return None
        if (made := self._ledgers.get((name, incarnation))) is None:
            reserve = float(wish.settings.get("reserve", 0.0))
            made = Ledger(name, self._owner, reserve, self._began, inherited=name in self._known)
            if (stored := self._state.of(wish).cursors.get(_STORED)) is not None:
                made.restore(stored.position, self._began, now_ms())
            self._ledgers[name, incarnation] = made
        return made

    async def _store(self, wish: Wish, ledger: Ledger) -> None:
        logs, mine = ledger.logs(), self._state.of(wish)
        position = ledger.dumped(logs, self._budget.now(), now_ms())
        record = Cursor(incarnation=wish.incarnation, position=position)
        out = self._state.record("cursors", mine, key(wish.name, *_STORED), record)
        with contextlib.suppress(StoppedError):
            await self._committer.commit(Unit([out], [partial(ledger.saved, logs)]))
            for one in self._near.get(wish.name, set()):
                one.asked_at = 0.0  # more may be had


class Budget:
    """The process's place on `budget`: it asks for its holders and answers for what it owns."""

    def __init__(self, cluster: Cluster, follower: Follower, clock: Clock | None = None) -> None:
        self._cluster, self._follower, self._clock = cluster, follower, clock or LoopClock()
        self._holders: dict[str, Holder] = {}
        self._owned: dict[int, Owned] = {}
        self._outbox: list[Outgoing] = []
        self._some = asyncio.Event()
        self._sure: dict[int, float] = {}
        self._doubt = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    def now(self) -> float:
        """Tell the time, in monotonic seconds."""
        return self._clock.time()

    async def start(self) -> None:
        """Follow the topic from its end on.

        Raises:
            UnreadableError: Kafka does not answer.
        """
        places = [Place("budget", number) for number in range(self._cluster.owners)]
        for place, end in (await ends(self._cluster, places)).items():
            self._follower.follow(place, end, self._deliver)
        self._tasks = [asyncio.create_task(one) for one in (self._run(), self._make_sure())]

    async def stop(self) -> None:
        """End."""
        for task in self._tasks:
            await ended(task, 1.0)

    def holder(self, wish: Wish) -> Holder:
        """Make a holder that asks whoever owns the connector."""
        made = Holder(wish, self._missed)
        self._holders[made.name] = made
        return made

    def own(self, state: PartitionState, committer: Committer, membership: Membership) -> Owned:
        """Begin to grant for a partition's connectors."""
        self._owned[state.partition] = made = Owned(self, state, committer, membership)
        return made

    def disown(self, owned: Owned) -> None:
        """Grant nothing of it any more."""
        if self._owned.get(owned.partition) is owned:
            del self._owned[owned.partition]

    def sure(self, owned: Owned, seconds: float) -> bool:
        """Tell whether a partition was ours so many seconds ago; if that is long ago, it is asked again."""
        found = self._owned.get(owned.partition) is owned
        age = self.now() - self._sure.get(owned.partition, -QUIET)
        if found and age >= RENEW:
            self._doubt.set()
        return found and age < seconds

    def send(self, records: list[Outgoing]) -> None:
        """Send what can't wait."""
        if records:
            self._outbox += records
            self._some.set()

    def _missed(self, holder: Holder) -> None:
        wish = holder.wish
        if (ask := holder.ask()) is not None:
            self.send([Outgoing("budget", wish.partition, wish.name.encode(), ask.dump())])
        if holder.closing:
            self._holders.pop(holder.name, None)

    def _deliver(self, records: list[Incoming]) -> None:
        for record in records:
            to = next((value.decode() for name, value in record.headers if name == _TO), "")
            try:
                if to in self._holders:
                    self._granted(self._holders[to], QuotaGrant.load(record.value or b""))
                elif not to and (owned := self._owned.get(record.partition)) is not None:
                    owned.asked(QuotaAsk.load(record.value or b""))
                    self._doubt.set()
            except UnreadableRecordError as error:
                _log.warning("quota record passed over", why=str(error))

    def _granted(self, holder: Holder, grant: QuotaGrant) -> None:
        less = holder.apply(grant)
        if holder.pace is not None:
            holder.pace.wake()
        if less:
            self._missed(holder)

    async def _make_sure(self) -> None:
        """Ask the group, while that is in doubt, whether what we grant is ours to grant."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                sure = await self._look()
            except Exception:  # noqa: BLE001 nothing would be granted any more
                _log.exception("quota can't be granted")
                sure = False
            await self._clock.sleep(0.01 if sure else _UNSURE_SECONDS)

    async def _look(self) -> bool:
        """Grant what is ours; tell whether that is sure. One that we are losing answers for no other."""
        found = (one for one in self._owned.values() if one.partition in one.membership.assigned)
        one = next(found, None)
        if one is None:
            return False
        asked_at = self.now()
        stale = asked_at - self._sure.get(one.partition, -QUIET) >= RENEW / 2
        if stale and await one.membership.holds(one.partition):
            self._sure |= dict.fromkeys(one.membership.assigned, asked_at)
        for each in list(self._owned.values()):
            if self.sure(each, RENEW):
                self.send(each.answers())
            each.tick()
        return self.sure(one, RENEW)

    async def _run(self) -> None:
        """Write until cancelled, and ask each second for those who want something."""
        while True:
            try:
                await self._some.wait()
                async with Sender(self._cluster, "budget", compression_type=None) as sender:
                    while True:
                        await self._round(sender)
            except asyncio.CancelledError:
                if asked_to_stop():
                    raise
            except Exception as error:  # noqa: BLE001 nobody here would have a share any more
                _log.warning("quota can't be asked for", why=str(error) or type(error).__name__)
            self._some.set()
            await self._clock.sleep(_LATER_SECONDS)

    async def _round(self, sender: Sender) -> None:
        waiting = any(one.active for one in self._holders.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RENEW if waiting else None):
                await self._some.wait()
        self._some.clear()
        for one in list(self._holders.values()):
            if one.active and self.now() - one.asked_at >= RENEW:
                self._missed(one)
        records, self._outbox = self._outbox, []
        if records:
            await sender.write(records, VALID)

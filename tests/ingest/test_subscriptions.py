"""Registrations: durable before they are made, made once, repaired, renewed, rotated, removed."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

import orjson
import pytest
from rig import until

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.consuming import Incoming
from ingest.credentials import Keyring
from ingest.errors import Misconfigured, NotAllowed, Refused, Retry
from ingest.feeds import Owner
from ingest.hashes import from_hex
from ingest.mapping import Preparation, Prepared
from ingest.producing import BrokenError, Outgoing
from ingest.publish import Bytes, Committer, StoppedError
from ingest.push import Broken, Registered, Subscription, Wanted
from ingest.reads import Axis, Instance
from ingest.roll import ByHand
from ingest.state import PartitionState
from ingest.subscriptions import Keeper
from schemas.control import Registration, Wish
from schemas.events import Origin
from schemas.topics import TOPICS

START = 1_700_000_000_000
DAY = 86_400_000
RING = Keyring([os.urandom(32)])
CANARY = "canary-in-an-error"


@dataclass
class Kafka:
    """What survives; it breaks at the commits it is told to."""

    log: list[Outgoing] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)
    commits: int = 0

    async def commit(self, records: Sequence[Outgoing]) -> None:
        """Take all or nothing."""
        self.commits += 1
        if self.commits in self.breaks:
            raise BrokenError("cut off")
        self.log.extend(records)

    async def refuses(self, records: Sequence[Outgoing]) -> bool:
        """Refuse nothing."""
        return False

    def stored(self) -> dict[bytes, Registration | None]:
        """Read what is durable."""
        return {one.key: Registration.load(one.value) if one.value else None for one in self.log}


@dataclass
class Tenant:
    """The provider's side: registrations by id, and a record of the calls."""

    kafka: Kafka
    axes: list[str] = field(default_factory=lambda: [""])
    made: dict[str, Wanted] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)
    unhealthy: set[str] = field(default_factory=set)
    can_list: bool = True
    can_renew: bool = True
    verifies: bool = True
    where: dict[str, str] = field(default_factory=dict)
    hows: list[Any] = field(default_factory=list)

    @classmethod
    def hooks(cls) -> dict[str, Any]:
        """Name the hooks."""
        return {"changed": None}


async def axes(p: Tenant) -> AsyncIterator[Axis]:
    """List the axes."""
    for name in p.axes:
        yield Axis(name)


class Hooks(Subscription[Tenant]):
    """A registration an axis, for a day."""

    brings = "changed"
    lasts: ClassVar[timedelta | None] = timedelta(days=1)
    per = axes

    async def create(self, p: Tenant, w: Wanted) -> Registered:
        """Register; everything about it must be durable by now."""
        p.calls.append(f"create {w.axis.key}")
        (stored,) = [one for one in p.kafka.stored().values() if one and one.axis == w.axis.key]
        assert stored.id == w.id
        assert stored.address == w.address
        assert RING.open(stored.sealed, "c/1") == w.secret
        if error := p.errors.get(w.axis.key):
            raise error
        p.made[w.id] = w
        return Registered(w.id, w.expires, p.verifies, {"n": 1})

    async def renew(self, p: Tenant, it: Registered, w: Wanted, how: Any) -> Registered | None:
        """Prolong."""
        p.calls.append(f"renew {w.axis.key}")
        p.hows.append(how)
        assert it.data == {"n": 1}
        if p.can_renew and p.verifies:
            p.unhealthy.discard(it.id)
        return Registered(it.id, w.expires, p.verifies, it.data) if p.can_renew else None

    async def remove(self, p: Tenant, it: Registered) -> None:
        """Take away; what is gone is fine."""
        if error := p.errors.get("remove"):
            raise error
        p.calls.append("remove")
        p.made.pop(it.id, None)

    def listed(self, p: Tenant) -> AsyncIterator[Registered] | None:
        """List, if it can be."""
        return self._all(p) if p.can_list else None

    async def _all(self, p: Tenant) -> AsyncIterator[Registered]:
        if error := p.errors.get("list"):
            raise error
        for one, wanted in p.made.items():
            data = {"n": 1, "address": p.where.get(one, wanted.address)}
            yield Registered(one, wanted.expires, p.verifies and one not in p.unhealthy, data)


class Stream(Hooks):
    """The same for a stream, which has neither an address nor a secret to replace."""

    brings = "stream"
    lasts = None


@dataclass
class Clock:
    """Milliseconds since 1970."""

    time: int = START

    def now(self) -> int:
        """Tell the time."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Wait for good."""
        await asyncio.Event().wait()


@asynccontextmanager
async def keeping(
    tenant: Tenant,
    clock: Clock | None = None,
    url: str = "https://s.example",
    kind: Subscription[Any] | None = None,
    **more: Any,
) -> AsyncIterator[Keeper]:
    """Take over with what Kafka has, and keep."""
    clock = clock or Clock()
    wish = Wish(name="c", provider="toy", partition=0, incarnation="1")
    state = PartitionState(0)
    state.take(Incoming("connectors", 0, 0, b"c", wish.dump(), (), 0))
    for one in tenant.kafka.log:
        state.take(Incoming(one.topic, 0, 0, one.key, one.value, (), 0))
    state.settle()
    mine = state.of(wish)
    cluster = Cluster(Config(kafka="nowhere:1"))
    cluster.counts = dict.fromkeys(TOPICS, 1)
    origin = Origin("t", "toy", "i", {"name": "T", "vendor_name": "T"}, account_type="T")
    preparation = Preparation(cluster, wish, origin, Instance("i"), mine, clock.now)
    committer = Committer(tenant.kafka, Bytes(10**6))  # type: ignore[arg-type]  # an object with its interface
    owner = Owner(wish, state, mine, committer, preparation, clock, "toy")
    task = asyncio.create_task(committer.run())
    try:
        provider: Any = tenant  # no more is asked of it
        yield Keeper(owner, provider, kind or Hooks(), RING, url, **more)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, BrokenError):
            await task


async def test_it_is_made_once_and_left_alone() -> None:
    """Wanted, durable, made, noted; the next checks, also after a restart, change nothing."""
    tenant = Tenant(Kafka())
    for _ in range(3):
        async with keeping(tenant) as keeper:
            await keeper.check()
            await keeper.check()
            assert keeper.problems == {}
    assert tenant.calls == ["create "]
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert (stored.state, stored.expires) == ("active", START + DAY)
    (wanted,) = tenant.made.values()
    assert wanted.secret not in stored.dump().decode()
    assert wanted.expires == datetime.fromtimestamp(START / 1000, UTC) + timedelta(days=1)


@pytest.mark.parametrize("breaks", [1, 2])
async def test_a_crash_around_the_call_registers_once(breaks: int) -> None:
    """Before it is durable nothing is called; after the call the next owner finds it made."""
    tenant = Tenant(Kafka(breaks={breaks}))
    async with keeping(tenant) as keeper:
        with pytest.raises(StoppedError):
            await keeper.check()
    assert len(tenant.calls) == breaks - 1
    async with keeping(tenant) as keeper:
        await keeper.check()
    assert tenant.calls == ["create "]
    assert len(tenant.made) == 1
    assert [one.state for one in tenant.kafka.stored().values() if one] == ["active"]


async def test_what_can_not_be_listed_is_wanted_under_the_same_id() -> None:
    """A provider that can't be asked gets the same registration again, which it must take for one."""
    tenant = Tenant(Kafka(breaks={2}), can_list=False)
    async with keeping(tenant) as keeper:
        with pytest.raises(StoppedError):
            await keeper.check()
    async with keeping(tenant) as keeper:
        await keeper.check()
    assert tenant.calls == ["create ", "create "]
    assert len(tenant.made) == 1


async def test_one_that_is_gone_is_made_again() -> None:
    """Someone deleted it at the provider: the same address and secret are registered again."""
    tenant = Tenant(Kafka())
    async with keeping(tenant) as keeper:
        await keeper.check()
        before = dict(tenant.made)
        tenant.made.clear()
        await keeper.check()
        await keeper.check()
    assert tenant.calls == ["create ", "create "]
    assert tenant.made == before


async def test_one_that_is_switched_off_is_mended() -> None:
    """The provider switched it off; renewing switches it on again."""
    tenant = Tenant(Kafka())
    async with keeping(tenant) as keeper:
        await keeper.check()
        tenant.unhealthy = set(tenant.made)
        await keeper.check()
        await keeper.check()
        assert keeper.problems == {}
    assert tenant.calls == ["create ", "renew "]


@pytest.mark.parametrize("how", ["unhealthy", "elsewhere"])
async def test_one_that_can_not_be_mended_is_replaced(how: str) -> None:
    """It can't be renewed, or someone turned it to another address: a fresh one, then the old one goes."""
    tenant = Tenant(Kafka(), can_renew=False)
    async with keeping(tenant) as keeper:
        await keeper.check()
        (first,) = tenant.made
        if how == "unhealthy":
            tenant.unhealthy = {first}
        else:
            tenant.where[first] = "https://attacker.example/"
        await keeper.check()
        await keeper.check()
    assert [one for one in tenant.calls if one != "renew "] == ["create ", "create ", "remove"]
    assert len(tenant.made) == 1
    assert first not in tenant.made


async def test_one_that_stays_ill_is_not_made_anew_all_the_time() -> None:
    """The provider can't reach us: it shows, and each new attempt waits longer."""
    tenant, clock = Tenant(Kafka(), verifies=False), Clock()
    async with keeping(tenant, clock) as keeper:
        await keeper.check()
        assert "verify" in keeper.problems[""]
        made = []
        for _ in range(24 * 12):
            clock.time += 300_000
            await keeper.check()
            made.append(tenant.calls.count("create "))
        assert made[:11] == [1] * 11
        assert made[-1] <= 6
        assert len(tenant.made) == 1
        tenant.verifies = True
        await keeper.check()
        assert keeper.problems == {}
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert (stored.healthy, stored.why) == (True, "")


@pytest.mark.parametrize("can_renew", [True, False])
async def test_it_is_renewed_around_half_its_life(can_renew: bool) -> None:
    """Not all at once, not before; a kind that can't be renewed is made anew, then the old one goes."""
    tenant, clock = Tenant(Kafka(), can_renew=can_renew), Clock()
    async with keeping(tenant, clock) as keeper:
        await keeper.check()
        clock.time += int(DAY * 0.39)
        await keeper.check()
        assert tenant.calls == ["create "]
        clock.time += int(DAY * 0.22)
        await keeper.check()
        await keeper.check()
    assert tenant.calls == ["create ", "renew ", *([] if can_renew else ["create ", "remove"])]
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert stored.expires == clock.time + DAY
    assert len(tenant.made) == 1


async def test_many_are_not_renewed_at_one_moment() -> None:
    """Registrations made together fall due apart."""
    tenant, clock = Tenant(Kafka(), axes=[f"a{number}" for number in range(40)]), Clock()
    async with keeping(tenant, clock) as keeper:
        await keeper.check()
        renewals = []
        for _ in range(70):
            clock.time += DAY // 100
            before = len(tenant.hows)
            await keeper.check()
            renewals.append(len(tenant.hows) - before)
    assert sum(renewals) == 40
    assert sum(renewals[:39]) == 0
    assert max(renewals) < 15


async def test_the_secret_is_replaced_on_a_schedule() -> None:
    """A fresh address and secret, durable before the provider knows them; the old ones work for an hour."""
    tenant, clock = Tenant(Kafka()), Clock()
    async with keeping(tenant, clock) as keeper:
        await keeper.check()
        (first,) = tenant.made.values()
        for _ in range(23 * 4):
            clock.time += DAY // 4
            await keeper.check()
        assert list(tenant.made) == [first.id]
        for _ in range(14 * 4):
            if len(tenant.made) == 1:
                clock.time += DAY // 4
                await keeper.check()
        assert len(tenant.made) == 2
        (stored,) = tenant.kafka.stored().values()
        assert stored is not None
        fresh = tenant.made[stored.id]
        secrets = {one: RING.open(sealed, "c/1") for one, sealed in stored.accepted().items()}
        assert secrets == {fresh.id: fresh.secret, first.id: first.secret}
        assert fresh.secret != first.secret
        assert fresh.address != first.address
        clock.time += 3_500_000
        await keeper.check()
        assert len(tenant.made) == 2
        clock.time += 200_000
        await keeper.check()
    assert list(tenant.made) == [fresh.id]
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert list(stored.accepted()) == [fresh.id]


@pytest.mark.parametrize("breaks", [1, 2, 3, 4, 5, 6, 7])
async def test_a_crash_during_a_replacement_leaves_one(breaks: int) -> None:
    """Whichever commit is cut off, in the end one is registered, and it is the one that is stored."""
    tenant, clock = Tenant(Kafka()), Clock()
    async with keeping(tenant, clock) as keeper:
        await keeper.check()
    tenant.kafka.breaks = {tenant.kafka.commits + breaks}
    clock.time += 40 * DAY
    async with keeping(tenant, clock) as keeper:
        with contextlib.suppress(StoppedError):
            for _ in range(100):
                await keeper.check()
                clock.time += 8_000_000
    assert tenant.kafka.commits >= max(tenant.kafka.breaks)
    for _ in range(4):
        clock.time += 4_000_000
        async with keeping(tenant, clock) as keeper:
            await keeper.check()
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert list(tenant.made) == [stored.id]
    assert stored.former is None


async def test_a_stream_has_nothing_to_rotate() -> None:
    """No address of ours, no secret: it stays as it is for years."""
    tenant, clock = Tenant(Kafka()), Clock()
    async with keeping(tenant, clock, kind=Stream()) as keeper:
        await keeper.check()
        clock.time += 100 * DAY
        await keeper.check()
    assert tenant.calls == ["create "]
    assert [one.address for one in tenant.made.values()] == [""]


async def test_a_process_that_was_frozen_does_not_call() -> None:
    """More than five seconds after the intent was stored it is stored again, which only the owner can."""
    times = iter([0.0, 60.0, 60.0, 60.0])
    tenant = Tenant(Kafka(breaks={2}))
    async with keeping(tenant, monotonic=lambda: next(times)) as keeper:
        with pytest.raises(StoppedError):
            await keeper.check()
    assert tenant.calls == []


async def test_wanted_is_found_at_the_provider_by_its_address() -> None:
    """A provider that gives ids of its own is asked by the address, whose end nobody can guess."""
    tenant = Tenant(Kafka(breaks={2}))
    async with keeping(tenant) as keeper:
        with pytest.raises(StoppedError):
            await keeper.check()
    (wanted,) = tenant.made.values()
    tenant.made = {"their-7": wanted}
    async with keeping(tenant) as keeper:
        await keeper.check()
    assert tenant.calls == ["create "]
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert stored.registered["id"] == "their-7"


async def test_ids_and_secrets_can_not_be_guessed() -> None:
    """128 random bits in the address, 256 in the secret, none like another."""
    tenant = Tenant(Kafka(), axes=[f"a{number}" for number in range(50)])
    async with keeping(tenant) as keeper:
        await keeper.check()
    made = list(tenant.made.values())
    assert {one.address for one in made} == {f"https://s.example/v1/toy/changed/{one.id}" for one in made}
    assert {len(bytes.fromhex(one.id)) for one in made} == {16}
    assert {len(bytes.fromhex(one.secret)) for one in made} == {32}
    assert len({one.id for one in made}) == len({one.secret for one in made}) == 50


@pytest.mark.parametrize("can_renew", [True, False])
async def test_what_a_hook_says_of_it_reaches_renew(can_renew: bool) -> None:
    """At once, with the hook's own words; what can't be renewed is made anew; a stranger's id is nothing."""
    tenant = Tenant(Kafka(), can_renew=can_renew)
    async with keeping(tenant) as keeper:
        await keeper.check()
        (one,) = tenant.made
        keeper.broken(Broken("a stranger", "x"))
        await keeper.check()
        assert tenant.hows == []
        keeper.broken(Broken(one, {"lifecycle": "reauthorize"}))
        await keeper.check()
        await keeper.check()
    assert tenant.hows == [{"lifecycle": "reauthorize"}]
    assert (list(tenant.made) == [one]) is can_renew
    assert len(tenant.made) == 1


async def test_what_a_hook_says_wakes_the_loop() -> None:
    """Nobody waits for the next check."""
    tenant = Tenant(Kafka())
    async with keeping(tenant) as keeper:
        task = asyncio.create_task(keeper.run())
        await until(lambda: bool(tenant.made))
        (one,) = tenant.made
        keeper.broken(Broken(one))
        await until(lambda: bool(tenant.hows))
        task.cancel()


async def test_what_can_not_be_taken_away_now_is_noted() -> None:
    """The provider does not answer: it shows as being removed, and the next attempt does it."""
    tenant = Tenant(Kafka(), axes=["a", "b"])
    async with keeping(tenant) as keeper:
        await keeper.check()
        tenant.errors["remove"] = Retry("out of order")
        assert not await keeper.remove_all()
        assert [one.state for one in tenant.kafka.stored().values() if one] == ["removing"] * 2
        tenant.errors.clear()
        assert await keeper.remove_all()
    assert tenant.made == {}
    assert set(tenant.kafka.stored().values()) == {None}


async def test_an_address_for_the_operator_stays_the_same() -> None:
    """Nothing is called or rotated; the address follows the public one and outlives removal."""
    tenant, clock = Tenant(Kafka()), Clock()
    async with keeping(tenant, clock, kind=ByHand("changed")) as keeper:
        await keeper.check()
    clock.time += 400 * DAY
    async with keeping(tenant, clock, kind=ByHand("changed"), url="https://new.example/") as keeper:
        await keeper.check()
        assert await keeper.remove_all()
    assert tenant.calls == []
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert (stored.manual, stored.state) == (True, "active")
    assert stored.address == f"https://new.example/v1/toy/changed/{stored.id}"


async def test_a_listing_that_is_refused_shows() -> None:
    """Without the permission to list nothing is made blindly; what to grant is shown."""
    tenant = Tenant(Kafka(), errors={"list": NotAllowed("grant hooks:read")})
    async with keeping(tenant) as keeper:
        await keeper.check()
        assert keeper.problems == {"": "grant hooks:read"}
    assert tenant.calls == []


async def test_an_axis_that_is_no_more_is_removed() -> None:
    """At the provider and in the state; everything is with the connector."""
    tenant = Tenant(Kafka(), axes=["a", "b"])
    async with keeping(tenant) as keeper:
        await keeper.check()
        tenant.axes = ["a"]
        await keeper.check()
        assert [one.axis.key for one in tenant.made.values()] == ["a"]
        await keeper.remove_all()
        await keeper.remove_all()
    assert tenant.made == {}
    assert tenant.calls == ["create a", "create b", "remove", "remove"]
    assert set(tenant.kafka.stored().values()) == {None}


async def test_one_that_was_only_wanted_is_removed_too() -> None:
    """It may have been made: whoever removes the connector asks the provider to take it away."""
    tenant = Tenant(Kafka(breaks={2}))
    async with keeping(tenant) as keeper:
        with pytest.raises(StoppedError):
            await keeper.check()
    async with keeping(tenant) as keeper:
        await keeper.remove_all()
    assert tenant.made == {}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (NotAllowed("grant admin:org_hook"), "grant admin:org_hook"),
        (Refused("a hook exists already"), "a hook exists already"),
        (Misconfigured("give a public address"), "give a public address"),
        (Retry("too many calls"), "too many calls"),
        (KeyError(CANARY), "KeyError"),
    ],
)
async def test_a_problem_is_one_axis_own(error: Exception, why: str) -> None:
    """The others are registered; it shows until it is over, without quoting what we did not expect."""
    tenant = Tenant(Kafka(), axes=["a", "bad", "c"], errors={"bad": error})
    async with keeping(tenant) as keeper:
        await keeper.check()
        assert sorted(one.axis.key for one in tenant.made.values()) == ["a", "c"]
        assert list(keeper.problems) == ["bad"]
        assert why in keeper.problems["bad"]
        assert CANARY not in keeper.problems["bad"]
        tenant.errors.clear()
        await keeper.check()
        assert keeper.problems == {}
    assert len(tenant.made) == 3


async def test_a_problem_goes_with_its_axis() -> None:
    """What is not wanted any more is no problem any more."""
    tenant = Tenant(Kafka(), axes=["bad"], errors={"bad": NotAllowed("no")})
    async with keeping(tenant) as keeper:
        await keeper.check()
        tenant.axes = []
        await keeper.check()
        assert keeper.problems == {}


async def test_a_new_public_address_is_registered() -> None:
    """When the receiver moves, the provider is told, once; the old address goes an hour later."""
    tenant, clock = Tenant(Kafka()), Clock()
    async with keeping(tenant, clock) as keeper:
        await keeper.check()
    async with keeping(tenant, clock, url="https://new.example") as keeper:
        await keeper.check()
        await keeper.check()
        clock.time += 3_700_000
        await keeper.check()
    (address,) = [one.address for one in tenant.made.values()]
    assert address.startswith("https://new.example/v1/toy/changed/")
    assert tenant.calls == ["create ", "create ", "remove"]


async def test_the_loop_survives_a_listing_that_fails() -> None:
    """A check that breaks is tried again; only the end of the tenure ends the loop."""
    tenant = Tenant(Kafka(breaks={1}))
    async with keeping(tenant) as keeper:
        with pytest.raises(StoppedError):
            await keeper.run()


def polled(number: int, kind: str = "login", at: int = START + 3_600_000) -> Prepared:
    """Make what a poll published: one event of a kind, that happened long after the warming."""
    uid, time = f"{number:016x}" + "0" * 16, at
    value = orjson.dumps({"metadata": {"uid": uid, "event_code": kind}, "time": time})
    return Prepared([Outgoing("activities", 0, b"", value)], [(from_hex(uid), time)])


class Choosy(Hooks):
    """Brings sign-ins alone, for the log."""

    speeds_up = ("log",)

    def expects(self, event: Any) -> bool:
        """Tell whether it should have brought an event."""
        return bool(event["metadata"]["event_code"] == "login")


@pytest.mark.parametrize(
    ("feed", "axis", "kind", "count"),
    [
        ("log", "", "login", 1),
        ("log", "", "zone change", 0),
        ("audit", "", "login", 0),
        ("log", "an axis nobody registered", "login", 1),
    ],
)
async def test_only_what_it_should_have_brought_counts(feed: str, axis: str, kind: str, count: int) -> None:
    """Another feed, or a kind of event that it never brings, is none of its business."""
    tenant, clock = Tenant(Kafka()), Clock()
    async with keeping(tenant, clock, kind=Choosy()) as keeper:
        await keeper.check()
        clock.time += 3_700_000
        keeper.found(feed, axis, polled(1, kind))
        clock.time += 200_000
        await keeper._judge()
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert stored.recovered == count


@pytest.mark.parametrize("brought", [True, False])
async def test_several_may_share_the_work(brought: bool) -> None:
    """What the poll of a bare log found, and the registration of any axis brings, is missed by none."""
    tenant, clock = Tenant(Kafka(), axes=["", "b"]), Clock()
    async with keeping(tenant, clock, kind=Choosy()) as keeper:
        await keeper.check()
        clock.time += 3_700_000
        keeper.found("log", "", polled(1))
        keeper.heard("changed", "b", [("log", [key for key, _ in polled(1).seen] if brought else [])])
        keeper.heard("another hook", "b", [("log", [key for key, _ in polled(1).seen])])
        clock.time += 200_000
        await keeper._judge()
    recovered = {one.axis: one.recovered for one in tenant.kafka.stored().values() if one}
    assert recovered == {"": 0 if brought else 1, "b": 0}


async def test_a_stream_that_reads_is_heard() -> None:
    """What a stream feed brings needs no inbox; polls that follow it find nothing that is missed."""

    class Quick(Stream):
        """Speeds up the log."""

        speeds_up = ("log",)

    tenant, clock = Tenant(Kafka()), Clock()
    async with keeping(tenant, clock, kind=Quick()) as keeper:
        await keeper.check()
        clock.time += 3_700_000
        keeper.found("stream", "", polled(7))
        keeper.found("log", "", polled(1))
        clock.time += 200_000
        await keeper._judge()
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert (stored.recovered, stored.delivered) == (0, clock.time - 200_000)


async def test_a_silent_one_is_made_anew_ever_more_rarely() -> None:
    """At once, then after an hour, two, four ... a day at most, while the poll goes on finding."""
    tenant, clock = Tenant(Kafka()), Clock()
    times, number = [], 0
    async with keeping(tenant, clock, kind=Choosy()) as keeper:
        await keeper.check()
        for _ in range(3 * 24 * 6):
            clock.time += 600_000
            for _ in range(3):
                number += 1
                keeper.found("log", "", polled(number, at=clock.time))
            await keeper._judge()
            before = tenant.calls.count("create ")
            await keeper.check()
            times += [clock.time - START] * (tenant.calls.count("create ") - before)
    assert len(times) >= 4
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= 3_600_000

"""Registrations: durable before they are made, made once, repaired, renewed, removed."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.consuming import Incoming
from ingest.credentials import Keyring
from ingest.errors import Misconfigured, NotAllowed, Refused, Retry
from ingest.feeds import Owner
from ingest.mapping import Preparation
from ingest.producing import BrokenError, Outgoing
from ingest.publish import Bytes, Committer, StoppedError
from ingest.push import Registered, Subscription, Wanted
from ingest.reads import Axis, Instance
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


async def axes(p: Tenant) -> AsyncIterator[Axis]:
    """List the axes."""
    for name in p.axes:
        yield Axis(name)


class Hooks(Subscription[Tenant]):
    """A registration an axis, for a day."""

    brings = "changed"
    lasts = timedelta(days=1)
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
        return Registered(w.id, w.expires, data={"n": 1})

    async def renew(self, p: Tenant, it: Registered, w: Wanted, how: Any) -> Registered | None:
        """Prolong."""
        p.calls.append(f"renew {w.axis.key}")
        assert it.data == {"n": 1}
        return Registered(it.id, w.expires, data=it.data) if p.can_renew else None

    async def remove(self, p: Tenant, it: Registered) -> None:
        """Take away; what is gone is fine."""
        p.calls.append("remove")
        p.made.pop(it.id, None)

    def listed(self, p: Tenant) -> AsyncIterator[Registered] | None:
        """List, if it can be."""
        return self._all(p) if p.can_list else None

    async def _all(self, p: Tenant) -> AsyncIterator[Registered]:
        for one, wanted in p.made.items():
            yield Registered(one, wanted.expires, one not in p.unhealthy, {"n": 1})


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
    tenant: Tenant, clock: Clock | None = None, address: str = "https://s.example/hooks/c"
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
        yield Keeper(owner, tenant, Hooks(), RING, address)  # type: ignore[arg-type]  # no more is asked of it
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


@pytest.mark.parametrize("how", ["gone", "unhealthy"])
async def test_a_lost_registration_is_repaired(how: str) -> None:
    """Someone deleted it at the provider, or the provider switched it off."""
    tenant = Tenant(Kafka())
    async with keeping(tenant) as keeper:
        await keeper.check()
        if how == "gone":
            tenant.made.clear()
        else:
            tenant.unhealthy = set(tenant.made)
        await keeper.check()
        tenant.unhealthy = set()
        await keeper.check()
    assert tenant.calls == ["create ", "create "]
    assert len(tenant.made) == 1


@pytest.mark.parametrize("can_renew", [True, False])
async def test_it_is_renewed_at_half_its_life(can_renew: bool) -> None:
    """Not before; a kind that can't be renewed is made anew."""
    tenant, clock = Tenant(Kafka(), can_renew=can_renew), Clock()
    async with keeping(tenant, clock) as keeper:
        await keeper.check()
        clock.time += DAY // 2 - 1000
        await keeper.check()
        assert tenant.calls == ["create "]
        clock.time += 2000
        await keeper.check()
        await keeper.check()
    assert tenant.calls == ["create ", "renew ", *([] if can_renew else ["create "])]
    (stored,) = tenant.kafka.stored().values()
    assert stored is not None
    assert stored.expires == clock.time + DAY


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
    """When the receiver moves, the provider is told, once."""
    tenant = Tenant(Kafka())
    async with keeping(tenant) as keeper:
        await keeper.check()
    async with keeping(tenant, address="https://new.example/hooks/c") as keeper:
        await keeper.check()
        await keeper.check()
    assert [one.address for one in tenant.made.values()] == ["https://new.example/hooks/c"]
    assert tenant.calls.count("create ") == 2


async def test_the_loop_survives_a_listing_that_fails() -> None:
    """A check that breaks is tried again; only the end of the tenure ends the loop."""
    tenant = Tenant(Kafka(breaks={1}))
    async with keeping(tenant) as keeper:
        with pytest.raises(StoppedError):
            await keeper.run()

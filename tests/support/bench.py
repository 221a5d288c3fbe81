"""A provider without a network, and the core around it on the real Kafka, in this process."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import orjson

from ingest.cluster import Cluster
from ingest.connectors import Services, WallClock
from ingest.consuming import Follower
from ingest.credentials import Keyring
from ingest.errors import Misconfigured
from ingest.links import Link
from ingest.producing import Outgoing, Sender
from ingest.provider import (
    At,
    BadRecord,
    Gone,
    Grant,
    Instance,
    Json,
    Mapped,
    Page,
    Provider,
    Ref,
    Settings,
    feed,
)
from ingest.push import Delivery, Pushed, Registered, Scheme, Subscription, Wanted, hook
from ingest.tenure import ingest
from schemas.control import Wish
from schemas.events import event


@dataclass
class World:
    """What the simulated source holds; tests change it while it is read."""

    log: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    late: list[dict[str, Any]] = field(default_factory=list)
    reads: int = 0
    denied: int = 0
    """So many listings from now on show nothing."""
    page: int = 3
    before_page: Callable[[int], Awaitable[None]] | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    registered: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    before_answer: Callable[[], Awaitable[None]] | None = None


def acted(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map a line of the log; one that says so is bad."""
    if record.get("bad"):
        raise BadRecord("it says it is bad")
    if record.get("gone"):
        yield Gone("file", record["gone"])
        return
    if record.get("share"):
        yield from listed({"id": record["share"], "state": record["state"]}, instance)
        return
    yield event(
        6003, 1, record["time"], log_name="log", source_id=str(record["id"]),
        actor={"user": {"uid": record.get("who", "u1")}}, api={"operation": "Create"},
        src_endpoint={"name": "unknown"}, unmapped={"pad": record.get("pad", "")},
    )  # fmt: skip


def listed(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map a file of the listing, and ask for its scan."""
    del instance
    yield event(
        5023, 2, record.get("time", 1_700_000_000_000), log_name="files", source_id=record["id"],
        resources=[
            {"uid": record["id"], "name": record["id"], "type": "file", "data": {"s": record["state"]}}
        ],
    )  # fmt: skip
    yield Ref("file", record["id"], record["state"])


class Plain(Provider[Settings]):
    """A source in memory: an endless log by position, a window, a full listing."""

    name = "plain"
    settings_type = Settings

    def __init__(self, world: World, *rest: Any) -> None:
        super().__init__(*rest)
        self.world = world

    async def probe(self) -> AsyncIterator[Grant]:
        """Say that all is granted."""
        yield Grant("logons")

    @feed("user_activity", to=acted, every=timedelta(seconds=0.05), repeats=timedelta(hours=1))
    async def log(self, at: At) -> AsyncIterator[Page]:
        """Read the log from a position, three records a page."""
        place = at.cursor or 0
        while place < len(self.world.log):
            step = self.world.log[place : place + self.world.page]
            place += len(step)
            yield Page(step, cursor=place)

    @feed("admin_activity", to=acted, every=timedelta(seconds=0.1), late=timedelta(minutes=10),
          lookback=timedelta(hours=1), newest_first=True)  # fmt: skip
    async def window(self, at: At) -> AsyncIterator[Page]:
        """Read a window, newest first."""
        low, high = at.since.timestamp() * 1000, at.until.timestamp() * 1000
        found = [one for one in self.world.late if low <= one["time"] < high]
        for one in sorted(found, key=lambda each: -each["time"]):
            yield Page([one])

    @hook(Scheme())
    def pushed(self, delivery: Delivery) -> Iterable[Pushed]:
        """Take the log's lines from a delivery."""
        yield Pushed("log", orjson.loads(delivery.body))

    @feed("dlp_backlog", to=listed, every=timedelta(seconds=0.2))
    async def files(self, at: At) -> AsyncIterator[Page]:
        """List all files, two a page."""
        names = [] if self.world.denied else sorted(self.world.files)
        self.world.denied -= bool(self.world.denied)
        start = at.cursor or 0
        self.world.reads += 1
        while True:
            if self.world.before_page is not None:
                await self.world.before_page(start)
            step = names[start : start + 2]
            start += len(step)
            last = start >= len(names)
            yield Page(
                [{"id": name, "state": self.world.files[name]} for name in step if name in self.world.files],
                cursor=None if last else start, complete=last,
            )  # fmt: skip
            if last:
                return


class Callback(Subscription["Registering"]):
    """A registration that the source keeps under the id it was asked for."""

    brings = "pushed"
    lasts = timedelta(days=1)

    async def create(self, p: "Registering", w: Wanted) -> Registered:
        """Register; an id that is there already is a second registration, and shows."""
        p.world.calls.append("create")
        p.world.registered[f"{w.id}{'+' * (w.id in p.world.registered)}"] = {"address": w.address}
        if p.world.before_answer is not None:
            await p.world.before_answer()
        return Registered(w.id, w.expires)

    async def remove(self, p: "Registering", it: Registered) -> None:
        """Forget it."""
        p.world.calls.append("remove")
        p.world.registered.pop(it.id, None)

    async def listed(self, p: "Registering") -> AsyncIterator[Registered]:
        """List them."""
        for one in list(p.world.registered):
            yield Registered(one)


class Registering(Plain):
    """The same source with a registration."""

    name = "registering"
    subscriptions = (Callback(),)


class ShiftedClock(WallClock):
    """The real time, and so many ms more."""

    shift = 0

    def now(self) -> int:
        """Tell the time, ms since 1970."""
        return super().now() + self.shift


class Bench:
    """Links to the provider in memory, and one running core a `process`."""

    def __init__(self, cluster: Cluster, world: World, key: bytes = b"") -> None:
        self.cluster, self.world = cluster, world
        self.keyring = Keyring([key or os.urandom(32)])
        self.clock = ShiftedClock()
        world.connected.set()

    def kind(self, name: str) -> type[Provider[Any]]:
        """Give a provider by name."""
        kinds: dict[str, type[Provider[Any]]] = {"plain": Plain, "registering": Registering}
        if name not in kinds:
            raise Misconfigured(f"there is no provider {name!r}")
        return kinds[name]

    @asynccontextmanager
    async def open(self, wish: Wish, **_: Any) -> AsyncIterator[Link]:
        """Connect, unless the world says to wait."""
        await self.world.connected.wait()
        instance = Instance(f"i-{wish.name}")
        kind: Any = self.kind(wish.provider)
        yield Link(kind(self.world, Settings.model_validate({}), None, instance), instance)

    def process(self) -> "Process":
        """Make a core that can be started and stopped."""
        return Process(self)

    async def forget(self, wish: Wish) -> None:
        """Take a wish away, as the operator's tool does after the acknowledgement."""
        async with Sender(self.cluster, "test") as sender:
            await sender.write([Outgoing("connectors", wish.partition, wish.name.encode(), None)])

    async def wish(self, name: str, **more: Any) -> Wish:
        """Ask for a connector."""
        made = Wish(**{"provider": "plain", "incarnation": "1", "partition": 0, "name": name, **more})
        async with Sender(self.cluster, "test") as sender:
            await sender.write([Outgoing("connectors", made.partition, name.encode(), made.dump())])
        return made


class Process:
    """What `sluice run ingest` is, as a task."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def __aenter__(self) -> Self:
        bench = self._bench
        self.follower = Follower(bench.cluster)
        await self.follower.start()
        links: Any = bench
        services = Services(
            bench.cluster, links, bench.keyring, bench.clock, "test", "https://sluice.example"
        )
        self.ownership = ingest(services, self.follower)
        self._task = asyncio.create_task(self.ownership.run())
        return self

    async def crash(self) -> None:
        """End as a crash would, as far as one process can show it: nothing is committed or handed over."""
        for tenure, _ in self.ownership._tenures.values():
            tenure.pause()
        await self.__aexit__(None, None, None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self.follower.stop()

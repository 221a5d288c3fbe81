"""A provider behind the real client, without the core around it, on a clock that skips waiting."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tenants import Site
from toy.clock import TestClock

from ingest.errors import Retry
from ingest.http import Client, open_session
from ingest.mapping import Preparation
from ingest.pace import Pace
from ingest.provider import At, Axis, Event, Feed, Instance, Json, Page, Provider
from ingest.signin import Tokens
from ingest.state import ConnectorState
from ingest.windows import Window, millis, moment, now_ms, windows
from schemas.control import Wish
from schemas.events import Origin, stamp

STAMPED_AT = 1_790_000_000_000
MOST_PAGES = 1000
SPANS = 3
"""Windows of a first poll that are read: the newest; older ones would tell nothing else."""
SILENT = 1.0
"""Seconds without a page after which a stream, which does not end, is left."""


class Place:
    """As much of a cluster as the preparation of records asks for."""

    def partition(self, topic: str, key: bytes) -> int:
        """Put everything in one place."""
        del topic, key
        return 0


class Skipping(TestClock):
    """A clock that skips waiting, and tells the tenant how much time has passed for it."""

    __test__ = False

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has been moved on, for the tenant too."""
        await super().sleep(seconds)
        await self._site.passed(seconds)


class Door:
    """What a provider is made with, as it and its client need each other."""

    client: Client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


@dataclass
class Connected:
    """One sign-in to a site; `until` is fixed, so that a window read twice is the same."""

    site: Site
    provider: Provider[Any]
    clock: TestClock
    client: Client
    until: int = field(default_factory=now_ms)
    readings: dict[str, list["Reading"]] = field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        """Give the origin as the core makes it."""
        kind, instance = self.site.kind, self.provider.instance
        return Origin(
            "acme", kind.name, instance.id, {"name": kind.title, "vendor_name": kind.vendor},
            instance_name=instance.name, account_type_id=kind.account_type_id, account_type=kind.account_type,
        )  # fmt: skip

    def preparation(self) -> Preparation:
        """Prepare records as the core does, with nothing published yet."""
        wish = Wish(name="judged", provider=self.site.kind.name, partition=0, incarnation="1")
        place: Any = Place()
        return Preparation(place, wish, self.origin, self.provider.instance, ConnectorState(), now_ms)

    def feed(self, name: str) -> Feed:
        """Give what a feed says of itself."""
        return self.provider.feeds()[name]

    async def axes(self, name: str) -> list[Axis]:
        """List a feed's axes."""
        per = self.feed(name).per
        if per is None:
            return [Axis()]

        async def listed() -> list[Axis]:
            return [axis async for axis in per(self.provider)]

        return await self.clock.drive(listed())

    def spans(self, name: str) -> list[Window]:
        """Cut what a first poll reads, as the core does; one span for what has no windows."""
        feed = self.feed(name)
        if feed.late is None:
            return [Window(self.until - millis(feed.lookback), self.until)]
        return list(windows(feed, None, self.until))[-SPANS:]

    async def pages(self, name: str, axis: Axis, span: Window, cursor: Json = None) -> list[Page]:
        """Read one span after a cursor, to the end or, of a stream, a few pages."""
        at = At(axis, cursor, moment(span.since), moment(span.until))
        quiet = SILENT if self.feed(name).every is None else None

        async def read() -> list[Page]:
            found: list[Page] = []
            generator = getattr(self.provider, name)(at)
            try:
                while len(found) < MOST_PAGES:
                    async with asyncio.timeout(quiet):
                        found.append(await anext(generator))
            except (StopAsyncIteration, TimeoutError):
                pass
            finally:
                await generator.aclose()
            return found

        return await self.clock.drive(read())

    async def calmly(self, name: str, axis: Axis, span: Window, cursor: Json = None) -> list[Page]:
        """The same, from the start again where the tenant still counts what another connection asked."""
        for _ in range(3):
            try:
                return await self.pages(name, axis, span, cursor)
            except Retry:
                await asyncio.sleep(0.6)
        return await self.pages(name, axis, span, cursor)

    async def read(self, name: str) -> list["Reading"]:
        """Read all of a feed anew: every axis, every span."""
        return [
            Reading(axis, span, await self.calmly(name, axis, span))
            for axis in await self.axes(name)
            for span in self.spans(name)
        ]

    async def once(self, name: str) -> list["Reading"]:
        """The same, remembered."""
        if name not in self.readings:
            self.readings[name] = await self.read(name)
        return self.readings[name]

    def events(self, name: str, pages: Iterable[Page]) -> list[Event]:
        """Map pages and stamp what comes, as the core does."""
        feed, origin, made = self.feed(name), self.origin, list[Event]()
        for page in pages:
            for record in page.records:
                mapped = list(feed.to[page.mapper](record, self.provider.instance))
                found = [one for one in mapped if isinstance(one, dict)]
                made += [stamp(one, origin, STAMPED_AT, index=n) for n, one in enumerate(found)]
        return made

    def ids(self, name: str, pages: Iterable[Page]) -> list[str]:
        """Name the events of pages."""
        return [one["metadata"]["uid"] for one in self.events(name, pages)]


@dataclass
class Reading:
    """What one axis gave in one span."""

    axis: Axis
    span: Window
    pages: list[Page]


def all_pages(readings: Iterable[Reading]) -> list[Page]:
    """Put the pages of readings together."""
    return [page for one in readings for page in one.pages]


@asynccontextmanager
async def connected(site: Site, patience: float = 60.0) -> AsyncIterator[Connected]:
    """Sign in to a site; `patience` is how long the client waits for an answer, in seconds."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(timeout=patience))
        clock = Skipping(site)
        pace = Pace(clock=clock)
        stack.push_async_callback(pace.close)
        door: Any = Door()
        provider = site.kind(site.settings, door, Instance(""))
        tokens = Tokens(session, clock=clock)
        door.client = client = Client(provider, session, pace, tokens, jitter=lambda: 0.5)
        stack.push_async_callback(client.close)
        stack.push_async_callback(provider.close)
        provider.instance = await clock.drive(provider.identify())
        yield Connected(site, provider, clock, client)

"""Processes on a time that can be moved on: `sluice run ingest` and `sluice run receive`, in this one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import rig
from core import Core

from ingest.connectors import Services
from ingest.consuming import Follower
from ingest.directory import Directory
from ingest.own import Ownership
from ingest.publickeys import fetching
from ingest.registrations import Registry
from ingest.storing import Store
from ingest.tenure import ingest
from ingest.webhooks import Receiver
from ingest.windows import now_ms


class Shifted:
    """The real time, moved on by hand; who sleeps wakes up when it has come."""

    def __init__(self) -> None:
        self.shift = 0.0

    def now(self) -> int:
        """Tell the time, ms since 1970."""
        return now_ms() + int(self.shift * 1000)

    def seconds(self) -> float:
        """Tell it in seconds, as the tenant reads it."""
        return time.time() + self.shift

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        end = self.seconds() + seconds
        await rig.until(lambda: self.seconds() >= end, seconds=3600, every=0.02)


@asynccontextmanager
async def life(core: Core, clock: Shifted) -> AsyncIterator[Ownership]:
    """Run `sluice run ingest` on that time."""
    follower = Follower(core.cluster)
    await follower.start()
    services = Services(core.cluster, core.links, core.keyring, clock, uuid4().hex, core.public_url)
    ownership = ingest(services, follower)
    task = asyncio.create_task(ownership.run())
    try:
        yield ownership
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await follower.stop()


@asynccontextmanager
async def receiving(core: Core) -> AsyncIterator[str]:
    """Run a receiver of its own, as `sluice run receive` does, and give its address."""
    follower = Follower(core.cluster)
    await follower.start()
    directory = Directory(core.cluster, follower)
    await directory.start()
    config = core.cluster.config
    async with fetching(config) as fetch:
        addresses = Registry(core.cluster, follower, directory, core.keyring, core.links.kind)
        receiver = Receiver(config, addresses, Store(core.cluster, config.in_flight_bytes), fetch)
        task = asyncio.create_task(receiver.run())
        try:
            await rig.until(lambda: not receiver.waiting())
            yield receiver.address
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await follower.stop()


async def passing(clock: Shifted, seconds: float, met: Callable[[], bool]) -> None:
    """Let time pass in steps until something is so: who falls asleep meanwhile is woken by the next step."""

    def look() -> bool:
        if met():
            return True
        clock.shift += seconds
        return False

    await rig.until(look, every=0.3)

"""A partition's owner with one feed of one connector, put together as the product does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from ingest.cluster import Cluster
from ingest.connectors import WallClock
from ingest.feeds import AxisFeed, Owner
from ingest.mapping import Preparation
from ingest.producing import Transactions
from ingest.provider import Feed
from ingest.publish import Bytes, Committer
from ingest.reads import At, Axis, Instance, Page
from ingest.state import PartitionState
from schemas.control import Wish
from schemas.events import Origin


@asynccontextmanager
async def owning(
    cluster: Cluster, feed: Feed, read: Callable[[At], AsyncIterator[Page]], origin: Origin, here: Instance
) -> AsyncIterator[AxisFeed]:
    """Take partition 0 over; give the feed, read by `read`."""
    clock, provider = WallClock(), origin.provider
    wish = Wish(name="bench", provider=provider, tenant=origin.tenant, partition=0, incarnation="1")
    partition = PartitionState(0)
    state = partition.of(wish)
    producer = Transactions(cluster, "owner-0")
    await producer.start()
    committer = Committer(producer, Bytes(cluster.config.in_flight_bytes))
    preparation = Preparation(cluster, wish, origin, here, state, clock.now)
    owner = Owner(
        wish, partition, state, committer, preparation, clock, provider,
        repeats=int(feed.repeats.total_seconds() * 1000),
    )  # fmt: skip
    task = asyncio.create_task(committer.run())
    try:
        yield AxisFeed(owner, feed, read, Axis())
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await producer.stop()

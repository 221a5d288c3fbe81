"""What the tests of the core share: a provider without a network, and a core around it on the real Kafka."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import pytest
import pytest_asyncio
import rig
from bench import Bench, World
from confluent_kafka import Message

from ingest.cluster import Cluster
from sluice.broker import Broker


@pytest.fixture
def world() -> World:
    """Give an empty source."""
    return World()


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(kafka: Broker, topic_prefix: str) -> Cluster:
    """Give a cluster with topics of its own, two partitions each."""
    return await rig.topics(kafka.bootstrap, topic_prefix)


@pytest_asyncio.fixture(loop_scope="session")
async def bench(cluster: Cluster, world: World) -> Bench:
    """Give a core around the source."""
    return Bench(cluster, world)


Read: TypeAlias = Callable[[str], Awaitable[list[Message]]]


@pytest.fixture
def read(cluster: Cluster) -> Read:
    """Give an independent read-committed reader (librdkafka) of a topic, from its start to its end."""
    return partial(rig.read, cluster)

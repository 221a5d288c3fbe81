"""What all test folders share: one real Kafka for the session, and names that no other test uses."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from sluice.broker import Broker, embedded


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka() -> AsyncIterator[Broker]:
    """Run one embedded Kafka for the whole session; started by the first test that asks for it."""
    async with embedded() as broker:
        yield broker


@pytest.fixture
def topic_prefix() -> str:
    """Give a prefix for the names of topics, groups and transactional ids that is the test's own."""
    return uuid4().hex[:8] + "."

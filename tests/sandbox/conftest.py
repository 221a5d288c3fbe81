"""A running tenant, seeded once for all tests that only read it."""

from collections.abc import AsyncIterator, Callable
from itertools import count

import pytest

from sandbox.aws.seed import seed
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization


@pytest.fixture(scope="session")
async def tenant() -> AsyncIterator[AwsTenant]:
    """One process for all tests; each test works in an account of its own."""
    async with AwsTenant() as running:
        yield running


@pytest.fixture(scope="session")
async def truth(tenant: AwsTenant) -> Organization:
    """The seeded organization, hostile parts included; tests leave it as it is."""
    return await seed(tenant, hostile=True)


@pytest.fixture(scope="session")
def fresh() -> Callable[[], str]:
    """Ids of accounts that nothing was done in."""
    numbers = count(1)
    return lambda: f"{next(numbers):012d}"

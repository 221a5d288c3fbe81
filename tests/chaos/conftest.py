"""The whole product as processes, around a simulated tenant that keeps the truth."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio
from chaos import Read, read_all

from ingest.config import load
from ingest.producing import Outgoing
from sandbox.aws.seed import seed
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Account, Organization
from schemas.control import Policy
from sluice.connecting import Asked, built, sign_in
from sluice.operate import Desk
from sluice.up import Machine, machine


class World:
    """A tenant, the machine, and how to connect the one to the other."""

    def __init__(self, tenant: AwsTenant, truth: Organization, made: Machine) -> None:
        self.tenant, self.truth, self.machine = tenant, truth, made

    async def connect(self, name: str, account: Account) -> None:
        """Connect an account by its key pair."""
        settings = {
            "regions": [account.region],
            "queue_url": account.queue_url,
            "quarantine_bucket": account.buckets.quarantine,
            "exclude_buckets": [account.buckets.trail],
            "endpoints": {"aws": self.tenant.endpoint},
            "access_key_id": account.key_pair["aws_access_key_id"],
            "secret_access_key": account.key_pair["aws_secret_access_key"],
        }
        desk = await Desk.open(self.machine.config)
        asked = Asked(name=name, provider="aws", settings=settings)
        connected = await sign_in(desk, asked, built(desk.kind("aws"), settings), (await desk.view()).wishes)
        await desk.store(connected.wish, 0)

    async def policy(self, policy: Policy) -> None:
        """Put a policy in force."""
        desk = await Desk.open(self.machine.config)
        await desk.write(Outgoing("policies", 0, policy.name.encode(), policy.dump()))

    async def read(self) -> Read:
        """Judge."""
        return await asyncio.to_thread(read_all, self.machine.cluster)


@pytest_asyncio.fixture(loop_scope="session")
async def whole(tmp_path: Path) -> AsyncIterator[World]:
    """Run Kafka, the tenant and all roles as processes of their own."""
    async with AsyncExitStack() as stack:
        config = load(session_seconds=4.0)
        made, tenant = await asyncio.gather(
            stack.enter_async_context(machine(config, tmp_path / "kafka")),
            stack.enter_async_context(AwsTenant()),
        )
        truth = await seed(tenant, history=20)
        yield World(tenant, truth, made)

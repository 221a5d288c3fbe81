"""The whole product as processes, around a simulated tenant that keeps the truth."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest_asyncio
from confluent_kafka import Consumer, TopicPartition

from ingest.cluster import Cluster
from ingest.config import load
from ingest.producing import Outgoing
from sandbox.aws.seed import seed
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Account, Organization
from schemas.control import Policy
from sluice.connecting import Asked, built, sign_in
from sluice.operate import Desk
from sluice.up import Machine, machine

PUBLIC = ("activities", "logons", "accounts", "groups", "privileges", "files", "findings", "outcomes")


@dataclass
class Read:
    """What an independent read-committed reader (librdkafka) finds on the public topics."""

    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ids: Counter[str] = field(default_factory=Counter)

    def twice(self) -> list[str]:
        """Name the events that are there more than once."""
        return [one for one, count in self.ids.items() if count > 1]

    def sources(self, *topics: str) -> Counter[str]:
        """Count the provider's own ids."""
        found = [one for topic in topics for one in self.events[topic]]
        return Counter(one["metadata"]["original_event_uid"] for one in found)


def read_all(cluster: Cluster) -> Read:
    """Read every public topic from its start to its end."""
    found = Read()
    for topic in PUBLIC:
        consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap,
                "group.id": "judge",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        parts = set(range(cluster.counts[topic]))
        consumer.assign([TopicPartition(cluster.name(topic), number, 0) for number in parts])
        events = found.events.setdefault(topic, [])
        while parts:
            message = consumer.poll(20.0)
            assert message is not None, f"the judge waits for the end of {topic}"
            if message.error():
                parts.discard(message.partition())
            elif message.value():
                event = orjson.loads(bytes(message.value() or b""))
                found.ids[f"{topic} {event['metadata']['uid']}"] += 1
                events.append(event)
        consumer.close()
    return found


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

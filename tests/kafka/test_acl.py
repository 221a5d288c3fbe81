"""Least rights, enforced by Kafka: the whole product under one user a role, and what each may not do."""

import asyncio
import base64
import json
import os
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
import rig
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from deployed import Deployed, free_port
from pydantic import SecretStr
from toy.tenant import SECRET, Tenant, running

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.errors import Misconfigured
from ingest.producing import Outgoing, Sender, Transactions
from schemas.topics import TOPICS
from sluice.broker import Broker
from sluice.rights import ROLES, Right, command, rights

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]
PREFIX = "acl."
RUNNING = ("ingest", "receive", "dlp", "governance")
KINDS = {
    "topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "cluster": ResourceType.BROKER,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}  # fmt: skip
OPERATIONS = {
    "Read": AclOperation.READ, "Write": AclOperation.WRITE, "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS, "Create": AclOperation.CREATE,
    "Alter": AclOperation.ALTER,
}  # fmt: skip


class Guarded:
    """A broker that asks who one is, and holds everyone but its own listener to the rules."""

    def __init__(self, broker: Broker, plain: str, sasl: str) -> None:
        self.broker, self.plain, self.sasl = broker, plain, sasl
        self.admin = AdminClient({"bootstrap.servers": plain, "log_level": 0})

    def allow(self, principal: str, rules: Iterable[Right]) -> None:
        """Give a user rights."""
        bindings = [
            AclBinding(
                KINDS[one.kind], one.name,
                ResourcePatternType.PREFIXED if one.prefixed else ResourcePatternType.LITERAL,
                f"User:{principal}", "*", OPERATIONS[one.operation], AclPermissionType.ALLOW,
            )
            for one in rules
        ]  # fmt: skip
        for future in self.admin.create_acls(bindings).values():
            future.result(20)

    def settings(self, role: str) -> dict[str, str]:
        """Say who a process is."""
        return {
            "SLUICE_KAFKA": self.sasl, "SLUICE_KAFKA_SECURITY": "SASL_PLAINTEXT",
            "SLUICE_KAFKA_USERNAME": role, "SLUICE_KAFKA_PASSWORD": f"{role}-password",
        }  # fmt: skip

    def judged(self, verdict: str) -> set[tuple[str, str, str]]:
        """Read from the authorizer's log who was allowed, or denied, what."""
        pattern = (
            rf"Principal = User:(\S+) is {verdict} operation = (\w+) .*? on resource = (\S+) for request"
        )
        return {(who, what, which) for who, what, which in re.findall(pattern, self.broker.log.read_text())}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """Start the embedded Kafka with an authorizer, users by password, and a log of its decisions."""
    data = tmp_path_factory.mktemp("acl") / "kafka"
    first = Broker(data)
    await first.start()
    plain = first.bootstrap
    await first.stop()
    controller = json.loads((data / "sluice.json").read_text())["controller"]
    sasl = f"127.0.0.1:{free_port()}"
    listeners = f"PLAINTEXT://{plain},CONTROLLER://127.0.0.1:{controller},SASL://{sasl}"
    users = " ".join(f'user_{role}="{role}-password"' for role in (*ROLES, "stranger"))
    properties = {
        "listeners": listeners, "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT",
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # The broker itself, and the judge, come by the listener that asks nobody.
        "super.users": "User:ANONYMOUS",
    }  # fmt: skip
    before = os.environ.get("JAVA_TOOL_OPTIONS")
    os.environ["JAVA_TOOL_OPTIONS"] = "-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=debug"
    broker = Broker(data, properties=properties)
    try:
        await broker.start()
    finally:
        os.environ.pop("JAVA_TOOL_OPTIONS")
        if before is not None:
            os.environ["JAVA_TOOL_OPTIONS"] = before
    made = Guarded(broker, plain, sasl)
    for role in ROLES:
        made.allow(role, rights(role, PREFIX))
    yield made
    await broker.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def flow(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Run the whole product once: topics, connector, feeds, a delivery, scans, an action, dead letters."""
    async with AsyncExitStack() as stack:
        tenant = await stack.enter_async_context(running(Tenant()))
        users = [tenant.add_user(name) for name in ("ann", "bob")]
        tenant.act("login", users[0])
        tenant.act("nonsense", users[0])
        tenant.add_file("pay.txt", b"IBAN GB82 WEST 1234 5698 7654 32\n" * 3, public=True)
        port = free_port()
        settings = {
            "SLUICE_PREFIX": PREFIX, "SLUICE_PARTITIONS": "2", "SLUICE_REPLICATION": "1",
            "SLUICE_KEY": base64.b64encode(os.urandom(32)).decode(), "SLUICE_SESSION_SECONDS": "3",
            "SLUICE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        folder = tmp_path_factory.mktemp("flow")
        product = await stack.enter_async_context(Deployed(folder, settings))
        judge = Cluster(Config(kafka=guarded.plain, prefix=PREFIX, partitions=2, replication=1))

        async def say(role: str, *arguments: str) -> str:
            said = await product.call(*arguments, **guarded.settings(role))
            assert said.code == 0, said.err
            return said.out

        async def start(role: str) -> None:
            mine = guarded.settings(role)
            await product.run(role, **mine, SLUICE_RECEIVE_PORT=str(port if role == "receive" else 0))

        await say("topics", "topics", "create")
        await say("topics", "topics", "grow", "3", "--yes")
        await judge.ready()
        await judge.learn()
        await asyncio.gather(*(start(role) for role in RUNNING))
        file = product.toy_settings(tenant.url, SECRET)
        await say("cli", "connect", "toy", "prod", "--settings", file)
        await rig.until(lambda: len(tenant.hooks) == 1, 60)
        assert await tenant.push(tenant.act("login", users[1])) == [200]
        await rig.until(lambda: _there(judge, "logons", 2), 60)
        await rig.until(lambda: _there(judge, "findings", 1), 60)
        await rig.until(lambda: _there(judge, "dead-letters", 1), 60)
        await say("cli", "act", "prod", "suspend", users[1], "--yes", "--wait")
        await say("cli", "dead-letters", "retry", "--all")
        await rig.until(lambda: _there(judge, "dead-letters", 2), 60)
        # A second life of all roles, on machines where nothing was before.
        for role in RUNNING:
            await product.kill(role)
        await asyncio.gather(*(start(role) for role in RUNNING))
        tenant.act("login", users[0])
        await say("cli", "apply", "--yes", str(_policy(folder)))
        tenant.add_file("more.txt", b"IBAN DE89 3704 0044 0532 0130 00\n" * 3)
        await rig.until(lambda: _there(judge, "logons", 3), 60)
        await say("topics", "doctor")
        await say("cli", "disconnect", "prod", "--yes")
        yield judge


def _policy(folder: Path) -> Path:
    """Write a policy that holds what it would do, for anything that is found."""
    path = folder / "sheet.json"
    policy = {"name": "p", "match": {"on": "finding"}, "action": "quarantine"}
    path.write_text(json.dumps({"policies": [policy]}), encoding="utf-8")
    return path


async def _there(cluster: Cluster, topic: str, count: int) -> bool:
    return len(await rig.read(cluster, topic)) >= count


async def test_the_product_runs_with_them_and_is_denied_nothing(guarded: Guarded, flow: Cluster) -> None:
    """Two lives of every role on fresh machines: each sign-in once, and Kafka refused no call on the way."""
    denied = {one for one in guarded.judged("Denied") if one[0] in RUNNING or one[0] in {"cli", "topics"}}
    found = [json.loads(one.value() or b"") for one in await rig.read(flow, "logons")]
    ids = [one["metadata"]["original_event_uid"] for one in found]

    assert denied == set()
    assert len(ids) == len(set(ids)) == 3


WAITING = {
    # What the simulated tenant has nothing of.
    "ingest": {"Write activities", "Write groups", "Write privileges", "Write app-permissions",
               "Write scan-live", "Write scan-verdict", "Write credentials", "Read credentials"},
    # A dead letter that is put back on the topic it came from; shares of a quota, asked for when scarce.
    "ingest again": {"Write findings", "Write outcomes", "Write commands", "Write inbox",
                     "Read budget", "Write budget"},
    "dlp": {"Read credentials", "Write dead-letters", "Read budget", "Write budget"},
    "governance": {"Read credentials", "Write dead-letters", "Write commands", "Read budget", "Write budget"},
    # `sluice tail` of any public topic; undo and approve; policies that are there already.
    "cli": {"Read " + name for name, row in TOPICS.items() if row.public}
    | {"Read commands", "Read actions", "Read policies"},
}  # fmt: skip
"""Rights that are used only where the case arises."""


async def test_nothing_is_granted_that_is_not_used(guarded: Guarded, flow: Cluster) -> None:
    """By the authorizer's own log each right was used by its role, but for those that wait for their case."""
    used = guarded.judged("Allowed")
    idle = {
        (role, f"{one.operation} {one.name.removeprefix(PREFIX)}")
        for role in ROLES
        if role != "reader"
        for one in rights(role, PREFIX)
        if not any(_is(one, role, *each) for each in used)
    }
    waiting = {(name.split()[0], right) for name, these in WAITING.items() for right in these}

    assert idle - waiting == set()


def _is(right: Right, role: str, who: str, what: str, which: str) -> bool:
    kind, _, name = which.split(":", 2)
    if (who, kind.upper()) != (role, right.kind.upper().replace("-", "")):
        return False
    fits = name.startswith(right.name) if right.prefixed else name == right.name
    return fits and what == re.sub(r"(?<!^)(?=[A-Z])", "_", right.operation).upper()


async def read_as(guarded: Guarded, user: str, topic: str) -> str:
    """Try to read a topic as an analyst does; give the error's name, or nothing."""
    consumer = Consumer(
        {
            "bootstrap.servers": guarded.sasl, "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user, "sasl.password": f"{user}-password", "group.id": f"{PREFIX}reader-1",
            "auto.offset.reset": "earliest", "log_level": 0,
        }
    )  # fmt: skip
    consumer.subscribe([PREFIX + topic])
    try:
        for _ in range(60):
            message = await asyncio.to_thread(consumer.poll, 0.5)
            if message is not None:
                error = message.error()
                return str(error.name()) if error is not None else ""
    finally:
        consumer.close()
    return "nothing came"


@pytest.mark.parametrize(
    ("user", "topic", "expected"),
    [("reader", "logons", ""), ("reader", "credentials", "TOPIC_AUTHORIZATION_FAILED"),
     ("reader", "inbox", "TOPIC_AUTHORIZATION_FAILED"),
     ("reader", "dead-letters", "TOPIC_AUTHORIZATION_FAILED"),
     ("stranger", "logons", "GROUP_AUTHORIZATION_FAILED")],
)  # fmt: skip
async def test_what_an_analyst_may_read(
    guarded: Guarded, flow: Cluster, user: str, topic: str, expected: str
) -> None:
    """The public topics with a group of their own name, and nothing that holds secrets or raw records."""
    assert await read_as(guarded, user, topic) == expected


@pytest.mark.parametrize(
    ("role", "topic"),
    [("receive", "cursors"), ("receive", "activities"), ("dlp", "cursors"), ("governance", "credentials"),
     ("governance", "files"), ("cli", "cursors"), ("reader", "logons"), ("ingest", "connectors")],
)  # fmt: skip
async def test_no_role_writes_what_is_anothers(
    guarded: Guarded, flow: Cluster, role: str, topic: str
) -> None:
    """The rules of who may write what are Kafka's too: such a write ends in Misconfigured."""
    config = Config(
        kafka=guarded.sasl, kafka_security="SASL_PLAINTEXT", kafka_username=role, prefix=PREFIX,
        kafka_password=SecretStr(f"{role}-password"),
    )  # fmt: skip
    sender = Sender(Cluster(config), "test")

    async def write() -> None:
        await sender.start()
        await sender.write([Outgoing(topic, 0, b"k", b"v")])

    try:
        with pytest.raises(Misconfigured, match="rights"):
            await write()
    finally:
        await sender.stop()


async def test_another_roles_transactions_are_refused(guarded: Guarded, flow: Cluster) -> None:
    """A role can't fence another's producer: the transactional ids are its own."""
    config = Config(
        kafka=guarded.sasl, kafka_security="SASL_PLAINTEXT", kafka_username="dlp", prefix=PREFIX,
        kafka_password=SecretStr("dlp-password"),
    )  # fmt: skip
    producer = Transactions(Cluster(config), "owner-0")
    try:
        with pytest.raises(Misconfigured, match="check this user's rights"):
            await producer.start()
    finally:
        await producer.stop()


def test_the_rules_are_lines_for_kafkas_tool() -> None:
    """Each right is one call of kafka-acls.sh, as Kafka's documentation has it."""
    assert command(Right("topic", "s.connectors", "Read"), "User:r") == (
        "kafka-acls.sh --bootstrap-server $KAFKA --add --allow-principal 'User:r' --operation Read "
        "--topic 's.connectors'"
    )
    assert command(Right("cluster", "kafka-cluster", "Describe"), "User:r").endswith(
        "--operation Describe --cluster"
    )
    assert command(rights("dlp", "s.")[-1], "User:d").endswith(
        "--operation Write --transactional-id 's.dlp-' --resource-pattern-type prefixed"
    )

"""The Kafka cluster: how its clients connect, its topics made and checked."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import structlog
from aiokafka import AIOKafkaClient
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from ingest.config import Config
from ingest.errors import Misconfigured, NotAllowed
from ingest.tasks import whole
from schemas.topics import FILE_TOPICS, LOSING, TOPICS, Topic, fits, settings

_KEY_CACHE = 20_000
_NEWS_SECONDS = 10.0
_TOKEN_TIMEOUT = aiohttp.ClientTimeout(total=10)
_log = structlog.get_logger(part="cluster")


class Cluster:
    """One Kafka cluster as this deployment sees it: names with prefix, connection arguments, partitions.

    Keys land where Java's default partitioner would put them, so that any client can join topics by key.
    """

    def __init__(self, config: Config, bootstrap: str = "") -> None:
        self.config = config
        self.bootstrap = bootstrap or config.kafka
        self.counts: dict[str, int] = {}
        self.replicas: dict[str, int] = {}
        self._places: dict[bytes, int] = {}
        self._known_ready = False

    def name(self, topic: str) -> str:
        """Add the deployment's prefix."""
        return self.config.prefix + topic

    def bare(self, name: str) -> str:
        """Take the prefix off again."""
        return name.removeprefix(self.config.prefix)

    def arguments(self, client: str) -> dict[str, Any]:
        """Give the connection arguments that every aiokafka client takes."""
        config = self.config
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "client_id": f"sluice-{client}",
            "security_protocol": config.kafka_security,
        }
        if config.tls is not None:
            arguments["ssl_context"] = config.tls
        if config.kafka_security.startswith("SASL"):
            arguments["sasl_mechanism"] = config.kafka_mechanism
            if config.kafka_mechanism == "OAUTHBEARER":
                arguments["sasl_oauth_token_provider"] = _Tokens(config)
            else:
                arguments["sasl_plain_username"] = config.kafka_username
                arguments["sasl_plain_password"] = config.kafka_password.get_secret_value()
        return arguments

    def partition(self, topic: str, key: bytes) -> int:
        """Pick the partition of a key, as Java's default partitioner does; `topic` without prefix."""
        hashed = self._places.get(key)
        if hashed is None:
            if len(self._places) >= _KEY_CACHE:
                self._places.clear()
            hashed = self._places[key] = murmur2(key) & 0x7FFFFFFF
        return hashed % self.counts[topic]

    async def learn(self, *, verify: bool = True) -> None:
        """Read how many partitions the topics have, and whether they are kept as they should be.

        Raises:
            Misconfigured: Topics are missing, don't fit together, or would lose records as they are set.
        """
        end = time.monotonic() + (_NEWS_SECONDS if self._known_ready else 0.0)
        while True:
            await self.count()
            missing = sorted(set(TOPICS) - set(self.counts))
            if not missing:
                break
            if time.monotonic() >= end:
                raise Misconfigured(
                    f"topics are missing ({', '.join(missing)}): create them with `sluice topics create`"
                )
            # They were seen a moment ago: the broker that was asked now has not heard of them yet.
            await asyncio.sleep(0.2)
        self._fit()
        if verify:
            await self._verify()

    async def count(self) -> None:
        """Read how many partitions and replicas the topics have, those that are there."""
        async with self._asking() as admin:
            described = await admin.describe_topics([self.name(topic) for topic in TOPICS])
        found = {self.bare(one["topic"]): one["partitions"] for one in described if not one["error_code"]}
        self.counts = {topic: len(partitions) for topic, partitions in found.items()}
        self.replicas = {topic: len(partitions[0]["replicas"]) for topic, partitions in found.items()}

    def _fit(self) -> None:
        """Check that the partitions fit together.

        Raises:
            Misconfigured: They don't.
        """
        counts = self.counts
        odd = [name for name, row in TOPICS.items() if row.spread == "owner" and counts[name] != self.owners]
        if odd:
            most = max(self.owners, *(counts[name] for name in odd))
            told = ", ".join(f"{self.name(name)} ({counts[name]})" for name in odd)
            raise Misconfigured(
                f"{told} must have as many partitions as {self.name('inbox')} ({self.owners}): "
                f"bring all to the same with `sluice topics grow {most}`"
            )
        if len({counts[name] for name in FILE_TOPICS}) > 1:
            told = ", ".join(f"{self.name(name)} ({counts[name]})" for name in FILE_TOPICS)
            raise Misconfigured(
                f"{told} must have equally many partitions: a file's key leads to another one in each. "
                "Make those that were changed anew; scans are found out again"
            )
        wide = [name for name, row in TOPICS.items() if row.spread == "entity" and counts[name] > self.owners]
        if wide:
            told = ", ".join(f"{self.name(name)} ({counts[name]})" for name in wide)
            raise Misconfigured(
                f"{told} must not have more partitions than {self.name('inbox')} ({self.owners}), "
                f"whose owners work on them: `sluice topics grow {max(counts[name] for name in wide)}`"
            )

    async def _verify(self) -> None:
        """Refuse settings that lose records, and log others that differ."""
        try:
            drift = await self.drift()
        except NotAllowed as error:
            _log.warning("topic settings are not checked", why=str(error))
            return
        for topic, odd in drift.items():
            name = self.name(topic)
            for setting, (wanted, found) in odd.items():
                if setting in LOSING:
                    raise Misconfigured(
                        f"{name}: {setting} is {found}, should be {wanted}; records would be lost. Set it: "
                        f"kafka-configs.sh --alter --entity-type topics --entity-name {name} "
                        f"--add-config '{setting}=[{wanted}]'"
                    )
                _log.warning("topic setting differs", topic=name, setting=setting, found=found, should=wanted)

    @property
    def owners(self) -> int:
        """How many partitions connectors are spread over."""
        return self.counts["inbox"]

    async def admin(self) -> AIOKafkaAdminClient:
        """Start an admin client; the caller closes it.

        Raises:
            Misconfigured: The cluster does not answer.
        """
        admin = AIOKafkaAdminClient(**self.arguments("admin"), request_timeout_ms=20_000)
        try:
            async with self._answering(), asyncio.timeout(20):
                await whole(admin.start())
                # The start does not notice that a token was refused; who asks then finds no broker.
                await admin.describe_cluster()
        except BaseException:
            await admin.close()
            raise
        return admin

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = await self.admin()
        try:
            async with self._answering():
                yield admin
        finally:
            await admin.close()

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Say what to look at when a broker is away, or does not want us."""
        try:
            yield
        except (KafkaError, OSError, TimeoutError) as error:
            raise Misconfigured(
                f"Kafka at {self.bootstrap} does not answer ({type(error).__name__}): "
                "check SLUICE_KAFKA and its TLS and SASL settings"
            ) from None

    async def create_topics(self) -> list[str]:
        """Create what is missing and return the names; existing topics are left as they are."""
        async with self._asking() as admin:
            wanted = [self._new(row) for row in TOPICS.values()]
            reply = await admin.create_topics(wanted, timeout_ms=30_000)
        created = []
        for name, code, *rest in reply.topic_errors:
            if code == 0:
                created.append(name)
            elif for_code(code) is not TopicAlreadyExistsError:
                why = rest[0] if rest and rest[0] else for_code(code).__name__
                raise Misconfigured(f"topic {name} can't be created: {why}")
        return created

    def _new(self, row: Topic) -> NewTopic:
        return NewTopic(
            name=self.name(row.name),
            num_partitions=row.partitions(self.config.partitions),
            replication_factor=self.config.replication,
            topic_configs=settings(row, self.config.replication),
        )

    async def drift(self) -> dict[str, dict[str, tuple[str, str]]]:
        """Compare the topics' settings with the table: topic → setting → (wanted, found).

        Raises:
            NotAllowed: This user may not look at them.
        """
        async with self._asking() as admin:
            resources = [ConfigResource(ConfigResourceType.TOPIC, self.name(topic)) for topic in TOPICS]
            replies = await admin.describe_configs(resources)
        odd: dict[str, dict[str, tuple[str, str]]] = {}
        for reply in replies:
            for code, _message, _kind, name, entries in reply.resources:
                if code:
                    raise NotAllowed(f"this user needs DescribeConfigs on topics {self.config.prefix}*")
                row, found = TOPICS[self.bare(name)], {entry[0]: entry[1] for entry in entries}
                wanted = settings(row, self.replicas.get(row.name, 1))
                differ = {
                    setting: (value, found.get(setting, ""))
                    for setting, value in wanted.items()
                    if not fits(setting, value, found.get(setting, ""))
                }
                if differ:
                    odd[row.name] = differ
        return odd

    async def ready(self, seconds: float = 30.0) -> None:
        """Wait until every topic's partitions have a leader; freshly made ones take a moment."""
        client = AIOKafkaClient(**self.arguments("ready"))
        end = time.monotonic() + seconds
        await client.bootstrap()
        try:
            names = [self.name(topic) for topic in TOPICS]
            while True:
                await client.set_topics(names)
                leaders = [client.cluster.available_partitions_for_topic(name) for name in names]
                counts = [client.cluster.partitions_for_topic(name) for name in names]
                if all(leaders) and [len(x or ()) for x in leaders] == [len(x or ()) for x in counts]:
                    self._known_ready = True
                    return
                if time.monotonic() > end:
                    raise Misconfigured("some partitions have no leader: look at the brokers")
                await asyncio.sleep(0.05)
                await client.force_metadata_update()
        finally:
            await client.close()


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """OAUTHBEARER by client credentials (KIP-768's way), kept until shortly before it expires."""

    def __init__(self, config: Config) -> None:
        self._config, self._token, self._until = config, "", 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """Return a token that is still good for a while."""
        async with self._lock:
            if time.monotonic() < self._until:
                return self._token
            form = {"grant_type": "client_credentials", "scope": self._config.kafka_scope}
            secret = self._config.kafka_client_secret.get_secret_value()
            who = {"Authorization": aiohttp.encode_basic_auth(self._config.kafka_client_id, secret)}
            async with (
                aiohttp.ClientSession(headers=who, timeout=_TOKEN_TIMEOUT) as http,
                http.post(self._config.kafka_token_url, data=form) as reply,
            ):
                if reply.status != 200:
                    raise Misconfigured(f"the token address for Kafka answered {reply.status}")
                body = await reply.json()
            self._token = str(body["access_token"])
            self._until = time.monotonic() + 0.8 * float(body.get("expires_in", 300))
            return self._token


def spread(name: str, candidates: Iterable[int], taken: Iterable[int]) -> int:
    """Choose the partition for a new connector: one of those with the fewest so far, by its name.

    Two who make the same connector at the same time choose the same.
    """
    load = dict.fromkeys(candidates, 0)
    for partition in taken:
        if partition in load:
            load[partition] += 1
    least = [p for p, n in load.items() if n == min(load.values())]
    return least[murmur2(name.encode()) % len(least)]


def murmur2(data: bytes) -> int:
    """Hash as Kafka's Java client does for its keys (seed 0x9747b28c); unsigned 32 bits."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    length = len(data)
    h = 0x9747B28C ^ length
    words = length >> 2
    for k in struct.unpack_from(f"<{words}I", data):
        k = k * m & mask  # noqa: PLW2901 the loop's word is mixed in place
        h = (h * m & mask) ^ ((k ^ (k >> 24)) * m & mask)
    tail = data[words << 2 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)

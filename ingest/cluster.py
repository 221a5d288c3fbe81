"""The Kafka cluster: how its clients connect, its topics made and checked."""

import asyncio
import struct
import time
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from aiokafka import AIOKafkaClient
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from ingest.config import Config
from ingest.errors import Misconfigured
from ingest.tasks import whole
from schemas.topics import TOPICS, Topic

_KEY_CACHE = 20_000


class Cluster:
    """One Kafka cluster as this deployment sees it: names with prefix, connection arguments, partitions.

    Keys land where Java's default partitioner would put them, so that any client can join topics by key.
    """

    def __init__(self, config: Config, bootstrap: str = "") -> None:
        self.config = config
        self.bootstrap = bootstrap or config.kafka
        self.counts: dict[str, int] = {}
        self._places: dict[bytes, int] = {}

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

    async def learn(self) -> None:
        """Read how many partitions the topics have.

        Raises:
            Misconfigured: Topics are missing, or have another number of partitions than `inbox`.
        """
        admin = await self.admin()
        try:
            described = await admin.describe_topics([self.name(topic) for topic in TOPICS])
        finally:
            await admin.close()
        self.counts = {
            self.bare(one["topic"]): len(one["partitions"]) for one in described if not one["error_code"]
        }
        missing = sorted(set(TOPICS) - set(self.counts))
        if missing:
            raise Misconfigured(
                f"topics are missing ({', '.join(missing)}): create them with `sluice topics create`"
            )
        odd = [
            row.name
            for row in TOPICS.values()
            if row.spread != "one" and self.counts[row.name] != self.owners
        ]
        if odd:
            raise Misconfigured(f"{', '.join(odd)} must have as many partitions as inbox ({self.owners})")

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
            async with asyncio.timeout(20):
                await whole(admin.start())
        except (KafkaError, OSError, TimeoutError) as error:
            await admin.close()
            raise Misconfigured(
                f"Kafka at {self.bootstrap} does not answer ({type(error).__name__}): "
                "check SLUICE_KAFKA and its TLS and SASL settings"
            ) from None
        return admin

    async def create_topics(self) -> list[str]:
        """Create what is missing and return the names; existing topics are left as they are."""
        admin = await self.admin()
        try:
            wanted = [self._new(row) for row in TOPICS.values()]
            reply = await admin.create_topics(wanted, timeout_ms=30_000)
        finally:
            await admin.close()
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
            topic_configs=dict(row.config),
        )

    async def drift(self) -> dict[str, dict[str, tuple[str, str]]]:
        """Compare the topics' settings with the table: topic → setting → (wanted, found)."""
        admin = await self.admin()
        try:
            resources = [ConfigResource(ConfigResourceType.TOPIC, self.name(topic)) for topic in TOPICS]
            replies = await admin.describe_configs(resources)
        finally:
            await admin.close()
        found: dict[str, dict[str, str]] = {}
        for reply in replies:
            for _code, _message, _kind, name, entries in reply.resources:
                found[self.bare(name)] = {entry[0]: entry[1] for entry in entries}
        return {
            row.name: odd
            for row in TOPICS.values()
            if (odd := _differences(row.config, found.get(row.name, {})))
        }

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
            auth = aiohttp.BasicAuth(self._config.kafka_client_id, secret)
            async with (
                aiohttp.ClientSession(auth=auth) as http,
                http.post(self._config.kafka_token_url, data=form) as reply,
            ):
                if reply.status != 200:
                    raise Misconfigured(f"the token address for Kafka answered {reply.status}")
                body = await reply.json()
            self._token = str(body["access_token"])
            self._until = time.monotonic() + 0.8 * float(body.get("expires_in", 300))
            return self._token


def _differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    odd = {}
    for name, value in wanted.items():
        have = found.get(name, "")
        if sorted(have.split(",")) != sorted(value.split(",")):
            odd[name] = (value, have)
    return odd


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

"""How Kafka itself is: replicas in sync, and no transaction that hangs."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from ingest.cluster import Cluster
from schemas.topics import TOPICS

SYNC_SECONDS = 90.0


class Pulse:
    """Looks at the brokers by librdkafka's admin client."""

    def __init__(self, kafka: Cluster, bootstrap: str) -> None:
        self._kafka = kafka
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    async def in_sync(self, seconds: float = SYNC_SECONDS) -> bool:
        """Wait until every partition has all its replicas in sync."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if await asyncio.to_thread(self._lagging) == 0:
                return True
            await asyncio.sleep(0.3)
        return False

    def _lagging(self) -> int:
        try:
            topics = self._admin.list_topics(timeout=5).topics.values()
        except Exception:  # noqa: BLE001 a cluster that does not answer is not in sync
            return 1
        return sum(
            len(p.isrs) < len(p.replicas) or p.leader < 0 for t in topics for p in t.partitions.values()
        )

    async def held_back(self, seconds: float = SYNC_SECONDS) -> list[str]:
        """Name the partitions before whose end read-committed readers stand, for longer than they may."""
        end = time.monotonic() + seconds
        while True:
            try:
                held = await asyncio.to_thread(self._held)
            except KafkaException as error:
                held = [f"the ends can't be read: {error}"]
            if not held or time.monotonic() > end:
                return held
            await asyncio.sleep(1.0)

    def _held(self) -> list[str]:
        places = [
            TopicPartition(self._kafka.name(topic), number)
            for topic in TOPICS
            for number in range(self._kafka.counts[topic])
        ]
        stable = self._ends(places, IsolationLevel.READ_COMMITTED)
        true = self._ends(places, IsolationLevel.READ_UNCOMMITTED)
        return sorted(
            f"{t}-{p}: {stable[t, p]} of {end}" for (t, p), end in true.items() if stable[t, p] < end
        )

    def _ends(self, places: Sequence[TopicPartition], level: IsolationLevel) -> dict[tuple[str, int], int]:
        latest: Any = OffsetSpec
        wanted = dict.fromkeys(places, latest.latest())
        asked = self._admin.list_offsets(wanted, isolation_level=level, request_timeout=20)
        return {(place.topic, place.partition): told.result().offset for place, told in asked.items()}

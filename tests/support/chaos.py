"""The independent judge: what a read-committed reader of another make finds on the public topics."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition

from ingest.cluster import Cluster

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

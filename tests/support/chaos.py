"""The independent judge: what a read-committed reader of another make finds on the public topics."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson
import rig

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
        events = found.events.setdefault(topic, [])
        for message in rig.whole(cluster, topic):
            if value := message.value():
                event = orjson.loads(value)
                found.ids[f"{topic} {event['metadata']['uid']}"] += 1
                events.append(event)
    return found

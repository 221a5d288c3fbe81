"""What a demo shows: the public topics as any read-committed client sees them, counted as they come."""

import time
from collections import Counter, deque
from typing import Any

import orjson

from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Place
from schemas.topics import TOPICS

_RECENT = 8
_WORDS = {"logons": "logon", "activities": "activity"}


class Watch:
    """Follows every public topic from its start."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._follower = Follower(cluster, "watch")
        self.topics: Counter[str] = Counter()
        self.deleted: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.arrived: dict[str, float] = {}
        self.recent: deque[str] = deque(maxlen=_RECENT)
        self.order: dict[str, float] = {}
        self._began = time.time()
        self.done: list[dict[str, Any]] = []

    async def start(self) -> None:
        """Begin."""
        await self._follower.start()
        for topic, row in TOPICS.items():
            if row.public:
                for partition in range(self._cluster.counts[topic]):
                    self._follower.follow(Place(topic, partition), 0, self._take)

    async def stop(self) -> None:
        """End."""
        await self._follower.stop()

    def _take(self, records: list[Incoming]) -> None:
        now = time.time()
        for record in records:
            if record.value is None:
                self.deleted[record.topic] += 1
                continue
            self.order.setdefault(record.topic, round(now - self._began, 1))
            self.topics[record.topic] += 1
            self._note(record.topic, orjson.loads(record.value), now)

    def _note(self, topic: str, event: dict[str, Any], now: float) -> None:
        metadata = event["metadata"]
        match topic:
            case "findings" if event["activity_id"] == 1:
                detector = event["data_security"]["detection_pattern"]
                self.findings[detector] += 1
                self.recent.append(f"finding    {detector} in {event['file']['name']}")
            case "outcomes":
                told = event.get("unmapped", {})
                self.outcomes[f"{told.get('action')} {told.get('state')}"] += 1
                self.done.append({"command": event["command_uid"], **told})
                self.recent.append(f"outcome    {told.get('action')} {told.get('state')}: {_target(told)}")
            case "files":
                data = event["resources"][0].get("data", {})
                version = data.get("version") or data.get("etag")
                self.arrived.setdefault(f"{event['resources'][0]['uid']}@{version}", now)
            case "logons" | "activities":
                self.arrived.setdefault(metadata["original_event_uid"], now)
                who = (event.get("user") or (event.get("actor") or {}).get("user") or {}).get("name", "")
                self.recent.append(f"{_WORDS[topic]:<10} {metadata.get('event_code', '')} {who}")
            case "health":
                state = event.get("message", "").rpartition(": ")[2]
                self.order.setdefault(state, round(now - self._began, 1))
                self.recent.append(f"health     {event.get('message', '')}")
            case _:
                pass


def _target(told: dict[str, Any]) -> str:
    target = told.get("target") or {}
    name: str = target.get("id", "") if isinstance(target, dict) else str(target)
    return name.rpartition(":::")[2] or name


def percentiles(values: list[float]) -> dict[str, float | int | None]:
    """Sum delays up: how many, and p50, p95, p99 and the largest in seconds."""
    ordered = sorted(values)

    def at(share: float) -> float | None:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 3) if ordered else None

    return {"count": len(ordered), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0)}

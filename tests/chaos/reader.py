"""An independent reader (librdkafka, read committed) that follows every public topic from its start."""

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import orjson
from confluent_kafka import Consumer, Message, TopicPartition

from ingest.cluster import Cluster
from schemas.topics import TOPICS
from tests.chaos.judge import OCCURRENCES, Found, Reached

PUBLIC = tuple(name for name, row in TOPICS.items() if row.public)


class Reader:
    """Follows in a thread. `reach` makes of a cursor's key and value what it claims, if it can be told.

    `letters` are the reasons of dead letters.
    """

    def __init__(
        self, cluster: Cluster, bootstrap: str, reach: Callable[[str, Any], tuple[str, int] | None]
    ) -> None:
        self._cluster, self._bootstrap, self._reach = cluster, bootstrap, reach
        self.found: list[Found] = []
        self.reached: list[Reached] = []
        self.letters: list[str] = []
        self.first: dict[str, float] = {}
        self.error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(15)

    def count(self, *topics: str) -> int:
        """Count the records of topics so far."""
        return sum(1 for one in list(self.found) if one.topic in topics)

    def _run(self) -> None:
        consumer = Consumer(
            {"bootstrap.servers": self._bootstrap, "group.id": "judge", "isolation.level": "read_committed",
             "enable.auto.commit": False, "fetch.wait.max.ms": 100, "reconnect.backoff.max.ms": 300,
             "topic.metadata.refresh.interval.ms": 2000, "log_level": 0}
        )  # fmt: skip
        consumer.assign(
            [
                TopicPartition(self._cluster.name(topic), number, 0)
                for topic in (*PUBLIC, "cursors", "dead-letters")
                for number in range(self._cluster.counts[topic])
            ]
        )
        try:
            while not self._stop.is_set():
                for message in consumer.consume(500, 0.1):
                    if message.error() is None:
                        self._take(message, time.monotonic())
        except Exception as error:  # noqa: BLE001 a judge that died must not look like one who found nothing
            self.error = repr(error)
        finally:
            consumer.close()

    def _take(self, message: Message, now: float) -> None:
        topic, value = self._cluster.bare(message.topic() or ""), message.value()
        key = (message.key() or b"").decode("utf-8", "replace")
        if topic == "cursors":
            with contextlib.suppress(ValueError, KeyError, TypeError):
                if value and (claim := self._reach(key, orjson.loads(value))):
                    self.reached.append(Reached(*claim, now))
        elif topic == "dead-letters":
            if value:
                told = orjson.loads(value)
                self.letters.append(
                    f"{told.get('reason')} {told.get('connector')} {told.get('detail')}"[:200]
                )
        elif value:
            data = orjson.loads(value)["metadata"]
            source = data.get("original_event_uid", "")
            partition, offset = message.partition() or 0, message.offset() or 0
            self.found.append(Found(topic, partition, offset, key, data["uid"], source, now))
            if topic in OCCURRENCES:
                self.first.setdefault(source, now)

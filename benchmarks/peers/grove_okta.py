"""Grove's own connector for Okta's System Log, with an output that writes to Kafka in transactions.

``python grove_okta.py API KAFKA TOPIC``. Only the address of its client is changed: it knows none but Okta's.
Its end is a page that links to itself.
"""

import os
import sys
from typing import Any

os.environ.update(GROVE_CACHE_HANDLER="local_memory", GROVE_OUTPUT_HANDLER="local_stdout")

from confluent_kafka import Producer
from grove.connectors.okta import api as okta
from grove.connectors.okta.system_log import Connector
from grove.models import ConnectorConfig
from grove.outputs.local_stdout import Handler


class ToKafka(Handler):
    """Writes what was collected, serialised by Grove, line by line."""

    def __init__(self, kafka: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(
            {"bootstrap.servers": kafka, "transactional.id": topic, "compression.type": "zstd",
             "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
        )  # fmt: skip
        self._producer.init_transactions(60)

    def submit(self, data: bytes, *_: Any, **__: Any) -> None:
        """Commit a page."""
        self._producer.begin_transaction()
        for line in data.splitlines():
            self._producer.produce(self._topic, line)
        self._producer.commit_transaction(30)


def main() -> None:
    """Collect once."""
    address, kafka, topic = sys.argv[1:]
    okta.API_BASE_URI = address
    config = ConnectorConfig(
        connector="okta_system_log", name="peers", identity="acme", key="x", operation="all"
    )
    made = Connector(config, {"runtime": "peers", "runtime_id": "1", "runtime_host": "localhost"})
    made._output = ToKafka(kafka, topic)  # noqa: SLF001 else it would have to be installed as a plug-in
    made.run()


if __name__ == "__main__":
    main()

"""What Airbyte's and Singer's messages are piped into: their records as they are, in transactions of 1,000.

Neither brings a loader for Kafka that commits: this is the least one could write, on librdkafka.
``… | python loader.py KAFKA TOPIC``
"""

import json
import sys
from typing import Final

from confluent_kafka import Producer

GROUP: Final = 1000


def main() -> None:
    """Load standard input."""
    kafka, topic = sys.argv[1:]
    producer = Producer(
        {"bootstrap.servers": kafka, "transactional.id": topic, "compression.type": "zstd",
         "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
    )  # fmt: skip
    producer.init_transactions(60)
    open_, count = False, 0
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message["type"] != "RECORD":
            continue
        if not open_:
            producer.begin_transaction()
            open_ = True
        record = message["record"]
        value = record["data"] if isinstance(record.get("data"), dict) and "stream" in record else record
        producer.produce(topic, json.dumps(value, separators=(",", ":")).encode(), value["uuid"].encode())
        count += 1
        if count % GROUP == 0:
            producer.commit_transaction(30)
            open_ = False
    if open_:
        producer.commit_transaction(30)


if __name__ == "__main__":
    main()

"""A pipeline of dlt with a destination that writes to Kafka in transactions of 1,000.

``python dlt_pipeline.py API KAFKA TOPIC``; dlt's own files live in a temporary folder.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

os.environ.update(RUNTIME__DLTHUB_TELEMETRY="false", RUNTIME__LOG_LEVEL="ERROR", LOAD__WORKERS="1")

import dlt
import orjson
from confluent_kafka import Producer
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.paginators import HeaderLinkPaginator


class Links(HeaderLinkPaginator):
    """Follows the link until a page is empty."""

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:
        """Read the link."""
        super().update_state(response, data)
        if not data:
            self._has_next_page = False


def main() -> None:
    """Run the pipeline once."""
    api, kafka, topic = sys.argv[1:]
    producer = Producer(
        {"bootstrap.servers": kafka, "transactional.id": topic, "compression.type": "zstd",
         "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
    )  # fmt: skip
    producer.init_transactions(60)

    @dlt.resource(name="logs", max_table_nesting=0)
    def logs() -> Iterator[Any]:
        yield from RESTClient(base_url=api, paginator=Links()).paginate("/api/v1/logs")

    @dlt.destination(
        batch_size=1000, name="kafka", naming_convention="direct", skip_dlt_columns_and_tables=True
    )
    def load(items: Any, table: Any) -> None:
        del table
        producer.begin_transaction()
        for record in items:
            producer.produce(topic, orjson.dumps(record), record["uuid"].encode())
        producer.commit_transaction(30)

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("peers", destination=load, pipelines_dir=folder, progress=None)
        pipeline.run(logs())


if __name__ == "__main__":
    main()

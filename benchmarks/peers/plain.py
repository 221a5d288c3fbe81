"""The script one would write: a page, a transaction, a send an event; with aiokafka or with librdkafka.

``python plain.py API KAFKA TOPIC [--client confluent] [--mapped]``: `--mapped` maps with the product's pure
functions; nothing is validated, de-duplicated or stored to go on from.
"""

import argparse
import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from ingest.providers.okta.inventory import record as okta_record
from ingest.reads import Instance

Encode = Callable[[Any], Iterable[bytes]]
HERE = Instance("00o1")


def raw(record: Any) -> Iterable[bytes]:
    """Pass a record on as it is."""
    return (orjson.dumps(record),)


def mapped(record: Any) -> Iterable[bytes]:
    """Map a record, and check nothing."""
    return (orjson.dumps(event) for event in okta_record(record, HERE))


async def pages(api: str) -> Any:
    """Read the log to its end."""
    onward = f"{api}/api/v1/logs"
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(onward) as reply:
                found = orjson.loads(await reply.read())
                onward = str(reply.links["next"]["url"])
            if not found:
                return
            yield found


async def by_aiokafka(api: str, kafka: str, topic: str, encode: Encode) -> None:
    """Send with aiokafka, well set."""
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, transactional_id=topic, compression_type="zstd", max_batch_size=512 * 1024,
        max_request_size=16 * 1024 * 1024,
    ) as producer:  # fmt: skip
        async for records in pages(api):
            async with producer.transaction():
                for record in records:
                    for value in encode(record):
                        await producer.send(topic, value, key=record["uuid"].encode())


async def by_confluent(api: str, kafka: str, topic: str, encode: Encode) -> None:
    """Send with librdkafka, well set."""
    producer = Producer(
        {"bootstrap.servers": kafka, "transactional.id": topic, "compression.type": "zstd",
         "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
    )  # fmt: skip
    producer.init_transactions(60)
    async for records in pages(api):
        producer.begin_transaction()
        for record in records:
            for value in encode(record):
                producer.produce(topic, value, record["uuid"].encode())
        producer.commit_transaction(30)


def main() -> None:
    """Read to the end."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("api")
    options.add_argument("kafka")
    options.add_argument("topic")
    options.add_argument("--client", choices=("aiokafka", "confluent"), default="aiokafka")
    options.add_argument("--mapped", action="store_true")
    chosen = options.parse_args()
    work = by_aiokafka if chosen.client == "aiokafka" else by_confluent
    asyncio.run(work(chosen.api, chosen.kafka, chosen.topic, mapped if chosen.mapped else raw))


if __name__ == "__main__":
    main()

"""Reading a topic as an analyst does: read-committed, from a time or the last few records."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.cluster import Cluster
from ingest.consuming import UnreadableError
from schemas.topics import TOPICS
from sluice.terminal import WrongCallError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_QUIET_SECONDS = 30.0


def since_ms(text: str, now: int) -> int:
    """Read a time: `15m`, `2h`, `1d` ago, or ISO 8601 (UTC where no zone is named); in ms since 1970.

    Raises:
        WrongCallError: It is neither.
    """
    if match := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return max(0, now - int(match[1]) * _UNITS[match[2]] * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise WrongCallError(f"--since {text!r} is no time: 15m, 2h, 1d or 2026-01-31T08:00:00Z") from None
    return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))


def checked_topic(name: str, prefix: str) -> str:
    """Give a topic's name without prefix.

    Raises:
        WrongCallError: It is none of ours.
    """
    bare = name.removeprefix(prefix) if prefix else name
    if bare not in TOPICS:
        raise WrongCallError(f"there is no topic {name!r}; there are: {', '.join(TOPICS)}")
    return bare


async def tail(
    cluster: Cluster, topic: str, count: int | None, since: int | None, *, follow: bool = False
) -> AsyncIterator[dict[str, Any]]:
    """Yield the last `count` records (None: all) from `since` on, by time; then, if wanted, what comes.

    Raises:
        UnreadableError: Kafka does not answer, or a transaction stays open for too long.
    """
    consumer = AIOKafkaConsumer(
        **cluster.arguments("tail"), enable_auto_commit=False, isolation_level="read_committed",
        auto_offset_reset="earliest", request_timeout_ms=10_000,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            await consumer.start()
        parts = [TopicPartition(cluster.name(topic), number) for number in range(cluster.counts[topic])]
        consumer.assign(parts)
        first = await _starts(consumer, parts, since)
        ends = await consumer.end_offsets(parts)
        wide = None if count is None else max(4 * count, 64)
        while True:
            begin = {tp: first[tp] if wide is None else max(first[tp], ends[tp] - wide) for tp in parts}
            found = await _read(consumer, begin, ends)
            # Markers of transactions take offsets too: look further back until there is enough.
            if wide is None or count is None or len(found) >= count or begin == first:
                break
            wide *= 8
        found.sort(key=lambda one: one.timestamp)
        for record in found if count is None else found[len(found) - min(count, len(found)) :]:
            yield _shown(record)
        while follow:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    yield _shown(record)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnreadableError(f"{topic} can't be read ({type(error).__name__}): try again") from None
    finally:
        await consumer.stop()


async def _starts(consumer: Any, parts: list[Any], since: int | None) -> dict[Any, int]:
    starts: dict[Any, int] = await consumer.beginning_offsets(parts)
    if since is None:
        return starts
    ends = await consumer.end_offsets(parts)
    times = await consumer.offsets_for_times(dict.fromkeys(parts, since))
    return {tp: times[tp].offset if times.get(tp) else ends[tp] for tp in parts}


async def _read(consumer: Any, begin: dict[Any, int], ends: dict[Any, int]) -> list[Any]:
    for tp, offset in begin.items():
        consumer.seek(tp, offset)
    waiting, found = {tp for tp in begin if begin[tp] < ends[tp]}, []
    async with asyncio.timeout(_QUIET_SECONDS) as patience:
        while waiting:
            fetched = await consumer.getmany(timeout_ms=200)
            for records in fetched.values():
                found += [record for record in records if record.offset < ends[record_place(record)]]
            if fetched:
                patience.reschedule(asyncio.get_running_loop().time() + _QUIET_SECONDS)
            for tp in list(waiting):
                if await consumer.position(tp) >= ends[tp]:
                    waiting.discard(tp)
    return found


def record_place(record: Any) -> Any:
    """Name the partition of a record as aiokafka read it."""
    return TopicPartition(record.topic, record.partition)


def _shown(record: Any) -> dict[str, Any]:
    """Make a line of a record; a value that is not JSON is shown as text."""
    try:
        value = None if record.value is None else orjson.loads(record.value)
    except orjson.JSONDecodeError:
        value = record.value.decode("utf-8", "replace")
    return {
        "partition": record.partition,
        "offset": record.offset,
        "at": datetime.fromtimestamp(record.timestamp / 1000, UTC).isoformat(timespec="milliseconds"),
        "key": (record.key or b"").decode("utf-8", "replace"),
        "headers": {name: head.decode("utf-8", "replace") for name, head in record.headers},
        "value": value,
    }

"""The only place that touches aiokafka's producers: transactions that can't half succeed, and plain sends.

What aiokafka leaves to its caller is done here (all seen with 0.14): `commit_transaction` does not notice a
refused batch, so every result is awaited first; there is no delivery time-out, so everything is bounded; a
producer that met an error is not trusted again.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    CorruptRecordException,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
    for_code,
)

from ingest.cluster import Cluster
from ingest.errors import Misconfigured
from ingest.tasks import asked_to_stop, bounded, whole

BATCH_BYTES = 512 * 1024
_SMALLEST_BATCH = 2048
"""Before compression; a topic takes about 1 MiB."""
TRANSACTION_SECONDS = 5.0
"""The broker ends an open transaction after this; meanwhile read-committed readers wait."""
WATCHDOG_SECONDS = 2.0
START_SECONDS = 6.0
_HEADER = 50
"""What one of our headers takes, in bytes: a guess, but counting them all costs as much as writing them."""

_REFUSALS = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    CorruptRecordException,
    InvalidTimestampError,
    for_code(87),  # INVALID_RECORD
)
_FORBIDDEN = (
    TopicAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
)


class Outgoing(NamedTuple):
    """One record to write; `topic` without prefix, `value` None is a tombstone."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def size(self) -> int:
        """Roughly what it takes on the wire before compression, in bytes."""
        return len(self.key) + len(self.value or b"") + _HEADER * len(self.headers) + 24


class BrokenError(Exception):
    """The producer can't be trusted any more (fenced, cut off, timed out): make a new one, read the state."""


class FencedError(BrokenError):
    """Another process has taken over this transactional id."""


class RefusedError(Exception):
    """The broker refused some of these records; nothing of the transaction was committed."""

    def __init__(self, records: list[Outgoing], why: str) -> None:
        super().__init__(why)
        self.records, self.why = records, why


class _Producer:
    """A started aiokafka producer with bounded start, stop and batch sending."""

    def __init__(self, cluster: Cluster, client: str, **settings: Any) -> None:
        self._cluster = cluster
        self._batch_bytes = BATCH_BYTES
        usual = {
            "compression_type": "zstd",
            "max_batch_size": BATCH_BYTES,
            "max_request_size": 16 * 1024 * 1024,
            "request_timeout_ms": 10_000,
            "retry_backoff_ms": 50,
        }
        self._producer = AIOKafkaProducer(**{**cluster.arguments(client), **usual, **settings})

    async def start(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await whole(self._producer.start())
        except _FORBIDDEN as error:
            await self.stop()
            raise Misconfigured(
                f"Kafka forbids writing ({type(error).__name__}): check this user's rights"
            ) from None
        except (KafkaError, TimeoutError, OSError) as error:
            await self.stop()
            raise BrokenError(f"no producer: {type(error).__name__}") from None
        except asyncio.CancelledError:
            await self.stop()
            raise

    def narrow(self) -> None:
        """Send smaller batches from now on: a topic takes each record but not all of them together.

        Raises:
            BrokenError: They are as small as they get.
        """
        if self._batch_bytes <= _SMALLEST_BATCH:
            raise BrokenError("the broker refuses records together that it takes one by one")
        self._batch_bytes //= 4

    async def stop(self) -> None:
        """Stop, within bounds and for good.

        aiokafka's own stop waits for Kafka to take what is queued. Cut short, it would leave its sender
        alive, writing the batches of a dead transaction for ever: a transaction that hangs, before which
        every read-committed reader stands still.
        """
        await bounded(self._producer.stop(), 1.0)
        sender = self._producer._sender  # noqa: SLF001 its task has no other handle
        if sender is not None and sender.sender_task is not None and not sender.sender_task.done():
            await bounded(sender.close(), 1.0)
        await bounded(self._producer.client.close(), 1.0)

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Send as few batches as possible and await every result.

        Raises:
            RefusedError: With the records of the refused batches.
            KafkaError: Everything else.
        """
        batches: dict[tuple[str, int], list[Outgoing]] = {}
        for record in records:
            batches.setdefault((record.topic, record.partition), []).append(record)
        sent: list[tuple[asyncio.Future[Any], list[Outgoing]]] = []
        for (topic, partition), these in batches.items():
            await self._fill(self._cluster.name(topic), partition, these, sent)
        outcomes = await asyncio.gather(*(future for future, _ in sent), return_exceptions=True)
        refused: list[Outgoing] = []
        why = ""
        # What follows a refused batch in its partition is out of order, and no more appended than that.
        places: set[tuple[str, int]] = set()
        for outcome, (_, these) in zip(outcomes, sent, strict=True):
            place = (these[0].topic, these[0].partition)
            if isinstance(outcome, _REFUSALS):
                refused += these
                why = type(outcome).__name__
                places.add(place)
            elif isinstance(outcome, OutOfOrderSequenceNumber) and place in places:
                pass
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                continue
            self._take_back(place, len(these))
        if refused:
            raise RefusedError(refused, why)

    def _take_back(self, place: tuple[str, int], count: int) -> None:
        """Set the sequence back by records that were not appended: aiokafka has counted them already."""
        tp = TopicPartition(self._cluster.name(place[0]), place[1])
        self._producer._txn_manager.increment_sequence_number(tp, -count)  # noqa: SLF001 nothing public does it

    async def _fill(
        self,
        name: str,
        partition: int,
        records: list[Outgoing],
        sent: list[tuple[asyncio.Future[Any], list[Outgoing]]],
    ) -> None:
        batch, inside, start = self._producer.create_batch(), 0, 0
        narrow = self._batch_bytes < BATCH_BYTES
        for index, record in enumerate(records):
            # A batch knows itself when it is full; only smaller ones have to be counted.
            size = record.size if narrow else 0
            fits = inside + size <= self._batch_bytes or index == start
            if not fits or not _append(batch, record):
                sent.append((await self._send(batch, name, partition), records[start:index]))
                batch, inside, start = self._producer.create_batch(), 0, index
                _append(batch, record)
            inside += size
        sent.append((await self._send(batch, name, partition), records[start:]))

    async def _send(self, batch: Any, name: str, partition: int) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = await self._producer.send_batch(batch, name, partition=partition)
        # Who is cancelled before all results are in asks for none of them: that is no news for the log.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future


def _append(batch: Any, record: Outgoing) -> bool:
    headers = record.headers if record.headers.__class__ is list else list(record.headers)
    added = batch.append(timestamp=None, key=record.key, value=record.value, headers=headers)
    return added is not None


class Transactions(_Producer):
    """One transactional producer; starting it fences its predecessor and aborts what that left open."""

    def __init__(self, cluster: Cluster, transactional_id: str) -> None:
        super().__init__(
            cluster,
            transactional_id,
            transactional_id=f"{cluster.config.prefix}{transactional_id}",
            transaction_timeout_ms=int(TRANSACTION_SECONDS * 1000),
        )

    async def commit(self, records: Sequence[Outgoing]) -> None:
        """Write all of these in one transaction, or none.

        Raises:
            RefusedError: The broker refused records; nothing was written and the producer is still good.
            FencedError: Somebody else owns the id now.
            BrokenError: It is unknown whether the commit went through; the state must be read again.
            Misconfigured: A topic is missing or forbidden.
        """
        try:
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await self._producer.begin_transaction()
                try:
                    await self.send(records)
                except RefusedError:
                    await self._producer.abort_transaction()
                    raise
                await self._producer.commit_transaction()
        except ProducerFenced:
            raise FencedError("another process took over") from None
        except _FORBIDDEN as error:
            await self._abort()
            raise Misconfigured(
                f"Kafka refuses a topic ({type(error).__name__}): check topics and rights"
            ) from None
        except (KafkaError, TimeoutError, OSError) as error:
            await self._abort()
            raise BrokenError(f"the transaction broke: {type(error).__name__}") from None
        except asyncio.CancelledError:
            await self._abort()
            if not asked_to_stop():
                raise BrokenError("the client gave a batch up") from None
            raise

    async def refuses(self, records: Sequence[Outgoing]) -> bool:
        """Try records in a transaction that is always aborted; tell whether the broker refuses any."""
        try:
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await self._producer.begin_transaction()
                try:
                    await self.send(records)
                except RefusedError:
                    return True
                finally:
                    await self._producer.abort_transaction()
        except (KafkaError, TimeoutError, OSError) as error:
            raise BrokenError(f"the transaction broke: {type(error).__name__}") from None
        return False

    async def _abort(self) -> None:
        # The successor's start would abort it too; doing it now spares readers the wait.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(0.5):
                await self._producer.abort_transaction()


class Sender(_Producer):
    """A plain idempotent producer, for wishes, deliveries and commands; `settings` are aiokafka's."""

    def __init__(self, cluster: Cluster, client: str, **settings: Any) -> None:
        super().__init__(cluster, client, enable_idempotence=True, acks="all", **settings)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def write(self, records: Sequence[Outgoing], seconds: float = 10.0) -> None:
        """Store these durably.

        Raises:
            RefusedError: The broker refused some.
            BrokenError: Kafka did not answer in time; whether they are stored is unknown.
            Misconfigured: A topic is missing or forbidden.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.send(records)
        except _FORBIDDEN as error:
            raise Misconfigured(
                f"Kafka refuses a topic ({type(error).__name__}): check topics and rights"
            ) from None
        except (KafkaError, TimeoutError, OSError) as error:
            raise BrokenError(f"not stored: {type(error).__name__}") from None

"""The governance consumer: findings and files become commands by policy, commands become outcomes.

A connector's commands have one key, so they are carried out one after another, and counts and prior states
need no locks. What the ledger holds changes only after it is durable.
"""

from collections.abc import Mapping, Sequence
from re import compile as pattern
from typing import Final

import structlog

from consumers.governance import outcomes
from consumers.governance.asking import addressed
from consumers.governance.book import Book
from consumers.governance.carrying import Carrier, End
from consumers.governance.ledger import Ledger
from consumers.governance.matching import commands_for, read, wish_of
from consumers.governance.means import Connected, Means, Providers
from consumers.governance.patience import Patience
from consumers.governance.policies import Kinds
from consumers.run import Commit, Spec, consumer
from ingest import metrics
from ingest.catalog import providers
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming
from ingest.own import Ownership
from ingest.producing import Outgoing
from ingest.publish import StoppedError
from schemas.control import ActionRecord, Command

SPEC: Final = Spec(
    "governance", ("commands", "findings", "files"), "actions", {"commands": 32, "findings": 64, "files": 64}
)
_RECENT_MS: Final = 60_000
_ID: Final = pattern(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_log = structlog.get_logger(part="governance")


class GovernanceJob:
    """The governance of one partition."""

    def __init__(self, partition: int, means: Means) -> None:
        self._partition, self._means = partition, means
        self._ledger, self._patience = Ledger(), Patience()
        self._pending: dict[int, tuple[Mapping[str, ActionRecord | None], tuple[str, str, str]]] = {}
        self._carrier: Carrier | None = None

    def take(self, record: Incoming) -> None:
        """Take in one record of `actions`.

        Raises:
            Misconfigured: It can't be read.
        """
        self._ledger.take(record.key.decode("utf-8", "replace"), record.value)

    def ready(self, commit: Commit) -> None:
        """Begin: the ledger is whole."""
        self._carrier = Carrier(self._partition, self._means, self._ledger, self._patience, commit)

    def committed(self, record: Incoming) -> None:
        """Take what is durable now into the ledger."""
        if record.topic != "commands" or (pending := self._pending.pop(record.offset, None)) is None:
            return
        kept, labels = pending
        for key, one in kept.items():
            self._ledger.put(key, one)
            if one is None:
                self._ledger.put_run(key, None)
        metrics.governance_actions.labels(*labels).inc()

    async def close(self) -> None:
        """Forget all; if the partition comes back, its state is read again."""
        self._carrier = None
        self._ledger.clear()
        self._patience.clear()
        self._pending.clear()

    async def handle(self, record: Incoming) -> Sequence[Outgoing]:
        """Carry out a command, or match an event.

        Raises:
            Retry: Try again later.
            ValueError: The record is none of ours.
            StoppedError: The partition was handed over.
        """
        if record.value is None:
            return []
        if record.topic != "commands":
            return self._match(record)
        command = Command.load(record.value)
        if not _ID.fullmatch(command.id) or command.connector.encode() != record.key:
            raise ValueError("a command needs an id of plain characters, and its connector as key")
        known = self._ledger.get(command.id)
        if known is not None and known.state != "intent":
            return []
        if self._carrier is None:
            raise StoppedError("handed over")
        end = await self._carrier.carry(command)
        self._patience.forget(command.id)
        return self._results(record, command, end)

    def _match(self, record: Incoming) -> list[Outgoing]:
        policies = self._means.book.policies
        if not policies:
            return []
        envelope, event = read(record)
        wish = wish_of(self._means.directory.wishes, envelope, event)
        now, place = self._means.tempo.now(), f"{record.topic}/{record.offset}"
        if wish is None:
            if now - record.at < _RECENT_MS:
                self._patience.wait(place, "its connector is not known here yet")
            return []
        self._patience.forget(place)
        commands = commands_for(event, record, wish, policies.values(), self._means.kinds, now)
        return [addressed(command, wish) for command in commands]

    def _results(self, record: Incoming, command: Command, end: End) -> list[Outgoing]:
        now = self._means.tempo.now()
        wish = self._means.directory.wishes.get(command.connector)
        place = outcomes.origin(wish, command.connector, self._means.kinds)
        made = outcomes.outcome(command, end.about, end.verdict, end.action, end.before, now)
        target = end.about.target.id if end.about.target else "unknown"
        out = outcomes.record(made, place, command.connector, self._partition, target, now)
        kept: dict[str, ActionRecord | None] = dict.fromkeys(self._ledger.expired(now))
        kept |= end.keep
        label = end.action.name if end.action else "unknown"
        self._pending[record.offset] = (kept, (label, end.verdict.state, str(command.dry_run).lower()))
        _log.info(
            "governance", command=command.id, action=label, state=end.verdict.state, why=end.verdict.why
        )
        state = [
            Outgoing("actions", self._partition, key.encode(), one.dump() if one else None)
            for key, one in kept.items()
        ]
        return [out, *state]


async def governance(
    cluster: Cluster,
    follower: Follower,
    directory: Connected,
    lender: Providers,
    kinds: Kinds | None = None,
) -> Ownership:
    """Put the consumer together, its policies read whole; run the result until cancelled.

    Raises:
        UnreadableError: Kafka does not answer.
    """
    book = Book()
    await book.start(cluster, follower)
    means = Means(directory, book, lender, providers() if kinds is None else kinds)
    return consumer(cluster, SPEC, follower, lambda partition: GovernanceJob(partition, means))

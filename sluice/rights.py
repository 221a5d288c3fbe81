"""What each role may do on Kafka, and no more: the list behind the table in docs/operations.md.

A right to read or write a topic holds the right to describe it. Settings of all topics are looked at when a
role starts. Where topics are not named they are all of the deployment's.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ingest.state import STATE_TOPICS
from schemas.topics import FILE_TOPICS, TOPICS

_PUBLIC: Final = frozenset(name for name, row in TOPICS.items() if row.public)
_WORK: Final = frozenset(name for name, row in TOPICS.items() if row.role == "work")


class Right(NamedTuple):
    """One rule: what kind of thing, which, by its whole name or its beginning, and what may be done."""

    kind: str
    name: str
    operation: str
    prefixed: bool = False


class Needs(NamedTuple):
    """What a role reads and writes, which group it is a member of, which transactions are its own."""

    reads: frozenset[str]
    writes: frozenset[str]
    group: str = ""
    transactions: str = ""


_ROLES: Final = {
    # A dead letter that is tried again is put back on whichever topic it came from.
    "ingest": Needs(
        frozenset({"connectors", "inbox", "budget", *STATE_TOPICS}),
        _PUBLIC | _WORK | frozenset(STATE_TOPICS), "ingest", "owner-",
    ),
    "receive": Needs(frozenset({"connectors", "subscriptions"}), frozenset({"inbox"})),
    "dlp": Needs(
        frozenset({"connectors", "credentials", "budget", *FILE_TOPICS}),
        frozenset({"findings", "scans", "dead-letters", "budget"}), "dlp", "dlp-",
    ),
    "governance": Needs(
        frozenset({"connectors", "credentials", "policies", "commands", "findings", "files", "actions",
                   "budget"}),
        frozenset({"commands", "outcomes", "actions", "dead-letters", "budget"}),
        "governance", "governance-",
    ),
    "cli": Needs(
        frozenset({"connectors", "policies", "cursors", "subscriptions", "commands", "actions",
                   "dead-letters"}) | _PUBLIC,
        frozenset({"connectors", "policies", "inbox", "commands"}),
    ),
    "reader": Needs(_PUBLIC, frozenset(), "reader-"),
}  # fmt: skip
ROLES: Final = (*_ROLES, "topics")


def rights(role: str, prefix: str) -> list[Right]:
    """List what a role needs; `topics` is who runs `sluice topics` and `sluice doctor`.

    A reader's groups are its own: their names begin with the prefix and `reader-`.

    Raises:
        KeyError: There is no such role.
    """
    if role == "topics":
        every = ("Describe", "DescribeConfigs", "Create", "Alter")
        found = [Right("topic", prefix, operation, prefixed=True) for operation in every]
        found += _each(prefix, ("connectors", "cursors", "subscriptions"), "Read")
        return [*found, Right("cluster", "kafka-cluster", "DescribeConfigs")]
    needs = _ROLES[role]
    found = _each(prefix, needs.reads, "Read") + _each(prefix, needs.writes, "Write")
    if role != "reader":
        found += [Right("topic", prefix, one, prefixed=True) for one in ("Describe", "DescribeConfigs")]
    if needs.group:
        found.append(Right("group", prefix + needs.group, "Read", prefixed=role == "reader"))
    if needs.transactions:
        found.append(Right("transactional-id", prefix + needs.transactions, "Write", prefixed=True))
    return found


def _each(prefix: str, names: Iterable[str], operation: str) -> list[Right]:
    return [Right("topic", prefix + name, operation) for name in sorted(names)]


def command(right: Right, principal: str) -> str:
    """Write a rule as a line for Kafka's own tool."""
    pattern = " --resource-pattern-type prefixed" if right.prefixed else ""
    on = "--cluster" if right.kind == "cluster" else f"--{right.kind} '{right.name}'"
    return (
        f"kafka-acls.sh --bootstrap-server $KAFKA --add --allow-principal '{principal}' "
        f"--operation {right.operation} {on}{pattern}"
    )

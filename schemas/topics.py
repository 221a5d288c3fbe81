"""The table of topics: what each carries, how it is keyed, spread and kept.

Public topics carry one bare OCSF event a record with CloudEvents headers; all others carry our own JSON
(`schemas.control`). "Owner" topics have as many partitions as `inbox`, and a connector's records lie in the
partition that its wish names. "Entity" topics are spread by the hash of their key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

DAY = 86_400_000
"""Milliseconds, as Kafka's topic settings count."""

Spread = Literal["owner", "entity", "one"]
Role = Literal["public", "work", "wish", "state"]

_OCCURRENCES: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * DAY),
    # Retention counts from the record's time: a back-fill of old events must not be deleted at once.
    "message.timestamp.type": "LogAppendTime",
}
_INVENTORY: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    # A reader that is away for less than this still learns of every deletion.
    "delete.retention.ms": str(30 * DAY),
}
_WORK: Mapping[str, str] = {"cleanup.policy": "delete", "retention.ms": str(7 * DAY)}
_STATE: Mapping[str, str] = {
    # Small, often cleaned segments: a take-over reads the partition from its start.
    "cleanup.policy": "compact",
    "segment.bytes": str(4 * 1024 * 1024),
    "segment.ms": "600000",
    "max.compaction.lag.ms": "600000",
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": "600000",
}
_WISHES: Mapping[str, str] = {"cleanup.policy": "compact", "delete.retention.ms": str(DAY)}


@dataclass(frozen=True)
class Topic:
    """One row of the table.

    Attributes:
        name: Without the prefix.
        role: public, work, wish or state.
        spread: How many partitions, and who picks one.
        key: What its key is made of.
        doc: One sentence for the documentation.
        config: Kafka's topic settings.
        classes: OCSF classes, on public topics.
    """

    name: str
    role: Role
    spread: Spread
    key: str
    doc: str
    config: Mapping[str, str]
    classes: tuple[int, ...] = ()

    @property
    def public(self) -> bool:
        """Whether analysts read it."""
        return self.role == "public"

    def partitions(self, count: int) -> int:
        """Tell how many partitions it gets where `count` is the deployment's number."""
        return 1 if self.spread == "one" else count


_ENTITY = "tenant/provider/instance/entity"
_ROWS = (
    Topic("activities", "public", "entity", _ENTITY, "What people and services did, and admin changes.",
          _OCCURRENCES, (3001, 3003, 3004, 3005, 3006, 6001, 6003, 6006)),
    Topic("logons", "public", "entity", _ENTITY, "Every sign-in, successful or not.", _OCCURRENCES, (3002,)),
    Topic("accounts", "public", "entity", _ENTITY, "The latest state of every account.", _INVENTORY, (5003,)),
    Topic("groups", "public", "entity", _ENTITY, "The latest state of every group.", _INVENTORY, (5023,)),
    Topic("privileges", "public", "entity", _ENTITY, "Who holds which role.", _INVENTORY, (5003,)),
    Topic("app-permissions", "public", "entity", _ENTITY, "Apps and what they were granted.", _INVENTORY,
          (5023,)),
    Topic("files", "public", "entity", _ENTITY, "The latest state and exposure of every file and container.",
          _INVENTORY, (5023,)),
    Topic("findings", "public", "entity", _ENTITY, "Sensitive data found in files: counts, never the values.",
          _OCCURRENCES, (2006,)),
    Topic("outcomes", "public", "owner", "connector", "The result of every governance attempt.",
          _OCCURRENCES, (7001, 7002)),
    Topic("health", "public", "one", "tenant/connector", "Changes of state, sweeps, bad records.",
          _OCCURRENCES, (6002, 6007, 6008)),
    Topic("inbox", "work", "owner", "connector", "Deliveries, nudges and redrives for a connector's owner.",
          {**_WORK, "max.message.bytes": "1100000"}),
    Topic("scan-live", "work", "entity", _ENTITY, "Files to scan now.", _WORK),
    Topic("scan-backlog", "work", "entity", _ENTITY, "Files to scan when there is time.", _WORK),
    Topic("scan-verdict", "work", "owner", "connector", "Files held back until decided.", _WORK),
    Topic("commands", "work", "owner", "connector", "Governance actions asked for.", _WORK),
    Topic("budget", "work", "owner", "connector", "Shares of a provider's quota.",
          {"cleanup.policy": "delete", "retention.ms": "3600000"}),
    Topic("dead-letters", "work", "owner", "id", "Records that could not be used, with the reason.",
          {"cleanup.policy": "compact,delete", "retention.ms": str(30 * DAY),
           "max.message.bytes": str(12 << 20)}),
    Topic("connectors", "wish", "owner", "connector", "What operators want connected.", _WISHES),
    Topic("policies", "wish", "one", "policy", "What governance does by itself.", _WISHES),
    Topic("cursors", "state", "owner", "connector/feed/axis", "How far feeds have got; the owner's status.",
          _STATE),
    Topic("seen", "state", "owner", "connector/page", "Ids published lately.", _STATE),
    Topic("members", "state", "owner", "connector/feed/axis/snapshot/page", "Inventories.", _STATE),
    Topic("subscriptions", "state", "owner", "connector/kind/axis", "Registrations at the provider.", _STATE),
    Topic("credentials", "state", "owner", "connector", "Tokens, sealed.", _STATE),
    Topic("scans", "state", "entity", _ENTITY, "The last scan of every file.", _STATE),
    Topic("actions", "state", "owner", "command", "Prior states and steps done.", _STATE),
)  # fmt: skip

TOPICS: Mapping[str, Topic] = MappingProxyType({row.name: row for row in _ROWS})

FILE_TOPICS = ("scan-live", "scan-backlog", "scans")
"""Spread by one key and worked on side by side: a file is in the same partition of each."""

LOSING = frozenset({"cleanup.policy"})
"""Settings that lose records where they are others: nothing starts then. What else differs is a warning."""

AT_LEAST = frozenset({"retention.ms", "delete.retention.ms", "max.message.bytes", "min.insync.replicas"})
"""Settings that may be higher than in the table."""


def settings(row: Topic, replicas: int) -> dict[str, str]:
    """Give the settings a topic should have; what is acknowledged is on two brokers where there are three."""
    durable = {"min.insync.replicas": "2"} if replicas > 2 else {}
    return {**row.config, **durable}


def fits(setting: str, wanted: str, found: str) -> bool:
    """Tell whether a setting is as wanted; -1 is without a limit."""
    if setting in AT_LEAST and found.lstrip("-").isdigit():
        return int(found) == -1 or int(found) >= int(wanted)
    return sorted(found.split(",")) == sorted(wanted.split(","))


_INVENTORIES = frozenset({"accounts", "groups", "privileges", "app-permissions", "files"})
_BY_CLASS: Mapping[int, str] = MappingProxyType(
    {number: row.name for row in _ROWS if row.name not in _INVENTORIES for number in row.classes}
)
_BY_KIND: Mapping[str, str] = MappingProxyType(
    {"file": "files", "user": "accounts", "group": "groups", "role": "privileges", "app": "app-permissions",
     "space": "files"}
)  # fmt: skip


def topic_of(event: Mapping[str, Any]) -> str:
    """Name the topic an event belongs on: by its class, for inventories by the log they come from.

    The two inventory classes serve several topics, so their events name theirs in `metadata.log_name`.

    Raises:
        KeyError: The class, or the inventory's name, is none of ours.
    """
    topic = _BY_CLASS.get(event["class_uid"])
    if topic is not None:
        return topic
    name: str = event["metadata"]["log_name"]
    if name not in _INVENTORIES:
        raise KeyError(name)
    return name


def inventory_of(kind: str) -> str:
    """Name the inventory topic that holds entities of a kind ("file", "user" …)."""
    return _BY_KIND[kind]


def is_inventory(topic: str) -> bool:
    """Tell whether a topic holds latest states rather than occurrences."""
    return topic in _INVENTORIES

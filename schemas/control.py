"""Our own records on Kafka: wishes, cursors, deliveries, scan requests, commands and their kin.

Each carries `v`. A reader keeps fields it does not know, so that rewriting a record loses nothing, and
refuses a record of a higher version. Times are milliseconds since 1970 (UTC).
"""

from typing import Any, ClassVar, Literal, Self, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

Json: TypeAlias = Any


class UnreadableRecordError(ValueError):
    """A control record that is not ours, is damaged, or was written by a newer version."""


class Record(BaseModel):
    """What all control records share: a version, tolerance for unknown fields, JSON both ways."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)
    newest: ClassVar[int] = 1

    v: int = 1

    def dump(self) -> bytes:
        """Serialise, leaving out what is at its default."""
        return orjson.dumps({"v": self.v, **self.model_dump(mode="json", exclude_defaults=True)})

    @classmethod
    def load(cls, value: bytes) -> Self:
        """Read one from a record's value.

        Raises:
            UnreadableRecordError: Not JSON, not of this shape, or of a version yet unknown.
        """
        try:
            raw = orjson.loads(value)
            if isinstance(raw, dict) and isinstance(raw.get("v"), int) and raw["v"] > cls.newest:
                raise UnreadableRecordError(
                    f"a {cls.__name__} of version {raw['v']}; this release reads up to {cls.newest}: upgrade"
                )
            return cls.model_validate(raw)
        except (orjson.JSONDecodeError, ValidationError) as error:
            kind = error.errors()[0]["loc"] if isinstance(error, ValidationError) else "not JSON"
            raise UnreadableRecordError(f"a damaged {cls.__name__}: {kind}") from None


class Target(BaseModel):
    """A provider's thing on the wire: the contract's `Ref`."""

    model_config = ConfigDict(frozen=True)

    kind: str
    id: str
    version: str = ""
    acting_as: str | None = None
    data: Json = None


class Wish(Record):
    """What an operator wants connected (topic `connectors`, key: name); `None` as value is a removal.

    `sealed` holds the secret settings; `generation` counts their changes. `incarnation` tells a name
    connected anew from its predecessor. `removing` asks the owner to clean up and acknowledge.
    """

    name: str
    provider: str
    tenant: str = "default"
    instance: str = ""
    instance_name: str = ""
    settings: dict[str, Json] = {}
    components: tuple[str, ...] = ()
    sealed: str = ""
    generation: int = 1
    enabled: bool = True
    removing: bool = False
    partition: int
    incarnation: str
    revision: int = 1


class Cursor(Record):
    """How far a feed has got on one axis (topic `cursors`, key: connector/feed/axis).

    `position` is the provider's own, opaque; `until` the end of the last whole window; `snapshot` numbers
    full reads, `page` their pages; `finishing`: all is read, deletions are under way; `held`: that many
    entities vanished at once and wait for a second look; `done` lists containers read whole.
    """

    incarnation: str
    position: Json = None
    until: int | None = None
    snapshot: int = 0
    page: int = 0
    started_at: int = 0
    finishing: bool = False
    held: int = 0
    finished_began: int = 0
    done: tuple[str, ...] = ()
    finished_at: int = 0


class InboxCursor(Record):
    """How far a partition's owner has worked off `inbox` (topic `cursors`, key: @inbox/partition).

    `offset` is the first record not done; `beyond` holds the offsets above it that are.
    """

    offset: int
    beyond: tuple[int, ...] = ()


class FeedStatus(BaseModel):
    """One feed as the owner sees it."""

    model_config = ConfigDict(frozen=True)

    state: str = "waiting"
    why: str = ""
    axes: int = 0
    published: int = 0
    last_success: int = 0
    last_event: int = 0


class Status(Record):
    """What a connector's owner reports (topic `cursors`, key: connector/@status)."""

    connector: str
    state: str
    why: str = ""
    revision: int = 0
    incarnation: str = ""
    owner: str = ""
    instance: str = ""
    instance_name: str = ""
    grants: dict[str, tuple[str, ...]] = {}
    feeds: dict[str, FeedStatus] = {}
    subscriptions: dict[str, str] = {}
    at: int = 0


class Seen(Record):
    """Ids published lately (topic `seen`, key: connector/page): 8-byte hashes, base64, by time."""

    incarnation: str
    newest_time: int
    expires: int
    hashes: str
    times: str


class Members(Record):
    """A page of an inventory (topic `members`): ids, and an 8-byte hash of each one's content, base64.

    A hash of zero says that the entity is gone. `live` pages come from feeds that follow changes.
    """

    incarnation: str
    snapshot: int
    topic: str
    ids: tuple[str, ...]
    contents: str
    at: int = 0
    live: bool = False


class Former(BaseModel):
    """A registration that another one replaces: accepted until it is taken away, no sooner than `until`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    sealed: str = ""
    address: str = ""
    registered: Json = None
    until: int = 0


class Registration(Record):
    """A registration wanted or made at the provider (topic `subscriptions`, key: connector/kind/axis).

    `id` ends the address and can't be guessed; `sealed` holds the secret that goes with it. `registered` is
    the provider's own, None until it answered. `at` is when it was wanted, then made; `renewed` when its life
    began last; `healthy` what the provider says. `manual`: an operator registers the address by hand.

    `delivered` is when a delivery last came; `recovered` counts what only the poll found, `missed` those
    since the last delivery; `suspect` since when that is too many; `again` how often it was made anew since.
    """

    incarnation: str
    kind: str
    axis: str
    id: str
    hook: str = ""
    sealed: str = ""
    address: str = ""
    state: Literal["wanted", "active", "removing"] = "wanted"
    manual: bool = False
    healthy: bool = True
    why: str = ""
    registered: Json = None
    expires: int = 0
    at: int = 0
    renewed: int = 0
    delivered: int = 0
    recovered: int = 0
    missed: int = 0
    suspect: int = 0
    again: int = 0
    former: Former | None = None

    def accepted(self) -> dict[str, str]:
        """Map each id whose deliveries are taken, the newest first, to the sealed secret that guards it."""
        former = {self.former.id: self.former.sealed} if self.former else {}
        return {self.id: self.sealed, **former}


class Token(Record):
    """A connector's tokens, sealed (topic `credentials`, key: connector)."""

    incarnation: str
    generation: int
    sealed: str
    intent: str = ""
    at: int = 0


class Inbox(Record):
    """Something for a connector's owner (topic `inbox`): a delivery as it came, a nudge, a redrive.

    A delivery's body is base64 in `body`. A redrive names the dead letter that is to be tried again.
    """

    kind: Literal["delivery", "nudge", "redrive", "discard"]
    connector: str
    incarnation: str = ""
    at: int = 0
    hook: str = ""
    axis: str | None = None
    method: str = ""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    body: str = ""
    delivery_id: str = ""
    feed: str = ""
    hint: Json = None
    restart: bool = False
    letter: Json = None


class ScanRequest(Record):
    """A file to scan (topics `scan-live`, `scan-backlog`)."""

    connector: str
    provider: str
    tenant: str
    instance: str
    incarnation: str = ""
    file: Target
    cause: str = ""
    asked_at: int = 0


class Scan(Record):
    """The last scan of a file (topic `scans`)."""

    connector: str
    incarnation: str = ""
    version: str
    rules: str
    status: str
    reason: str = ""
    detectors: dict[str, int] = {}
    at: int = 0


class Command(Record):
    """A governance action asked for (topic `commands`).

    `do` carries one out; `undo` takes back the command named in `of`; `approve` lets a held one go on.
    """

    kind: Literal["do", "undo", "approve"] = "do"
    id: str
    connector: str
    action: str = ""
    target: Target | None = None
    options: Json = None
    dry_run: bool = True
    irreversible: bool = False
    policy: str = ""
    run: str = ""
    cause: str = ""
    of: str = ""
    cap: int = 0
    asked_at: int = 0


class DeadLetter(Record):
    """A record that could not be used (topic `dead-letters`, key: id).

    `source` says what stumbled: a feed's record ("record": raw, feed, axis, mapper say how to map it again)
    or a record of a topic ("topic": topic, key, raw, headers put it back). `raw` is text, or base64 where
    `binary`.
    """

    id: str
    source: Literal["record", "topic"]
    connector: str
    partition: int = 0
    incarnation: str = ""
    feed: str = ""
    axis: str = ""
    mapper: str = ""
    topic: str = ""
    key: str = ""
    headers: dict[str, str] = {}
    reason: str
    detail: str = ""
    raw: str = ""
    binary: bool = False
    truncated: bool = False
    attempts: int = 1
    at: int = 0


class PolicyMatch(BaseModel):
    """What a policy acts on: findings of the scan, or files by who can see them; empty filters let all pass.

    `connectors` holds names of connectors or of providers; `name` is a glob on the file's name or whole id.
    """

    model_config = ConfigDict(frozen=True)

    on: Literal["finding", "file"]
    detectors: tuple[str, ...] = ()
    min_confidence: int = 65
    min_count: int = 1
    exposure: str = ""
    connectors: tuple[str, ...] = ()
    name: str = ""
    types: tuple[str, ...] = ()


class Policy(Record):
    """What governance does by itself (topic `policies`, key: name); `cap` bounds the targets of one run."""

    name: str
    match: PolicyMatch
    action: str
    options: dict[str, Json] = {}
    dry_run: bool = True
    cap: int = 25


class PlannedStep(BaseModel):
    """One step of a plan, as it is stored."""

    model_config = ConfigDict(frozen=True)

    do: str
    say: str
    data: Json = None


class ActionRecord(Record):
    """How far a command has got (topic `actions`, key: the command's id).

    `intent`: under way, or its process died. `before` and `results` (by step) are what an undo needs. `by` is
    the command that approved this one or took it back; `versions` are those an undo brought back.
    """

    command: Command
    state: str
    instance: str = ""
    before: Json = None
    plan: tuple[PlannedStep, ...] = ()
    results: dict[str, Json] = {}
    by: str = ""
    versions: tuple[str, ...] = ()
    why: str = ""
    at: int = 0


class ActionRun(Record):
    """How many targets a run has touched (topic `actions`, key: @run/connector/run)."""

    count: int = 0
    at: int = 0

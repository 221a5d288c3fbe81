"""Outcomes: the audit event of a command, written and read.

File targets are File Remediation Activity, all others Remediation Activity. OCSF gives the latter no place
for its target: it is in `observables` and `unmapped.target`. Source: OCSF 1.8.0, remediation classes.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from consumers.governance.policies import Kinds
from consumers.governance.verdicts import OTHER, Verdict
from ingest.producing import Outgoing
from ingest.provider import Action
from schemas.control import Command, Json, Target, Wish
from schemas.envelope import headers
from schemas.events import Event, Origin, event, present, stamp
from schemas.validation import encode, validate

PRODUCT: Final = "Sluice"
_ISOLATE, _EVICT, _RESTORE, _HARDEN, _OTHER = 1, 2, 3, 4, 99
_BY_CAPABILITY: Final[Mapping[str, int]] = {
    "file_governance": _ISOLATE, "user_governance": _EVICT, "revoke_app_permissions": _EVICT,
    "sharing_control": _HARDEN, "labels": _HARDEN,
}  # fmt: skip
_CAPTIONS: Final = {
    1: "Success",
    2: "Failure",
    3: "Does Not Exist",
    4: "Partial",
    5: "Unsupported",
    6: "Error",
}
_QUIET: Final = frozenset({"done", "undone", "already", "planned"})
_USER, _RESOURCE = 31, 10


class Outcome(NamedTuple):
    """An outcome as a person reads it; `steps` are the plan of a dry run or of a held command."""

    command: str
    of: str
    connector: str
    action: str
    target: str
    state: str
    desc: str
    why: str
    dry_run: bool
    policy: str
    steps: tuple[str, ...]
    time: int

    @property
    def good(self) -> bool:
        """Whether what was asked for is so now, or would be."""
        return self.state in _QUIET


def origin(wish: Wish | None, connector: str, kinds: Kinds) -> Origin:
    """Say where an outcome comes from: us, at the connector's instance; a connector may be gone by now."""
    if wish is None:
        wish = Wish(name=connector, provider="unknown", instance=connector, partition=0, incarnation="")
    kind = kinds.get(wish.provider)
    return Origin(
        tenant=wish.tenant, provider=wish.provider, instance=wish.instance or wish.name,
        instance_name=wish.instance_name, account_type_id=kind.account_type_id if kind else 99,
        account_type=(kind.account_type if kind else "") or wish.provider,
        product={"name": PRODUCT, "vendor_name": PRODUCT},
    )  # fmt: skip


def outcome(
    asked: Command, subject: Command, verdict: Verdict, action: Action[Any] | None, before: Json, now: int
) -> Event:
    """Make the event, not stamped yet.

    Args:
        asked: The command that ends.
        subject: What it is about: itself, or the command that it approves or takes back.
        verdict: How it ended.
        action: The action, if the provider has it.
        before: The state before it, of which a hash goes out.
        now: Milliseconds since 1970.
    """
    target = subject.target or Target(kind="unknown", id="unknown")
    activity = _activity(asked, action)
    more: dict[str, Json] = {}
    if target.kind == "file":
        short = target.id.rstrip("/").rsplit("/", 1)[-1] or target.id
        more["file"] = present(name=short, type_id=1, uid=target.id, version=target.version)
    return event(
        7002 if target.kind == "file" else 7001, activity, now, log_name="outcomes", source_id=asked.id,
        severity_id=1 if verdict.state in _QUIET else 3, correlation_uid=subject.cause or subject.id,
        activity_name=subject.action or "unknown" if activity == _OTHER else "", status_id=verdict.status_id,
        status=verdict.state if verdict.status_id == OTHER else _CAPTIONS.get(verdict.status_id, "Unknown"),
        status_detail=verdict.why, message=f"{subject.action or asked.kind}: {verdict.state}",
        command_uid=asked.id, remediation={"desc": verdict.desc},
        observables=[
            {"type_id": _USER if target.kind == "user" else _RESOURCE, "name": "unmapped.target.id",
             "value": target.id}
        ],
        unmapped=present(
            target=present(**target.model_dump(exclude={"data"})), connector=asked.connector, kind=asked.kind,
            of=asked.of, action=subject.action, policy=subject.policy, dry_run=asked.dry_run,
            state=verdict.state, steps=list(verdict.steps), cause=subject.cause, before_hash=_hash(before),
        ),
        **more,
    )  # fmt: skip


def record(made: Event, place: Origin, connector: str, partition: int, target: str, now: int) -> Outgoing:
    """Stamp and check an outcome, and address it to the connector's partition.

    Raises:
        InvalidEventError: It does not fit its class.
    """
    validate(stamp(made, place, now))
    head = headers(made, place, topic="outcomes", entity=target)
    return Outgoing("outcomes", partition, connector.encode(), encode(made), head)


def told(value: bytes) -> Outcome:
    """Read an outcome's record for a person.

    Raises:
        ValueError: It is no outcome of ours.
    """
    try:
        made = orjson.loads(value)
        said = made["unmapped"]
        return Outcome(
            made["command_uid"], said.get("of", ""), said["connector"], said.get("action", ""),
            said["target"]["id"], said["state"], made["remediation"]["desc"], made.get("status_detail", ""),
            said["dry_run"], said.get("policy", ""), tuple(said.get("steps", ())), made["time"],
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
        raise ValueError(f"not an outcome: {type(error).__name__}") from None


def _activity(asked: Command, action: Action[Any] | None) -> int:
    if asked.kind == "undo":
        return _RESTORE
    if action is None:
        return _OTHER
    if action.name == "restore":
        return _RESTORE
    return _EVICT if action.irreversible else _BY_CAPABILITY.get(action.capability, _OTHER)


def _hash(before: Json) -> str:
    if before is None:
        return ""
    return blake2b(orjson.dumps(before, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()

"""From an event to commands: which policies it meets, on whose connector. Pure.

A command's id follows from policy, entity, event and action: an event read again asks for nothing new.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import orjson

from consumers.governance.policies import Kinds
from ingest.consuming import Incoming
from schemas.control import Command, Policy, Target, Wish
from schemas.envelope import Envelope, parse
from schemas.events import Event, uid
from schemas.exposure import ORDER

_OPEN: Final = frozenset({1, 2})
_PLAIN: Final = ("file",)


def wish_of(wishes: Mapping[str, Wish], envelope: Envelope, event: Event) -> Wish | None:
    """Find the connector an event comes from: by the name it gives, else by provider and instance."""
    whole = (envelope.tenant, envelope.provider, envelope.instance)
    named = wishes.get(str((event.get("unmapped") or {}).get("connector", "")))
    if named is not None and (named.tenant, named.provider) == whole[:2]:
        return named
    for wish in wishes.values():
        if (wish.tenant, wish.provider, wish.instance) == whole:
            return wish
    return None


def read(record: Incoming) -> tuple[Envelope, Event]:
    """Read a public record.

    Raises:
        ValueError: It is none of ours.
    """
    envelope = parse(record.headers)
    event = orjson.loads(record.value or b"")
    if not isinstance(event, dict) or not isinstance(event.get("class_uid"), int):
        raise ValueError("not an event")  # noqa: TRY004 the caller knows one error
    return envelope, event


def commands_for(
    event: Event, record: Incoming, wish: Wish, policies: Iterable[Policy], kinds: Kinds, now: int
) -> list[Command]:
    """Make the commands that policies ask for because of an event."""
    kind = kinds.get(wish.provider)
    if kind is None or not wish.enabled or wish.removing:
        return []
    made = []
    for policy in policies:
        action = next((one for one in kind.actions if one.name == policy.action), None)
        if action is None or not _from(policy, wish):
            continue
        target = _matched(policy, event, action.on)
        if target is None:
            continue
        # A finding keeps its id over rescans; a file that is shared a second time is a new record.
        which = (
            event["finding_info"]["uid"]
            if policy.match.on == "finding"
            else f"{record.partition}/{record.offset}"
        )
        options = orjson.dumps(policy.options, option=orjson.OPT_SORT_KEYS).decode()
        name = uid(
            "command", policy.name, wish.name, wish.incarnation, target.id, target.version, which,
            policy.action, options, str(policy.dry_run),
        )  # fmt: skip
        cause = which if policy.match.on == "finding" else event["metadata"]["uid"]
        made.append(
            Command(
                id=name, connector=wish.name, action=policy.action, target=target, options=policy.options,
                dry_run=policy.dry_run, policy=policy.name, cause=cause, cap=policy.cap, asked_at=now,
            )
        )  # fmt: skip
    return made


def _from(policy: Policy, wish: Wish) -> bool:
    wanted = policy.match.connectors
    return not wanted or wish.name in wanted or wish.provider in wanted


def _matched(policy: Policy, event: Event, kind: str) -> Target | None:
    if event["class_uid"] == 2006 and policy.match.on == "finding" and kind == "file":
        return _found(policy, event)
    if event["class_uid"] == 5023 and policy.match.on == "file" and kind in {"file", "space"}:
        return _seen(policy, event, kind)
    return None


def _found(policy: Policy, event: Event) -> Target | None:
    """Judge a finding; one that is closed or suppressed asks for nothing."""
    match, said = policy.match, event.get("unmapped") or {}
    raw = said.get("target")
    if event["activity_id"] not in _OPEN or not isinstance(raw, dict):
        return None
    fits = (
        (not match.detectors or said.get("detector") in match.detectors)
        and _number(said.get("confidence")) >= match.min_confidence
        and _number(said.get("count")) >= match.min_count
        and _called(match.name, str(raw.get("id", "")))
    )
    return Target.model_validate(raw) if fits else None


def _seen(policy: Policy, event: Event, kind: str) -> Target | None:
    """Judge an inventory event; an action on containers is meant for those, others for files alone.

    The target is the id alone: what else the event says of the thing is not what finds it.
    """
    match = policy.match
    one = (event.get("resources") or [{}])[0]
    data = one.get("data") or {}
    word, thing = data.get("exposure"), one.get("type", "")
    if word not in ORDER or ORDER.index(word) < ORDER.index(match.exposure):
        return None
    plain = thing in _PLAIN
    wanted = thing in match.types if match.types else plain != (kind == "space") and thing != "folder"
    if not wanted or not one.get("uid") or not _called(match.name, one["uid"], one.get("name", "")):
        return None
    version = str(one.get("version") or data.get("version") or data.get("etag") or "")
    return Target(kind=kind, id=one["uid"], version=version)


def _called(glob: str, *names: str) -> bool:
    if not glob:
        return True
    return any(fnmatchcase(part, glob) for name in names for part in (name, name.rsplit("/", 1)[-1]))


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0

"""Webhook deliveries → events.

A record is a delivery as `GET /orgs/{org}/hooks/{id}/deliveries/{id}` shows it (`guid`, `event`, `request`
with the payload); a bare payload is taken too, its event told by its members. Its id is the delivery's GUID,
equal on redelivery, and a version 1 UUID: the time of the event is read from it, for payloads rarely say it.
Deliveries carry no address and no user agent. Source: "Webhook events and payloads"; "Handling failed webhook
deliveries".
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from ingest.provider import BadRecord, Event, Instance, Json
from ingest.providers.github.kinds import KINDS, WEBHOOKS, guessed
from ingest.providers.github.parts import Facts, attributes, kept, resource, text, user
from schemas.events import event, millis, present

LOG: Final = "webhooks"
COMMITS: Final = 250
"""Commits of a push that are kept."""

_UUID_EPOCH_MS: Final = 12_219_292_800_000
"""Milliseconds from 1582, where UUIDs of version 1 begin, to 1970."""
_OLDEST: Final = 1_199_145_600_000
"""2008, when GitHub began: what is older is no time of an event."""
_LINKS: Final = frozenset({"url", "_links", "node_id", "gravatar_id"})


class Told(NamedTuple):
    """A delivery: its kind (event and action), id, time in milliseconds, the time as sent, and payload."""

    kind: str
    id: str
    time: int
    at: str
    payload: Json


def webhook_record(record: Json, instance: Instance) -> Iterable[Event]:
    """Map one delivery, or a bare payload.

    Raises:
        BadRecord: It is neither.
    """
    del instance
    told = opened(record)
    payload = told.payload
    rule = WEBHOOKS.rule(told.kind)
    facts = _facts(payload)
    about = attributes(rule, told.kind, facts)
    if rule.class_uid == 6003:
        about["src_endpoint"] = {"name": "unknown"}
    yield event(
        rule.class_uid, rule.activity, told.time, log_name=LOG, source_id=told.id, original_time=told.at,
        event_code=told.kind, log_provider="GitHub webhooks", status_id=1,
        cloud={"org": facts.org} if facts.org else None,
        unmapped={
            name: value for name, value in kept(_shorter(payload), _follows).items()
            if name not in {"sender", "action"}
        },
        **about,
    )  # fmt: skip


def opened(record: Json) -> Told:
    """Read what a record is about.

    Raises:
        BadRecord: It is no delivery and no payload.
    """
    if record.__class__ is not dict:
        raise BadRecord("not a webhook delivery: not an object")
    request: Json = record.get("request")
    whole = request.__class__ is dict
    payload: Json = request.get("payload") if whole else record
    if payload.__class__ is not dict:
        raise BadRecord("not a webhook delivery: it has no payload")
    name = text(record.get("event")) if whole else guessed(payload)
    if not name:
        raise BadRecord("not a webhook delivery: no event is named, nor told by the payload")
    action = payload.get("action")
    kind = f"{name}.{action}" if action.__class__ is str and action else name
    guid = text(record.get("guid")) if whole else None
    at = text(record.get("delivered_at")) if whole else None
    return Told(kind.replace("-", "_"), guid or _hash(payload), _time(guid, at, payload), at or "", payload)


def _hash(payload: Json) -> str:
    return blake2b(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _time(guid: str | None, at: str | None, payload: Json) -> int:
    """Tell when it happened: the GUID says it, else the delivery, else the newest time in the payload.

    What has none of these, a bare payload given by hand, is timed when it is mapped.
    """
    try:
        found = UUID(guid or "")
    except ValueError:
        found = None
    if found is not None and found.version == 1 and (made := found.time // 10_000 - _UUID_EPOCH_MS) > _OLDEST:
        return made
    if at:
        return millis(at)
    times = list(_times(payload, 3))
    return max(times) if times else int(datetime.now(UTC).timestamp() * 1000)


def _times(value: Json, depth: int) -> Iterator[int]:
    for name, one in value.items():
        if one.__class__ is dict and depth:
            yield from _times(one, depth - 1)
        elif one.__class__ is str and name.endswith(("_at", "timestamp")):
            try:
                time = millis(one)
            except ValueError:
                continue
            if time > _OLDEST:
                yield time


def _facts(payload: Json) -> Facts:
    sender, team = _object(payload, "sender"), _object(payload, "team")
    return Facts(
        actor=_person(sender), target=_target(payload),
        team=present(name=text(team.get("name")), uid=text(team.get("id")), type="team") or None,
        org=_org(payload), repository=_repository(_object(payload, "repository")), thing=_thing(payload),
        app=_app(payload), privileges=sorted(_privileges(payload)),
    )  # fmt: skip


def _object(payload: Json, name: str) -> Json:
    found = payload.get(name)
    return found if found.__class__ is dict else {}


def _person(found: Json) -> Json:
    return user(found.get("login"), found.get("id"))


def _target(payload: Json) -> Json:
    for where in (payload, _object(payload, "membership"), _object(payload, "personal_access_token_request"),
                  _object(payload, "invitation")):  # fmt: skip
        for name in (*KINDS.people, "user"):
            if made := _person(_object(where, name)):
                return made
    return user(_object(payload, "invitation").get("login"))


def _org(payload: Json) -> Json:
    found = _object(payload, "organization")
    owner = _object(_object(payload, "repository"), "owner")
    if not found and owner.get("type") == "Organization":
        found = owner
    return present(name=text(found.get("login")), uid=text(found.get("id"))) or None


def _repository(found: Json) -> Json:
    private = found.get("private")
    seen = text(found.get("visibility")) or ({True: "private", False: "public"}.get(private) if private in (
        True, False) else None)  # fmt: skip
    name = text(found.get("full_name")) or text(found.get("name"))
    return resource(name, found.get("id"), "repository", labels=[seen] if seen else None)


def _thing(payload: Json) -> Json:
    for name in KINDS.things:
        found = _object(payload, name)
        called = next((word for key in KINDS.names if (word := text(found.get(key)))), None)
        if found and (made := resource(called, found.get("id"), name)):
            return made
    ref = text(payload.get("ref"))
    return resource(ref, None, "ref") or resource(payload.get("sha"), None, "commit")


def _app(payload: Json) -> Json:
    found = _object(payload, "installation")
    slug = text(found.get("app_slug"))
    return resource(slug, f"installation:{found.get('id')}", "github_app") if slug else None


def _privileges(payload: Json) -> Iterator[str]:
    changes = _object(payload, "changes")
    for name in ("permission", "role_name"):
        if given := text(_object(changes, name).get("to")):
            yield given
    if (role := text(_object(payload, "membership").get("role"))) and "scope" not in payload:
        yield role
    app = _object(payload, "installation")
    asked = _object(payload, "personal_access_token_request")
    for permissions in (_object(app, "permissions"), *_object(asked, "permissions_result").values()):
        if permissions.__class__ is dict:
            yield from (f"{name}:{level}" for name, level in permissions.items() if text(level))


def _shorter(payload: Json) -> Json:
    commits = payload.get("commits")
    if commits.__class__ is list and len(commits) > COMMITS:
        return {**payload, "commits": commits[:COMMITS], "commits_left_out": len(commits) - COMMITS}
    return payload


def _follows(name: str, value: Json) -> bool:
    """Tell links, which follow from ids and make up most of a payload."""
    return (name in _LINKS or name.endswith("_url")) and value.__class__ is not int

"""What the mappers of the audit log and of webhooks share: who, what, and the attributes of each class."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ingest.provider import Event, Json
from ingest.providers.github.table import OTHER, Rule
from schemas.events import present

_TOKEN: Final = re.compile(r"gh[pousr]_[A-Za-z0-9_]{20,}|github_pat_\w{20,}")
SECRETS: Final = frozenset(
    {"token", "secret", "password", "client_secret", "private_key", "access_token", "refresh_token",
     "authorization", "webhook_secret", "raw_token", "token_last_eight"}
)  # fmt: skip
"""Names of fields whose values are never kept; `hashed_token` and `secret_type` are no secrets."""
SERVICE: Final = {"name": "GitHub"}


@dataclass(slots=True)
class Facts:
    """Who did what to whom and what, in OCSF's objects."""

    actor: Json = None
    target: Json = None
    team: Json = None
    org: Json = None
    repository: Json = None
    thing: Json = None
    app: Json = None
    privileges: list[str] = field(default_factory=list)


def text(value: Json) -> str | None:
    """Give a text or a number as text; anything else is nothing."""
    if value.__class__ is str:
        return str(value) or None
    return str(value) if value.__class__ is int else None


def user(login: Json, uid: Json = None, **more: Json) -> Json:
    """Make a user: the numeric id is what stays, logins are renamed; None without either."""
    name, number = text(login), text(uid)
    if not (name or number):
        return None
    robot = bool(name) and str(name).endswith("[bot]")
    return present(name=name, uid=number, type_id=4 if robot else 1, **more)


def resource(name: Json, uid: Json, kind: str, **more: Json) -> Json:
    """Make a resource; None without a name or id."""
    called, number = text(name), text(uid)
    return present(name=called, uid=number, type=kind, **more) if called or number else None


def attributes(rule: Rule, name: str, facts: Facts) -> Event:
    """Make the attributes that an event's class asks for."""
    about: Event = {"actor": {"user": facts.actor}} if facts.actor else {}
    who = facts.target or facts.actor or {"name": "unknown", "type_id": 0}
    if rule.activity == OTHER:
        about["activity_name"] = name
    match rule.class_uid:
        case 3001:
            about["user"] = who
        case 3002:
            about |= {"user": facts.actor or who, "service": SERVICE}
        case 3004:
            about["entity"] = _entity(rule, name, facts)
        case 3005:
            given = [one for one in (facts.app, facts.repository, facts.thing) if one]
            about |= {"user": who, "privileges": facts.privileges or [rule.kind], "resources": given or None}
        case 3006:
            about |= _membership(rule, facts)
        case 6001:
            about["web_resources"] = _web(rule, facts)
        case _:
            about.setdefault("actor", {"user": who})
            about |= {"api": {"operation": name, "service": SERVICE}, "resources": _many(facts)}
    return about


def _entity(rule: Rule, name: str, facts: Facts) -> Json:
    if rule.kind == "organization" and facts.org:
        return {**facts.org, "type_id": 4}
    thing = facts.thing or facts.app or facts.repository or facts.org or {"name": name}
    named = {key: value for key, value in thing.items() if key in {"name", "uid"}}
    return {**named, "type_id": 99, "type": rule.kind}


def _membership(rule: Rule, facts: Facts) -> Json:
    group = facts.team or {**(facts.org or {"name": "unknown"}), "type": "organization"}
    made: Event = {"group": group, "privileges": facts.privileges or None}
    if facts.target and rule.activity in {1, 2, 3, 4}:
        made["user"] = facts.target
    if facts.repository:
        shown = {"name", "uid", "type"}
        made["resource"] = {key: value for key, value in facts.repository.items() if key in shown}
    return made


def _web(rule: Rule, facts: Facts) -> Json:
    if rule.kind == "repository" and facts.repository:
        return [facts.repository]
    thing = facts.thing and {**facts.thing, "type": rule.kind}
    found = [one for one in (thing, facts.repository) if one]
    return found or [{**(facts.org or {"name": "unknown"}), "type": rule.kind}]


def _many(facts: Facts) -> Json:
    return [one for one in (facts.thing, facts.repository, facts.app) if one] or None


def kept(value: Json, left_out: Callable[[str, Json], bool] = lambda _name, _value: False) -> Json:
    """Copy what is kept, without secrets by name, what looks like a token, and what is `left_out`."""
    if value.__class__ is dict:
        return {
            name: kept(one, left_out) for name, one in value.items()
            if name not in SECRETS and one is not None and not left_out(name, one)
        }  # fmt: skip
    if value.__class__ is list:
        return [kept(one, left_out) for one in value]
    if value.__class__ is str and "_" in value:
        return _TOKEN.sub("***", value)
    return value

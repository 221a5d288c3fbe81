"""Audit log records → events.

`@timestamp` is when it happened, `created_at` when it was written; git events have no `created_at`. Nothing
in a record is certain but `@timestamp`, `_document_id` and `action`. The log has no outcome: an action
whose name tells of a failure failed. Source: "Get the audit log for an organization"; "Audit log events for
your organization".
"""

from collections.abc import Iterable
from typing import Final

from ingest.provider import BadRecord, Event, Instance, Json
from ingest.providers.github.parts import SECRETS, Facts, attributes, kept, resource, text, user
from ingest.providers.github.table import AUDIT, EVENTS, FAILED, Rule
from schemas.events import email, endpoint, event, present

LOG: Final = "audit"


def audit_record(record: Json, instance: Instance) -> Iterable[Event]:
    """Map one record of an organization's or an enterprise's audit log.

    Raises:
        BadRecord: It has no id, time or action, so it is no such record.
    """
    del instance
    time, source_id, name = record.get("@timestamp"), record.get("_document_id"), record.get("action")
    if time.__class__ is not int or not source_id or not name or name.__class__ is not str:
        raise BadRecord("not an audit log record: @timestamp, _document_id or action is missing")
    rule = _rule(name, record)
    facts = _facts(record)
    written, org = record.get("created_at"), facts.org
    about = attributes(rule, name, facts) | _sign_in(rule, name) | _request(name, record)
    about.setdefault("status_id", 2 if FAILED.search(name) else 1)
    yield event(
        rule.class_uid, rule.activity, time, log_name=LOG, source_id=source_id, original_time=str(time),
        event_code=name, log_provider="GitHub audit log",
        logged_time=written if written.__class__ is int else None,
        cloud={"org": org} if org else None,
        src_endpoint=_source(record),
        http_request={"user_agent": agent} if (agent := text(record.get("user_agent"))) else None,
        unmapped={
            key: kept(value) for key, value in record.items()
            if key not in EVENTS.mapped and key not in SECRETS and value is not None
        },
        **about,
    )  # fmt: skip


def _rule(name: str, record: Json) -> Rule:
    rule = AUDIT.rule(name)
    if name == "repo.access" and record.get("visibility") == "public":
        return rule._replace(activity=8)
    if name == "api.request":
        method = str(record.get("request_method")).upper()
        return rule._replace(
            activity={"POST": 1, "GET": 2, "PUT": 3, "PATCH": 3, "DELETE": 4}.get(method, 99)
        )
    return rule


def _facts(record: Json) -> Facts:
    target = user(record.get("user"), record.get("user_id"))
    for other in EVENTS.people:
        target = user(record.get(other), record.get(f"{other}_id")) or target
    actor = user(record.get("actor"), record.get("actor_id"), credential_uid=text(record.get("token_id")))
    named = text(record.get("external_identity_nameid"))
    if target and named and email(named):
        target["email_addr"] = named
    team = text(record.get("team"))
    return Facts(
        actor=actor, target=target,
        team=present(name=team, uid=text(record.get("team_id")), type="team") if team else None,
        org=_org(record), repository=_repository(record), thing=_thing(record), app=_app(record),
        privileges=[found for name in EVENTS.privileges for found in _words(record.get(name))],
    )  # fmt: skip


def _org(record: Json) -> Json:
    name, uid = _first(record.get("org")), _first(record.get("org_id"))
    if not (name or uid):
        name, uid = text(record.get("business")), text(record.get("business_id"))
    return present(name=name, uid=uid) or None


def _first(value: Json) -> str | None:
    """Take the first of several, which some events of an enterprise have."""
    return text(value[0]) if value.__class__ is list and value else text(value)


def _repository(record: Json) -> Json:
    name = _first(record.get("repo")) or _first(record.get("repository"))
    uid = _first(record.get("repo_id")) or _first(record.get("repository_id"))
    seen = text(record.get("visibility"))
    return resource(name, uid, "repository", labels=[seen] if seen else None)


def _thing(record: Json) -> Json:
    for name, uid in EVENTS.things:
        if (called := text(record.get(name))) and (not uid or uid in record):
            return resource(called, record.get(uid) if uid else None, "")
    return None


def _app(record: Json) -> Json:
    for name, uid, kind in EVENTS.apps:
        if found := resource(record.get(name), record.get(uid), kind):
            return found
    return None


def _words(value: Json) -> list[str]:
    if value.__class__ is list:
        return [found for one in value if (found := text(one))]
    if value.__class__ is dict:
        return sorted(f"{name}:{text(one)}" for name, one in value.items() if text(one))
    return str(value).split(",") if value.__class__ is str and value else []


def _source(record: Json) -> Json:
    place = record.get("actor_location")
    country = text(place.get("country_code")) if place.__class__ is dict else None
    found = endpoint(text(record.get("actor_ip")))
    return {**found, "location": {"country": country}} if country else found


def _sign_in(rule: Rule, name: str) -> Event:
    if rule.class_uid != 3002:
        return {}
    made: Event = {"auth_protocol_id": 5} if name.endswith((".sso_response", ".revoke_sso_session")) else {}
    if "two_factor" in name:
        made["is_mfa"] = True
    return made


def _request(name: str, record: Json) -> Event:
    if name != "api.request":
        return {}
    method, path = text(record.get("request_method")), text(record.get("route"))
    code = record.get("status_code")
    made: Event = {"http_response": {"code": code}} if code.__class__ is int else {}
    if code.__class__ is int and code >= 400:
        made["status_id"] = 2
    if method and path:
        made["api"] = {"operation": f"{method} {path}", "service": {"name": "GitHub"}}
    return made

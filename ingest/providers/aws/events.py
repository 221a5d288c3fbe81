"""CloudTrail records → events; what a call is about is told in `calls`.

Pure, and the hot path: plain dictionaries, no regular expression for a record, small caches. Nothing in a
record is certain but its id, time and name: identity, parameters and answer may be null. Sources: CloudTrail
user guide, "CloudTrail record contents", "CloudTrail userIdentity element", "AWS console sign-in events".
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache

import orjson

from ingest.provider import BadRecord, Event, Instance, Json
from ingest.providers.aws.calls import Attributes, classified
from schemas.events import endpoint, millis, present, shared
from schemas.what import Endpoint
from schemas.who import Actor

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
LOG = "cloudtrail"
"""Both the event history and the trail's files, so that one record has one id whichever way it comes."""

_READ = frozenset({"eventID", "eventTime", "eventName", "resources", "eventVersion"})
"""What is read but not taken out, and what says nothing."""
_NESTED = (dict, list)
_SECRETS = ("password", "secret", "token", "privatekey", "passphrase", "credentialblob")
_millis = lru_cache(maxsize=4096)(millis)
"""Whole seconds, and many records in each; sessions repeat the moment they began."""
_TYPES = {"IAMUser": 1, "Root": 2, "AWSService": 4}


def trail_record(record: Json, instance: Instance) -> Iterable[Event]:
    """Map one CloudTrail record, whichever way it came.

    Raises:
        BadRecord: It has no id, time or name, so it is no CloudTrail record.
    """
    del instance
    try:
        source_id, when, name = record["eventID"], record["eventTime"], record["eventName"]
        time = _millis(when)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"not a CloudTrail record: eventID, eventTime or eventName ({error!r})") from error
    left = record.copy()
    take = left.pop  # what is read is taken out; what nobody reads stays as it came
    source = take("eventSource", None) or "unknown"
    actor = _actor(orjson.dumps(take("userIdentity", None) or {}))
    class_uid, activity, about = classified(record, source, name, actor)
    if not all(about.values()):
        about = present(**about)
    failure, why = take("errorCode", None), take("errorMessage", None)
    failed = bool(failure) or (class_uid == 3002 and (bool(why) or _outcome(record, name) == "Failure"))
    # A literal, as `schemas.events.event` would take 1.3 µs more; what is absent is left out here.
    made: Event = {
        "class_uid": class_uid, "category_uid": class_uid // 1000, "activity_id": activity,
        "type_uid": class_uid * 100 + activity, "time": time, "severity_id": 1,
        "metadata": _metadata(record, source_id, when, name), **about,
        "actor": actor, "src_endpoint": _source(take("sourceIPAddress", None) or ""),
        "api": _api(take, source, name, failure, why), "status_id": 2 if failed else 1,
    }  # fmt: skip
    if failure or why or activity == 99:
        word = name if activity == 99 else None
        made |= present(status_code=failure, status_detail=why, activity_name=word)
    if agent := take("userAgent", None):
        made["http_request"] = {"user_agent": agent}
    if region := take("awsRegion", None):
        made["cloud"] = {"region": region}
    if rest := {each: value for each, value in left.items() if value is not None and each not in _READ}:
        made["unmapped"] = _harmless(rest)
    return [made]


def _metadata(record: Json, source_id: Json, when: str, name: Json) -> Attributes:
    made = {"log_name": LOG, "original_event_uid": source_id, "original_time": when}
    if name:
        made["event_code"] = name
    made["log_provider"] = "CloudTrail"
    if isinstance(more := record.get("addendum"), dict) and (original := more.get("originalEventID")):
        made["correlation_uid"] = original
    return made


@lru_cache(maxsize=8192)
def _actor(identity: bytes) -> Attributes:
    """Give the actor of an identity, which is JSON; made once for the many records of a session."""
    return shared(Actor, actor_of(orjson.loads(identity)))


def actor_of(identity: Json) -> Attributes:
    """Tell who acted, by `userIdentity.type`; a service that acts for somebody is `invoked_by`."""
    kind = identity.get("type") or "Unknown"
    made: Attributes = {"user": _user(identity, kind)}
    context = identity.get("sessionContext")
    if context:
        attributes = context.get("attributes") or {}
        issuer = context.get("sessionIssuer") or {}
        session: Attributes = {}
        if born := attributes.get("creationDate"):
            session["created_time"] = _millis(born)
        if mfa := attributes.get("mfaAuthenticated"):
            session["is_mfa"] = mfa == "true"
        if arn := issuer.get("arn"):
            session["issuer"] = arn
            made["user"]["groups"] = [
                present(name=issuer.get("userName"), uid=issuer.get("principalId"), type="role")
            ]
        if session:
            made["session"] = session
    if by := identity.get("invokedBy"):
        made["invoked_by"] = by
    if provider := identity.get("identityProvider"):
        made["idp"] = {"name": provider}
    return made


def _user(identity: Json, kind: str) -> Attributes:
    account, arn, key = identity.get("accountId"), identity.get("arn"), identity.get("accessKeyId")
    uid, name = _named(identity, kind)
    number = _TYPES.get(kind, 99)
    made: Attributes = {"type_id": number} if number != 99 else {"type_id": 99, "type": kind}
    if uid:
        made["uid"] = uid
    if name and name != HIDDEN:
        made["name"] = name
    elif not (uid or account):
        made["name"] = "unknown"
    if arn:
        made["uid_alt"] = arn
    if account:
        made["account"] = {"uid": account, "type_id": 10}
    if key:
        made["credential_uid"] = key
    return made


def _named(identity: Json, kind: str) -> tuple[str | None, str | None]:
    """Give the id that inventories use, and a name; a session's name follows its role's id."""
    uid, name = identity.get("principalId"), identity.get("userName")
    if kind == "Root":
        return f"{identity.get('accountId')}:root", "root"
    if kind == "AWSService":
        return uid, identity.get("invokedBy")
    if kind == "IdentityCenterUser":
        return (identity.get("onBehalfOf") or {}).get("userId") or uid, name
    return uid, name or (uid.partition(":")[2] if uid else None)


def _api(
    take: Callable[[str, None], Json], source: str, name: str, failure: str | None, why: str | None
) -> Attributes:
    made: Attributes = {"operation": name, "service": {"name": source}}
    if request := take("requestID", None):
        made["request"] = {"uid": request}
    if version := take("apiVersion", None):
        made["version"] = version
    if failure:
        made["response"] = present(error=failure, error_message=why)
    return made


@lru_cache(maxsize=8192)
def _source(address: str) -> Mapping[str, Json]:
    """Make the endpoint a call came from: an IP, or the AWS service that called; not to be changed."""
    made: Attributes = dict(endpoint(address))
    return shared(Endpoint, made if "domain" not in made else {"svc_name": address})


def _harmless(rest: Attributes) -> Attributes:
    """Leave out secrets; the whole text tells that there are none, nearly always, at a third of the price."""
    with suppress(orjson.JSONEncodeError):
        raw = orjson.dumps(rest)
        text = raw.decode().lower()
        for word in _SECRETS:
            if word in text:
                break
        else:
            return shared(dict, rest, raw)
    return {
        name: _without_secrets(value) if value.__class__ in _NESTED else value for name, value in rest.items()
    }


def _without_secrets(value: Json) -> Json:
    if value.__class__ is list:
        return [_without_secrets(inner) if inner.__class__ in _NESTED else inner for inner in value]
    return {
        name: _without_secrets(inner) if inner.__class__ in _NESTED else inner
        for name, inner in value.items()
        if not _secret(name)
    }


@lru_cache(maxsize=8192)
def _secret(name: str) -> bool:
    low = name.lower()
    return any(word in low for word in _SECRETS) and not low.endswith(
        ("required", "lastused", "policy", "arn")
    )


def _outcome(record: Json, name: str) -> str | None:
    """Tell how a sign-in ended: its outcome stands under its own name."""
    for part in ("responseElements", "serviceEventDetails"):
        if isinstance(said := record.get(part), dict) and isinstance(said.get(name), str):
            return str(said[name])
    return None

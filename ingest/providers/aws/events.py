"""CloudTrail records → events; what a call is about is told in `calls`.

Pure, and the hot path: plain dictionaries, no regular expression for a record, small caches. Nothing in a
record is certain but its id, time and name: identity, parameters and answer may be null. Sources: CloudTrail
user guide, "CloudTrail record contents", "CloudTrail userIdentity element", "AWS console sign-in events".
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import orjson

from ingest.provider import BadRecord, Event, Instance, Json
from ingest.providers.aws.calls import Attributes, classified
from schemas.events import endpoint, event, millis, present

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
LOG = "cloudtrail"
"""Both the event history and the trail's files, so that one record has one id whichever way it comes."""

_MAPPED = frozenset(
    {"eventID", "eventTime", "eventName", "eventSource", "awsRegion", "sourceIPAddress", "userAgent",
     "errorCode", "errorMessage", "requestID", "resources", "userIdentity", "apiVersion", "eventVersion"}
)  # fmt: skip
_NESTED = (dict, list)
_SECRETS = ("password", "secret", "token", "privatekey", "passphrase", "credentialblob")
_millis = lru_cache(maxsize=4096)(millis)
"""Whole seconds, and many records in each; sessions repeat the moment they began."""
_ACTORS: dict[bytes, Attributes] = {}
_MOST_ACTORS = 8192
_HARMLESS: set[str] = set()
"""Names of parameters that were looked at and hold no secret."""
_MOST_NAMES = 8192
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
    source = record.get("eventSource") or "unknown"
    actor = _actor(record.get("userIdentity") or {})
    class_uid, activity, about = classified(record, source, name, actor)
    failure, why = record.get("errorCode"), record.get("errorMessage")
    failed = bool(failure) or (class_uid == 3002 and (bool(why) or _outcome(record, name) == "Failure"))
    about["actor"], about["src_endpoint"] = actor, _source(record.get("sourceIPAddress") or "")
    about["api"] = _api(record, source, name, failure)
    about["status_id"] = 2 if failed else 1
    if failure:
        about["status_code"] = failure
    if why:
        about["status_detail"] = why
    if activity == 99:
        about["activity_name"] = name
    if agent := record.get("userAgent"):
        about["http_request"] = {"user_agent": agent}
    if region := record.get("awsRegion"):
        about["cloud"] = {"region": region}
    if rest := _rest(record):
        about["unmapped"] = rest
    addendum = record.get("addendum")
    yield event(
        class_uid, activity, time, log_name=LOG, source_id=source_id, original_time=when, event_code=name,
        log_provider="CloudTrail",
        correlation_uid=(addendum.get("originalEventID") or "") if isinstance(addendum, dict) else "",
        **about,
    )  # fmt: skip


def _actor(identity: Json) -> Attributes:
    """Give the actor of an identity, made once for the many records of a session; not to be changed."""
    key = orjson.dumps(identity)
    made = _ACTORS.get(key)
    if made is None:
        if len(_ACTORS) >= _MOST_ACTORS:
            _ACTORS.clear()
        made = _ACTORS[key] = actor_of(identity)
    return made


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


def _api(record: Json, source: str, name: str, failure: str | None) -> Attributes:
    made: Attributes = {"operation": name, "service": {"name": source}}
    if request := record.get("requestID"):
        made["request"] = {"uid": request}
    if version := record.get("apiVersion"):
        made["version"] = version
    if failure:
        made["response"] = present(error=failure, error_message=record.get("errorMessage"))
    return made


@lru_cache(maxsize=8192)
def _source(address: str) -> Mapping[str, Json]:
    """Make the endpoint a call came from: an IP, or the AWS service that called; not to be changed."""
    made: Attributes = dict(endpoint(address))
    return made if "domain" not in made else {"svc_name": address}


def _rest(record: Json) -> Attributes:
    rest = {name: value for name, value in record.items() if name not in _MAPPED and value is not None}
    for name, value in rest.items():
        if value.__class__ in _NESTED and not _clean(value):
            rest[name] = _without_secrets(value)
    return rest


def _clean(value: Json) -> bool:
    """Tell whether nothing in it has to be left out: nearly always, and far cheaper than to copy it."""
    if value.__class__ is dict:
        if not value.keys() <= _HARMLESS and any(map(_secret, value)):
            return False
        value = value.values()
    return not any(inner.__class__ in _NESTED and not _clean(inner) for inner in value)


def _without_secrets(value: Json) -> Json:
    if value.__class__ is list:
        return [_without_secrets(inner) if inner.__class__ in _NESTED else inner for inner in value]
    return {
        name: _without_secrets(inner) if inner.__class__ in _NESTED else inner
        for name, inner in value.items()
        if not _secret(name)
    }


def _secret(name: str) -> bool:
    if name in _HARMLESS:
        return False
    low = name.lower()
    if any(word in low for word in _SECRETS) and not low.endswith(("required", "lastused", "policy", "arn")):
        return True
    if len(_HARMLESS) >= _MOST_NAMES:
        _HARMLESS.clear()
    _HARMLESS.add(name)
    return False


def _outcome(record: Json, name: str) -> str | None:
    """Tell how a sign-in ended: its outcome stands under its own name."""
    for part in ("responseElements", "serviceEventDetails"):
        if isinstance(said := record.get(part), dict) and isinstance(said.get(name), str):
            return str(said[name])
    return None

"""System Log events → OCSF; which class and activity a type has is told in `rules`.

Pure, and the hot path. Nothing in a record is certain but its uuid, time and type: actor, targets and
contexts may be null, absent or full of nulls. Targets are found by their type, never by their place. A record
is the same whether it was polled or came in an event hook. Source: Okta Management API, System Log, LogEvent.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from ingest.provider import BadRecord, Event, Instance, Json
from ingest.providers.okta.rules import TABLES, rule
from ingest.providers.okta.subjects import (
    account_of,
    actor_of,
    entity_of,
    group_of,
    resource,
    resources_of,
    scopes_of,
    subject_of,
    targets,
)
from schemas.events import email, endpoint, event, millis, present

LOG: Final = "system-log"
"""Both the poll and the hooks, so that one occurrence has one id whichever way it comes."""
MASKED: Final = "***"

_MAPPED: Final = {
    "uuid", "published", "eventType", "displayMessage", "severity", "outcome", "insertionTimestamp",
    "request",
}  # fmt: skip
_SECRETS: Final = ("password", "secret", "privatekey", "passphrase", "token", "cookie")
_NESTED: Final = (dict, list)
_EMPTY: Final[tuple[Json, ...]] = (None, {}, [])
_LINK: Final = re.compile(r"(?i)(/(?:reset-password|activate|unlock|welcome|verify)/)[\w-]{16,}")
_TAME: Final = ("type", "changed", "policy", "expiry", "id", "hash", "lifetime", "name", "endpoint")
_STAY: Final = re.compile(r"(?:[\w.-]+\\)?[\w.-]+@[\w.-]+\.\w+|[\w-]+\\[\w.-]+")
"""A typed name that is an account: an address, or DOMAIN\\name; anything else may be a password."""


def log_event(record: Json, instance: Instance) -> Iterable[Event]:
    """Map one event of the System Log.

    Raises:
        BadRecord: It has no uuid, published or eventType, so it is no event of this log.
    """
    del instance
    try:
        source_id, when, name = str(record["uuid"]), str(record["published"]), str(record["eventType"])
        time = millis(when)
    except (KeyError, TypeError, ValueError) as error:
        why = type(error).__name__
        raise BadRecord(f"no System Log event: uuid, published or eventType ({why})") from None
    if (typed := _typed(record)) is not None:
        record = _masked(record, typed)
    found = rule(name)
    class_uid, about = _about(record, name, found.class_uid, found.activity_id)
    activity = found.activity_id if class_uid == found.class_uid else 99
    outcome = record.get("outcome") or {}
    result = str(outcome.get("result") or "")
    status = TABLES.status.get(result, 99) if result else None
    yield event(
        class_uid, activity, time, log_name=LOG, source_id=source_id, original_time=when, event_code=name,
        log_provider="Okta System Log", severity_id=TABLES.severity.get(record.get("severity") or "", 1),
        correlation_uid=str((record.get("transaction") or {}).get("id") or ""),
        activity_name=name.rpartition(".")[2] if activity == 99 else None,
        message=record.get("displayMessage"),
        actor=actor_of(record),
        src_endpoint=_source(record),
        http_request=_request(record),
        device=_device(record),
        status_id=status, status=result if status == 99 else None, status_detail=outcome.get("reason"),
        unmapped=_rest(record),
        **about,
    )  # fmt: skip


def _about(record: Json, name: str, class_uid: int, activity: int) -> tuple[int, Mapping[str, Json]]:
    """Give what a class needs; where the record lacks it, the event is API activity."""
    made = _MAKERS[class_uid](record, name, activity) if class_uid in _MAKERS else None
    if made is not None:
        return class_uid, made
    api = {"operation": name, "service": {"name": "Okta"}}
    return 6003, {"api": api, "resources": resources_of(record)}


def _authentication(record: Json, name: str, _activity: int) -> Json:
    context: Json = record.get("authenticationContext") or {}
    app: Json = next(targets(record, "AppInstance"), {})
    detail, service = app.get("detailEntry") or {}, resource(app) or {}
    mode = str(detail.get("signOnModeType") or detail.get("sign_on_mode_type"))
    factor = TABLES.factor.get(context.get("credentialType") or "")
    return present(
        user=subject_of(record),
        service=present(name=service.get("name") or "Okta", uid=service.get("uid")),
        session=_session(context),
        # Identity Engine writes this type for passwords too.
        is_mfa=True if name == "user.authentication.auth_via_mfa" and factor != 11 else None,
        auth_factors=[{"factor_type_id": factor}] if factor else None,
        **TABLES.protocol.get(mode, {}),
    )


def _account(record: Json, _name: str, _activity: int) -> Json:
    return present(user=account_of(record)) or None


def _grant(record: Json, name: str, _activity: int) -> Json:
    user, privileges = subject_of(record, grantee=True), scopes_of(record, name)
    return present(user=user, privileges=privileges, resources=resources_of(record))


def _authorized(record: Json, name: str, _activity: int) -> Json:
    context = record.get("authenticationContext") or {}
    return present(user=subject_of(record), privileges=scopes_of(record, name), session=_session(context))


def _membership(record: Json, name: str, activity: int) -> Json:
    if (group := group_of(record)) is None:
        return None
    privileges = scopes_of(record, name) if activity in {1, 2} else None
    return present(group=group, user=account_of(record), privileges=privileges)


def _managed(record: Json, name: str, _activity: int) -> Json:
    return present(entity=entity_of(record, name)) or None


_MAKERS: Final[Mapping[int, Callable[[Json, str, int], Json]]] = {
    3001: _account, 3002: _authentication, 3003: _authorized, 3004: _managed, 3005: _grant, 3006: _membership,
}  # fmt: skip


def _session(context: Json) -> Json:
    uid, root = context.get("externalSessionId"), context.get("rootSessionId")
    return present(uid=uid if uid != "unknown" else None, uid_alt=root if root != uid else None)


def _source(record: Json) -> Json:
    client, security = record.get("client") or {}, record.get("securityContext") or {}
    address = client.get("ipAddress")
    if not address:
        actor = record.get("actor") or {}
        return {"svc_name": "Okta"} if actor.get("type") == "SystemPrincipal" else {"name": "unknown"}
    made = endpoint(str(address))
    place = client.get("geographicalContext") or {}
    where = present(city=place.get("city"), region=place.get("state"), postal_code=place.get("postalCode"))
    return present(**made, location=where, isp=security.get("isp"))


def _request(record: Json) -> Json:
    client, debug = record.get("client") or {}, _debug(record)
    path = debug.get("requestUri")
    chain = (record.get("request") or {}).get("ipChain") or []
    addresses = [one["ip"] for one in chain if isinstance(one, dict) and one.get("ip") and _is_ip(one["ip"])]
    return present(
        user_agent=(client.get("userAgent") or {}).get("rawUserAgent"),
        uid=debug.get("requestId"),
        url={"path": _path(str(path))} if path else None,
        x_forwarded_for=addresses,
    )


@lru_cache(maxsize=8192)
def _is_ip(address: str) -> bool:
    return "ip" in endpoint(address)


def _device(record: Json) -> Json:
    found = record.get("device") or {}
    if not found.get("id"):
        return None
    return present(
        type_id=0, uid=found["id"], name=found.get("name"), is_managed=found.get("managed"),
        is_trusted=found.get("registered"),
    )  # fmt: skip


def _debug(record: Json) -> Json:
    return (record.get("debugContext") or {}).get("debugData") or {}


@lru_cache(maxsize=4096)
def _path(url: str) -> str:
    """Leave the query out: it carries tokens, codes and states; and the token of a recovery link."""
    bare = url.partition("?")[0].partition("#")[0]
    return _LINK.sub(rf"\1{MASKED}", bare)


def _rest(record: Json) -> Json:
    """Keep what was not mapped, as it came, without nulls and without what has the name of a secret."""
    rest = {name: value for name, value in record.items() if name not in _MAPPED}
    if client := record.get("client"):
        agent = _without(client.get("userAgent") or {}, "rawUserAgent")
        rest["client"] = {**_without(client, "ipAddress"), "userAgent": agent}
    if debug := _debug(record):
        kept = _without(debug, "requestId", "requestUri")
        if isinstance(url := kept.get("url"), str):
            kept["url"] = _path(url)
        rest["debugContext"] = {"debugData": kept}
    return _kept(rest)


def _without(value: Json, *names: str) -> Json:
    return {name: inner for name, inner in value.items() if name not in names}


def _kept(value: Json) -> Json:
    if value.__class__ is list:
        kept = [_kept(inner) if inner.__class__ in _NESTED else inner for inner in value]
        return [inner for inner in kept if inner not in _EMPTY]
    made = {}
    for name, inner in value.items():
        if inner is None or _secret(name):
            continue
        if inner.__class__ in _NESTED:
            if kept := _kept(inner):
                made[name] = kept
        else:
            made[name] = inner
    return made


@lru_cache(maxsize=8192)
def _secret(name: str) -> bool:
    low = name.lower().replace("_", "")
    return any(word in low for word in _SECRETS) and not low.endswith(_TAME)


def _typed(record: Json) -> str | None:
    """Find what somebody unknown typed as a name in vain, unless it has the shape of an account."""
    actor, outcome = record.get("actor") or {}, record.get("outcome") or {}
    said = actor.get("alternateId")
    known = str(actor.get("id") or "unknown") != "unknown"
    if known or not said or said == "unknown" or outcome.get("result") not in {"FAILURE", "DENY"}:
        return None
    return None if email(said) or _STAY.fullmatch(said) else str(said)


def _masked(value: Json, typed: str) -> Json:
    if isinstance(value, dict):
        return {name: _masked(inner, typed) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, typed) for inner in value]
    return value.replace(typed, MASKED) if isinstance(value, str) else value

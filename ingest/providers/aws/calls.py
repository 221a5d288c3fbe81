"""Which calls become which OCSF class (the table is `calls.toml`), and what they are about.

A row counts only if the record names what the class is about: a refused call's parameters may be null. A call
without a row is API activity.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from ingest.provider import Json
from schemas.events import present

Attributes = dict[str, Json]
_About = Callable[[Json, Attributes], Attributes | None]
_PROTOCOLS = {"AssumeRoleWithSAML": 5, "AssumeRoleWithWebIdentity": 4}


def classified(record: Json, source: str, name: str, actor: Attributes) -> tuple[int, int, Attributes]:
    """Tell a record's class and activity, and the attributes that are particular to the class."""
    if found := _CLASSES.get((source, name)):
        class_uid, activity, about = found
        attributes = about(record, actor)
        if attributes is not None:
            return class_uid, activity, attributes
    about_api: Attributes = {}
    if resources := record.get("resources"):
        about_api["resources"] = [
            present(uid=one.get("ARN") or one.get("ARNPrefix") or one.get("type"), type=one.get("type"))
            for one in resources
        ]
    return 6003, 2 if record.get("readOnly") is True else _crud(name), about_api


@lru_cache(maxsize=8192)
def _crud(name: str) -> int:
    return next((one["activity"] for one in _TABLE["verbs"] if name.startswith(tuple(one["words"]))), 99)


def _object(holder: Json, name: str) -> Json:
    """Give an inner object; an empty one where there is none, for any may be null."""
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def _signed_in(record: Json, actor: Attributes) -> Attributes:
    used = _object(record, "additionalEventData").get("MFAUsed")
    return {
        "user": actor["user"],
        "is_mfa": None if used is None else used == "Yes",
        "service": {"name": record.get("eventSource")},
    }


def _assumed(record: Json, actor: Attributes) -> Attributes:
    """The session that was given, if it was, else who asked; the role that was asked for is its group."""
    made: Attributes = {"service": {"name": record.get("eventSource")}, "user": actor["user"]}
    if session := _object(_object(record, "responseElements"), "assumedRoleUser"):
        uid, arn = str(session.get("assumedRoleId")), str(session.get("arn"))
        name = uid.partition(":")[2]
        made["user"] = {"uid": uid, "name": name, "uid_alt": arn, "type_id": 99, "type": "AssumedRole"}
    if protocol := _PROTOCOLS.get(record["eventName"]):
        made["auth_protocol_id"] = protocol
    return made


def _target(record: Json, actor: Attributes) -> Attributes | None:
    """The person or role a call is about; without a name in it, an IAM user acts on itself."""
    params, made = _object(record, "requestParameters"), _object(_object(record, "responseElements"), "user")
    if role := params.get("roleName"):
        return {"name": role, "type_id": 99, "type": "Role"}
    found: Attributes = present(
        uid=made.get("userId") or params.get("userId") or params.get("principalId"),
        name=params.get("userName") or made.get("userName"), uid_alt=made.get("arn"),
    )  # fmt: skip
    if "uid" in found or "name" in found:
        return found
    return None if record.get("errorCode") else actor["user"]


def _person(record: Json, actor: Attributes) -> Attributes | None:
    user = _target(record, actor)
    return {"user": user} if user else None


def _policy(params: Json) -> list[str]:
    return [name for key in ("policyArn", "policyName", "permissionSetArn") if (name := params.get(key))]


def _granted(record: Json, actor: Attributes) -> Attributes | None:
    privileges, user = _policy(_object(record, "requestParameters")), _target(record, actor)
    return {"user": user, "privileges": privileges} if privileges and user else None


def _group(record: Json, _actor: Attributes) -> Attributes | None:
    params, made = _object(record, "requestParameters"), _object(_object(record, "responseElements"), "group")
    group = present(
        name=params.get("groupName") or params.get("displayName"),
        uid=made.get("groupId") or params.get("groupId"), uid_alt=made.get("arn"),
    )  # fmt: skip
    user = present(name=params.get("userName"), uid=_object(params, "memberId").get("userId"))
    return {"group": group, "user": user, "privileges": _policy(params)} if group else None


def _entity(row: Json) -> _About:
    """Find a setting or policy by its fixed name, or by the parameters that may name it."""
    kind = {"type_id": 5} if row["entity"] == "policy" else {"type_id": 99, "type": row["entity"]}

    def about(record: Json, _actor: Attributes) -> Attributes | None:
        params = _object(record, "requestParameters")
        names = [row.get("name"), *map(params.get, row.get("named_by", ()))]
        name = next((one for one in names if isinstance(one, str) and one), None)
        return {"entity": {"name": name, **kind}} if name else None

    return about


_ABOUT: Mapping[str, _About] = {
    "signed_in": _signed_in, "assumed": _assumed, "person": _person, "granted": _granted, "group": _group,
}  # fmt: skip
_TABLE: Json = tomllib.loads(Path(__file__).with_name("calls.toml").read_text())
_CLASSES: Mapping[tuple[str, str], tuple[int, int, _About]] = {
    (source, name): (row["class"], activity, _entity(row) if "entity" in row else _ABOUT[row["about"]])
    for source, rows in _TABLE["rows"].items()
    for row in rows
    for name, activity in row["calls"].items()
}

"""IAM's and Identity Center's records → inventory events of accounts, groups and privileges.

An entity's id is AWS's own (`AIDA…`, `AGPA…`, `AROA…`, a GUID), for names are used again; the root user has
none and gets the account's number. Sources: IAM API reference, UserDetail, GroupDetail, RoleDetail; IAM user
guide, "Getting credential reports"; Identity Store API reference, User.
"""

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

import orjson

from ingest.provider import Event, Instance, Json
from schemas.events import event, millis, present

_ABSENT = frozenset({"", "N/A", "no_information", "not_supported", "TRUE_BUT_UNKNOWN"})


def account(record: Json, _instance: Instance) -> Iterable[Event]:
    """Map a user of IAM, the root user, or a person of Identity Center."""
    if record["kind"] == "person":
        yield _person(record)
        return
    report, user, root = record.get("report") or {}, record.get("user") or {}, record["kind"] == "root"
    uid = f"{record['account']}:root" if root else user["UserId"]
    created = user.get("CreateDate") or report.get("user_creation_time")
    groups = [{"name": name, "type": "group"} for name in user.get("GroupList", [])]
    person = present(
        created_time=_when(created),
        tags=_tags(user.get("Tags")),
        last_login_time=_when(report.get("password_last_used")),
    )
    dead = not root and not _alive(report)
    yield _inventory(
        "accounts", uid, created,
        present(
            uid=uid, name="root" if root else user["UserName"],
            uid_alt=user.get("Arn") or report.get("arn"), type_id=2 if root else 1,
            account=present(uid=record["account"], type_id=10 if root else 3, is_disabled=dead or None),
            has_mfa=_flag(report.get("mfa_active")), groups=groups, ldap_person=person,
        ),
        unmapped={
            name: value for name, value in report.items()
            if value not in _ABSENT and name.startswith(("password_", "access_key_", "cert_"))
        },
    )  # fmt: skip


def _person(record: Json) -> Event:
    user = record["user"]
    name = user.get("Name") or {}
    mails = user.get("Emails") or []
    mail = next((one["Value"] for one in mails if one.get("Primary")), mails[0]["Value"] if mails else None)
    off = user.get("UserStatus") == "DISABLED"
    return _inventory(
        "accounts", user["UserId"], user.get("CreatedAt"),
        present(
            uid=user["UserId"], name=user.get("UserName"), type_id=1, display_name=user.get("DisplayName"),
            email_addr=mail, domain=record["store"],
            account=present(uid=user["UserId"], type_id=99, type="Identity Center", is_disabled=off or None),
            ldap_person=present(given_name=name.get("GivenName"), surname=name.get("FamilyName"),
                                job_title=user.get("Title")),
        ),
    )  # fmt: skip


def group(record: Json, _instance: Instance) -> Iterable[Event]:
    """Map a group with its members (ids and names) and the names of its policies."""
    found = record["group"]
    uid, name = found["GroupId"], found.get("GroupName") or found.get("DisplayName")
    policies, when = [one["name"] for one in _policies(found)], found.get("CreateDate")
    resource = present(
        uid=uid, uid_alt=found.get("Arn"), name=name, type="group", created_time=_when(when),
        group=present(uid=uid, name=name, desc=found.get("Description"), privileges=policies),
        data=present(members=record["members"], account=record.get("account"), store=record.get("store")),
    )  # fmt: skip
    yield event(5023, 2, _time(when), log_name="groups", source_id=uid, resources=[resource])


def privilege(record: Json, _instance: Instance) -> Iterable[Event]:
    """Map what a user or role holds: one group a policy, those that come through a group included."""
    one = record["principal"]
    role = "RoleId" in one
    uid = one["RoleId"] if role else one["UserId"]
    held = [*_policies(one)]
    for through in record["groups"]:
        names = [policy["name"] for policy in _policies(through)]
        held += [present(uid=through["GroupId"], name=through["GroupName"], type="group", privileges=names)]
    if not held:
        return
    trust = _document(one.get("AssumeRolePolicyDocument"))
    boundary = (one.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    kind = {"type_id": 99, "type": "Role"} if role else {"type_id": 1}
    yield _inventory(
        "privileges", uid, one.get("CreateDate"),
        present(
            uid=uid, name=one["RoleName"] if role else one["UserName"], uid_alt=one.get("Arn"), groups=held,
            account={"uid": record["account"], "type_id": 4 if role else 3}, **kind,
        ),
        unmapped=present(permissionsBoundary=boundary, assumeRolePolicy=trust),
    )  # fmt: skip


def _inventory(topic: str, uid: str, created: str | None, user: Json, unmapped: Json = None) -> Event:
    return event(5003, 2, _time(created), log_name=topic, source_id=uid, user=user, unmapped=unmapped)


def _policies(one: Json) -> Iterator[Json]:
    for policy in one.get("AttachedManagedPolicies") or []:
        name = policy["PolicyName"]
        yield {"name": name, "uid": policy["PolicyArn"], "type": "role", "privileges": [name]}
    for kind in ("UserPolicyList", "GroupPolicyList", "RolePolicyList"):
        for policy in one.get(kind) or []:
            actions = _actions(_document(policy["PolicyDocument"]))
            yield present(name=policy["PolicyName"], type="role", desc="inline", privileges=actions)


def _document(given: Json) -> Json:
    """Open a policy: the SDK already did, or it comes URL-encoded as IAM sends it."""
    return orjson.loads(unquote(given)) if isinstance(given, str) else given


def _actions(document: Json) -> list[str]:
    actions: set[str] = set()
    for statement in _many(document.get("Statement")):
        if statement.get("Effect") == "Allow":
            actions.update(_many(statement.get("Action")))
            actions.update(f"not {action}" for action in _many(statement.get("NotAction")))
    return sorted(actions)


def _many(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _alive(report: Json) -> bool:
    """Tell whether a user can sign in at all; one nothing is known of can."""
    doors = ("password_enabled", "access_key_1_active", "access_key_2_active")
    ways = [report[door] for door in doors if door in report]
    return not ways or "true" in ways


def _flag(value: str | None) -> bool | None:
    return None if value in (None, "", "N/A", "not_supported") else value == "true"


def _tags(tags: Json) -> list[Json]:
    return [{"name": tag["Key"], "value": tag["Value"]} for tag in tags or [] if tag["Value"]]


def _when(text: str | None) -> int | None:
    return None if not text or text in _ABSENT else millis(text)


def _time(created: str | None) -> int:
    """Time an inventory's event: when the entity was made, for states have no time of their own."""
    return (_when(created) if created else None) or 1_136_073_600_000  # 2006, when AWS began

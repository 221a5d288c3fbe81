"""Okta's users, groups and role assignments → inventory events.

An entity's id is Okta's own (00u…, 00g…, 0oa…), as the log's events have it. Sources: Okta Management API,
User, Group, Role Assignment.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from ingest.provider import BadRecord, Event, Instance, Json
from ingest.providers.okta.events import log_event
from ingest.providers.okta.reads import MOST_MEMBERS
from schemas.events import email, event, millis, present

_OFF: Final = frozenset({"SUSPENDED", "DEPROVISIONED", "STAGED"})
_PROFILE: Final = (
    "userType", "organization", "division", "costCenter", "countryCode", "manager", "managerId",
    "secondEmail",
)  # fmt: skip
_BEGAN: Final = 1_230_768_000_000  # 2009, when Okta began


def record(one: Json, instance: Instance) -> Iterable[Event]:
    """Map any record of Okta's: an event of the log, an event hook's body, a user, a group, roles held.

    Of a hook's body, the events beyond the first have ids of their own here; a connector takes it apart.

    Raises:
        BadRecord: It is none of these.
    """
    if not isinstance(one, dict):
        raise BadRecord("no object")
    if "uuid" in one:
        return log_event(one, instance)
    if "principal" in one:
        return privilege(one["principal"], one["roles"])
    if "profile" in one and "status" in one:
        return account(one)
    if "group" in one or one.get("objectClass"):
        return group(one.get("group", one), one.get("members"))
    if isinstance(one.get("data"), dict):
        return (made for each in pushed(one) for made in log_event(each, instance))
    raise BadRecord("neither an event of the log, nor an event hook's body, nor a user, group or role")


def pushed(body: Json) -> list[Json]:
    """Take the events out of an event hook's body.

    Raises:
        BadRecord: It has none.
    """
    data = body.get("data") if isinstance(body, dict) else None
    found = data.get("events") if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise BadRecord("no event hook's body: data.events is missing")
    return found


def account(user: Json) -> Iterator[Event]:
    """Map a user of any status, deprovisioned included."""
    profile, uid, status = user.get("profile") or {}, str(user["id"]), str(user.get("status") or "")
    login, factors = profile.get("login"), user.get("factors")
    full = " ".join(filter(None, map(profile.get, ("firstName", "lastName"))))
    yield event(
        5003, 2, _changed(user), log_name="accounts", source_id=uid,
        user=present(
            uid=uid, name=login, email_addr=email(profile.get("email")) or email(login), type_id=1,
            display_name=profile.get("displayName") or full,
            account=present(
                uid=uid, type_id=99, type="Okta user", labels=[status.lower()] if status else [],
                is_disabled=status in _OFF, is_locked=status == "LOCKED_OUT",
            ),
            has_mfa=None if factors is None else bool(factors),
            ldap_person=present(
                created_time=_when(user.get("created")), modified_time=_when(user.get("lastUpdated")),
                last_login_time=_when(user.get("lastLogin")), given_name=profile.get("firstName"),
                surname=profile.get("lastName"), department=profile.get("department"),
                job_title=profile.get("title"), employee_uid=profile.get("employeeNumber"),
            ),
        ),
        unmapped=present(
            status=status, statusChanged=user.get("statusChanged"),
            passwordChanged=user.get("passwordChanged"),
            activated=user.get("activated"), transitioningToStatus=user.get("transitioningToStatus"),
            factors=factors, profile={name: profile[name] for name in _PROFILE if profile.get(name)},
        ),
    )  # fmt: skip


def group(found: Json, members: Json) -> Iterator[Event]:
    """Map a group with its members: ids and logins, as many as fit."""
    profile, uid, kind = found.get("profile") or {}, str(found["id"]), str(found.get("type") or "")
    name = profile.get("name")
    everyone = kind == "BUILT_IN" and name == "Everyone"
    listed = [present(uid=one["id"], name=one.get("login")) for one in (members or [])[:MOST_MEMBERS]]
    cut = members is not None and len(members) > MOST_MEMBERS
    resource = present(
        uid=uid, name=name, type="group", labels=[kind.lower()] if kind else [],
        created_time=_when(found.get("created")), modified_time=_when(found.get("lastUpdated")),
        group=present(uid=uid, name=name, desc=profile.get("description"), type=kind),
        data=present(
            members=listed, everyone=everyone or None, truncated=cut or None,
            lastMembershipUpdated=found.get("lastMembershipUpdated"),
        ),
    )  # fmt: skip
    yield event(5023, 2, _changed(found), log_name="groups", source_id=uid, resources=[resource])


def privilege(principal: Json, roles: Json) -> Iterator[Event]:
    """Map the admin roles of a user, a group or a service app, each with what it is limited to."""
    uid, type_id = str(principal["id"]), {"User": 1, "Client": 4}.get(principal.get("type"), 99)
    held = [
        present(
            uid=one.get("id"), name=one.get("label") or one.get("type"), type="role",
            privileges=[str(one.get("type") or "CUSTOM")],
            desc="through a group" if one.get("assignmentType") == "GROUP" else None,
        )
        for one in roles
    ]  # fmt: skip
    limited = {
        str(one.get("id")): [(each.get("profile") or {}).get("name") or each.get("id") for each in groups]
        for one in roles
        if (groups := _limits(one))
    }
    when = max(map(_changed, roles), default=_BEGAN)
    sets = {str(one.get("id")): one["resource-set"] for one in roles if one.get("resource-set")}
    yield event(
        5003, 2, when, log_name="privileges", source_id=uid,
        user=present(
            uid=uid, name=principal.get("name"), groups=held, type_id=type_id,
            type="Group" if type_id == 99 else None,
        ),
        unmapped=present(targets=limited, resourceSets=sets),
    )  # fmt: skip


def _limits(role: Json) -> list[Json]:
    found = ((role.get("_embedded") or {}).get("targets") or {}).get("groups")
    return found if isinstance(found, list) else []


def _when(text: Json) -> int | None:
    return millis(text) if isinstance(text, str) and text else None


def _changed(one: Json) -> int:
    return _when(one.get("lastUpdated") or one.get("created")) or _BEGAN

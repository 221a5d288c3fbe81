"""Members, teams, privileges and apps → inventory events.

Accounts and teams are known by GitHub's numeric ids, for logins and slugs are renamed. The states have no
time of their own: an event bears the time the entity was made or, where GitHub does not say it, 2008.
"""

from collections.abc import Iterable
from typing import Final

from ingest.provider import Event, Instance, Json
from ingest.providers.github.parts import SECRETS, kept, text
from schemas.events import email, event, millis, present

BEGAN: Final = 1_207_785_600_000
"""GitHub's launch, 2008-04-10, where a state has no time."""
MEMBERS: Final = 5_000
"""Members of a team that an event names; beyond it only their number is told."""
_LINKS: Final = ("url", "_url")
_VOLATILE: Final = frozenset(
    {"kind", "node_id", "gravatar_id", "id", "login", "token_last_used_at", "credential_accessed_at",
     "updated_at", "inviter", "account"}
)  # fmt: skip


def account(record: Json, instance: Instance) -> Iterable[Event]:
    """Map a member, an outside collaborator or a pending invitation."""
    del instance
    user, kind = record["user"], record["kind"]
    if kind == "invited":
        yield _invitation(user)
        return
    uid, identity = str(user["id"]), record.get("identity") or {}
    mails = [one for one in [*(identity.get("emails") or []), identity.get("name_id")] if email(one)]
    role = {"admin": "owner", "member": "member", "outside": "outside_collaborator"}[kind]
    sort = 4 if user.get("type") == "Bot" else 2 if kind == "admin" else 1
    labels = ["outside"] if kind == "outside" else None
    made = present(
        uid=uid, uid_alt=identity.get("name_id"), name=user["login"], type_id=sort,
        email_addr=mails[0] if mails else None, has_mfa=record.get("two_factor"),
        account=present(uid=uid, name=user["login"], type_id=99, type="GitHub account", labels=labels),
        groups=[{"name": role, "type": "role"}],
        ldap_person=present(email_addrs=list(dict.fromkeys(mails)), employee_uid=identity.get("guid")),
    )  # fmt: skip
    yield event(5003, 2, BEGAN, log_name="accounts", source_id=uid, user=made, unmapped=_rest(user))


def _invitation(invited: Json) -> Event:
    uid = f"invitation:{invited['id']}"
    login, mail = text(invited.get("login")), invited.get("email")
    made = present(
        uid=uid, name=login or mail, type_id=1, email_addr=email(mail),
        account={"uid": uid, "type_id": 99, "type": "GitHub invitation", "labels": ["pending"]},
        groups=[{"name": invited["role"], "type": "role"}] if invited.get("role") else None,
    )  # fmt: skip
    return event(5003, 2, _when(invited.get("created_at")), log_name="accounts", source_id=uid, user=made,
                 unmapped=_rest(invited))  # fmt: skip


def group(record: Json, instance: Instance) -> Iterable[Event]:
    """Map a team with its members."""
    del instance
    team, members = record["team"], record["members"]
    uid, name = str(team["id"]), team["name"]
    parent = team.get("parent") or {}
    shown = [
        present(uid=str(one["id"]), name=one["login"], role=one.get("role") or one.get("role_name"))
        for one in members[:MEMBERS]
    ]
    resource = present(
        uid=uid, uid_alt=team.get("slug"), name=name, type="group",
        group=present(uid=uid, name=name, desc=team.get("description"), type="team"),
        data=present(members=shown, member_count=len(members), privacy=team.get("privacy"),
                     permission=team.get("permission"), parent=text(parent.get("id"))),
    )  # fmt: skip
    yield event(5023, 2, BEGAN, log_name="groups", source_id=uid, resources=[resource])


def privilege(record: Json, instance: Instance) -> Iterable[Event]:
    """Map what a user or a team holds in one place: the organization, a role, a repository."""
    kind = record["kind"]
    repo, role, team = record.get("repo") or {}, record.get("role") or {}, record.get("team") or {}
    if kind == "owner":
        place, held = "owner", {"name": "owner", "type": "role", "privileges": ["admin"], "uid": instance.id}
    elif kind == "role":
        place = f"role:{role['id']}"
        names = [f"{role['base_role']} of all repositories"] if role.get("base_role") else []
        held = present(uid=str(role["id"]), name=role["name"], desc=role.get("description"), type="role",
                       privileges=[*names, *(role.get("permissions") or [])] or [role["name"]])  # fmt: skip
    else:
        place, given = f"repository:{repo['id']}", record["user"] if kind == "repo" else repo
        permission = given.get("role_name") or _highest(given.get("permissions") or {})
        held = {
            "uid": str(repo["id"]),
            "name": repo["full_name"],
            "type": "repository",
            "privileges": [permission],
        }
    user = record.get("user")
    who = _user(user, outside=bool(record.get("outside"))) if user else _team(team)
    uid = f"{place}/{'user' if user else 'team'}:{who['uid']}"
    yield event(5003, 2, BEGAN, log_name="privileges", source_id=uid, user={**who, "groups": [held]},
                unmapped=present(visibility=repo.get("visibility")))  # fmt: skip


def _user(user: Json, *, outside: bool) -> Json:
    account = {"uid": str(user["id"]), "type_id": 99, "type": "GitHub account"}
    return {
        "uid": str(user["id"]), "name": user["login"], "type_id": 4 if user.get("type") == "Bot" else 1,
        "account": {**account, "labels": ["outside"]} if outside else account,
    }  # fmt: skip


def _team(team: Json) -> Json:
    return {"uid": str(team["id"]), "name": team["name"], "type_id": 99, "type": "Team"}


def _highest(permissions: Json) -> str:
    return next(
        (one for one in ("admin", "maintain", "push", "triage", "pull") if permissions.get(one)), "none"
    )


def app(record: Json, instance: Instance) -> Iterable[Event]:
    """Map an installed App, an authorized credential or a fine-grained token."""
    del instance
    kind = record["kind"]
    if kind == "installation":
        uid, name, sort = f"installation:{record['id']}", record["app_slug"], "github_app"
        owner, made = None, record.get("created_at")
        granted = [f"{one}:{level}" for one, level in sorted(record["permissions"].items())]
        labels = ["suspended"] if record.get("suspended_at") else []
    elif kind == "credential":
        uid, sort = f"credential:{record['credential_id']}", record["credential_type"]
        name = record.get("authorized_credential_title") or record.get("authorized_credential_note") or sort
        owner, made = {"name": record["login"], "type_id": 1}, record.get("credential_authorized_at")
        granted, labels = record.get("scopes") or [], []
    else:
        uid, name, sort = f"token:{record['id']}", record["token_name"], "fine-grained personal access token"
        owner = {"uid": str(record["owner"]["id"]), "name": record["owner"]["login"], "type_id": 1}
        made = record.get("access_granted_at")
        granted = [
            f"{where}:{one}:{level}" for where, given in sorted(record["permissions"].items())
            for one, level in sorted(given.items())
        ]  # fmt: skip
        labels = ["expired"] if record.get("token_expired") else []
    resource = present(
        uid=uid, name=name, type=sort, owner=owner, labels=labels, created_time=_when(made) if made else None,
        data={"scopes": granted, **_rest(record)},
    )  # fmt: skip
    yield event(5023, 2, _when(made), log_name="app-permissions", source_id=uid, resources=[resource])


def _rest(record: Json) -> Json:
    """Keep what is small and no link; times of use change with every call, and would publish it each time."""
    return {
        name: kept(value) for name, value in record.items()
        if name not in _VOLATILE and name not in SECRETS and not name.endswith(_LINKS)
        and value not in (None, "", [], {})
    }  # fmt: skip


def _when(said: Json) -> int:
    return millis(said) if said else BEGAN

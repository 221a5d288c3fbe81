"""Who and what a System Log event is about: its actor, and its targets by their types.

An event lists targets in no fixed order: what is needed is looked for by type. Users are named by Okta's id
(00u…), as the inventories have them; `alternateId` is the login, an app user's is the name in that app.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from ingest.provider import Json
from ingest.providers.okta.rules import TABLES
from schemas.events import email, present

_PEOPLE: Final = ("User", "AppUser")
_CLIENTS: Final = ("AppInstance", "Client", "OAuthClient", "PublicClientApp", "ServiceClient")
_SCOPES: Final = (
    "privilegeGranted", "privilegeRevoked", "grantedScopes", "scopes", "scope", "requestedScopes",
)  # fmt: skip
_NOBODY: Final = {"name": "unknown", "type_id": 0}


def actor_of(record: Json) -> Json:
    """Tell who acted, with the session and the identity provider that vouched."""
    said, context = record.get("actor") or {}, record.get("authenticationContext") or {}
    issuer, client = context.get("issuer") or {}, said if said.get("type") in _CLIENTS else {}
    return present(
        user=person(said) or {**_NOBODY},
        session=present(uid=_known(context.get("externalSessionId"))),
        idp=present(uid=issuer.get("id"), name=issuer.get("type")),
        app_uid=client.get("id"), app_name=client.get("displayName"),
    )  # fmt: skip


def person(one: Json) -> Json:
    """Make a user of an actor or a target; None: it has neither id nor name."""
    uid, name, kind = _known(one.get("id")), _known(one.get("alternateId")), str(one.get("type") or "User")
    shown = _known(one.get("displayName"))
    if not (uid or name or shown):
        return None
    type_id = 1 if kind in _PEOPLE else 3 if kind == "SystemPrincipal" else 4 if kind in _CLIENTS else 99
    return present(
        uid=uid, name=name or shown, display_name=shown, email_addr=email(name), type_id=type_id,
        type=kind if type_id == 99 else None,
    )  # fmt: skip


def _known(text: Json) -> str | None:
    return None if text in (None, "", "unknown") else str(text)


def _listed(record: Json) -> list[Json]:
    return [one for one in record.get("target") or [] if isinstance(one, dict)]


def targets(record: Json, *kinds: str) -> Iterator[Json]:
    """List the targets of these types, in the order of the types."""
    found = _listed(record)
    return (one for kind in kinds for one in found if one.get("type") == kind)


def account_of(record: Json, *others: str) -> Json:
    """Find the account an event changes: the user among the targets, else the app user, else `others`."""
    return next(filter(None, map(person, targets(record, *_PEOPLE, *others))), None)


def subject_of(record: Json, *, grantee: bool = False) -> Json:
    """Find whom a sign-in or a grant is about; without a target it is the actor.

    A grant may also be to a group or to a client.
    """
    found = account_of(record, *(("UserGroup", *_CLIENTS) if grantee else ()))
    return found or person(record.get("actor") or {}) or {**_NOBODY}


def group_of(record: Json) -> Json:
    """Find the group an event changes."""
    for one in targets(record, "UserGroup", "AppGroup", "Group"):
        if made := present(uid=_known(one.get("id")), name=_known(one.get("displayName"))):
            return {**made, "type": str(one["type"])}
    return None


def scopes_of(record: Json, name: str) -> list[str]:
    """Say what was granted: scopes, admin roles, else the app or role among the targets."""
    debug = (record.get("debugContext") or {}).get("debugData") or {}
    if said := next(filter(None, map(debug.get, _SCOPES)), None):
        words = said if isinstance(said, list) else str(said).split(", " if "," in str(said) else None)
        return [str(word).strip() for word in words if str(word).strip()]
    found = [
        _known(one.get("displayName"))
        for one in targets(record, "ROLE", "CUSTOM_ROLE", "AppInstance", "scope")
    ]
    return [one for one in found if one] or [name.rpartition(".")[2]]


def resource(one: Json) -> Json:
    """Make a resource of a target; None: it has neither id nor name."""
    uid, name = _known(one.get("id")), _known(one.get("displayName")) or _known(one.get("alternateId"))
    return present(uid=uid, name=name, type=_known(one.get("type"))) if uid or name else None


def resources_of(record: Json) -> Json:
    """List all targets as resources."""
    return list(filter(None, map(resource, _listed(record)))) or None


def entity_of(record: Json, name: str) -> Json:
    """Find the thing an event is about, by the types its family prefers, people last."""
    wanted = next((kinds for start, kinds in TABLES.entity.items() if name.startswith(start)), ())
    others = sorted(_listed(record), key=lambda one: one.get("type") in _PEOPLE)
    found = chain(targets(record, *wanted), others)
    one: Json = next((one for one in found if _known(one.get("type")) or resource(one)), {})
    if (made := resource(one)) is None:
        return None
    kind = made.get("type", "")
    type_id = next((number for start, number in TABLES.kind.items() if kind.startswith(start)), 99)
    data = {k: v for k, v in (one.get("detailEntry") or {}).items() if v is not None}
    return present(**{**made, "type_id": type_id, "type": kind or "other", "data": data})

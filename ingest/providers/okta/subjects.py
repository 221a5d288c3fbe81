"""Who and what a System Log event is about: its actor, and its targets by their types.

An event lists targets in no fixed order: what is needed is looked for by type. Users are named by Okta's id
(00u…), as the inventories have them; `alternateId` is the login, an app user's is the name in that app.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from ingest.provider import Json
from schemas.events import email, present

_PEOPLE: Final = ("User", "AppUser")
_CLIENTS: Final = frozenset({"PublicClientApp", "AppInstance", "ServiceClient", "Client", "OAuthClient"})
_ENTITIES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("policy.rule.", ("PolicyRule", "Rule")),
    ("policy.", ("PolicyEntity", "Policy")),
    ("device.", ("Device",)),
    ("app", ("AppInstance", "PublicClientApp")),
    ("group.", ("GroupRule", "Rule", "UserGroup")),
    ("iam.role.", ("CUSTOM_ROLE", "ROLE")),
    ("iam.", ("RESOURCE_SET",)),
)
_KINDS: Final[tuple[tuple[str, int], ...]] = (
    ("Device", 1), ("AppUser", 2), ("User", 2), ("UserGroup", 3), ("Org", 4), ("Policy", 5),
    ("Zone", 7), ("NetworkZone", 7),
)  # fmt: skip


def actor_of(record: Json) -> Json:
    """Tell who acted, with the session and the identity provider that vouched."""
    said = record.get("actor") or {}
    context = record.get("authenticationContext") or {}
    session, issuer = context.get("externalSessionId"), context.get("issuer") or {}
    return present(
        user=person(said) or {"name": "unknown", "type_id": 0},
        session=present(uid=session) if session != "unknown" else None,
        idp=present(uid=issuer.get("id"), name=issuer.get("type")),
        app_uid=said.get("id") if said.get("type") in _CLIENTS else None,
        app_name=said.get("displayName") if said.get("type") in _CLIENTS else None,
    )


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


def targets(record: Json, *kinds: str) -> Iterator[Json]:
    """List the targets of these types, in the order of the types."""
    found = [one for one in record.get("target") or [] if isinstance(one, dict)]
    for kind in kinds:
        yield from (one for one in found if one.get("type") == kind)


def accounts_of(record: Json) -> Json:
    """Find the account an event changes: the user among the targets, else the app user."""
    for one in targets(record, *_PEOPLE):
        if made := person(one):
            return made
    return None


def subject_of(record: Json, *, grantee: bool = False) -> Json:
    """Find whom a sign-in or a grant is about; without a target it is the actor.

    A grant may also be to a group or to a client.
    """
    kinds = (*_PEOPLE, "UserGroup", *sorted(_CLIENTS)) if grantee else _PEOPLE
    for one in targets(record, *kinds):
        if made := person(one):
            return made
    return person(record.get("actor") or {}) or {"name": "unknown", "type_id": 0}


def group_of(record: Json) -> Json:
    """Find the group an event changes."""
    for one in targets(record, "UserGroup", "AppGroup", "Group"):
        if made := present(uid=_known(one.get("id")), name=_known(one.get("displayName"))):
            return {**made, "type": str(one["type"])}
    return None


def scopes_of(record: Json, name: str) -> list[str]:
    """Say what was granted: scopes, admin roles, else the app or role among the targets."""
    debug = (record.get("debugContext") or {}).get("debugData") or {}
    for field in (
        "privilegeGranted",
        "privilegeRevoked",
        "grantedScopes",
        "scopes",
        "scope",
        "requestedScopes",
    ):
        if said := debug.get(field):
            words = said if isinstance(said, list) else str(said).split(", " if "," in str(said) else None)
            return [str(word).strip() for word in words if str(word).strip()]
    found = [
        _known(one.get("displayName"))
        for one in targets(record, "ROLE", "CUSTOM_ROLE", "AppInstance", "scope")
    ]
    return [one for one in found if one] or [name.rpartition(".")[2]]


def resources_of(record: Json) -> Json:
    """List all targets as resources."""
    made = [_resource(one) for one in record.get("target") or [] if isinstance(one, dict)]
    return [one for one in made if "uid" in one or "name" in one] or None


def _resource(one: Json) -> Json:
    name = _known(one.get("displayName")) or _known(one.get("alternateId"))
    return present(uid=_known(one.get("id")), name=name, type=_known(one.get("type")))


def entity_of(record: Json, name: str, *, only: bool = False) -> Json:
    """Find the thing an event is about, by the types its family prefers, people last.

    With `only`, `name` is the one type wanted.
    """
    wanted = (name,) if only else next((kinds for start, kinds in _ENTITIES if name.startswith(start)), ())
    found = list(targets(record, *wanted))
    if not found and not only:
        rest = [one for one in record.get("target") or [] if isinstance(one, dict)]
        found = sorted(rest, key=lambda one: one.get("type") in _PEOPLE)
    for one in found:
        if made := _resource(one):
            return _entity(made, one)
    return None


def _entity(made: Mapping[str, Json], one: Json) -> Json:
    if "uid" not in made and "name" not in made:
        return None
    kind = str(made.get("type") or "")
    type_id = next((number for start, number in _KINDS if kind.startswith(start)), 99)
    data = {k: v for k, v in (one.get("detailEntry") or {}).items() if v is not None}
    return present(**{**made, "type_id": type_id, "type": kind or "other", "data": data})

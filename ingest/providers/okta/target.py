"""The user an action is about: read by id, and guarded from mistakes that lock everybody out."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from ingest.paging import linked
from ingest.provider import Capability, Json, Kind, NotAllowed, Ref, Refused, Step
from ingest.providers.okta.reads import onward_of

if TYPE_CHECKING:
    from ingest.providers.okta import Okta

_ID: Final = re.compile(r"[A-Za-z0-9_-]{3,64}")
_ALIVE: Final = frozenset({"ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY"})


class OnUser:
    """What actions on users share; without an `undo` of its own there is no way back."""

    capability: ClassVar[Capability] = "user_governance"
    on: ClassVar[Kind] = "user"
    irreversible: ClassVar[bool] = False

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """There is no way back."""
        del before, now, done
        return None


def plain_id(text: Json, what: str) -> str:
    """Check an id before it becomes part of an address.

    Raises:
        Refused: It is none.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise Refused(f"name the {what} by its id, as events and inventories have it")
    return text


async def user_of(p: "Okta", target: Ref) -> Json:
    """Read the user by id, never from the search index, which is behind.

    Raises:
        Missing: There is no such user.
        Refused: It is named by something else than its id, or it is the one we act as.
    """
    uid = plain_id(target.id, "user")
    if target.kind != "user" or uid in p.instance.ourselves:
        raise Refused(
            "that is the principal Sluice itself acts as" if target.kind == "user" else "that is no user"
        )
    user = (await p.http.call("users", "GET", f"/api/v1/users/{uid}")).json
    if user["id"] != uid:
        raise Refused("name the user by its id, not by its login")
    return user


async def roles_of(p: "Okta", uid: str, **params: str) -> list[Json]:
    """Read a user's admin roles, those held through groups included."""
    found: list[Json] = (await p.http.call("users", "GET", f"/api/v1/users/{uid}/roles", params=params)).json
    return found


async def spare_the_last_admin(p: "Okta", uid: str) -> None:
    """Make sure that somebody is left who can repair what an action breaks.

    Who may not read roles may not touch a super admin either, so nothing is lost there.

    Raises:
        Refused: No other super admin is left that can sign in.
    """
    try:
        if not _is_super(await roles_of(p, uid)):
            return
        everyone = linked(
            p.http, "okta", "/api/v1/iam/assignees/users", params={"limit": 100}, then=onward_of
        )
        async for reply in everyone:
            for other in reply.json["value"]:
                if other["id"] != uid and await _could_repair(p, other["id"]):
                    return
    except NotAllowed:
        return
    raise Refused("that is the last super admin who can sign in")


async def _could_repair(p: "Okta", uid: str) -> bool:
    if not _is_super(await roles_of(p, uid)):
        return False
    user = (await p.http.call("users", "GET", f"/api/v1/users/{uid}")).json
    return user.get("status") in _ALIVE


def _is_super(roles: list[Json]) -> bool:
    return any(one.get("type") == "SUPER_ADMIN" and one.get("status", "ACTIVE") == "ACTIVE" for one in roles)

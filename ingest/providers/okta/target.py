"""The user an action is about: read by id, and guarded from mistakes that lock everybody out."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

from ingest.paging import linked
from ingest.provider import Action, Capability, Json, Kind, NotAllowed, Ref, Refused, Step
from ingest.providers.okta.reads import onward_of
from ingest.providers.okta.settings import Org

_ID: Final = re.compile(r"[A-Za-z0-9_-]{3,64}")
ALIVE: Final = frozenset({"ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY"})


class OnUser(Action[Org]):
    """What actions on users share; without an `undo` of its own there is no way back.

    Attributes:
        calls: Api, method and path of a step, by what its `do` begins with; the path's gaps are filled with
            the user's id and the step's data.
    """

    capability: ClassVar[Capability] = "user_governance"
    on: ClassVar[Kind] = "user"
    irreversible: ClassVar[bool] = True
    calls: ClassVar[Mapping[str, tuple[str, str, str]]]

    async def look(self, p: Org, target: Ref, options: Json) -> Json:
        """Read the user by id, and of it what the action is about."""
        return await self.seen(p, await user_of(p, target), options or {})

    @abstractmethod
    async def seen(self, p: Org, user: Json, options: Json) -> Json:
        """Read the state that matters of the user."""

    async def do(self, p: Org, target: Ref, step: Step) -> Json:
        """Make the step's call; to take away what is gone already is fine."""
        api, method, path = self.calls[step.do.partition(":")[0]]
        gaps = {"user": target.id, **(step.data or {})}
        ok = (404,) if method == "DELETE" else ()
        await p.http.call(api, method, f"/api/v1/{path.format_map(gaps)}", ok=ok)


def plain_id(text: Json, what: str) -> str:
    """Check an id before it becomes part of an address.

    Raises:
        Refused: It is none.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise Refused(f"name the {what} by its id, as events and inventories have it")
    return text


async def user_of(p: Org, target: Ref) -> Json:
    """Read the user by id, never from the search index, which is behind.

    Raises:
        Missing: There is no such user.
        Refused: It is named by something else than its id, or it is the one we act as.
    """
    uid = plain_id(target.id, "user")
    if target.kind != "user":
        raise Refused("that is no user")
    if uid in p.instance.ourselves:
        raise Refused("that is the principal Sluice itself acts as")
    user = (await p.http.call("users", "GET", f"/api/v1/users/{uid}")).json
    if user["id"] != uid:
        raise Refused("name the user by its id, not by its login")
    return user


async def roles_of(p: Org, uid: str, **params: str) -> list[Json]:
    """Read a user's admin roles, those held through groups included."""
    found: list[Json] = (await p.http.call("users", "GET", f"/api/v1/users/{uid}/roles", params=params)).json
    return found


async def spare_the_last_admin(p: Org, uid: str) -> None:
    """Make sure that somebody is left who can repair what an action breaks.

    Who may not read roles may not touch a super admin either, so nothing is lost there.

    Raises:
        Refused: No other super admin is left that can sign in.
    """
    everyone = linked(p.http, "okta", "/api/v1/iam/assignees/users", params={"limit": 100}, then=onward_of)
    try:
        if not await _is_super(p, uid):
            return
        async for reply in everyone:
            for other in reply.json["value"]:
                if other["id"] != uid and await _is_super(p, other["id"]) and await _is_alive(p, other["id"]):
                    return
    except NotAllowed:
        return
    raise Refused("that is the last super admin who can sign in")


async def _is_super(p: Org, uid: str) -> bool:
    held = await roles_of(p, uid)
    return any(one.get("type") == "SUPER_ADMIN" and one.get("status", "ACTIVE") == "ACTIVE" for one in held)


async def _is_alive(p: Org, uid: str) -> bool:
    return (await p.http.call("users", "GET", f"/api/v1/users/{uid}")).json.get("status") in ALIVE

"""Governance of what users may do: groups, admin roles, apps, and the grants they gave to apps.

Source: Okta Management API, Groups, Role Assignments, Application Users, User OAuth Grants and Tokens.
"""

from collections.abc import Mapping
from typing import ClassVar

from ingest.paging import linked
from ingest.provider import Json, Missing, Ref, Refused, Step
from ingest.providers.okta.settings import Org
from ingest.providers.okta.target import OnUser, plain_id, roles_of, spare_the_last_admin


class RemoveFromGroup(OnUser):
    """Take a user out of a group (option `group`: its id); a rule's or a directory's members are theirs."""

    name = "remove-from-group"
    irreversible: ClassVar[bool] = False
    calls: ClassVar = {
        "remove": ("groups", "DELETE", "groups/{group}/users/{user}"),
        "add": ("groups", "PUT", "groups/{group}/users/{user}"),
    }

    async def seen(self, p: Org, user: Json, options: Json) -> Json:
        """Read the group and whether the user is in it."""
        uid = plain_id(options.get("group"), "group (option group)")
        group = (await p.http.call("groups", "GET", f"/api/v1/groups/{uid}")).json
        held = linked(p.http, "users", f"/api/v1/users/{user['id']}/groups")
        member = uid in {one["id"] async for reply in held for one in reply.json}
        name = (group.get("profile") or {}).get("name")
        return {"group": uid, "name": name, "type": group.get("type"), "member": member}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Remove a member.

        Raises:
            Refused: The group's members come from elsewhere.
        """
        del options
        if not state["member"]:
            return []
        if state["type"] != "OKTA_GROUP":
            raise Refused(f"the members of {state['name']} ({state['type']}) are not managed in Okta")
        return [Step("remove", f"remove the user from {state['name']}", {"group": state["group"]})]

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Put the user back."""
        del done
        if now["member"] or not before["member"]:
            return []
        return [Step("add", f"put the user back into {before['name']}", {"group": before["group"]})]


class RemoveAdminRole(OnUser):
    """Take admin roles from a user: one (option `role`: its type or assignment id), or all it holds itself.

    Roles that were limited to groups or apps can't be given back: for a moment they would have no limit.
    """

    name = "remove-admin-role"
    irreversible: ClassVar[bool] = False
    calls: ClassVar = {"remove": ("users", "DELETE", "users/{user}/roles/{id}")}

    async def seen(self, p: Org, user: Json, options: Json) -> Json:
        """Read the roles the user holds itself, and those held through groups."""
        held, wanted = await roles_of(p, user["id"], expand="targets/groups"), options.get("role")
        mine = [one for one in held if wanted in {None, "", one["id"], one["type"]}]
        if any(one["type"] == "SUPER_ADMIN" for one in mine):
            await spare_the_last_admin(p, user["id"])
        direct = [await _kept(p, user["id"], one) for one in mine if one.get("assignmentType") != "GROUP"]
        through = [one["type"] for one in mine if one.get("assignmentType") == "GROUP"]
        return {"roles": sorted(direct, key=lambda one: str(one["id"])), "through": sorted(through)}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Remove what the user holds itself.

        Raises:
            Refused: The user holds it through a group only.
        """
        del options
        if not state["roles"] and state["through"]:
            raise Refused(f"{', '.join(state['through'])} comes through a group: remove the user from it")
        return [
            Step(f"remove:{one['id']}", f"take away the role {one['type']}", {"id": one["id"]})
            for one in state["roles"]
        ]

    async def do(self, p: Org, target: Ref, step: Step) -> Json:
        """Take a role away, or give one back."""
        if step.do.startswith("remove:"):
            return await super().do(p, target, step)
        held = await roles_of(p, target.id)
        if _what(step.data) not in map(_what, held):
            await p.http.call("users", "POST", f"/api/v1/users/{target.id}/roles", json=step.data)
        return None

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Give back what had no limits."""
        taken = [one for one in before["roles"] if f"remove:{one['id']}" in done]
        gone = [one for one in taken if _what(one) not in map(_what, now["roles"])]
        if any(one["limited"] for one in gone):
            return None
        return [
            Step(
                f"give:{one['type']}:{one['role'] or ''}:{one['set'] or ''}",
                f"give back {one['type']}",
                _again(one),
            )
            for one in gone
        ]


def _what(role: Json) -> tuple[str, str | None, str | None]:
    """Tell roles apart: a custom one may be held on several sets of resources."""
    return role["type"], role.get("role"), role.get("resource-set") or role.get("set")


def _again(role: Json) -> Json:
    custom = {"role": role["role"], "resource-set": role["set"]} if role["role"] else {}
    return {"type": role["type"], **custom}


async def _kept(p: Org, uid: str, role: Json) -> Json:
    limited = bool(((role.get("_embedded") or {}).get("targets") or {}).get("groups"))
    if role["type"] == "APP_ADMIN":
        path = f"/api/v1/users/{uid}/roles/{role['id']}/targets/catalog/apps"
        limited = limited or bool((await p.http.call("users", "GET", path)).json)
    kind, custom, _ = _what(role)
    return {
        "id": role["id"],
        "type": kind,
        "role": custom,
        "set": role.get("resource-set"),
        "limited": limited,
    }


class RevokeGrants(OnUser):
    """Revoke what the user allowed apps to do, and the refresh tokens they got (option `client`: one app).

    Access tokens that were issued without a refresh token live until they end, an hour as a rule.
    """

    name = "revoke-grants"
    calls: ClassVar = {
        "grant": ("users", "DELETE", "users/{user}/grants/{grant}"),
        "tokens": ("users", "DELETE", "users/{user}/clients/{client}/tokens"),
    }

    async def seen(self, p: Org, user: Json, options: Json) -> Json:
        """List the grants, and the clients with tokens."""
        only, path = {options.get("client")} - {None, ""}, f"/api/v1/users/{user['id']}"
        found = {
            one["id"]: f"{one.get('scopeId')} for {one.get('clientId')}"
            for one in await _all(p, f"{path}/grants", limit=200)
            if one.get("status") != "REVOKED" and (not only or one.get("clientId") in only)
        }
        clients = [one["client_id"] for one in await _all(p, f"{path}/clients")]
        kept = [one for one in clients if not only or one in only]
        tokens = [one for one in kept if await _all(p, f"{path}/clients/{one}/tokens", limit=200)]
        return {"grants": found, "clients": sorted(tokens)}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Revoke grants first, so that no new token comes of them."""
        del options
        grants = sorted(state["grants"].items())
        return [
            *(Step(f"grant:{uid}", f"revoke {say}", {"grant": uid}) for uid, say in grants),
            *(
                Step(f"tokens:{one}", f"revoke the tokens of {one}", {"client": one})
                for one in state["clients"]
            ),
        ]


async def _all(p: Org, path: str, **params: int) -> list[Json]:
    try:
        return [one async for reply in linked(p.http, "users", path, params=params) for one in reply.json]
    except Missing:
        return []


class UnassignApp(OnUser):
    """Take an app from a user (option `app`: its id); its profile in the app is lost."""

    name = "unassign-app"
    calls: ClassVar = {"unassign": ("okta", "DELETE", "apps/{app}/users/{user}")}

    async def seen(self, p: Org, user: Json, options: Json) -> Json:
        """Read the assignment."""
        uid = plain_id(options.get("app"), "app (option app)")
        reply = await p.http.call("okta", "GET", f"/api/v1/apps/{uid}/users/{user['id']}", ok=(404,))
        return {"app": uid, "scope": reply.json.get("scope", "USER") if reply.status == 200 else None}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Unassign what is assigned.

        Raises:
            Refused: The app comes through a group.
        """
        del options
        if state["scope"] == "GROUP":
            raise Refused("the app comes through a group: remove the user from it")
        data = {"app": state["app"]}
        return [Step("unassign", f"take the app {state['app']} away", data)] if state["scope"] else []

"""Governance of what users may do: groups, admin roles, apps, and the grants they gave to apps.

Source: Okta Management API, Groups, Role Assignments, Application Users, User OAuth Grants and Tokens.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from ingest.paging import linked
from ingest.provider import Json, Missing, Ref, Refused, Step
from ingest.providers.okta.target import OnUser, plain_id, roles_of, spare_the_last_admin, user_of

if TYPE_CHECKING:
    from ingest.providers.okta import Okta


_PAGE: Final = {"limit": 200}


class RemoveFromGroup(OnUser):
    """Take a user out of a group (option `group`: its id); a rule's or a directory's members are theirs."""

    name: ClassVar[str] = "remove-from-group"

    async def look(self, p: "Okta", target: Ref, options: Json) -> Json:
        """Read the group and whether the user is in it."""
        uid = plain_id(options.get("group"), "group (option group)")
        user = await user_of(p, target)
        group = (await p.http.call("groups", "GET", f"/api/v1/groups/{uid}")).json
        held = {
            one["id"]
            async for reply in linked(p.http, "users", f"/api/v1/users/{user['id']}/groups")
            for one in reply.json
        }
        name = (group.get("profile") or {}).get("name")
        return {"group": uid, "name": name, "type": group.get("type"), "member": uid in held}

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

    async def do(self, p: "Okta", target: Ref, step: Step) -> Json:
        """Remove or add; both may be repeated."""
        method = "DELETE" if step.do == "remove" else "PUT"
        ok = (404,) if step.do == "remove" else ()
        await p.http.call("groups", method, f"/api/v1/groups/{step.data['group']}/users/{target.id}", ok=ok)

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

    name: ClassVar[str] = "remove-admin-role"

    async def look(self, p: "Okta", target: Ref, options: Json) -> Json:
        """Read the roles the user holds itself, and those held through groups."""
        user = await user_of(p, target)
        held = await roles_of(p, user["id"], expand="targets/groups")
        wanted = options.get("role") if options else None
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

    async def do(self, p: "Okta", target: Ref, step: Step) -> Json:
        """Take a role away, or give one back."""
        path = f"/api/v1/users/{target.id}/roles"
        if step.do.startswith("remove:"):
            await p.http.call("users", "DELETE", f"{path}/{step.data['id']}", ok=(404,))
            return
        held = {(one["type"], one.get("role")) for one in await roles_of(p, target.id)}
        if (step.data["type"], step.data.get("role")) not in held:
            await p.http.call("users", "POST", path, json=step.data)

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Give back what had no limits."""
        held = {(one["type"], one["role"]) for one in now["roles"]}
        gone = [
            one
            for one in before["roles"]
            if f"remove:{one['id']}" in done and (one["type"], one["role"]) not in held
        ]
        if any(one["limited"] for one in gone):
            return None
        return [
            Step(f"give:{one['type']}:{one['role'] or ''}", f"give back {one['type']}", _again(one))
            for one in gone
        ]


def _again(role: Json) -> Json:
    custom = {"role": role["role"], "resource-set": role["set"]} if role["role"] else {}
    return {"type": role["type"], **custom}


async def _kept(p: "Okta", uid: str, role: Json) -> Json:
    limited = bool(((role.get("_embedded") or {}).get("targets") or {}).get("groups"))
    if role["type"] == "APP_ADMIN":
        path = f"/api/v1/users/{uid}/roles/{role['id']}/targets/catalog/apps"
        limited = limited or bool((await p.http.call("users", "GET", path)).json)
    return {
        "id": role["id"], "type": role["type"], "role": role.get("role"), "set": role.get("resource-set"),
        "limited": limited,
    }  # fmt: skip


class RevokeGrants(OnUser):
    """Revoke what the user allowed apps to do, and the refresh tokens they got (option `client`: one app).

    Access tokens that were issued without a refresh token live until they end, an hour as a rule.
    """

    name: ClassVar[str] = "revoke-grants"
    irreversible: ClassVar[bool] = True

    async def look(self, p: "Okta", target: Ref, options: Json) -> Json:
        """List the grants, and the clients with tokens."""
        only = options.get("client") if options else None
        user = (await user_of(p, target))["id"]
        grants = await _all(p, f"/api/v1/users/{user}/grants")
        clients = [one["client_id"] for one in await _all(p, f"/api/v1/users/{user}/clients", {})]
        kept = [one for one in clients if only in {None, "", one}]
        tokens = [one for one in kept if await _all(p, f"/api/v1/users/{user}/clients/{one}/tokens")]
        mine = [one for one in grants if only in {None, "", one.get("clientId")}]
        found = {
            one["id"]: f"{one.get('scopeId')} for {one.get('clientId')}"
            for one in mine
            if one.get("status") != "REVOKED"
        }
        return {"grants": found, "clients": sorted(tokens)}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Revoke grants first, so that no new token comes of them."""
        del options
        grants = [
            Step(f"grant:{uid}", f"revoke {say}", {"grant": uid})
            for uid, say in sorted(state["grants"].items())
        ]
        return grants + [
            Step(f"tokens:{one}", f"revoke the tokens of {one}", {"client": one}) for one in state["clients"]
        ]

    async def do(self, p: "Okta", target: Ref, step: Step) -> Json:
        """Revoke one; what is gone already is fine."""
        path = (
            f"grants/{step.data['grant']}"
            if "grant" in step.data
            else f"clients/{step.data['client']}/tokens"
        )
        await p.http.call("users", "DELETE", f"/api/v1/users/{target.id}/{path}", ok=(404,))


async def _all(p: "Okta", path: str, params: Mapping[str, Json] = _PAGE) -> list[Json]:
    try:
        return [one async for reply in linked(p.http, "users", path, params=params) for one in reply.json]
    except Missing:
        return []


class UnassignApp(OnUser):
    """Take an app from a user (option `app`: its id); its profile in the app is lost."""

    name: ClassVar[str] = "unassign-app"
    irreversible: ClassVar[bool] = True

    async def look(self, p: "Okta", target: Ref, options: Json) -> Json:
        """Read the assignment."""
        uid = plain_id(options.get("app"), "app (option app)")
        user = await user_of(p, target)
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
        return (
            [Step("unassign", f"take the app {state['app']} away", {"app": state["app"]})]
            if state["scope"]
            else []
        )

    async def do(self, p: "Okta", target: Ref, step: Step) -> Json:
        """Unassign it."""
        await p.http.call("okta", "DELETE", f"/api/v1/apps/{step.data['app']}/users/{target.id}", ok=(404,))

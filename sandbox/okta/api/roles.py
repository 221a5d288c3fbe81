"""Admin roles of users, groups and clients."""

from typing import Any, TypeAlias

from aiohttp import web

from sandbox.okta import ids
from sandbox.okta.call import Call, Route, empty
from sandbox.okta.errors import Refused, invalid, missing
from sandbox.okta.groups import ADMINISTRATORS
from sandbox.okta.paging import after, limit
from sandbox.okta.records import thing
from sandbox.okta.roles import CUSTOM_ROLE, LABELS, RESOURCE_SET

Json: TypeAlias = Any


def _shown(call: Call, kind: str, principal: str, role: Json) -> Json:
    start = "/oauth2/v1" if kind == "clients" else "/api/v1"
    links = {"assignee": call.href(f"{start}/{kind}/{principal}")}
    if role["type"] == "CUSTOM":
        links |= {
            "role": call.href(f"/api/v1/iam/roles/{CUSTOM_ROLE}"),
            "resource-set": call.href(f"/api/v1/iam/resource-sets/{RESOURCE_SET}"),
        }
    made = {**role, "_links": links}
    if call.query.get("expand") == "targets/groups":
        made["_embedded"] = {"targets": {"groups": []}}
    return made


async def of_user(call: Call) -> web.Response:
    """A user's roles, those by groups included."""
    call.only("expand")
    if call.query.get("expand", "targets/groups") != "targets/groups":
        raise invalid("expand", "only targets/groups")
    user, roles = call.user(), call.tenant.roles
    key = ids.make("00u", user)
    found = roles.of(key) + [
        {**role, "assignmentType": "GROUP"}
        for index in call.tenant.groups.of(user)
        for role in roles.of(ids.make("00g", index))
    ]
    return web.json_response([_shown(call, "users", key, role) for role in found])


async def of_group(call: Call) -> web.Response:
    """A group's roles."""
    call.only("expand")
    key = ids.make("00g", call.group())
    return web.json_response([_shown(call, "groups", key, role) for role in call.tenant.roles.of(key)])


async def of_client(call: Call) -> web.Response:
    """A service app's roles."""
    key = call.part("client")
    if key not in call.tenant.oauth.apps:
        raise missing("Client", key)
    return web.json_response([_shown(call, "clients", key, role) for role in call.tenant.roles.of(key)])


async def assign(call: Call) -> web.Response:
    """Give a user a standard role."""
    body = call.body if isinstance(call.body, dict) else {}
    user, kind = call.user(), body.get("type")
    if kind not in LABELS or kind == "CUSTOM":
        raise invalid("type", "unknown role")
    key = ids.make("00u", user)
    if any(one["type"] == kind for one in call.tenant.roles.of(key)):
        raise invalid("type", "The role specified is already assigned to the user.")
    made = call.tenant.roles.assign(key, kind)
    _told(call, user, made)
    return web.json_response(_shown(call, "users", key, made), status=201)


def _told(call: Call, user: int, role: Json) -> None:
    """Note a change: `grant` with the privileges that there are now, `revoke` only when none is left."""
    groups = [ids.make("00g", index) for index in call.tenant.groups.of(user)]
    left = [one["label"] for key in (ids.make("00u", user), *groups) for one in call.tenant.roles.of(key)]
    kind = f"user.account.privilege.{'grant' if left else 'revoke'}"
    debug = {"privilegeGranted": ", ".join(left)} if left else {"privilegeRevoked": role["label"]}
    call.did(kind, user, thing("ROLE", role["id"], role["label"]), debug=debug)


async def remove(call: Call) -> web.Response:
    """Take a user's own role away; the last super admin keeps it."""
    user, roles = call.user(), call.tenant.roles
    key, assignment = ids.make("00u", user), call.part("assignment")
    role = roles.held.get(key, {}).get(assignment)
    if role is None:
        raise missing("RoleAssignment", assignment)
    supers = [one for mine in roles.held.values() for one in mine.values() if one["type"] == "SUPER_ADMIN"]
    if role["type"] == "SUPER_ADMIN" and len(supers) == 1:
        raise Refused("E0000006")
    roles.revoke(key, assignment)
    _told(call, user, role)
    return empty()


async def targets(call: Call) -> web.Response:
    """What an assignment is limited to: nothing is, here."""
    user, assignment = call.user(), call.part("assignment")
    if assignment not in call.tenant.roles.held.get(ids.make("00u", user), {}):
        raise missing("RoleAssignment", assignment)
    return call.listed([], default=20, most=200)


async def assignees(call: Call) -> web.Response:
    """Every user with any role, by groups too; paged in the body, unlike other lists."""
    call.only("limit", "after")
    tenant = call.tenant
    held = {key for key in tenant.roles.held if key.startswith("00u")}
    if tenant.roles.of(ids.make("00g", ADMINISTRATORS)):
        held |= {ids.make("00u", user) for user in tenant.groups.members(ADMINISTRATORS)}
    page, more = after(sorted(held), limit(call.query, 100, 100), call.query)
    value = [
        {
            "id": key, "orn": f"orn:okta:directory:{tenant.id}:users:{key}",
            "_links": {"self": call.href(f"/api/v1/users/{key}"),
            "roles": call.href(f"/api/v1/users/{key}/roles")},
        }
        for key in page
    ]  # fmt: skip
    body: Json = {"value": value, "_links": {"self": call.href("/api/v1/iam/assignees/users")}}
    if more:
        asked = "&".join(f"{name}={text}" for name, text in more.items())
        body["_links"]["next"] = call.href(f"/api/v1/iam/assignees/users?{asked}")
    return web.json_response(body)


async def custom(call: Call) -> web.Response:
    """The org's own roles."""
    at = ids.stamp(call.tenant.people.founded)
    role = {
        "id": CUSTOM_ROLE, "label": LABELS["CUSTOM"], "description": "Reads users and the log", "created": at,
        "lastUpdated": at, "_links": {"self": call.href(f"/api/v1/iam/roles/{CUSTOM_ROLE}")},
    }  # fmt: skip
    return web.json_response({"roles": [role], "_links": {}})


async def sets(call: Call) -> web.Response:
    """The org's resource sets."""
    at = ids.stamp(call.tenant.people.founded)
    made = {
        "id": RESOURCE_SET, "label": "Everything", "description": "All users", "created": at,
        "lastUpdated": at,
        "_links": {"self": call.href(f"/api/v1/iam/resource-sets/{RESOURCE_SET}")},
    }  # fmt: skip
    return web.json_response({"resource-sets": [made], "_links": {}})


_READ, _USER, _GROUP = "okta.roles.read", "/api/v1/users/{id}", "/api/v1/groups/{id}"
ROUTES = (
    Route("GET", "/api/v1/users/{user}/roles", of_user, _READ, _USER),
    Route("POST", "/api/v1/users/{user}/roles", assign, "okta.roles.manage", _USER),
    Route("DELETE", "/api/v1/users/{user}/roles/{assignment}", remove, "okta.roles.manage", _USER),
    Route("GET", "/api/v1/users/{user}/roles/{assignment}/targets/catalog/apps", targets, _READ, _USER),
    Route("GET", "/api/v1/users/{user}/roles/{assignment}/targets/groups", targets, _READ, _USER),
    Route("GET", "/api/v1/groups/{group}/roles", of_group, _READ, _GROUP),
    Route("GET", "/oauth2/v1/clients/{client}/roles", of_client, _READ, "/oauth2/v1/clients"),
    Route("GET", "/api/v1/iam/assignees/users", assignees, _READ, "/api/v1"),
    Route("GET", "/api/v1/iam/roles", custom, _READ, "/api/v1"),
    Route("GET", "/api/v1/iam/resource-sets", sets, _READ, "/api/v1"),
)

"""Apps and who is assigned to them."""

from typing import Any, TypeAlias

from aiohttp import web

from sandbox.okta import ids
from sandbox.okta.call import Call, Route, empty
from sandbox.okta.errors import missing
from sandbox.okta.oauth import ServiceApp
from sandbox.okta.paging import limit, seal, unseal
from sandbox.okta.records import thing

Json: TypeAlias = Any


def shown(call: Call, index: int) -> Json:
    """An app with its links."""
    app = call.tenant.apps.get(index)
    here = f"/api/v1/apps/{app['id']}"
    return {**app, "_links": {name: call.href(f"{here}/{name}") for name in ("users", "groups")}}


def _service(call: Call, app: ServiceApp) -> Json:
    at = ids.stamp(call.tenant.people.founded)
    client = {
        "application_type": "service", "grant_types": ["client_credentials"], "response_types": ["token"],
        "dpop_bound_access_tokens": app.dpop,
    }  # fmt: skip
    return {
        "id": app.id, "name": "oidc_client", "label": app.name, "status": "ACTIVE", "created": at,
        "lastUpdated": at,
        "signOnMode": "OPENID_CONNECT", "features": [], "settings": {"oauthClient": client},
        "credentials": {"oauthClient": {"client_id": app.id,
        "token_endpoint_auth_method": "private_key_jwt"}},
        "_links": {"users": call.href(f"/api/v1/apps/{app.id}/users")},
    }  # fmt: skip


async def listing(call: Call) -> web.Response:
    """All apps."""
    call.only("limit", "after", "q", "filter", "expand", "includeNonDeleted", "useOptimization")
    apps, services = call.tenant.apps, call.tenant.oauth.apps.values()
    entries = [shown(call, index) for index in range(apps.size)] + [_service(call, one) for one in services]
    return call.listed(entries, default=20, most=200, clamp=True)


async def one(call: Call) -> web.Response:
    """One app, a service app too."""
    service = call.tenant.oauth.apps.get(call.part("app"))
    if service is not None:
        return web.json_response(_service(call, service))
    return web.json_response(shown(call, call.app()))


def _user(call: Call, app: int, user: int) -> Json:
    person = call.tenant.people.get(user)
    app_id, key = ids.make("0oa", app), person["id"]
    return {
        "id": key, "externalId": None, "created": person["created"], "lastUpdated": person["lastUpdated"],
        "scope": call.tenant.apps.state(app, user), "status": "ACTIVE", "statusChanged": person["created"],
        "passwordChanged": None, "syncState": "DISABLED",
        "credentials": {"userName": person["profile"]["login"]},
        "profile": {"email": person["profile"]["email"]},
        "_links": {"app": call.href(f"/api/v1/apps/{app_id}"), "user": call.href(f"/api/v1/users/{key}")},
    }  # fmt: skip


async def users(call: Call) -> web.Response:
    """Those assigned to an app."""
    call.only("limit", "after", "q", "expand")
    if call.of_service():
        return call.page([], None)
    app, query, size = call.app(), call.query, limit(call.query, 50, 500, clamp=True)
    page: list[Json] = []
    for index in call.tenant.apps.users(app, int(unseal(query["after"])) if "after" in query else 0):
        if len(page) == size:
            return call.page(page, {**query, "after": seal(index), "limit": str(size)})
        page.append(_user(call, app, index))
    return call.page(page, None)


async def user(call: Call) -> web.Response:
    """One assignment."""
    app, index = call.app(), _assigned(call)
    return web.json_response(_user(call, app, index))


def _assigned(call: Call) -> int:
    index = call.tenant.people.number(call.part("user"))
    if index is None or not call.tenant.apps.state(call.app(), index):
        raise missing("AppUser", call.part("user"))
    return index


async def unassign(call: Call) -> web.Response:
    """Take an assignment away; one that comes by a group is there again at once."""
    call.only("sendEmail")
    app, index, apps = call.app(), _assigned(call), call.tenant.apps
    if apps.state(app, index) == "USER":
        apps.assign(app, index, None)
    shown_app = apps.get(app)
    target = thing("AppInstance", shown_app["id"], shown_app["label"])
    call.did("application.user_membership.remove", index, target)
    return empty()


async def groups(call: Call) -> web.Response:
    """Groups assigned to an app: one for each, at most."""
    call.only("limit", "after", "q", "expand")
    if call.of_service():
        return call.page([], None)
    app = call.app()
    entries = [
        {
            "id": ids.make("00g", 2), "priority": 0, "lastUpdated": ids.stamp(call.tenant.people.founded),
            "profile": {}, "_links": {"app": call.href(f"/api/v1/apps/{ids.make('0oa', app)}")},
        }
    ]  # fmt: skip
    return call.listed(entries, default=20, most=200)


_READ, _ONE, _BUCKET = "okta.apps.read", "/api/v1/apps/{app}", "/api/v1/apps/{id}"
ROUTES = (
    Route("GET", "/api/v1/apps", listing, _READ, "/api/v1/apps"),
    Route("GET", _ONE, one, _READ, _BUCKET),
    Route("GET", f"{_ONE}/users", users, _READ, _BUCKET),
    Route("GET", f"{_ONE}/users/{{user}}", user, _READ, _BUCKET),
    Route("DELETE", f"{_ONE}/users/{{user}}", unassign, "okta.apps.manage", _BUCKET),
    Route("GET", f"{_ONE}/groups", groups, _READ, _BUCKET),
)

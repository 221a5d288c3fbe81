"""Consents that people gave to apps, and the refresh tokens that apps hold for them."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from aiohttp import web

from sandbox.okta import ids
from sandbox.okta.call import Call, Route, empty
from sandbox.okta.errors import missing
from sandbox.okta.records import thing

Json: TypeAlias = Any


def _linked(call: Call, one: Json, path: str) -> Json:
    links = {
        "self": call.href(f"{path}/{one['id']}"),
        "app": call.href(f"/api/v1/apps/{one['clientId']}"),
        "user": call.href(f"/api/v1/users/{one['userId']}"),
    }
    return {**one, "issuer": call.tenant.url, "_links": links}


async def clients(call: Call) -> web.Response:
    """The apps that hold something of a user's."""
    call.only()
    apps, user = call.tenant.apps, call.user()
    held = {one["clientId"] for one in apps.grants(user)}
    held |= {one["clientId"] for index in apps.clients(user) for one in apps.tokens(user, index)}
    numbered = [index for index in apps.clients(user) if ids.make("0oa", index) in held]
    return web.json_response(
        [
            {
                "client_id": ids.make("0oa", index), "client_name": apps.label(index), "client_uri": None,
                "logo_uri": None,
                "_links": {"grants": call.href(f"{call.request.path}/{ids.make('0oa', index)}/grants"),
                           "tokens": call.href(f"{call.request.path}/{ids.make('0oa', index)}/tokens")},
            }
            for index in numbered
        ]
    )  # fmt: skip


async def grants(call: Call) -> web.Response:
    """A user's consents."""
    call.only("limit", "after", "scopeId", "expand")
    here = call.request.path
    entries = [_linked(call, one, here) for one in call.tenant.apps.grants(call.user())]
    return call.listed(entries, default=20, most=200)


async def revoke_grants(call: Call) -> web.Response:
    """Revoke all of a user's consents; nothing to revoke is fine too."""
    user = call.user()
    for one in call.tenant.apps.grants(user):
        _revoke(call, user, one)
    return empty()


async def revoke_grant(call: Call) -> web.Response:
    """Revoke one consent."""
    user, key = call.user(), call.part("grant")
    found = next((one for one in call.tenant.apps.grants(user) if one["id"] == key), None)
    if found is None:
        raise missing("OAuth2ScopeConsentGrant", key)
    _revoke(call, user, found)
    return empty()


def _revoke(call: Call, user: int, grant: Json) -> None:
    call.tenant.apps.revoke(grant["id"])
    target = thing("AppInstance", grant["clientId"], grant["scopeId"])
    call.did("app.oauth2.as.consent.revoke.user", user, target)


def _client(call: Call) -> int:
    found = call.tenant.apps.number(call.part("client"))
    if found is None:
        raise missing("Client", call.part("client"))
    return found


async def tokens(call: Call) -> web.Response:
    """Refresh tokens that an app holds for a user."""
    call.only("limit", "after", "expand")
    entries = call.tenant.apps.tokens(call.user(), _client(call))
    return call.listed([_linked(call, one, call.request.path) for one in entries], default=20, most=200)


async def revoke_tokens(call: Call) -> web.Response:
    """Revoke them all."""
    user, client = call.user(), _client(call)
    for one in call.tenant.apps.tokens(user, client):
        _end(call, user, one)
    return empty()


async def revoke_token(call: Call) -> web.Response:
    """Revoke one of them."""
    user, client, key = call.user(), _client(call), call.part("token")
    found = next((one for one in call.tenant.apps.tokens(user, client) if one["id"] == key), None)
    if found is None:
        raise missing("OAuth2RefreshToken", key)
    _end(call, user, found)
    return empty()


def _end(call: Call, user: int, token: Json) -> None:
    call.tenant.apps.revoke(token["id"])
    target = thing("refresh_token", token["id"], "Refresh Token")
    call.did("app.oauth2.token.revoke", user, target)


async def app_grants(call: Call) -> web.Response:
    """Scopes granted to an app by the org's admins."""
    key = call.part("app")
    service = call.tenant.oauth.apps.get(key)
    if service is None:
        call.app()
    at = ids.stamp(call.tenant.people.founded)
    return web.json_response(
        [
            {
                "id": ids.make("oag", 60_000_000_000 + place), "status": "ACTIVE", "created": at,
                "createdBy": {"id": ids.make("00u", 0), "type": "User"}, "lastUpdated": at,
                "issuer": call.tenant.url,
                "clientId": key, "scopeId": scope, "source": "ADMIN",
                "_links": {"app": call.href(f"/api/v1/apps/{key}")},
            }
            for place, scope in enumerate(sorted(service.scopes if service else ()))
        ]
    )  # fmt: skip


def _held(call: Call, app: int) -> Iterator[tuple[int, Json]]:
    for user in range(call.tenant.people.seeded):
        for one in call.tenant.apps.tokens(user, app):
            yield user, one


async def app_tokens(call: Call) -> web.Response:
    """All refresh tokens that an app holds."""
    call.only("limit", "after", "expand")
    if call.of_service():
        return call.page([], None)
    entries = [_linked(call, one, call.request.path) for _, one in _held(call, call.app())]
    return call.listed(entries, default=20, most=200)


async def revoke_app_tokens(call: Call) -> web.Response:
    """Revoke all refresh tokens that an app holds."""
    for user, one in list(_held(call, call.app())):
        _end(call, user, one)
    return empty()


_USER, _APP, _BUCKET = "/api/v1/users/{user}", "/api/v1/apps/{app}", "/api/v1/users/{id}"
_TOKENS = f"{_USER}/clients/{{client}}/tokens"
_READ, _MANAGE = "okta.users.read", "okta.users.manage"
ROUTES = (
    Route("GET", f"{_USER}/clients", clients, _READ, _BUCKET),
    Route("GET", f"{_USER}/grants", grants, _READ, _BUCKET),
    Route("DELETE", f"{_USER}/grants", revoke_grants, _MANAGE, _BUCKET),
    Route("DELETE", f"{_USER}/grants/{{grant}}", revoke_grant, _MANAGE, _BUCKET),
    Route("GET", _TOKENS, tokens, _READ, _BUCKET),
    Route("DELETE", _TOKENS, revoke_tokens, _MANAGE, _BUCKET),
    Route("DELETE", f"{_TOKENS}/{{token}}", revoke_token, _MANAGE, _BUCKET),
    Route("GET", f"{_APP}/grants", app_grants, "okta.appGrants.read", "/api/v1/apps/{id}"),
    Route("GET", f"{_APP}/tokens", app_tokens, "okta.apps.read", "/api/v1/apps/{id}"),
    Route("DELETE", f"{_APP}/tokens", revoke_app_tokens, "okta.apps.manage", "/api/v1/apps/{id}"),
)

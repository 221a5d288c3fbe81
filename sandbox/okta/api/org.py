"""The org itself, and its API tokens."""

from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import web

from sandbox.okta import ids
from sandbox.okta.call import Call, Route, empty
from sandbox.okta.errors import missing
from sandbox.okta.principals import TOKEN_LIFE, ApiToken
from sandbox.okta.records import thing

if TYPE_CHECKING:
    from sandbox.okta.tenant import OktaTenant

Json: TypeAlias = Any


def well_known(tenant: "OktaTenant") -> Json:
    """What anybody may know of the org."""
    return {
        "id": tenant.id,
        "cell": "ok12",
        "_links": {
            "organization": {"href": tenant.url},
            "alternate": {"href": f"https://id.{tenant.name}.example.com"},
        },
        "pipeline": "idx",
        "settings": {
            "analyticsCollectionEnabled": False,
            "bugReportingEnabled": True,
            "omEnabled": False,
            "pssoEnabled": False,
        },
    }


async def org(call: Call) -> web.Response:
    """The settings of the org."""
    tenant, at = call.tenant, ids.stamp(call.tenant.people.founded)
    return web.json_response(
        {
            "id": tenant.id, "subdomain": tenant.name, "companyName": tenant.name.title(), "status": "ACTIVE",
            "website": f"https://{tenant.name}.example.com", "created": at, "lastUpdated": at,
            "expiresAt": None,
            "city": None, "state": None, "country": None, "address1": None, "address2": None,
            "postalCode": None,
            "phoneNumber": None, "supportPhoneNumber": None, "endUserSupportHelpURL": None,
            "_links": {"logo": None, "contacts": call.href("/api/v1/org/contacts")},
        }
    )  # fmt: skip


def _token(call: Call, token: ApiToken) -> Json:
    return {
        "id": token.id, "name": token.name, "userId": ids.make("00u", token.owner), "tokenWindow": "P30D",
        "network": {"connection": "ANYWHERE"}, "created": ids.stamp(token.created),
        "lastUpdated": ids.stamp(token.used),
        "expiresAt": ids.stamp(token.used + TOKEN_LIFE), "clientName": "Okta API",
        "_link": {"self": call.href(f"/api/v1/api-tokens/{token.id}")},
    }  # fmt: skip


async def tokens(call: Call) -> web.Response:
    """All API tokens, without their values."""
    return call.listed([_token(call, one) for one in call.tenant.tokens.all()], default=200, most=200)


async def token(call: Call) -> web.Response:
    """One API token."""
    found = next((one for one in call.tenant.tokens.all() if one.id == call.part("token")), None)
    if found is None:
        raise missing("ApiToken", call.part("token"))
    return web.json_response(_token(call, found))


async def revoke(call: Call) -> web.Response:
    """End an API token."""
    gone = call.tenant.tokens.revoke(call.part("token"))
    if gone is None:
        raise missing("ApiToken", call.part("token"))
    call.note("system.api_token.revoke", [thing("Token", gone.id, gone.name)])
    return empty()


ROUTES = (
    Route("GET", "/api/v1/org", org, "okta.orgs.read", "/api/v1"),
    Route("GET", "/api/v1/api-tokens", tokens, "okta.apiTokens.read", "/api/v1"),
    Route("GET", "/api/v1/api-tokens/{token}", token, "okta.apiTokens.read", "/api/v1"),
    Route("DELETE", "/api/v1/api-tokens/{token}", revoke, "okta.apiTokens.manage", "/api/v1"),
)

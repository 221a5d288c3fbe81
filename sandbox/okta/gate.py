"""Who may call: the Authorization header read, and what it allows."""

from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import web

from sandbox.okta import ids
from sandbox.okta.errors import Challenged, Refused
from sandbox.okta.principals import Principal, roles_of
from sandbox.okta.records import person

if TYPE_CHECKING:
    from sandbox.okta.tenant import OktaTenant

Json: TypeAlias = Any


def caller(tenant: "OktaTenant", request: web.Request) -> Principal:
    """The principal of a call; Refused or Challenged without a good token."""
    told = request.headers.get("Authorization", "")
    # Okta's own Python SDK (3.4.6) leaves out the blank after SSWS, and is served.
    scheme, value = ("SSWS", told[4:].strip()) if told.startswith("SSWS") else told.partition(" ")[::2]
    match scheme:
        case "SSWS":
            token = tenant.tokens.use(value)
            owner = ids.make("00u", token.owner)
            groups = [ids.make("00g", index) for index in tenant.groups.of(token.owner)]
            roles = roles_of(tenant.roles, groups, owner)
            return Principal(owner, person(tenant.people.get(token.owner)), None, token.id, roles)
        case "Bearer" | "DPoP":
            return tenant.oauth.caller(scheme, value, request)
        case _:
            raise Refused("E0000005")


def check(tenant: "OktaTenant", who: Principal, scope: str, path: str) -> None:
    """Refuse a caller whose token lacks the scope, or whom no admin role allows it."""
    if who.scopes is not None and not {scope, scope.replace(".read", ".manage")} & who.scopes:
        raise Challenged(
            403,
            "insufficient_scope",
            "The access token provided does not contain the required scopes.",
            authorization_uri=f"{tenant.url}/oauth2/v1/authorize",
            realm=tenant.url,
            scope=scope,
            resource=path,
        )
    who.needs(scope)

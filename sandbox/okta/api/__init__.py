"""The endpoints of the management API, a file for each of its chapters."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from sandbox.okta.api import apps, factors, grants, groups, hooks, lifecycle, logs, org, roles, users

if TYPE_CHECKING:
    from sandbox.okta.tenant import OktaTenant

ROUTES = (
    *users.ROUTES, *factors.ROUTES, *lifecycle.ROUTES, *groups.ROUTES, *apps.ROUTES, *grants.ROUTES,
    *roles.ROUTES,
    *logs.ROUTES,
    *hooks.ROUTES, *org.ROUTES,
)  # fmt: skip
Plain = Callable[[web.Request], Awaitable[web.StreamResponse]]


def open_routes(tenant: "OktaTenant") -> list[tuple[str, str, Plain]]:
    """The endpoints that need no token."""

    async def about(_request: web.Request) -> web.Response:
        return web.json_response(org.well_known(tenant))

    async def token(request: web.Request) -> web.Response:
        return await tenant.oauth.token(request)

    return [("GET", "/.well-known/okta-organization", about), ("POST", "/oauth2/v1/token", token)]

"""The system log."""

from aiohttp import web

from sandbox.okta.call import Call, Route


async def listing(call: Call) -> web.Response:
    """Events of a polling or a bounded request."""
    page = call.tenant.log.read(call.query)
    return call.page(page.events, page.more)


ROUTES = (Route("GET", "/api/v1/logs", listing, "okta.logs.read", "/api/v1/logs"),)

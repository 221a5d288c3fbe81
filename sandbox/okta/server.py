"""The org behind HTTP: what every call goes through before an endpoint sees it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import Any, TypeAlias
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.okta.api import ROUTES, open_routes
from sandbox.okta.call import Call, Route
from sandbox.okta.errors import Challenged, OAuthRefused, Refused
from sandbox.okta.gate import caller, check
from sandbox.okta.limits import Throttled
from sandbox.okta.tenant import OktaTenant

Json: TypeAlias = Any
Next: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
RATES = web.RequestKey("rates", list[tuple[str, str]])


def app(tenant: OktaTenant) -> web.Application:
    """Build the server of an org."""
    made = web.Application(middlewares=[_front(tenant)])
    for method, path, handle in open_routes(tenant):
        made.router.add_route(method, path, handle)
    for route in ROUTES:
        made.router.add_route(route.method, route.path, _served(tenant, route))
    return made


def _front(tenant: OktaTenant) -> Middleware:
    @web.middleware
    async def front(request: web.Request, handler: Next) -> web.StreamResponse:
        answer = await _answered(tenant, request, handler)
        if not answer.prepared:
            answer.headers["Date"] = formatdate(tenant.clock.now(), usegmt=True)
            answer.headers["X-Okta-Request-Id"] = uuid4().hex
            answer.headers.setdefault("Cache-Control", "no-cache, no-store")
            for name, value in request.get(RATES, []):
                answer.headers.add(name, value)
        return answer

    return front


async def _answered(tenant: OktaTenant, request: web.Request, handler: Next) -> web.StreamResponse:
    try:
        tenant.limits.enter()
        try:
            tenant.settle()
            if tenant.latency:
                await asyncio.sleep(tenant.latency)
            fault = tenant.faults.next(request.method, request.path)
            if fault is not None:
                return await tenant.faults.strike(fault, request, tenant.clock.now())
            return await handler(request)
        finally:
            tenant.limits.leave()
    except (Refused, Challenged, OAuthRefused) as refused:
        if isinstance(refused, Throttled):
            request[RATES] = refused.lines
        return refused.response()
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as none:
        return Refused("E0000008" if none.status == 404 else "E0000022").response()


def _served(tenant: OktaTenant, route: Route) -> Next:
    async def serve(request: web.Request) -> web.StreamResponse:
        who = caller(tenant, request)
        request[RATES] = tenant.limits.spend(route.bucket, who.token or who.id)
        accept = request.headers.get("Accept", "*/*")
        if "*/*" not in accept and "application/json" not in accept:
            raise Refused("E0000021")
        check(tenant, who, route.scope, request.path)
        return await route.handle(Call(tenant, request, who, await _body(request)))

    return serve


async def _body(request: web.Request) -> Json:
    raw = await request.read()
    if not raw:
        return None
    if request.content_type != "application/json":
        raise Refused("E0000021")
    try:
        return json.loads(raw)
    except ValueError as error:
        raise Refused("E0000003") from error


@asynccontextmanager
async def running(
    tenant: OktaTenant, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[OktaTenant]:
    """Serve an org on a free loopback port, over TLS with a context (see `sandbox.authority`)."""
    runner = web.AppRunner(app(tenant), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    pushing: asyncio.Task[None] | None = None
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        tenant.url = f"{'https' if tls else 'http'}://{host}:{runner.addresses[0][1]}"
        tenant.deliveries.url = tenant.url
        pushing = asyncio.create_task(tenant.push())
        yield tenant
    finally:
        tenant.faults.release.set()
        if pushing is not None:
            pushing.cancel()
            with suppress(asyncio.CancelledError):
                await pushing
        await tenant.deliveries.close()
        await runner.cleanup()

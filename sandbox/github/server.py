"""Serves a tenant on a free port of the loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from sandbox.github.front import Front
from sandbox.github.tenant import GitHubTenant


@asynccontextmanager
async def running(
    tenant: GitHubTenant, tls: ssl.SSLContext | None = None, *, trust: ssl.SSLContext | None = None
) -> AsyncIterator[GitHubTenant]:
    """Serve until the block ends; `tenant.url` leads there, GHES clients use the same plus /api/v3.

    `tls` serves https; `trust` is what webhook deliveries trust of the receiver.
    """
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", Front(tenant).__call__)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    tenant.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    connector = aiohttp.TCPConnector(ssl=trust or True)
    async with aiohttp.ClientSession(connector=connector) as session:
        tenant.webhooks.session = session
        jobs = asyncio.get_running_loop().create_task(_jobs(tenant))
        try:
            yield tenant
        finally:
            jobs.cancel()
            tenant.faults.release.set()
            await tenant.webhooks.stop()
            await runner.cleanup()


async def _jobs(tenant: GitHubTenant) -> None:
    while True:
        tenant.tick()
        await asyncio.sleep(0.2)

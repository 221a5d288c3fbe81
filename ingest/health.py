"""The operator's port: /healthz (alive), /readyz (owns and publishes), /metrics."""

from collections.abc import Callable

from aiohttp import web

from ingest import metrics


class Health:
    """A small server of its own, on loopback unless told otherwise."""

    def __init__(self, ready: Callable[[], str], host: str = "127.0.0.1", port: int = 0) -> None:
        """Keep `ready`, which returns why the process is not ready, or nothing."""
        self._ready, self._host, self._port = ready, host, port
        self._runner: web.AppRunner | None = None
        self.address = ""

    async def start(self) -> None:
        """Listen; `address` then names where."""
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._readiness)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readiness(self, _: web.Request) -> web.Response:
        why = self._ready()
        return web.Response(text=f"{why or 'ready'}\n", status=503 if why else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), content_type="text/plain", charset="utf-8")

"""Faults to order: what the API answers on a bad day."""

import asyncio
from math import ceil
from typing import Final

from aiohttp import web

from sandbox.okta.errors import Challenged, Refused
from sandbox.okta.limits import Throttled, lines

NAMES: Final = (
    "400", "401", "403", "404", "410", "429", "concurrency", "session", "500", "502", "503", "504", "timeout",
    "hang", "truncated", "html", "html-ok", "cut", "nonce", "expired",
)  # fmt: skip
_HTML = (
    "<!DOCTYPE html><html><head><title>Okta is under maintenance</title></head><body>Back soon.</body></html>"
)


class Faults:
    """Faults that wait for a call of a path; `release` lets hanging calls go."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, str, str]] = []
        self.release = asyncio.Event()

    def order(self, path: str, *faults: str, method: str = "") -> None:
        """Let the next calls whose path begins so (of that method, if any) meet these faults, in order."""
        for fault in faults:
            if fault not in NAMES:
                raise ValueError(f"no fault {fault!r}, choose of {', '.join(NAMES)}")
            self._waiting.append((path, fault, method))

    def clear(self) -> None:
        """Forget what was ordered, and let hanging calls go."""
        self._waiting.clear()
        self.release.set()
        self.release = asyncio.Event()

    def next(self, method: str, path: str) -> str | None:
        """The fault that this call meets; it is spent by that."""
        for one in self._waiting:
            if path.startswith(one[0]) and one[2] in {"", method}:
                self._waiting.remove(one)
                return one[1]
        return None

    async def strike(self, fault: str, request: web.Request, now: float) -> web.StreamResponse:
        """Answer with it, or raise the refusal it stands for."""
        _refuse(fault, now)
        match fault:
            case "hang":
                await self.release.wait()
                return web.Response(status=503)
            case "html-ok" | "html" | "502" | "503" | "504":
                status = {"html-ok": 200, "html": 503}.get(fault) or int(fault)
                return web.Response(text=_HTML, content_type="text/html", status=status)
            case "truncated":
                return web.Response(body=b'[{"id":"00u1', content_type="application/json")
            case _:
                return await _cut(request)


def _refuse(fault: str, now: float) -> None:
    match fault:
        case "429":
            raise Throttled(lines(60, 0, ceil(now + 2)))
        case "concurrency":
            raise Throttled(lines(0, 0, ceil(now + 120)))
        case "400" | "410":
            raise Refused(
                "E0000001", "after", causes=("The after cursor is no longer valid",), status=int(fault)
            )
        case "404":
            raise Refused("E0000007", "Resource not found")
        case "timeout" | "500":
            raise Refused("E0000009")
        case "nonce":
            about = "Resource server requires nonce in DPoP proof."
            raise Challenged(401, "use_dpop_nonce", about, scheme="DPoP", nonce=f"ordered-{now:.0f}")
        case "expired":
            raise Challenged(401, "invalid_token", "The token has expired.")
        case "401" | "403" | "session":
            raise Refused({"401": "E0000011", "403": "E0000006", "session": "E0000005"}[fault])
        case _:
            return


async def _cut(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "100000", "Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write(b'[{"id":')
    if request.transport is not None:
        request.transport.close()
    return answer

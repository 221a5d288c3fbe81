"""Faults to order: what GitHub's answer looks like on a bad day."""

import asyncio
from typing import Literal, TypeAlias, get_args

from aiohttp import web

from sandbox.github.answers import Answer, Refused, missing, secondary, unknown_caller

Fault: TypeAlias = Literal[
    "401",
    "403",
    "403 rate",
    "403 secondary",
    "403 secondary bare",
    "403 sso",
    "403 allow list",
    "404",
    "410",
    "422",
    "429",
    "429 bare",
    "500",
    "502",
    "503",
    "504",
    "hang",
    "truncated",
    "html",
    "html ok",
    "cut",
    "graphql error",
    "graphql limited",
    "graphql null",
]
FAULTS: tuple[str, ...] = get_args(Fault)
_HTML = (
    "<!DOCTYPE html><html><body><h1>Unicorn!</h1><p>We had issues producing the response.</p></body></html>"
)
_DENIED = {
    "410": "This resource is gone.",
    "403": "Resource not accessible by integration",
    "403 sso": (
        "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this"
        " organization."
    ),
    "403 allow list": (
        "Although you appear to have the correct authorization credentials, the organization has an IP allow"
        " list enabled, and your IP address is not permitted to access this resource."
    ),
}
_GRAPHQL = {
    "graphql error": ("INTERNAL", "Something went wrong while executing your query."),
    "graphql limited": ("RATE_LIMITED", "API rate limit exceeded for installation."),
    "graphql null": ("FORBIDDEN", "Although you appear to have the correct authorization credentials, ..."),
}


class Faults:
    """The failures that still wait; `release` ends those that hang."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, str]] = []
        self.release = asyncio.Event()

    def order(self, path: str, *faults: str) -> None:
        """Order failures for the next calls whose path begins so, one each."""
        for fault in faults:
            if fault not in FAULTS:
                raise ValueError(f"no fault {fault!r}, choose one of: {', '.join(FAULTS)}")
            self.waiting.append((path, fault))

    def take(self, path: str) -> str:
        """The failure that this call meets, "" without."""
        for one in self.waiting:
            if path.startswith(one[0]):
                self.waiting.remove(one)
                return one[1]
        return ""

    async def strike(self, request: web.Request, fault: str, now: float) -> Answer | web.StreamResponse:
        """Answer with the failure."""
        if fault in _GRAPHQL:
            return _graphql(fault, now)
        if fault == "hang":
            await self.release.wait()
            return Answer(_HTML, 503, media="text/html")
        if fault == "truncated":
            return Answer('[{"login": "octocat", "id": 1, "node_', 200)
        if fault == "cut":
            return await _cut(request)
        if fault in {"html", "html ok"}:
            return Answer(_HTML, 200 if fault == "html ok" else 502, media="text/html")
        return _refusal(fault, now).answer()


def _refusal(fault: str, now: float) -> Refused:
    status = int(fault[:3])
    match fault:
        case "401":
            refused = unknown_caller()
        case "404":
            refused = missing()
        case "403 rate" | "429 bare":
            headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(now) + 2)}
            refused = Refused(status, "API rate limit exceeded for installation ID 1.", headers)
        case "403 secondary" | "429":
            refused = secondary(1, status)
        case "403 secondary bare":
            refused = secondary(1, status)
            refused.headers.clear()
        case "403 sso":
            link = "required; url=https://github.com/orgs/acme/sso?authorization_request=A4Z"
            refused = Refused(status, _DENIED[fault], {"X-GitHub-SSO": link})
        case "422":
            refused = Refused(status, "Validation Failed", errors=[])
        case _:
            refused = Refused(status, _DENIED.get(fault, "Server Error"))
    return refused


def _graphql(fault: str, now: float) -> Answer:
    kind, message = _GRAPHQL[fault]
    data = {"organization": {"samlIdentityProvider": None}} if fault == "graphql null" else None
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(now) + 2)}
    return Answer(
        {"data": data, "errors": [{"type": kind, "path": ["organization"], "message": message}]},
        headers=headers if fault == "graphql limited" else {},
    )


async def _cut(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(
        headers={"Content-Length": "4000", "Content-Type": "application/json; charset=utf-8"}
    )
    await answer.prepare(request)
    await answer.write(b'[{"login": "octo')
    if request.transport is not None:
        request.transport.close()
    return answer

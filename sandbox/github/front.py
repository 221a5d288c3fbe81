"""The front door: what GitHub checks of every request before an endpoint sees it."""

import asyncio
import hashlib
import json
import re
import secrets
from email.utils import formatdate

from aiohttp import web

from sandbox.github import endpoints
from sandbox.github.access import allowed
from sandbox.github.answers import Answer, Json, Refused, missing, unknown_caller
from sandbox.github.call import Call, Caller, Route, Table
from sandbox.github.limits import WRITES, Window
from sandbox.github.tenant import GitHubTenant

VERSIONS = ("2022-11-28", "2026-03-10")
_ACCEPT = re.compile(r"application/(vnd\.github[\w.+-]*\+?json|json|scim\+json|\*)|\*/\*", re.IGNORECASE)
_AGENT = (
    "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
    " (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required)."
    " Check https://developer.github.com for other possible causes.\n"
)


class Front:
    """Takes every request: faults first, then manners, token, limits, rights, then the endpoint."""

    def __init__(self, tenant: GitHubTenant) -> None:
        self._tenant, self._table = tenant, Table()
        self._parts = endpoints.__all__

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        tenant = self._tenant
        tenant.tick()
        path, base = self._place(request.rel_url.raw_path)
        if fault := tenant.faults.take(path):
            struck = await tenant.faults.strike(request, fault, tenant.clock.now())
            return struck if isinstance(struck, web.StreamResponse) else _reply(struck)
        if not request.headers.get("User-Agent"):
            return web.Response(status=403, text=_AGENT)
        headers: dict[str, str] = {}
        try:
            tenant.limits.enter()
            if tenant.latency:
                await asyncio.sleep(tenant.latency)
            answer = await self._answer(request, path, base, headers)
        except Refused as refused:
            answer = refused.answer()
            if path.startswith("/scim/"):
                answer = _scim(answer)
        finally:
            tenant.limits.leave()
        date = formatdate(tenant.clock.now(), usegmt=True)
        answer.headers = {"Date": date, **headers, **answer.headers}
        return _reply(answer)

    def _place(self, path: str) -> tuple[str, str]:
        """The path as github.com has it, and the URL in front of it."""
        base = self._tenant.url
        for prefix in ("/api/v3", "/api"):
            if path == prefix + "/graphql" or (prefix == "/api/v3" and path.startswith(prefix + "/")):
                path, base = path[len(prefix) :], base + prefix
                break
        org = self._tenant.org
        if path.startswith(f"/organizations/{org.id}/team/"):
            number, _, rest = path.removeprefix(f"/organizations/{org.id}/team/").partition("/")
            team = org.teams.get(int(number)) if number.isdecimal() else None
            path = f"/orgs/{org.login}/teams/{team.slug if team else '-'}" + (f"/{rest}" if rest else "")
        elif path.startswith(f"/organizations/{org.id}"):
            path = f"/orgs/{org.login}" + path.removeprefix(f"/organizations/{org.id}")
        elif path.startswith("/repositories/"):
            number, _, rest = path.removeprefix("/repositories/").partition("/")
            repo = org.estate.get(int(number)) if number.isdecimal() else None
            path = f"/repos/{org.login}/{repo.name if repo else '-'}" + (f"/{rest}" if rest else "")
        return path, base

    async def _answer(self, request: web.Request, path: str, base: str, headers: dict[str, str]) -> Answer:
        tenant, now = self._tenant, self._tenant.clock.now()
        caller = tenant.access.caller(request.headers.get("Authorization", ""), request.remote or "", now)
        found = self._table.find(request.method, path)
        family = found[0].template if found else "unknown"
        tenant.limits.pace(
            caller, f"{request.method} {family}" if family != "/graphql" else family, request.method, now
        )
        bucket = found[0].bucket if found else "core"
        tenant.requests[bucket or "free"] += 1
        window = None
        if bucket and bucket != "graphql":
            window = tenant.limits.charge(caller, bucket, now)
            headers.update(window.headers(bucket))
        self._rights(found[0] if found else None, caller, headers)
        _manners(request)
        if found is None:
            raise missing()
        call = await self._call(request, path, base, caller, found)
        self._own(call, found[0])
        answer = found[0].handler(tenant, call)
        return self._conditional(request, answer, window, headers, bucket)

    def _rights(self, route: Route | None, caller: Caller, headers: dict[str, str]) -> None:
        if caller.kind == "oauth":
            headers["X-OAuth-Scopes"] = ", ".join(sorted(caller.scopes))
            headers["X-Accepted-OAuth-Scopes"] = ", ".join(route.scopes) if route else ""
        if route is None:
            return
        if caller.kind == "installation":
            own = self._tenant.org.installations.get(caller.installation)
            if own is None:
                raise unknown_caller()
            if own.suspended:
                raise Refused(403, "This installation has been suspended")
        if route.permission and route.permission != "no":
            headers["X-Accepted-GitHub-Permissions"] = route.permission
        allowed(caller, route.permission, route.scopes, hidden=route.hidden, only=route.only)

    def _own(self, call: Call, route: Route) -> None:
        """Refuse other organisations and enterprises, unknown parameters, and tokens without SSO."""
        org = self._tenant.org
        for name, own in (("org", org.login), ("enterprise", org.enterprise), ("owner", org.login)):
            if name in call.params and call.params[name].lower() != own.lower():
                raise missing()
        strange = set(call.query) - route.query
        if strange and call.method == "GET":
            raise Refused(422, "Validation Failed", errors=[{"field": min(strange), "code": "unrecognized"}])
        if "org" in call.params and not call.caller.sso and org.saml:
            raise Refused(
                403,
                "Resource protected by organization SAML enforcement. You must grant your OAuth token access"
                " to this organization.",
                {
                    "X-GitHub-SSO": f"required; url=https://github.com/orgs/{org.login}/sso?authorization_request=A4"
                },
            )

    async def _call(
        self, request: web.Request, path: str, base: str, caller: Caller, found: tuple[Route, dict[str, str]]
    ) -> Call:
        raw = await request.read()
        body: Json = None
        if raw and request.method in WRITES:
            try:
                body = json.loads(raw)
            except ValueError:
                raise Refused(400, "Problems parsing JSON") from None
        return Call(request.method, path, dict(request.query), request.headers, caller, base, body, found[1])

    def _conditional(
        self,
        request: web.Request,
        answer: Answer,
        window: Window | None,
        headers: dict[str, str],
        bucket: str,
    ) -> Answer:
        """Give lists a tag, this token's own; who has it gets 304, which is not counted for a known caller.

        That tags differ from token to token: github/docs issue 34689.
        """
        if request.method != "GET" or answer.status != 200 or bucket == "audit_log":
            return answer
        content = json.dumps(answer.body, separators=(",", ":"))
        answer.body = content
        told = content + answer.headers.get("Link", "") + request.headers.get("Authorization", "")
        tag = f'W/"{hashlib.sha256(told.encode()).hexdigest()}"'
        answer.headers["ETag"] = tag
        answer.headers["Cache-Control"] = "private, max-age=60, s-maxage=60"
        answer.headers["Vary"] = "Accept, Authorization, Cookie, Accept-Encoding"
        asked = request.headers.get("If-None-Match", "").split(",")
        if tag.removeprefix("W/") not in [one.strip().removeprefix("W/") for one in asked]:
            return answer
        if window is not None and "Authorization" in request.headers:
            self._tenant.limits.refund(window)
            headers.update(window.headers(bucket))
        return Answer(None, 304, {"ETag": tag})


def _manners(request: web.Request) -> None:
    version = request.headers.get("X-GitHub-Api-Version")
    if version is not None and version not in VERSIONS:
        raise Refused(400, f"Version {version} is not supported. Supported: {', '.join(VERSIONS)}.")
    accept = request.headers.get("Accept", "*/*")
    if not any(_ACCEPT.fullmatch(one.split(";")[0].strip()) for one in accept.split(",")):
        raise Refused(415, f"Unsupported 'Accept' header: '{accept}'. Must accept 'application/json'.")


def _scim(answer: Answer) -> Answer:
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "detail": answer.body["message"],
        "status": answer.status,
    }
    return Answer(body, answer.status, answer.headers, "application/scim+json")


def _reply(answer: Answer) -> web.Response:
    headers = {
        "X-GitHub-Media-Type": "github.v3; format=json",
        "X-GitHub-Request-Id": f"C0DE:{secrets.token_hex(4).upper()}",
        **answer.headers,
    }
    if answer.body is None:
        return web.Response(status=answer.status, headers=headers)
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, separators=(",", ":"))
    headers["Content-Type"] = f"{answer.media}; charset=utf-8"
    return web.Response(body=text.encode(), status=answer.status, headers=headers)

"""The toy's simulated tenant: a strict HTTP server with state, limits and faults to order.

Start it with `async with running(Tenant()) as tenant:` and connect with `tenant.url`.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
from aiohttp import web

Json = Any
SECRET = "toy-client-secret-8c1f"


class Tenant:
    """What the toy knows; `clock` gives seconds since 1970, `page` the length of pages."""

    def __init__(self, clock: Callable[[], float] = time.time, page: int = 3, limit: int = 50) -> None:
        self.clock, self.page, self.limit, self.url = clock, page, limit, ""
        self.users: dict[str, Json] = {}
        self.files: dict[str, Json] = {}
        self.stream: list[Json] = []
        self.trail: list[tuple[float, Json]] = []
        self.oldest = 0
        self.hooks: dict[str, Json] = {}
        self.hook_calls: list[tuple[str, str, Json]] = []
        self.hooks_last = True
        self.verifies = True
        self.before_register: Callable[[str, Json], Awaitable[None]] | None = None
        self.tokens: dict[str, float] = {}
        self.refresh: set[str] = set()
        self.used: dict[str, float] = {}
        self.grace = 0.0
        self.codes: dict[str, tuple[str, str]] = {}
        self.lives = 3600.0
        self.calls: list[tuple[float, str]] = []
        self.refused = 0
        self.faults: list[tuple[str, str]] = []
        self.release = asyncio.Event()
        self._numbers = itertools.count(1)

    def moment(self, ago: float = 0.0) -> str:
        """Write the time some seconds ago."""
        return (datetime.fromtimestamp(self.clock(), UTC) - timedelta(seconds=ago)).isoformat()

    def add_user(self, name: str, *, admin: bool = False) -> str:
        """Create a user and return the id."""
        uid = f"u{next(self._numbers)}"
        mail = f"{name}@example.com"
        self.users[uid] = {
            "id": uid, "name": name, "email": mail, "status": "active", "admin": admin,
            "changed": self.moment(),
        }  # fmt: skip
        return uid

    def add_file(self, name: str, content: bytes, *, public: bool = False) -> str:
        """Put a file there, or its next version, and return the id."""
        uid, version = f"f-{name}", f"v{next(self._numbers)}"
        self.files[uid] = {
            "id": uid, "name": name, "version": version, "public": public, "size": len(content),
            "changed": self.moment(), "content": content,
        }  # fmt: skip
        return uid

    def act(self, kind: str = "login", user: str | None = None, ago: float = 0.0) -> Json:
        """Let a user do something."""
        who = self.users[user or next(iter(self.users))]
        record = {
            "id": f"a{next(self._numbers)}", "time": self.moment(ago), "type": kind, "ip": "192.0.2.7",
            "user": {"id": who["id"], "name": who["name"], "email": who["email"]},
        }  # fmt: skip
        self.stream.append(record)
        return record

    def note(self, kind: str, user: str, *, ago: float = 0.0, late: float = 0.0) -> Json:
        """Write to the audit trail, to be seen only `late` seconds after it happened."""
        record = {
            "id": f"t{next(self._numbers)}", "time": self.moment(ago), "type": kind, "user": {"id": user},
            "by": {"id": "u-admin"},
        }  # fmt: skip
        self.trail.append((self.clock() - ago + late, record))
        return record

    def order(self, path: str, *faults: str) -> None:
        """Order faults for the next calls of a path: 401, 403, 404, 410, 429, 500, throttled and so on."""
        self.faults += [(path, fault) for fault in faults]

    def busiest(self, per: float = 1.0) -> int:
        """Count the calls of the busiest window."""
        times = [at for at, _ in self.calls]
        return max((sum(1 for at in times if start <= at < start + per) for start in times), default=0)

    async def push(self, record: Json, secret: str | None = None) -> list[int]:
        """Deliver a record to every registration, signed; return the answers' statuses."""
        body, sent = orjson.dumps({"entries": [record]}), str(int(self.clock()))
        answers = []
        async with aiohttp.ClientSession() as session:
            for one in self.hooks.values():
                key = (secret or one["secret"]).encode()
                signature = hmac.new(key, sent.encode() + b"." + body, hashlib.sha256).hexdigest()
                headers = {
                    "X-Toy-Signature": f"sha256={signature}",
                    "X-Toy-Time": sent,
                    "X-Toy-Id": record["id"],
                }
                async with session.post(one["address"], data=body, headers=headers) as answer:
                    answers.append(answer.status)
        return answers

    def app(self) -> web.Application:
        """Build the server."""
        app = web.Application(middlewares=[self._front])
        app.add_routes(
            [
                web.get("/oauth/authorize", self._authorize),
                web.post("/oauth/token", self._token),
                web.get("/me", self._me),
                web.get("/activity", self._activity),
                web.get("/audit", self._audit),
                web.get("/users", self._users),
                web.get("/users/{id}", self._user),
                web.post("/users/{id}/{verb:suspend|activate}", self._change),
                web.get("/files", self._files),
                web.get("/files/{id}/content", self._content),
                web.get("/hooks", self._hooks),
                web.put("/hooks/{id}", self._register),
                web.patch("/hooks/{id}", self._prolong),
                web.delete("/hooks/{id}", self._unregister),
            ]
        )
        return app

    @web.middleware
    async def _front(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        for ordered in self.faults:
            if request.path.startswith(ordered[0]):
                self.faults.remove(ordered)
                return await self._fault(request, ordered[1])
        if request.path.startswith("/oauth/"):
            return await handler(request)
        if self.tokens.get(request.headers.get("Authorization", "")[7:], 0) < self.clock():
            return web.json_response({"error": {"reason": "unauthorized"}}, status=401)
        now = time.monotonic()
        window = [at for at, _ in self.calls[-self.limit :] if at > now - 1.0]
        recent = len(window)
        self.calls.append((now, request.path))
        if recent >= self.limit:
            self.refused += 1
            return await self._fault(request, "throttled")
        answer = await handler(request)
        answer.headers["X-Toy-Left"] = str(self.limit - recent - 1)
        answer.headers["X-Toy-Reset"] = str(window[0] + 1.0 - now if window else 1.0)
        return answer

    async def _fault(self, request: web.Request, fault: str) -> web.StreamResponse:
        token = request.headers.get("Authorization", "")[7:]
        plain = {
            "throttled": (403, {"error": {"reason": "rateLimited"}}),
            "410": (410, {"error": {"reason": "gone"}}),
            "200 error": (200, {"error": {"reason": "backend"}}),
        }
        match fault:
            case "throttled" | "410" | "200 error":
                status, body = plain[fault]
                return web.json_response(body, status=status, headers={"Retry-After": "1"})
            case "html" | "truncated":
                page = b"<html>down for repairs</html>" if fault == "html" else b'{"entries": [{"id": "a'
                return web.Response(
                    body=page, content_type="text/html" if fault == "html" else "application/json"
                )
            case "cut":
                answer = web.StreamResponse(headers={"Content-Length": "1000"})
                await answer.prepare(request)
                await answer.write(b'{"entries": [')
                if request.transport is not None:
                    request.transport.close()
                return answer
            case "hang":
                await self.release.wait()
                return web.Response(status=503)
            case _:
                echo = {"error": {"reason": "refused", "message": f"echo {token}", "code": token[:40]}}
                return web.json_response(echo, status=int(fault))

    def _issue(self, *, refresh: bool = False) -> web.Response:
        access = f"toy-access-{next(self._numbers)}-5f2e"
        self.tokens[access] = self.clock() + self.lives
        told: dict[str, Json] = {"access_token": access, "expires_in": self.lives, "token_type": "Bearer"}
        if refresh:
            told["refresh_token"] = f"toy-refresh-{next(self._numbers)}-77aa"
            self.refresh.add(told["refresh_token"])
        return web.json_response(told)

    async def _authorize(self, request: web.Request) -> web.Response:
        asked, code = request.query, f"code{next(self._numbers)}"
        if asked["response_type"] != "code" or asked["code_challenge_method"] != "S256":
            return web.Response(status=400)
        self.codes[code] = (asked["redirect_uri"], asked["code_challenge"])
        where = f"{asked['redirect_uri']}?code={code}&state={asked['state']}"
        return web.Response(status=302, headers={"Location": where})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if form.get("client_secret") != SECRET:
            return web.json_response({"error": "invalid_client"}, status=401)
        match form.get("grant_type"):
            case "client_credentials":
                return self._issue()
            case "refresh_token" if self._spent(form["refresh_token"]):
                return self._issue(refresh=True)
            case "authorization_code":
                redirect, challenge = self.codes.pop(form["code"], ("", ""))
                hashed = hashlib.sha256(form["code_verifier"].encode()).digest()
                made = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
                if redirect == form["redirect_uri"] and made == challenge:
                    return self._issue(refresh=True)
            case _:
                pass
        return web.json_response({"error": "invalid_grant"}, status=400)

    def _spent(self, token: str) -> bool:
        """Use a refresh token up; within the grace a used one works again, as an answer may get lost."""
        if token in self.refresh:
            self.refresh.discard(token)
            self.used[token] = self.clock()
            return True
        return token in self.used and self.clock() < self.used[token] + self.grace

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "u-sluice", "account": "toy-1"})

    async def _activity(self, request: web.Request) -> web.Response:
        if "after" in request.query:
            start = int(request.query["after"])
        else:
            since = request.query["since"]
            start = sum(1 for record in self.stream if record["time"] < since)
        if start < self.oldest:
            return web.json_response({"error": {"reason": "gone"}}, status=410)
        end = min(start + self.page, len(self.stream))
        return web.json_response(
            {"entries": self.stream[start:end], "next": str(end), "more": end < len(self.stream)}
        )

    async def _audit(self, request: web.Request) -> web.Response:
        start, end = request.query["from"], request.query["to"]
        seen = [r for at, r in self.trail if at <= self.clock() and start <= r["time"] < end]
        seen.sort(key=lambda record: str(record["time"]), reverse=True)
        return web.json_response(self._paged(seen, request))

    async def _users(self, request: web.Request) -> web.Response:
        return web.json_response(self._paged(list(self.users.values()), request))

    async def _files(self, request: web.Request) -> web.Response:
        shown = [{name: one[name] for name in one if name != "content"} for one in self.files.values()]
        return web.json_response(self._paged(shown, request))

    async def _content(self, request: web.Request) -> web.Response:
        file = self.files.get(request.match_info["id"])
        if file is None:
            return web.json_response({"error": {"reason": "notFound"}}, status=404)
        return web.Response(body=file["content"], headers={"ETag": f'"{file["version"]}"'})

    def _paged(self, entries: list[Json], request: web.Request) -> Json:
        start = int(request.query.get("page", "p0")[1:])
        end = start + min(self.page, int(request.query.get("limit", self.page)))
        more = {"page": f"p{end}"} if end < len(entries) else {}
        return {"entries": entries[start:end], **more}

    async def _user(self, request: web.Request) -> web.Response:
        user = self.users.get(request.match_info["id"])
        return web.json_response(user or {"error": {"reason": "notFound"}}, status=200 if user else 404)

    async def _change(self, request: web.Request) -> web.Response:
        user, verb = self.users.get(request.match_info["id"]), request.match_info["verb"]
        if user is None:
            return web.json_response({"error": {"reason": "notFound"}}, status=404)
        if user["admin"] and verb == "suspend":
            return web.json_response({"error": {"reason": "lastAdmin"}}, status=409)
        user["status"] = "suspended" if verb == "suspend" else "active"
        self.note("suspended" if verb == "suspend" else "activated", user["id"])
        return web.json_response(user)

    def _living(self) -> dict[str, Json]:
        """Forget the registrations whose time is over."""
        if self.hooks_last:
            now = self.moment()
            self.hooks = {name: one for name, one in self.hooks.items() if one.get("expires", now) >= now}
        return self.hooks

    async def _hooks(self, request: web.Request) -> web.Response:
        shown = ("address", "expires", "state")
        hooks = [{"id": name} | {key: one.get(key) for key in shown} for name, one in self._living().items()]
        return web.json_response({"hooks": hooks})

    async def _register(self, request: web.Request) -> web.Response:
        name, asked = request.match_info["id"], await request.json()
        self.hook_calls.append(("create", name, asked))
        if self.before_register is not None:
            await self.before_register(name, asked)
        self.hooks[name] = {**asked, "state": "active" if self.verifies else "unverified"}
        return web.json_response(self.hooks[name], status=201)

    async def _prolong(self, request: web.Request) -> web.Response:
        name, asked = request.match_info["id"], await request.json()
        self.hook_calls.append(("renew", name, asked))
        if name not in self._living():
            return web.json_response({"error": {"reason": "notFound"}}, status=404)
        self.hooks[name] |= {
            "expires": asked["expires"],
            "state": "active" if self.verifies else "unverified",
        }
        return web.json_response(self.hooks[name])

    async def _unregister(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.hook_calls.append(("remove", name, None))
        gone = self.hooks.pop(name, None)
        return web.Response(status=404 if gone is None else 204)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an app on a free loopback port and give its address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running(tenant: Tenant) -> AsyncIterator[Tenant]:
    """Run a tenant."""
    async with serving(tenant.app()) as tenant.url:
        yield tenant

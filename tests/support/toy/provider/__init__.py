"""Toy: the smallest provider that has everything: a cursor, a window, a snapshot, a webhook, an action."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

import orjson
from pydantic import SecretStr

from ingest.provider import (
    Api,
    At,
    Broken,
    Changed,
    ClientCredentials,
    Consent,
    Content,
    CursorLost,
    Delivery,
    Grant,
    Hooked,
    Instance,
    Json,
    Limit,
    Missing,
    NotAllowed,
    Page,
    Provider,
    Pushed,
    Ref,
    Refused,
    Registered,
    Reply,
    Retry,
    Settings,
    Step,
    Subscription,
    Wanted,
    feed,
    hook,
)
from ingest.signatures import Hmac
from toy.provider import events


class ToySettings(Settings, frozen=True):
    """A client of the toy, or with `consent` an admin's consent, whose refresh tokens work once."""

    url: str
    client_id: str = "sluice"
    client_secret: SecretStr
    consent: bool = False


class Hooks(Subscription["Toy"]):
    """One webhook for all activity; lives a day."""

    brings = "changed"
    speeds_up = ("activity",)
    lasts = timedelta(days=1)

    async def create(self, p: "Toy", w: Wanted) -> Registered:
        """Register; the id is ours, so twice is once. The toy looks whether the address answers."""
        body = {"id": w.id, "address": w.address, "secret": w.secret, "expires": w.expires.isoformat()}
        made = (await p.http.call("toy", "PUT", f"/hooks/{w.id}", json=body)).json
        return Registered(w.id, w.expires, made["state"] == "active", {"address": w.address})

    async def renew(self, p: "Toy", it: Registered, w: Wanted, how: Json) -> Registered | None:
        """Prolong it, which makes the toy look at the address again; one that is gone is made anew."""
        body = {"expires": w.expires.isoformat(), "how": how}
        reply = await p.http.call("toy", "PATCH", f"/hooks/{it.id}", json=body, ok=(404,))
        if reply.status == 404:
            return None
        return Registered(it.id, w.expires, reply.json["state"] == "active", it.data)

    async def remove(self, p: "Toy", it: Registered) -> None:
        """Take it away."""
        await p.http.call("toy", "DELETE", f"/hooks/{it.id}", ok=(404,))

    async def listed(self, p: "Toy") -> AsyncIterator[Registered]:
        """List what is registered."""
        for one in (await p.http.call("toy", "GET", "/hooks")).json["hooks"]:
            well = one.get("state", "active") == "active"
            yield Registered(one["id"], healthy=well, data={"address": one["address"]})


class Suspend:
    """Suspend a user; undone by activating him."""

    name: ClassVar[str] = "suspend"
    capability: ClassVar[Any] = "user_governance"
    on: ClassVar[Any] = "user"
    irreversible: ClassVar[bool] = False

    async def look(self, p: "Toy", target: Ref, options: Json) -> Json:
        """Read the user's status."""
        del options
        reply = await p.http.call("toy", "GET", f"/users/{target.id}", ok=(404,))
        if reply.status == 404:
            raise Missing(f"no user {target.id}")
        return {"status": reply.json["status"]}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Suspend who is active."""
        del options
        return [] if state["status"] == "suspended" else [Step("suspend", "suspend the user")]

    async def do(self, p: "Toy", target: Ref, step: Step) -> Json:
        """Set the status."""
        reply = await p.http.call("toy", "POST", f"/users/{target.id}/{step.do}", ok=(409,))
        if reply.status == 409:
            raise Refused("the last admin can't be suspended")
        return None

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Activate who was active before."""
        del done
        again = now["status"] == "suspended" != before["status"]
        return [Step("activate", "activate the user")] if again else []


class Toy(Provider[ToySettings]):
    """The toy."""

    name = "toy"
    title = "Toy"
    vendor = "Sluice"
    settings_type = ToySettings
    account_type = "Toy account"
    has_content = True
    actions = (Suspend(),)
    subscriptions: ClassVar[tuple[Subscription[Any], ...]] = (Hooks(),)

    def apis(self) -> Mapping[str, Api]:
        """One api, 50 calls a second, ten at once."""
        s, secret = self.settings, self.settings.client_secret.get_secret_value()
        auth = (
            Consent(f"{s.url}/oauth/authorize", f"{s.url}/oauth/token", s.client_id, secret, rotates=True)
            if s.consent
            else ClientCredentials(f"{s.url}/oauth/token", s.client_id, secret)
        )
        return {"toy": Api(s.url, auth, {"calls": Limit(50, 1.0, at_once=10)})}

    async def identify(self) -> Instance:
        """Ask who we are."""
        me = (await self.http.call("toy", "GET", "/me")).json
        return Instance(me["account"], "Toy", frozenset({me["id"]}), frozenset({"example.com"}))

    async def probe(self) -> AsyncIterator[Grant]:
        """Read one user."""
        try:
            await self.http.call("toy", "GET", "/users", params={"limit": 1})
        except NotAllowed:
            yield Grant("accounts", ("users:read",))
        else:
            yield Grant("accounts")

    @feed("logons", "user_activity", to=events.activity, every=timedelta(seconds=30))
    async def activity(self, at: At) -> AsyncIterator[Page]:
        """Read the stream, oldest first; a position too old is answered with 410."""
        where = {"after": at.cursor} if at.cursor is not None else {"since": at.since.isoformat()}
        while True:
            reply = (await self.http.call("toy", "GET", "/activity", params=where)).json
            where = {"after": reply["next"]}
            yield Page(reply["entries"], cursor=reply["next"])
            if not reply["more"]:
                return

    @feed(
        "admin_activity",
        to=events.audit,
        every=timedelta(seconds=60),
        late=timedelta(minutes=10),
        newest_first=True,
    )
    async def audit(self, at: At) -> AsyncIterator[Page]:
        """Read a window, newest first; records show up to ten minutes late."""
        page: Json = None
        while True:
            span = {"from": at.since.isoformat(), "to": at.until.isoformat(), "page": page}
            reply = (await self.http.call("toy", "GET", "/audit", params=span)).json
            yield Page(reply["entries"])
            page = reply.get("page")
            if page is None:
                return

    @feed("accounts", to=events.user, every=timedelta(hours=1))
    async def users(self, at: At) -> AsyncIterator[Page]:
        """List all accounts."""
        page = at.cursor
        while True:
            reply = (await self.http.call("toy", "GET", "/users", params={"page": page})).json
            page = reply.get("page")
            yield Page(reply["entries"], cursor=page, complete=page is None)
            if page is None:
                return

    @feed("dlp_backlog", to=events.file, every=timedelta(hours=12))
    async def files(self, at: At) -> AsyncIterator[Page]:
        """List all files and who can see them."""
        page = at.cursor
        while True:
            reply = (await self.http.call("toy", "GET", "/files", params={"page": page})).json
            page = reply.get("page")
            yield Page(reply["entries"], cursor=page, complete=page is None)
            if page is None:
                return

    @asynccontextmanager
    async def content(self, file: Ref) -> AsyncIterator[Content]:
        """Open a file; only the newest version can be had."""
        async with self.http.stream("toy", "GET", f"/files/{file.id}/content") as content:
            version = content.version.strip('"')
            if file.version not in {"", version}:
                raise Changed(f"{file.id} is {version} by now")
            yield content._replace(version=version)

    @hook(
        Hmac(
            "X-Toy-Signature", prefix="sha256=", timestamp="X-Toy-Time", signed="{time}.{body}", id="X-Toy-Id"
        )
    )
    def changed(self, delivery: Delivery) -> Iterable[Hooked]:
        """A delivery carries records as the stream has them, or says that the registration ended."""
        body = orjson.loads(delivery.body)
        if "ended" in body:
            return [Broken(body["ended"], "ended")]
        return [Pushed("activity", body["entries"])]

    def ruling(self, reply: Reply) -> Exception | None:
        """Throttling is a 403 with a reason; a fault may come as 200 with an error inside."""
        error = reply.json.get("error") if isinstance(reply.json, dict) else None
        reason = error.get("reason") if isinstance(error, dict) else None
        if reason == "rateLimited":
            return Retry("throttled", float(reply.headers.get("retry-after", "1")), bucket="calls")
        if reason == "gone":
            return CursorLost("the position is too old", since=timedelta(days=1))
        if reason == "backend":
            return Retry("the toy has a fault")
        return None

    def quota(self, reply: Reply) -> Mapping[str, tuple[float, float | None]]:
        """Read what is left of the second."""
        left = reply.headers.get("x-toy-left")
        return {} if left is None else {"calls": (float(left), float(reply.headers["x-toy-reset"]))}

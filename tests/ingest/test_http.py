"""The client against real servers on loopback: kind, broken and hostile ones."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from toy.clock import TestClock
from toy.tenant import serving

from ingest.errors import (
    Changed,
    CursorLost,
    Misconfigured,
    Missing,
    NotAllowed,
    Refused,
    Retry,
    SourceError,
)
from ingest.http import Client, open_session
from ingest.pace import Pace, lane
from ingest.paging import Unchanged, linked
from ingest.provider import Api, Instance, Limit, Provider, Reply, Settings, Static

CANARY = "canary-token-93f1c2d4"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Counts:
    """Remembers what the client counted."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.throttling = asyncio.Event()

    def called(self, provider: str, api: str, operation: str, outcome: str, seconds: float) -> None:
        """Note an attempt."""
        self.outcomes.append(outcome)

    def throttled(self, provider: str, api: str, bucket: str) -> None:
        """Note a throttled call."""
        self.throttling.set()

    def waited(self, provider: str, seconds: float) -> None:
        """Ignore it."""

    def remaining(self, provider: str, bucket: str, ratio: float) -> None:
        """Check the ratio."""
        assert 0 <= ratio <= 1


class Plain(Provider[Settings]):
    """A provider of one api with a fixed token, and an SDK."""

    name = "plain"
    settings_type = Settings
    base = ""
    more: Mapping[str, Api] = {}

    def apis(self) -> Mapping[str, Api]:
        """Give the address under test."""
        limits = {"calls": Limit(1000, 1.0), "user": Limit(100, 1.0, scope="acting_as")}
        return {"main": Api(self.base, Static(CANARY), limits), **self.more}

    def raised(self, error: Exception) -> Exception | None:
        """Translate the SDK's error for throttling."""
        return Retry("slow down", 30.0, everywhere=True) if isinstance(error, KeyError) else None

    def quota(self, reply: Reply) -> Mapping[str, tuple[float, float | None]]:
        """Read what is left of one bucket, where it is told."""
        return {"calls": (float(reply.headers["x-left"]), 60.0)} if "x-left" in reply.headers else {}


class Rig:
    """A client, its clock and its counts."""

    def __init__(self, client: Client, clock: TestClock, pace: Pace, counts: Counts) -> None:
        self.client, self.clock, self.pace, self.counts = client, clock, pace, counts

    async def get(self, path: str = "/x", **more: Any) -> Reply:
        """Call while the clock moves by itself."""
        return await self.clock.drive(self.client.call("main", "GET", path, **more))


@asynccontextmanager
async def rig(
    base: str,
    *,
    more: Mapping[str, Api] | None = None,
    endpoints: Mapping[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[Rig]:
    """Connect a plain provider's client to a server."""
    clock, counts = TestClock(), Counts()
    pace = Pace(clock=clock)
    settings = Settings(endpoints=dict(endpoints or {}))
    provider = Plain(settings, None, Instance("1"))  # type: ignore[arg-type]
    provider.base, provider.more = base, more or {}
    async with open_session(options.pop("timeout", 5.0)) as session:
        client = Client(provider, session, pace, meter=counts, jitter=lambda: 0.5, **options)
        yield Rig(client, clock, pace, counts)
        await pace.close()


@asynccontextmanager
async def answering(handler: Handler, **options: Any) -> AsyncIterator[Rig]:
    """Serve one handler for every path, and a client for it."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handler)
    async with serving(app) as base, rig(base, **options) as one:
        yield one


def always(status: int = 200, **how: Any) -> Handler:
    """Answer always the same."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, **how)

    return handler


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Refused), (401, Misconfigured), (402, NotAllowed), (403, NotAllowed), (404, Missing),
        (409, Refused), (410, CursorLost), (412, Changed), (422, Refused), (304, Refused), (408, Retry),
        (429, Retry), (500, Retry), (502, Retry), (503, Retry),
    ],
)  # fmt: skip
async def test_statuses_have_their_errors(status: int, expected: type[SourceError]) -> None:
    """Each status ends in its declared error; Retry only after five attempts."""
    async with answering(always(status)) as one:
        with pytest.raises(expected):
            await one.get()

    assert len(one.counts.outcomes) == (5 if expected is Retry else 1)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"body": b'{"a": [1, 2', "content_type": "application/json"}, "broken"),
        ({"body": b"<html>", "content_type": "text/html"}, "HTML"),
        ({"body": b"", "content_type": "application/json"}, "empty"),
        ({"body": b"\xff\xfe", "content_type": "application/json"}, "broken"),
        ({"body": b"[" * 100_000, "content_type": "application/json"}, "broken"),
    ],
)
async def test_unusable_successes_are_repeated(how: dict[str, Any], says: str) -> None:
    """Truncated JSON, an HTML page, an empty body and garbage are never a success."""
    async with answering(always(**how)) as one:
        with pytest.raises(Retry, match=says):
            await one.get()


async def test_one_odd_name_does_not_hold_up_a_page() -> None:
    """Half a surrogate pair and invalid UTF-8 are replaced."""
    body = b'{"name": "\\ud83d", "other": "\xff", "id": 9007199254740993}'
    async with answering(always(body=body, content_type="application/json")) as one:
        assert (await one.get()).json == {"name": "?", "other": "\ufffd", "id": 9007199254740993}


async def test_what_is_sent() -> None:
    """Parameters, JSON, the token and given headers go out; None is left out, lists repeat."""
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.extend([request.raw_path, await request.text(), request.headers["Authorization"]])
        return web.json_response({"ok": 1}, headers=[("Link", "<a>"), ("Link", "<b>")])

    async with answering(handler) as one:
        params = {"q": "a b&c+d", "none": None, "many": [1, True], "at": "2026-01-01T00:00:00+00:00"}
        reply = await one.get("/v1/x%2Fy?z=%7E1", params=params, json={"k": "v"})

    assert seen[0] == "/v1/x%2Fy?z=%7E1&q=a+b%26c%2Bd&many=1&many=true&at=2026-01-01T00:00:00%2B00:00"
    assert seen[1:] == ['{"k":"v"}', f"Bearer {CANARY}"]
    assert reply.headers["link"] == "<a>, <b>"


async def test_ok_statuses_come_back() -> None:
    """A status the caller expects is returned; without being expected it is an error."""
    async with answering(always(404, body=b'{"gone": true}', content_type="application/json")) as one:
        assert (await one.get(ok=(404,))).json == {"gone": True}


async def test_what_has_not_changed_is_not_sent_again() -> None:
    """An ETag sent back gives 304 as a value; unexpected it is an error."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.headers.get("If-None-Match") == 'W/"v1"':
            return web.Response(status=304, headers={"ETag": 'W/"v1"'})
        return web.json_response([1], headers={"ETag": 'W/"v1"'})

    async with answering(handler) as one:
        tag = {"If-None-Match": (await one.get()).headers["etag"]}
        again = await one.get(headers=tag, ok=(304,))
        assert (again.status, again.json, again.headers["etag"]) == (304, None, 'W/"v1"')
        with pytest.raises(Refused, match="304"):
            await one.get(headers=tag)


class Listing:
    """A list of two pages with ETags; a 304 has no Link and, as `counts` says, is counted or not."""

    def __init__(self, *, counts: bool) -> None:
        self.names, self.counts = ["a", "b"], counts
        self.asked: list[tuple[str, int]] = []
        self.left = 1000

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a page, or that it is as it was."""
        page = int(request.query.get("page", "0"))
        tag = f'W/"{page}-{self.names[page]}"'
        known = request.headers.get("If-None-Match") == tag
        self.left -= 1 if self.counts or not known else 0
        self.asked.append((request.rel_url.path_qs, 304 if known else 200))
        headers = {"ETag": tag, "X-Left": str(self.left)}
        if known:
            return web.Response(status=304, headers=headers)
        if page == 0:
            headers["Link"] = '</x?page=1>; rel="next"'.replace("</", f"<{request.url.origin()}/")
        return web.json_response([self.names[page]], headers=headers)


async def listed(one: Rig, through: Any, path: str = "/x") -> list[str]:
    """Read a list whole."""

    async def read() -> list[str]:
        return [name async for reply in linked(through, "main", path) for name in reply.json]

    return await one.clock.drive(read())


async def test_a_list_that_has_not_changed_comes_from_memory() -> None:
    """Each page is asked for with its tag, its link remembered; a page that changed comes anew."""
    listing = Listing(counts=False)
    async with answering(listing.answer) as one:
        memory = Unchanged(one.client)
        assert await listed(one, memory) == await listed(one, memory) == ["a", "b"]
        assert listing.asked == [("/x", 200), ("/x?page=1", 200), ("/x", 304), ("/x?page=1", 304)]
        listing.names[1] = "c"
        assert await listed(one, memory) == ["a", "c"]
        assert listing.asked[4:] == [("/x", 304), ("/x?page=1", 200)]
        assert await listed(one, memory) == ["a", "c"]
        assert await listed(one, memory, "/y") == ["a", "c"]
        assert listing.asked[8:] == [("/y", 200), ("/x?page=1", 304)]


@pytest.mark.parametrize(("counts", "calls"), [(False, 2), (True, 12)])
async def test_a_304_costs_what_the_provider_counts(counts: bool, calls: int) -> None:
    """It is taken back where the headers tell what is left, and they have the last word either way."""
    listing = Listing(counts=counts)
    async with answering(listing.answer) as one:
        memory = Unchanged(one.client)
        for _ in range(6):
            assert await listed(one, memory) == ["a", "b"]
        cells = {bucket: cell for (_, bucket, _), cell in one.pace._cells.items()}
        assert (cells["calls"].used, cells["user"].used) == (2.0, 12.0)
        assert 1000 - cells["calls"].left == calls


async def test_little_is_kept_in_memory() -> None:
    """What does not fit is asked for plainly; what was not asked for a day makes room for it."""
    now = [0.0]
    listing = Listing(counts=False)
    async with answering(listing.answer) as one:
        enough = Unchanged(one.client)
        await listed(one, enough)
        most = enough._size + 10
        memory = Unchanged(one.client, most=most, now=lambda: now[0])
        for path in ("/x", "/x", "/z", "/z"):
            await listed(one, memory, path)
        assert memory._size <= most
        assert [asked for asked in listing.asked if asked[0] == "/z"] == [("/z", 200)] * 2
        now[0] = 90_000.0
        for _ in range(2):
            await listed(one, memory, "/z")
        assert ("/z", 304) in listing.asked
        assert memory._size <= most


async def test_only_whole_lists_are_kept() -> None:
    """A reply without a tag, an error that is expected, or a body that is no JSON leave nothing behind."""
    replies = [
        {"status": 404, "headers": {"ETag": '"1"'}, "body": b"{}", "content_type": "application/json"},
        {"headers": {"ETag": '"1"'}, "body": b"text", "content_type": "text/plain"},
        {"body": b"[]", "content_type": "application/json"},
    ]
    for how in replies:
        tags: list[str | None] = []

        async def handler(request: web.Request, how: Any = how, tags: Any = tags) -> web.StreamResponse:
            tags.append(request.headers.get("If-None-Match"))
            return web.Response(**how)

        async with answering(handler) as one:
            memory = Unchanged(one.client)
            for _ in range(2):
                await one.clock.drive(memory.call("main", "GET", "/x", ok=(404,)))
        assert tags == [None, None]


async def test_long_headers_are_read() -> None:
    """A header of 40 KiB, as links with cursors and security policies have it, is no fault."""
    link = f"<http://a/{'x' * 40_000}>"
    async with answering(always(204, headers={"Link": link})) as one:
        assert (await one.get()).headers["link"] == link


async def test_hanging_server_ends_in_retry() -> None:
    """A server that never answers, and one that stops in the middle, end in Retry."""
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/half":
            answer = web.StreamResponse(headers={"Content-Length": "100"})
            await answer.prepare(request)
            await answer.write(b"{")
        await release.wait()
        return web.Response()

    async with answering(handler, timeout=0.05) as one:
        for path in ("/never", "/half"):
            with pytest.raises(Retry, match="Timeout"):
                await one.get(path)
        release.set()


async def test_cut_connection_and_nobody_there() -> None:
    """A body cut short and a refused connection end in Retry."""

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"a": ')
        assert request.transport
        request.transport.close()
        return answer

    async with answering(handler) as one:
        with pytest.raises(Retry, match="Payload"):
            await one.get()
    async with rig("http://127.0.0.1:1") as nobody:
        with pytest.raises(Retry, match="ClientConnector"):
            await nobody.get()


async def test_large_bodies_are_refused() -> None:
    """A body over the cap is refused, also when it only grows that large by unpacking."""
    bomb = gzip.compress(bytes(50_000_000))
    for how in ({"body": bytes(3_000_000)}, {"body": bomb, "headers": {"Content-Encoding": "gzip"}}):
        async with answering(always(**how), largest=2 << 20) as one:
            with pytest.raises(Refused, match="more than 2 MiB"):
                await one.get()


async def test_foreign_addresses_are_not_called() -> None:
    """Neither a link nor a redirect leads to a foreign host, nor a path out of its base."""

    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://localhost:1/steal")

    async with answering(handler) as one:
        with pytest.raises(Refused, match="localhost is not"):
            await one.get()
        for path in (
            "https://evil.example/x",
            "//evil.example/x",
            "http://127.0.0.1@evil.example/",
            "/a/../b",
            "/%2e%2e/b",
        ):
            with pytest.raises(Refused):
                await one.get(path)

    assert len(one.counts.outcomes) == 1


async def test_redirects_within_the_provider_lose_the_token_elsewhere() -> None:
    """A redirect to another host of the provider is followed, without the credentials of the first."""
    seen: list[str | None] = []

    async def content(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/file", content)
    async with serving(app) as other:

        async def handler(request: web.Request) -> web.StreamResponse:
            seen.append(request.headers.get("Authorization"))
            raise web.HTTPTemporaryRedirect(f"{other}/file?sig=1")

        async with answering(handler, more={"content": Api(other)}) as one:
            await one.get()
            await one.get(f"{other}/file")

    assert seen == [f"Bearer {CANARY}", None, None]


async def test_a_circle_of_redirects_ends() -> None:
    """Redirects in a circle are refused."""

    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/loop")

    async with answering(handler) as one:
        with pytest.raises(Refused, match="redirected more than"):
            await one.get("/loop")


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_pauses_the_budget(form: str) -> None:
    """Retry-After is kept, in seconds or as a date by the server's own wrong clock, by other calls too."""
    times: list[float] = []
    wrong = datetime(2001, 1, 1, tzinfo=UTC)

    async def handler(request: web.Request) -> web.StreamResponse:
        times.append(one.clock.time() - 1000.0)
        if len(times) > 1:
            return web.json_response({})
        after = "20" if form == "seconds" else format_datetime(wrong + timedelta(seconds=20), usegmt=True)
        return web.Response(
            status=429, headers={"Retry-After": after, "Date": format_datetime(wrong, usegmt=True)}
        )

    async with answering(handler) as one:

        async def both() -> None:
            first = asyncio.ensure_future(one.client.call("main", "GET", "/1"))
            await one.counts.throttling.wait()
            await asyncio.gather(first, one.client.call("main", "GET", "/2"))

        await one.clock.drive(both())

    assert times[0] == 0.0
    assert min(times[1:]) >= 20.0


async def test_long_waits_are_handed_to_the_caller() -> None:
    """A wait longer than the client's patience is not waited for here; governance has five seconds."""
    async with answering(always(429, headers={"Retry-After": "61"})) as one:
        with pytest.raises(Retry) as caught:
            await one.get()
    assert (caught.value.after, len(one.counts.outcomes)) == (61.0, 1)

    async def hurried() -> None:
        lane.set("governance")
        await one.client.call("main", "GET", "/x")

    async with answering(always(429, headers={"Retry-After": "6"})) as one:
        with pytest.raises(Retry):
            await one.clock.drive(hurried())
    assert len(one.counts.outcomes) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_nothing_secret_in_errors(status: int) -> None:
    """A server that echoes the token, and secrets in the query, do not get them into an error's text."""

    async def handler(request: web.Request) -> web.StreamResponse:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return web.json_response({"error": {"code": token, "message": token}}, status=status)

    async with answering(handler) as one:
        with pytest.raises(SourceError) as caught:
            await one.get("/x?key=hidden-1", params={"sig": "hidden-2"})

    chain: list[BaseException | None] = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert all(CANARY not in repr(error) and "hidden" not in repr(error) for error in chain)


async def drained(one: Rig, path: str) -> int:
    """Read a stream to its end."""
    async with one.client.stream("main", "GET", path) as content:
        return sum([len(piece) async for piece in content.chunks])


async def test_streams_come_in_pieces() -> None:
    """A stream gives size, name, version and pieces; one that breaks off is a Retry, one too large ends."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/missing":
            return web.Response(status=404)
        headers = {
            "ETag": '"v7"',
            "Content-Disposition": 'attachment; filename="a.txt"',
            "Content-Length": "600000",
        }
        answer = web.StreamResponse(headers=headers)
        await answer.prepare(request)
        await answer.write(bytes(300_000))
        if request.path == "/cut":
            assert request.transport
            request.transport.close()
            return answer
        await answer.write(bytes(300_000))
        return answer

    async with answering(handler, largest_stream=700_000) as one:
        async with one.client.stream("main", "GET", "/file") as content:
            sizes = [len(piece) async for piece in content.chunks]
        assert (sum(sizes), content.size, content.version, content.name) == (600_000, 600_000, "v7", "a.txt")
        assert max(sizes) <= 256 << 10
        with pytest.raises(Retry, match="Payload"):
            await drained(one, "/cut")
        with pytest.raises(Missing):
            async with one.client.stream("main", "GET", "/missing"):
                raise AssertionError
        with pytest.raises(OSError, match="our own disk"):
            async with one.client.stream("main", "GET", "/file"):
                raise OSError("our own disk is full")


async def test_sdk_calls_are_paced_and_translated() -> None:
    """What an SDK raises becomes our error, cleaned; a time-out a Retry; what is unknown passes through."""
    async with rig("http://127.0.0.1:1") as one:
        with pytest.raises(Retry, match="slow down") as caught:
            async with one.client.paced("main", operation="ListThings"):
                raise KeyError(f"https://x.example/?sig=hidden Bearer {CANARY}")
        assert CANARY not in repr(caught.value.__cause__)
        assert "hidden" not in repr(caught.value.__cause__)
        waiting = asyncio.ensure_future(one.get())
        await one.clock.settle()
        assert one.counts.outcomes == ["retry"]
        waiting.cancel()
    async with rig("http://127.0.0.1:1") as one:
        with pytest.raises(Retry):
            async with one.client.paced("main"):
                raise TimeoutError
        with pytest.raises(ZeroDivisionError):
            async with one.client.paced("main"):
                raise ZeroDivisionError
        assert one.counts.outcomes == ["retry", "error"]


async def test_endpoints_are_checked() -> None:
    """An endpoint overrides its api's address; an unknown one, and an address that is none, are refused."""
    async with answering(always(204)) as good:
        base = good.client._apis["main"].base
        async with rig("https://api.example", endpoints={"main": base}) as one:
            assert (await one.get()).status == 204
    for base, endpoints in (("https://api.example", {"mian": "http://x"}), ("api.example", {}), ("", {})):
        async with rig(base, endpoints=endpoints) as one:
            with pytest.raises(Misconfigured):
                await one.get()

"""HTTP/1.1 for the receiver: each connection and each request within bounds, and nothing else served.

The parser is llhttp, which is strict: two lengths, a length beside a transfer coding, a line without its CR
or a folded header are refused. What it leaves open is refused here: versions but 1.0 and 1.1, codings but
chunked, no host or several, upgrades. Who can't be served is told so after the answers to what came before on
the same connection, which then ends.
"""

import asyncio
import contextlib
import math
import resource
import ssl
import time
from collections import Counter, deque
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, cast

import httptools

from ingest.answering import CONTINUE, peer, wire
from ingest.push import LARGEST, Answer

Failure: TypeAlias = Literal["no http", "too large", "busy", "broken off", "crowded"]
_SWEEP_SECONDS: Final = 0.25
_LINGER_SECONDS: Final = 1.0
"""How long a caller who is still sending has to read that it was refused."""
_HANDSHAKE_SECONDS: Final = 3.0
_MOST_PIPELINED, _MOST_UNREAD = 64, 64 * 1024
"""Requests that wait behind another on a connection; bytes of answers that their caller does not read."""


class Limits(NamedTuple):
    """What a connection may take, and all of them; seconds and bytes.

    `head` is the request's line and headers; `from_one` is one address's share of the connections, and a
    proxy before us is one address.
    """

    head: int = 16 * 1024
    headers: int = 128
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    idle_seconds: float = 75.0
    connections: int = 4096
    from_one: int = 3072


DEFAULTS: Final = Limits()


@dataclass(slots=True)
class Room:
    """Memory for bodies, in bytes of `each` and of all; beyond it one is forgotten, if `strict` refused."""

    each: int
    most: int
    strict: bool
    held: int = 0


@dataclass(slots=True, eq=False)
class Request:
    """A request: header names in lower case, the last of several alike; `known` is the site's own."""

    method: str
    target: str
    headers: dict[str, str]
    peer: tuple[str, ...]
    last: bool
    began: float
    known: object = None
    body: bytes | bytearray = b""
    room: Room | None = None
    size: int = 0

    def add(self, piece: bytes) -> bool:
        """Keep a piece of the body; False: it is needed, and there is no room."""
        size, room = len(piece), self.room
        self.size += size
        if room is None:
            return True
        if self.size > room.each or room.held + size > room.most:
            self.free()
            return not room.strict
        room.held += size
        if not self.body:
            self.body = piece
        else:
            # Not a list of pieces: small ones would take many times their size.
            self.body = self.body if isinstance(self.body, bytearray) else bytearray(self.body)
            self.body += piece
        return True

    def free(self) -> None:
        """Give the body's room back."""
        if self.room is not None:
            self.room.held -= len(self.body)
        self.room, self.body = None, b""


class Site(Protocol):
    """Who answers."""

    def room(self, request: Request) -> Room:
        """Tell, by a request's head, where its body is kept."""
        ...

    async def answer(self, request: Request) -> Answer:
        """Answer a whole request; never raises."""
        ...

    def failed(self, request: Request | None, why: Failure) -> Answer:
        """Answer what can't be served, its head being known or not."""
        ...


class _RefusedError(Exception):
    """Raised through the parser, which takes nothing more from then on."""


class Connection(asyncio.Protocol):
    """One connection: requests are read one after the other, and answered in their order."""

    _transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self._server, self._site, self._limits = server, server.site, server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request | Answer] = deque()
        self._task: asyncio.Task[Answer] | None = None
        self._request: Request | None = None
        self._why: Failure = "no http"
        self._begun = self._deaf = self._paused = self._expects = self._moved = False
        self._url, self._raw, self._size = b"", list[tuple[bytes, bytes]](), 0
        self._peer: tuple[str, ...] = ()
        self.address, self.deadline = "", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, if there is one."""
        self._transport = cast("asyncio.Transport", transport)
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        self._peer = peer(transport.get_extra_info("peercert"))
        self._within(self._limits.head_seconds)
        if not self._server.arrived(self):
            self._site.failed(None, "crowded")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what waits; what is being answered is finished all the same."""
        del exc
        self._deaf = True
        for one in (self._request, *self._queue):
            if isinstance(one, Request):
                one.free()
        self._queue.clear()
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        """Read."""
        if self._deaf:
            return
        self._moved = False
        try:
            self._parser.feed_data(data)
            if self._begun:
                self._bound(0 if self._moved else len(data))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, _RefusedError):
            if not self._deaf:
                self._refuse(self._why)
        if self._queue and not self._deaf:
            self._paused = True
            self._transport.pause_reading()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._server.idle.pop(self, None)
        self._begun = self._moved = True
        self._url, self._raw, self._size = b"", [], 0
        self._within(self._limits.head_seconds)

    def on_url(self, part: bytes) -> None:
        """Read a part of the target."""
        self._url += part

    def on_header(self, name: bytes, text: bytes) -> None:
        """Read a header; those behind the body say nothing to us."""
        if self._request is None:
            if len(self._raw) >= self._limits.headers:
                raise _RefusedError
            self._raw.append((name, text))

    def on_headers_complete(self) -> None:
        """Look at a head: is it one that we serve, and where does its body go."""
        parser, raw = self._parser, self._raw
        self._size = 0
        self._bound(len(self._url) + sum([len(name) + len(text) + 4 for name, text in raw]))
        headers = {
            name.lower().decode("ascii"): text.rstrip().decode("utf-8", "surrogateescape")
            for name, text in raw
        }
        modern, coding = parser.get_http_version() == "1.1", headers.get("transfer-encoding")
        if (
            not (modern or (parser.get_http_version() == "1.0" and coding is None))
            or (coding is not None and coding.lower() != "chunked")
            or (modern and "host" not in headers)
            or (len(headers) < len(raw) and _twice(raw))
            or parser.should_upgrade()
        ):
            raise _RefusedError
        last = not (modern and parser.should_keep_alive())
        method, target = parser.get_method().decode("ascii"), self._url.decode("ascii")
        request = Request(method, target, headers, self._peer, last, time.perf_counter())
        self._request = request
        request.room = self._site.room(request)
        self._within(self._limits.body_seconds)
        if int(headers.get("content-length", "0")) > LARGEST:
            self._stop("too large")
        if modern and "expect" in headers:
            self._expects = True
            self._go_on()

    def on_body(self, piece: bytes) -> None:
        """Read a piece of the body."""
        request = cast("Request", self._request)
        self._moved, self._size = True, 0
        fits = request.add(piece)
        if not fits or request.size > LARGEST:
            self._stop("too large" if request.size > LARGEST else "busy")

    def on_message_complete(self) -> None:
        """Have a whole request answered."""
        request = cast("Request", self._request)
        self._begun = self._expects = False
        self._request, self._deaf, self.deadline = None, request.last, math.inf
        self._queue.append(request)
        if len(self._queue) > _MOST_PIPELINED:
            raise _RefusedError
        self._next()

    def overdue(self) -> None:
        """End what takes too long."""
        if self._begun:
            self._refuse("broken off")
        elif self._task is None:
            self._transport.abort()

    def part(self, *, now: bool = False) -> None:
        """Close, unless something is under way and it need not be `now`."""
        if now:
            self._transport.abort()
        elif not self._begun and self._task is None:
            self._transport.close()

    def _bound(self, size: int) -> None:
        """Count what brings no byte of a body."""
        self._size += size
        most = self._limits.head
        if self._size > most or len(self._url) > most or len(self._raw) > self._limits.headers:
            raise _RefusedError

    def _within(self, seconds: float) -> None:
        self.deadline = self._server.loop.time() + seconds

    def _stop(self, why: Failure) -> None:
        self._why = why
        raise _RefusedError

    def _refuse(self, why: Failure) -> None:
        """Answer for the last time."""
        self._queue.append(self._site.failed(self._request, why))
        if self._request is not None:
            self._request.free()
        self._request, self._begun, self._deaf = None, False, True
        self._url, self._raw = b"", []
        self._within(_LINGER_SECONDS)
        self._next()

    def _go_on(self) -> None:
        if self._expects and self._task is None:
            self._expects = False
            self._transport.write(CONTINUE)

    def _next(self) -> None:
        """Turn to the next request, or wait for one."""
        if self._task is not None:
            return
        if self._paused and len(self._queue) < 2:
            self._paused = False
            self._transport.resume_reading()
        request = self._queue.popleft() if self._queue else None
        if isinstance(request, Request):
            task = self._task = self._server.loop.create_task(self._site.answer(request))
            task.add_done_callback(lambda _: self._answered(request, task))
        elif request is not None:
            self._part_with(request)
        elif self._begun:
            self._go_on()
        else:
            self._server.idle[self] = None

    def _answered(self, request: Request, task: "asyncio.Task[Answer]") -> None:
        self._task = None
        request.free()
        if self._transport.is_closing():
            return
        unread = self._transport.get_write_buffer_size()
        if task.cancelled() or task.exception() is not None or unread > _MOST_UNREAD:
            self._transport.abort()
            return
        last = request.last or self._server.stopping
        whole = request.method != "HEAD"
        self._transport.write(wire(task.result(), self._server.date, last=last, whole=whole))
        if last or not self._begun:
            self._within(_LINGER_SECONDS if last else self._limits.idle_seconds)
        if last:
            self._transport.close()
        else:
            self._next()

    def _part_with(self, answer: Answer) -> None:
        """Say the last word, and leave a caller who still sends the time to read it."""
        self._within(_LINGER_SECONDS)
        self._transport.write(wire(answer, self._server.date, last=True))
        if self._transport.can_write_eof():
            self._transport.write_eof()


def _twice(raw: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether what decides on the request's place or end is there more than once."""
    names = [name.lower() for name, _ in raw]
    return names.count(b"host") > 1 or names.count(b"transfer-encoding") > 1


class Server:
    """The connections of one port, never more than three quarters of the files that a process may open."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, site: Site, limits: Limits = DEFAULTS) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = files * 3 // 4
        if files != resource.RLIM_INFINITY and most < limits.connections:
            limits = limits._replace(connections=most, from_one=min(limits.from_one, max(1, most * 3 // 4)))
        self.site, self.limits = site, limits
        self.idle: dict[Connection, None] = {}
        self.date, self.stopping = b"", False
        self._connections: set[Connection] = set()
        self._from = Counter[str]()
        self._gone = asyncio.Event()
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; give the port.

        Raises:
            OSError: The address can't be had.
        """
        self.loop = asyncio.get_running_loop()
        # Connections count from the end of their handshake on.
        patience = min(_HANDSHAKE_SECONDS, self.limits.head_seconds) if tls else None
        self._listening = await self.loop.create_server(
            lambda: Connection(self), host, port, ssl=tls, backlog=1024, ssl_handshake_timeout=patience
        )
        self._sweep()
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self, seconds: float) -> None:
        """Take nothing new, and finish what is under way, for so long at most."""
        self.stopping = True
        if self._listening is None:
            return
        self._listening.close()
        for connection in list(self._connections):
            connection.part()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), seconds)
        for connection in list(self._connections):
            connection.part(now=True)
        self._timer.cancel()

    def arrived(self, connection: Connection) -> bool:
        """Give a place, if need be that of who has rested longest; False: there is none."""
        if self.stopping or self._from[connection.address] >= self.limits.from_one:
            return False
        if len(self._connections) >= self.limits.connections:
            rested = next(iter(self.idle), None)
            if rested is None:
                return False
            rested.part(now=True)
            self.left(rested)
        self._connections.add(connection)
        self._from[connection.address] += 1
        self.idle[connection] = None
        return True

    def left(self, connection: Connection) -> None:
        """Take a place back."""
        self.idle.pop(connection, None)
        if connection in self._connections:
            self._connections.remove(connection)
            self._from[connection.address] -= 1
            if not self._from[connection.address]:
                del self._from[connection.address]
        if self.stopping and not self._connections:
            self._gone.set()

    def _sweep(self) -> None:
        self.date = formatdate(usegmt=True).encode()
        now = self.loop.time()
        for connection in [one for one in self._connections if one.deadline <= now]:
            connection.overdue()
        self._timer = self.loop.call_later(_SWEEP_SECONDS, self._sweep)

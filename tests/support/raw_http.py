"""A receiver's server without a receiver: a site that notes what it is asked, and raw ways to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from ingest.push import LARGEST, Answer
from ingest.serving import DEFAULTS, Connection, Failure, Limits, Request, Room, Server

HEAD = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\n"
TALK = (
    HEAD + b"Content-Length: 5\r\nX-Hub-Signature-256: sha256=00\r\n\r\nhello"
    + b"GET /2 HTTP/1.1\r\nHost: x\r\nEmpty:\r\n\r\n"
    + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
    + b"\r\nGET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)  # fmt: skip
"""Four requests on one connection, each of another temper; the last one says so."""
STATUS = {"no http": 400, "too large": 413, "busy": 503, "broken off": 408, "crowded": 503}


class Book:
    """A site that notes what it is asked, and answers when it may."""

    def __init__(self, each: int = LARGEST, most: int = 4 * LARGEST, *, strict: bool = True) -> None:
        self.rooms = Room(each, most, strict)
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.peers: list[tuple[str, ...]] = []
        self.failures: list[Failure] = []
        self.answers: dict[str, Answer] = {}
        self.may = asyncio.Event()
        self.may.set()

    async def asked_for(self, count: int) -> None:
        """Wait until so many requests were asked or refused."""
        while len(self.asked) + len(self.failures) < count:  # noqa: ASYNC110 the server runs in this loop
            await asyncio.sleep(0)

    def room(self, request: Request) -> Room:
        """Give the only one."""
        del request
        return self.rooms

    async def answer(self, request: Request) -> Answer:
        """Answer with the target, unless told otherwise."""
        self.asked.append((request.method, request.target, bytes(request.body)))
        self.headers.append(request.headers)
        self.peers.append(request.peer)
        await self.may.wait()
        return self.answers.get(request.target) or Answer(200, request.target.encode())

    def failed(self, request: Request | None, why: Failure) -> Answer:
        """Note why."""
        del request
        self.failures.append(why)
        return Answer(STATUS[why])


class Line:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, raw: bytes) -> None:
        """Send bytes."""
        self._writer.write(raw)
        await self._writer.drain()

    async def reply(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers in lower case, body."""
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {n.lower(): t for n, _, t in (one.partition(": ") for one in head[1:] if one)}
        length = int(headers.get("content-length", "0")) if body else 0
        return int(head[0].split(" ")[1]), headers, await self._reader.readexactly(length)

    async def rest(self) -> bytes:
        """Read until it is closed."""
        try:
            async with asyncio.timeout(10):
                return await self._reader.read(-1)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class Served:
    """A server and ways to it."""

    def __init__(self, server: Server, port: int) -> None:
        self.server, self._port = server, port
        self._lines: list[Line] = []

    async def line(self) -> Line:
        """Connect."""
        made = Line(*await asyncio.open_connection("127.0.0.1", self._port))
        self._lines.append(made)
        return made

    async def ask(self, raw: bytes) -> tuple[int, bytes]:
        """Send on a connection of its own; give the status, and all that came until it was closed."""
        line = await self.line()
        await line.send(raw)
        answer = await line.rest()
        return int(answer.split(b" ", 2)[1]), answer

    def hang_up(self) -> None:
        """End all."""
        for one in self._lines:
            one.close()


@asynccontextmanager
async def served(book: Book, limits: Limits = DEFAULTS) -> AsyncIterator[Served]:
    """Serve a book."""
    server = Server(book, limits)
    made = Served(server, await server.start("127.0.0.1", 0, None))
    try:
        yield made
    finally:
        made.hang_up()
        await server.stop(1.0)


class Wire:
    """A transport that keeps what is written."""

    def __init__(self, unread: int = 0) -> None:
        self.written, self.closed, self._unread = b"", False, unread

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        """Come from one address."""
        return ("127.0.0.1", 1) if name == "peername" else None

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def get_write_buffer_size(self) -> int:
        """Tell what the caller does not take."""
        return self._unread

    def can_write_eof(self) -> bool:
        """Be like TLS."""
        return False

    def is_closing(self) -> bool:
        """Tell whether the end was told."""
        return self.closed

    def close(self) -> None:
        """End."""
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Be fed by hand."""

    resume_reading = pause_reading


async def fed(pieces: list[bytes], unread: int = 0) -> tuple[Book, Wire]:
    """Feed a connection piece by piece, each once all before it is answered."""
    book, wire = Book(), Wire(unread)
    server = Server(book)
    server.loop = asyncio.get_running_loop()
    connection = Connection(server)
    connection.connection_made(cast("asyncio.Transport", wire))
    for piece in pieces:
        connection.data_received(piece)
        while connection._task is not None:  # noqa: ASYNC110 it has no event to wait for
            await asyncio.sleep(0)
    connection.connection_lost(None)
    return book, wire

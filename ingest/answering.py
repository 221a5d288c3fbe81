"""HTTP as the receiver speaks it: short answers that say nothing of what gives them."""

from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ingest.push import Answer

_SERVER: Final = {"Server": "sluice"}


class Connection(web.RequestHandler):
    """One connection; what is no HTTP is answered without repeating it, as aiohttp would."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse and hang up."""
        del request, exc, message
        reply = web.Response(status=status, headers=_SERVER)
        reply.force_close()
        return reply


class Server(web.Server):
    """aiohttp's server without an application: there is one handler, and it looks paths up itself."""

    def __call__(self) -> web.RequestHandler:
        """Begin a connection."""
        return Connection(self, loop=self._loop, **self._kwargs)


class _Bare(web.Response):
    """An answer without a body, written in one piece: aiohttp's own way costs a quarter of its request."""

    def __init__(self, head: bytes) -> None:
        super().__init__()
        self._head_bytes = head

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write everything there is; the connection is kept."""
        if request.transport is None:
            raise ConnectionResetError
        self._keep_alive = True
        request.transport.write(self._head_bytes)

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing more."""
        del data
        self._eof_sent = True


@lru_cache(maxsize=64)
def _head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Length: 0", "Server: sluice"]
    return "\r\n".join([*lines, *(f"{name}: {text}" for name, text in headers), "", ""]).encode()


def replied(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Make the reply to a request."""
    if (
        request.method in {"POST", "PUT"}
        and not answer.body
        and request.keep_alive
        and request.version >= (1, 1)
    ):
        return _Bare(_head(answer.status, tuple(answer.headers.items())))
    return web.Response(status=answer.status, body=answer.body or None, headers={**_SERVER, **answer.headers})


def peer(request: web.BaseRequest) -> tuple[str, ...]:
    """Read the names in a caller's certificate, which the handshake of TLS has checked."""
    certificate = request.get_extra_info("peercert")
    if not certificate:
        return ()
    subject = [
        value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"
    ]
    return (*subject, *(value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"))

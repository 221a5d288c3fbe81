"""HTTP as the receiver speaks it: short answers that say nothing of what gives them."""

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from ingest.push import Answer

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...], length: int, *, last: bool) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    if status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {length}")
    lines += [*(f"{name}: {text}" for name, text in headers), "Server: sluice"]
    if last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "Date: "]).encode()


def wire(answer: Answer, date: bytes, *, last: bool, whole: bool = True) -> bytes:
    """Write an answer: the `last` one of a connection says so, and to HEAD it is not `whole`."""
    head = _head(answer.status, tuple(answer.headers.items()), len(answer.body), last=last)
    return b"%b%b\r\n\r\n%b" % (head, date, answer.body if whole else b"")


def peer(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Read the names in a caller's certificate, which the handshake of TLS has checked."""
    if not certificate:
        return ()
    subject = [
        value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"
    ]
    return (*subject, *(value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"))

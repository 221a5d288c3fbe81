"""One request as the tenant sees it before moto does."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from moto.core.request import Request
from moto.core.routing import get_service_router
from werkzeug.exceptions import HTTPException

from sandbox.aws import operations, sigv4

Environ = dict[str, Any]
Start = Callable[..., Any]
Wsgi = Callable[[Environ, Start], Iterable[bytes]]


@dataclass(slots=True)
class Call:
    """A parsed request; `account` and `arn` are known once it has been admitted."""

    environ: Environ
    body: bytes
    received: sigv4.Received
    signed: sigv4.Signed | None
    service: str
    region: str
    operation: str
    query: dict[str, list[str]]
    account: str = ""
    arn: str = ""
    principal: str = ""
    path: dict[str, str] = field(default_factory=dict)

    @property
    def header(self) -> Callable[[str], str]:
        """Look up a header by its lower-case name; empty when absent."""
        return lambda name: self.received.headers.get(name, "")


CURRENT: ContextVar[Call | None] = ContextVar("current call", default=None)


def parse(environ: Environ) -> Call:
    """Read the request whole and say what it is; the body can be read again afterwards."""
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if environ.get("wsgi.input_terminated"):
        body = stream.read()
    else:
        body = stream.read(int(length)) if length else b""
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    headers = {
        name[5:].replace("_", "-").lower(): str(v) for name, v in environ.items() if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    headers["content-length"] = environ["CONTENT_LENGTH"]
    raw, _, query = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")
    received = sigv4.Received(environ["REQUEST_METHOD"], raw, query, headers, body)
    signed = sigv4.parse(headers.get("authorization", ""))
    service, region = (signed.service, signed.region) if signed else ("s3", "us-east-1")
    if service == "s3" and raw.startswith("/v20180820/"):
        service = "s3control"
    call = Call(environ, body, received, signed, service, region, "", parse_qs(query, keep_blank_values=True))
    call.operation, call.path = _operation(call)
    return call


def _operation(call: Call) -> tuple[str, dict[str, str]]:
    if call.service not in ("s3", "s3control", "access-analyzer"):
        name = operations.named(call.header("x-amz-target"), call.body)
        return name or f"{call.received.method} {call.received.path}", {}
    try:
        model, found = get_service_router(call.service).match(Request(call.environ.copy()))
    except (HTTPException, NotImplementedError):
        return f"{call.received.method} {call.received.path}", {}
    finally:
        call.environ["wsgi.input"].seek(0)
    return model.name, {name: str(value) for name, value in found.items()}

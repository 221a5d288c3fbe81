"""The tenant's door: admits, counts, refuses, fails on request; moto answers the rest."""

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, TypeAlias

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from sandbox.aws import answers, keys, operations, s3_rules
from sandbox.aws.answers import Answer, Refused
from sandbox.aws.call import CURRENT, Call, Environ, Start, parse
from sandbox.aws.faults import Fault, Faults
from sandbox.aws.history import EventHistory
from sandbox.aws.recording import recorded
from sandbox.clock import Clock

Json: TypeAlias = Any
HTML = b"<html><head><title>503</title></head><body><h1>Service Unavailable</h1></body></html>"
ROOTLESS = "AKIAANONYMOUS0000000"
_BLOCK = 1 << 20
LOGGED = 100_000


class Front:
    """A WSGI application in front of moto's."""

    def __init__(self, seed: str) -> None:
        self.clock = Clock()
        self.history = EventHistory(self.clock)
        self.keys = keys.Keys(self.clock, seed)
        self.faults = Faults()
        self.denied: set[str] = set()
        self.count = 0
        self._log: deque[Json] = deque(maxlen=LOGGED)
        self._lock = threading.Lock()
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Answer one request."""
        call = parse(environ)
        began = self.clock.now()
        token = CURRENT.set(call)
        try:
            answer = self._answer(call)
        except Refused as refused:
            answer = refused.answer(call.service)
        finally:
            CURRENT.reset(token)
        self._note(call, began, answer.status)
        if isinstance(answer, Hollow):
            start(_line(answer.status), list(answer.headers.items()))
            return answer.zeros()
        return _sent(answer, start, head=environ["REQUEST_METHOD"] == "HEAD")

    def _note(self, call: Call, began: float, status: int) -> None:
        row = {
            "service": call.service,
            "operation": call.operation,
            "account": call.account,
            "region": call.region,
            "key": call.signed.key if call.signed else "",
            "at": began,
            "status": status,
        }
        with self._lock:
            self._log.append(row)
            self.count += 1

    def calls(self, since: int) -> list[Json]:
        """The calls from a count on, as far as they are still kept."""
        with self._lock:
            return list(self._log)[max(0, since - self.count + len(self._log)) :]

    def _answer(self, call: Call) -> Answer:
        if call.signed is None and (owner := s3_rules.is_open(call)):
            return self._pass(call, owner)
        who = self.keys.admit(call)
        call.account, call.arn, call.principal = who.account, who.arn, who.principal
        for action in operations.actions(call.service, call.operation, call.query):
            if action in self.denied and call.operation != "GetCallerIdentity":
                raise answers.denied(call.service, call.arn, action)
        if (fault := self.faults.strike(call.service, call.operation)) is not None:
            return self._fail(call, fault)
        return self._served(call, who)

    def _served(self, call: Call, who: keys.Identity) -> Answer:
        if (call.service, call.operation) == ("cloudtrail", "LookupEvents"):
            try:
                page = self.history.lookup(call.account, call.region, operations.parameters(call.body))
            except ValueError as error:
                raise Refused("SerializationException", str(error)) from error
            return Answer(200, json.dumps(page).encode(), {"Content-Type": "application/x-amz-json-1.1"})
        if (call.service, call.operation) == ("sts", "AssumeRole"):
            keys.trusted(call, who)
        if call.service == "s3" and (answer := s3_rules.check(call)) is not None:
            return answer
        return self._pass(call, call.account)

    def _pass(self, call: Call, account: str) -> Answer:
        """Let moto answer, in the account that the caller acts in."""
        if (size := s3_rules.hollow(call)) is not None:
            return Hollow(call, size)
        call.environ["HTTP_X_MOTO_ACCOUNT_ID"] = account
        if call.signed is None:
            scope = f"{ROOTLESS}/20260101/us-east-1/s3/aws4_request"
            call.environ["HTTP_AUTHORIZATION"] = (
                f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
            )
        caught: list[Any] = []

        def started(status: str, headers: list[tuple[str, str]], *_: object) -> None:
            caught[:] = [int(status.split(maxsplit=1)[0]), headers]

        body = b"".join(self._moto(call.environ, started))
        answer = Answer(caught[0], body, dict(caught[1]))
        if answer.status < 300 and (record := recorded(call, self.clock.moment())) is not None:
            self.history.add(record)
        if call.operation == "CreateBucket" and answer.status == 200:
            s3_rules.created(call)
        if call.operation in ("GetObjectAcl", "GetBucketAcl"):
            answer.body = s3_rules.effective(call, body)
        return answer

    def _fail(self, call: Call, fault: Fault) -> Answer:
        """Answer as on a bad day; raises Refused for what the service itself would say."""
        match fault.kind:
            case "html" | "html-ok":
                status = 502 if fault.kind == "html" else 200
                return Answer(status, HTML, {"Content-Type": "text/html"})
            case "truncated" | "cut":
                return self._halved(call, cut=fault.kind == "cut")
            case "reset":
                _reset(call)
                raise ConnectionResetError("on request")
            case "timeout":
                time.sleep(fault.seconds)
                raise Refused("RequestTimeout", "The request timed out.", 503)
            case _:
                raise _refusal(call, fault)

    def _halved(self, call: Call, *, cut: bool) -> Answer:
        """Do what was asked but lose half the answer: as a shorter body, or by breaking off."""
        whole = self._pass(call, call.account)
        half = whole.body[: len(whole.body) // 2]
        return Answer(whole.status, half, whole.headers, len(whole.body) if cut else None)


def _sent(answer: Answer, start: Start, *, head: bool) -> list[bytes]:
    """Start the answer with a true length; an answer to HEAD has the headers alone."""
    named = {k.lower(): k for k in answer.headers}
    headers = {k: v for k, v in answer.headers.items() if head or k.lower() != "content-length"}
    if not head or "content-length" not in named:
        headers["Content-Length"] = str(answer.promised or len(answer.body))
    start(_line(answer.status), list(headers.items()))
    return [] if head else [answer.body]


def _refusal(call: Call, fault: Fault) -> Refused:
    """The service's own words for a failure."""
    match fault.kind:
        case "throttle":
            return answers.throttled(call.service)
        case "slowdown":
            return Refused("SlowDown", "Please reduce your request rate.", 503)
        case "denied":
            return answers.denied(call.service, call.arn, f"{call.service}:{call.operation}")
        case "expired":
            return answers.expired(call.service)
        case "unavailable":
            return Refused("ServiceUnavailable", "The service is unavailable.", 503)
        case _:
            return Refused("InternalFailure", "An internal error occurred.", 500)


class Hollow(Answer):
    """An object of the claimed size made of zeros, whole or by range."""

    def __init__(self, call: Call, size: int) -> None:
        first, last, status = 0, size - 1, 200
        unit, _, span = call.header("range").partition("=")
        if unit == "bytes" and "," not in span:
            begin, _, end = span.partition("-")
            first = int(begin) if begin else max(0, size - int(end))
            last = min(size - 1, int(end)) if begin and end else size - 1
            status = 206
        if first > last:
            raise Refused("InvalidRange", "The requested range is not satisfiable", 416)
        headers = {
            "Content-Length": str(last - first + 1),
            "Content-Type": "binary/octet-stream",
            "ETag": '"9bb58f26192e4ba00f01e2e7b136bbd8-5"',
            "Accept-Ranges": "bytes",
        }
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        super().__init__(status, b"", headers)
        self.left = last - first + 1

    def zeros(self) -> Iterator[bytes]:
        """The bytes, a block at a time."""
        block = bytes(_BLOCK)
        while self.left > 0:
            yield block[: min(_BLOCK, self.left)]
            self.left -= _BLOCK


def _line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _reset(call: Call) -> None:
    """Close the connection with a TCP reset."""
    link = call.environ["werkzeug.socket"]
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.shutdown(socket.SHUT_RD)
    link.close()

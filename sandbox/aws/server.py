"""The tenant's process: moto behind its front, on a free port of the loopback; ends when its parent does.

Started by `AwsTenant`. It prints one line of JSON, then serves until its standard input is closed,
which happens even if the parent was killed.
"""

import json
import logging
import os
import secrets
import sys
import threading
from typing import Any, TypeAlias

from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

from sandbox.aws import corrections
from sandbox.aws.answers import Answer
from sandbox.aws.call import Environ, Start
from sandbox.aws.faults import Fault
from sandbox.aws.front import Front

Json: TypeAlias = Any
PREFIX = "/_sandbox/"


class Control:
    """The parent's own door: JSON in, JSON out, behind a token that nobody else has."""

    def __init__(self, front: Front, token: str) -> None:
        self._front, self._token = front, token

    def __call__(self, environ: Environ, start: Start) -> Any:
        """Obey the parent; everything else is the tenant's."""
        if not environ["PATH_INFO"].startswith(PREFIX):
            return self._front(environ, start)
        answer = self._obey(environ)
        start(
            f"{answer.status} .",
            [("Content-Type", "application/json"), ("Content-Length", str(len(answer.body)))],
        )
        return [answer.body]

    def _obey(self, environ: Environ) -> Answer:
        if not secrets.compare_digest(environ.get("HTTP_X_SANDBOX", ""), self._token):
            return Answer(403, b'"this door is not yours"')
        asked = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
        try:
            result = self._do(environ["PATH_INFO"].removeprefix(PREFIX), asked)
        except (ValueError, KeyError, TypeError) as error:
            return Answer(400, json.dumps(str(error)).encode())
        return Answer(200, json.dumps(result).encode())

    def _do(self, verb: str, asked: Json) -> Json:
        front = self._front
        result: Json = None
        match verb:
            case "root":
                result = front.keys.root(asked["account"])
            case "history":
                result = sum(
                    front.history.add(record, asked.get("after", 0.0)) for record in asked["records"]
                )
            case "log":
                result = front.calls(asked.get("since", 0))
            case "mark":
                result = front.count
            case "expire":
                result = front.keys.end_sessions()
            case "login":
                user = iam_backends[asked["account"]]["aws"].get_user(asked["user"])
                vars(user)["password_last_used"] = front.clock.moment().replace(tzinfo=None)
            case _:
                self._set(verb, asked)
        return result

    def _set(self, verb: str, asked: Json) -> None:
        front = self._front
        match verb:
            case "fault":
                front.faults.plan(Fault(**asked))
            case "clear":
                front.faults.clear()
                front.denied.clear()
            case "deny":
                front.denied.add(asked["action"])
            case "allow":
                front.denied.discard(asked["action"])
            case "advance":
                front.clock.advance(asked["seconds"])
            case _:
                raise ValueError(f"no such verb: {verb}")


class QuietHandler(MotoRequestHandler):
    """Serves without a line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def _follow_parent() -> None:
    """End at once when the pipe from the parent closes."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Serve until the parent goes."""
    asked = json.loads(sys.stdin.buffer.readline())
    logging.basicConfig(level=logging.ERROR)
    corrections.apply()
    app = Control(Front(asked["seed"]), asked["token"])
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    threading.Thread(target=_follow_parent, daemon=True).start()
    sys.stdout.write(json.dumps({"port": server.port}) + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()

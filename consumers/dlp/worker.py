"""The process that opens other people's files, confined by the kernel."""

import os
import resource
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

import orjson

from consumers.dlp.budget import Limits
from consumers.dlp.engine import Engine, unscanned
from consumers.dlp.frames import frame, read_frame, unpack_setup
from consumers.dlp.status import Reason, Status


def main() -> None:
    """Read rules and limits, say when ready, then scan until the pipe ends."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what a library prints must not end up among the replies
    requests = os.fdopen(0, "rb")
    setup = read_frame(requests)
    if setup is None:
        return
    rules, limits = unpack_setup(setup)
    engine = Engine(rules, limits)
    confine(limits)
    replies.write(frame(b"ready"))
    while (head := read_frame(requests)) is not None:
        again = serve(engine, orjson.loads(head), requests, replies)
        if not again:
            return


def confine(limits: Limits) -> None:
    """Give up what a scan does not need: memory beyond the limit, written files, core dumps."""
    for what, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))


def grant(seconds: int) -> None:
    """Let the process use so much more processor time; beyond it the kernel ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))


def serve(engine: Engine, head: dict[str, str], requests: BinaryIO, replies: BinaryIO) -> bool:
    """Scan one file and reply; False when the process has had enough."""
    grant(engine.limits.cpu)
    fault, again = "", True
    try:
        content = Path(head["path"]) if "path" in head else read_frame(requests)
        if content is None:
            return False
        verdict = engine.scan(content, head["name"])
        again = Reason.MEMORY not in verdict.reasons
    except MemoryError:
        verdict, again = unscanned(Status.UNSCANNABLE, Reason.MEMORY, engine.rules_hash), False
    except Exception as problem:  # noqa: BLE001 - a defect costs this file alone; its message may quote the file.
        verdict, again = unscanned(Status.UNSCANNABLE, Reason.CRASH, engine.rules_hash), False
        fault = _place(problem)
    reply = {"fault": fault, "again": again, "verdict": orjson.Fragment(verdict.to_json())}
    replies.write(frame(orjson.dumps(reply)))
    return again


def _place(problem: Exception) -> str:
    """Where and what kind a failure was, without its message."""
    last = traceback.extract_tb(problem.__traceback__)[-1]
    return f"{type(problem).__name__} in {Path(last.filename).name}:{last.lineno}"


if __name__ == "__main__":
    main()
    sys.exit(0)

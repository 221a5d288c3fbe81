"""The process between Sluice and its Kafka: it ends Kafka when Sluice ends, however Sluice ends.

Run by path as a program of its own, with the standard library alone. Its standard input is a pipe that
only Sluice holds: the kernel closes it even after kill -9, on Linux and macOS alike. The line `stop` asks
for a clean end; an end of file without it means that Sluice is gone.
"""

import argparse
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_LOOK_EVERY = 1.0
"""Seconds between two looks at the parent: a forked child of Sluice may hold the pipe beyond its death."""


def main() -> int:
    """Start the command, tell its pid on standard output, and stay until it or the parent has ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--grace", type=float, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--lock", type=int, help="the descriptor that holds the data folder's lock")
    parser.add_argument("--remove", help="a temporary folder that goes when the parent dies")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    wake = _wake_on_signals()
    child = subprocess.Popen(  # noqa: S603 the command is Sluice's own
        asked.command, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr, pass_fds=(asked.lock,)
    )
    print(child.pid, flush=True)  # noqa: T201 the answer that the parent reads
    orphaned = _watch(child, os.getppid(), wake)
    _end(child, asked.grace)
    if orphaned and asked.remove:
        shutil.rmtree(Path(asked.remove), ignore_errors=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _wake_on_signals() -> int:
    """Make the end of the child and a SIGTERM readable on a descriptor, so that one select waits for all."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def _watch(child: subprocess.Popen[bytes], parent: int, wake: int) -> bool:
    """Return when the child has ended or must end; True if that is because the parent died."""
    while child.poll() is None:
        ready, _, _ = select.select([0, wake], [], [], _LOOK_EVERY)
        if 0 in ready:
            return not os.read(0, 16)
        if wake in ready and set(os.read(wake, 64)) - {signal.SIGCHLD}:
            return False
        if os.getppid() != parent:
            return True
    return False


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """Ask the child to end, thawing it first if it is frozen; kill it after the grace."""
    if child.poll() is None:
        child.terminate()
        child.send_signal(signal.SIGCONT)
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


if __name__ == "__main__":
    sys.exit(main())

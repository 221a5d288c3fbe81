"""What commands print and ask: results on stdout, the rest on stderr, no question off a terminal."""

import os
import sys
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any


class WrongCallError(Exception):
    """The call was wrong (exit code 2); the message says how to put it right."""


class FailedError(Exception):
    """The work could not be done (exit code 1); the message says what to do next."""


def emit(document: Any) -> None:
    """Write one JSON document, or one of many JSON lines, to stdout."""
    import orjson  # noqa: PLC0415 this module is loaded by `--help`

    sys.stdout.buffer.write(orjson.dumps(document, default=str) + b"\n")
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """Write a line for a person to stdout."""
    sys.stdout.write(f"{printable(text)}\n")


def note(text: str) -> None:
    """Write a hint to stderr."""
    sys.stderr.write(f"{printable(text)}\n")


def printable(text: str) -> str:
    """Make foreign text harmless on a terminal: control characters and lone surrogates are spelled out."""
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows under headings; nothing is cut when the output is not a terminal."""
    from rich.console import Console  # noqa: PLC0415 this module is loaded by `--help`
    from rich.table import Table  # noqa: PLC0415 the same
    from rich.text import Text  # noqa: PLC0415 the same

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(str(cell))) for cell in row))
    Console(width=None if sys.stdout.isatty() else 400, highlight=False).print(made)


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """Ask a person yes or no; anything but a yes is a no."""
    sys.stderr.write(f"{printable(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def agreed(question: str, *, yes: bool) -> bool:
    """Get an agreement: by `--yes`, else by asking.

    Raises:
        WrongCallError: Nobody can be asked.
    """
    if yes:
        return True
    if not interactive():
        raise WrongCallError("nobody can be asked here: add --yes, or --dry-run to see the plan only")
    return ask(question)


def age(at: int, now: int) -> str:
    """Say how long ago a time (ms since 1970) was; nothing for 0."""
    if not at:
        return ""
    seconds = max(0, now - at) // 1000
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def debugging() -> bool:
    """Whether SLUICE_DEBUG asks for the trace of an error."""
    return os.environ.get("SLUICE_DEBUG", "") not in {"", "0"}


def go(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's coroutine, with logs of what matters on stderr."""
    import asyncio  # noqa: PLC0415 this module is loaded by `--help`

    from ingest.log import configure  # noqa: PLC0415 the same

    configure("warning")
    asyncio.run(work)

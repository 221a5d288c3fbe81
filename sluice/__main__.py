"""The command line. Results on stdout, the rest on stderr; exit 0 done, 1 failed, 2 wrong call, 3 found."""

import sys
from typing import Annotated

import typer

from sluice.commands import connectors, governance, offline, roles, topics
from sluice.terminal import FailedError, WrongCallError, debugging, note

app = typer.Typer(
    name="sluice", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
for group in (roles, connectors, governance, topics, offline):
    group.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 only this option needs it

        sys.stdout.write(f"sluice {version('sluice')}\n")
        raise typer.Exit


@app.callback()
def sluice(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Connect SaaS and cloud apps to Apache Kafka: normalized events, data found, actions carried out.

    Start with `sluice demo`. Settings are SLUICE_... variables; SLUICE_DEBUG=1 shows the trace of an error.
    """
    del version


def main() -> None:
    """Run the command line and exit with its code; an error is a line that says what to do, never a trace."""
    try:
        app()
    except Exception as error:
        if debugging():
            raise
        code, text = _explained(error)
        note(f"sluice: {text}")
        sys.exit(code)


def _explained(error: BaseException) -> tuple[int, str]:
    """Choose the exit code and the words for an error that a command let through."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, WrongCallError):
        return 2, str(error)
    if isinstance(error, FailedError):
        return 1, str(error)
    return _explained_by_core(error)


def _explained_by_core(error: BaseException) -> tuple[int, str]:
    # Only now: these take a while to import, and most calls need none of them.
    from ingest.config import ConfigError  # noqa: PLC0415 see above
    from ingest.consuming import UnreadableError  # noqa: PLC0415 the same
    from ingest.credentials import SealError  # noqa: PLC0415 the same
    from ingest.errors import SourceError  # noqa: PLC0415 the same
    from ingest.log import redact  # noqa: PLC0415 the same
    from ingest.producing import BrokenError, RefusedError  # noqa: PLC0415 the same
    from sluice.java import BrokerError  # noqa: PLC0415 the same

    match error:
        case ConfigError():
            return 2, str(error)
        case BrokenError() | UnreadableError():
            return 1, f"Kafka does not answer as it should ({error}): look at it with `sluice doctor`"
        case RefusedError():
            return 1, f"Kafka refuses the record ({error}): it may be too large"
        case SourceError() | SealError() | BrokerError():
            return 1, redact(str(error)) or type(error).__name__
        case _:
            return 1, f"unexpected {type(error).__name__}: SLUICE_DEBUG=1 shows where"


if __name__ == "__main__":
    main()

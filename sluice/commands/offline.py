"""What needs no Kafka: normalize, scan, key new; beside it key rotate and doctor."""

# ruff: noqa: PLC0415 a command imports what it needs when it runs
import sys
from pathlib import Path
from typing import Annotated

import typer

from sluice.terminal import FailedError, emit, go, note, say, table

key = typer.Typer(help="The keys that seal secrets.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
FOUND = 3
"""The exit code that says that something was found."""


def normalize(
    provider: Annotated[str, typer.Argument(help="Which app's records; `sluice providers` lists them.")],
    feed: Annotated[str, typer.Option(help="Which feed's records, where there are several.")] = "",
    mapper: Annotated[str, typer.Option(help="Which of the feed's mappers, where there are several.")] = "",
) -> None:
    """Turn a provider's raw records (JSON lines on stdin) into OCSF events (JSON lines on stdout).

    A bad record is named on stderr by its line, the others go on; the exit code is then 1.

    Example: sluice normalize aws --feed lookup < records.jsonl
    """
    from ingest.log import redact
    from sluice.normalizing import mapper_of, normalized

    wrong: list[int] = []

    def bad(number: int, why: str) -> None:
        wrong.append(number)
        note(f"line {number}: {redact(why)}")

    kind, to = mapper_of(provider, feed, mapper)
    for line in normalized(kind, to, sys.stdin.buffer, bad):
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
    if wrong:
        raise FailedError(f"{len(wrong)} bad record{'s' if len(wrong) > 1 else ''}; all others are out")


def scan(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.")],
    fail_on: Annotated[
        str, typer.Option(help="Exit with 3 if something this sure is found: low, medium, high (65, 75, 85).")
    ] = "",
    as_json: Json = False,
) -> None:
    """Look for sensitive data in files; nothing leaves the machine, values are shown masked.

    Example: sluice scan ~/exports --fail-on high
    """
    from sluice.scanning import level_of

    level = level_of(fail_on) if fail_on else 0
    surest, unread = [0], [0]
    go(_scan(paths, surest, unread, as_json=as_json))
    if unread[0]:
        raise FailedError(f"{unread[0]} file{'s' if unread[0] > 1 else ''} could not be read")
    if level and surest[0] >= level:
        raise typer.Exit(FOUND)


async def _scan(paths: list[Path], surest: list[int], unread: list[int], *, as_json: bool) -> None:
    from consumers.dlp.status import Reason, Status
    from ingest.config import load
    from sluice.scanning import files, scanned, shown

    rows = []
    async for path, verdict in scanned(files(paths), load().scanners):
        surest[0] = max(surest[0], verdict.confidence)
        unread[0] += Reason.UNREADABLE in verdict.reasons
        if verdict.status in {Status.PARTIAL, Status.UNSCANNABLE}:
            note(f"{path}: {verdict.status} ({verdict.reason})")
        if as_json:
            emit(shown(path, verdict))
            continue
        rows += [
            (path, one.detector + (" (test value)" if one.test else ""), one.confidence, place.where,
             place.offset, place.masked)
            for one in verdict.findings
            for place in one.places
        ]  # fmt: skip
    if rows:
        table(("path", "detector", "confidence", "where", "offset", "masked"), rows)
    elif not as_json:
        note("nothing found")


@key.command("new")
def new_key() -> None:
    """Print a new key. Put it first in SLUICE_KEY, keep the older ones behind it, then `sluice key rotate`.

    Example: export SLUICE_KEY=$(sluice key new)
    """
    from ingest.credentials import new_key as make

    say(make())


@key.command("rotate")
def rotate(as_json: Json = False) -> None:
    """Seal the settings' secrets anew with the first key of SLUICE_KEY.

    Example: SLUICE_KEY=NEW,OLD sluice key rotate
    """

    async def run() -> None:
        from sluice.operate import Desk, settings

        names = await (await Desk.open(settings())).reseal()
        if as_json:
            emit({"resealed": names})
        else:
            say(f"sealed anew: {', '.join(names)}" if names else "all are sealed with the newest key")
        note("keep the older keys: tokens and registrations are sealed anew as they are renewed")

    go(run())


def doctor(as_json: Json = False) -> None:
    """Check this installation: runtime, key, Kafka, topics, connectors, clock.

    Example: sluice doctor
    """

    async def run() -> None:
        from sluice.checkup import checkup

        wrong = 0
        async for line in checkup():
            wrong += not line.ok
            if as_json:
                emit(line._asdict())
            else:
                say(f"{'ok   ' if line.ok else 'WRONG'} {line.what:10} {line.told}")
        if wrong:
            raise FailedError(f"{wrong} thing{'s' if wrong > 1 else ''} to mend")

    go(run())


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(rich_help_panel="On this machine")(normalize)
    app.command(rich_help_panel="On this machine")(scan)
    app.command(rich_help_panel="Running it")(doctor)
    app.add_typer(key, name="key", rich_help_panel="Running it")

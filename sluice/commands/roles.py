"""What runs: demo, up, run."""

# ruff: noqa: PLC0415 a command imports what it needs when it runs
import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.terminal import FailedError, WrongCallError, note

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from schemas.control import Policy
    from sluice.applying import Sheet

Json = Annotated[bool, typer.Option("--json", help="Print JSON lines on stdout and nothing else.")]


def demo(
    seconds: Annotated[float | None, typer.Option(min=0, help="End by itself after so long.")] = None,
    providers: Annotated[str, typer.Option(help="Which apps are simulated, comma-separated.")] = (
        "aws,okta,github"
    ),
    as_json: Json = False,
) -> None:
    """See everything at work: Kafka, simulated apps, all roles; nothing to set up, nothing is kept.

    Example: sluice demo --seconds 60
    """
    import asyncio

    from ingest.log import configure
    from sluice.demo import demo as run

    configure("error")
    names = [one for one in providers.split(",") if one]
    if code := asyncio.run(run(seconds, names, as_json)):
        raise typer.Exit(code)


def up(
    file: Annotated[str, typer.Option("--config", help="Connectors and policies to apply first.")] = "",
) -> None:
    """Run everything on this machine: Kafka (or SLUICE_KAFKA's) and all roles, until Ctrl-C.

    Example: sluice up --config tenants.yaml
    """
    import asyncio

    from ingest.config import load
    from sluice.applying import parse
    from sluice.connecting import folder_of, read_document
    from sluice.up import up as run

    config = load()
    wanted = parse(read_document(file), folder_of(file)) if file else None

    async def work(stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            applying = group.create_task(_apply_when_up(*wanted)) if wanted else None
            await run(config, None, stop)
            if applying is not None:
                applying.cancel()

    _serve(work)


async def _apply_when_up(sheet: "Sheet", policies: "list[Policy]") -> None:
    import asyncio

    from ingest.errors import SourceError
    from sluice.applying import carry_out, plan
    from sluice.operate import Desk, announced, settings

    while (told := announced()) is None or told["pid"] != os.getpid():  # noqa: ASYNC110 it is a file
        await asyncio.sleep(0.2)
    desk = await Desk.open(settings())
    made = await plan(desk, sheet, policies, prune=False)
    for one in made.work:
        try:
            await carry_out(desk, made, one)
            note(f"{one.verb} {one.kind} {one.name}: stored")
        except (SourceError, FailedError) as error:
            note(f"{one.kind} {one.name}: {error}")


def run(
    roles: Annotated[list[str], typer.Argument(help="ingest, receive, dlp, governance: one or several.")],
) -> None:
    """Run roles in this process, until SIGTERM: what a cluster runs, as often as it needs.

    Example: SLUICE_KAFKA=kafka:9092 sluice run ingest
    """
    import asyncio

    from ingest.cluster import Cluster
    from ingest.config import load
    from sluice.operate import settings
    from sluice.processes import TETHER, tether
    from sluice.roles import ROLES
    from sluice.roles import run as run_roles

    if unknown := sorted(set(roles) - set(ROLES)):
        raise WrongCallError(f"there is no role {', '.join(unknown)}; there are: {', '.join(ROLES)}")
    named = load()
    if named.kafka and not named.key.get_secret_value() and not named.key_file:
        raise WrongCallError(
            "set SLUICE_KEY or SLUICE_KEY_FILE, the same for every process: make a key with `sluice key new`"
        )
    config = settings()

    async def work(stop: asyncio.Event) -> None:
        tied = asyncio.create_task(tether(stop)) if os.environ.get(TETHER) else None
        try:
            await run_roles(list(dict.fromkeys(roles)), config, Cluster(config), stop)
        finally:
            if tied is not None:
                tied.cancel()

    _serve(work)


def _serve(work: "Callable[[asyncio.Event], Awaitable[None]]") -> None:
    """Run until SIGINT or SIGTERM asks for the end, on the faster loop."""
    import asyncio

    import uvloop

    from ingest.log import configure

    configure("info")

    async def served() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await work(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(served())


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (demo, up, run):
        app.command(rich_help_panel="Running it")(command)

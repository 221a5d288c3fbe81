"""Governance by hand: act, undo, approve."""

# ruff: noqa: PLC0415 a command imports what it needs when it runs
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.terminal import FailedError, WrongCallError, ask, emit, go, interactive, note, say

if TYPE_CHECKING:
    from consumers.governance.outcomes import Outcome
    from schemas.control import Command, Wish
    from sluice.operate import Desk

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and stop.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't show the plan, don't ask.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for an answer.")]
Identity = Annotated[str, typer.Argument(metavar="COMMAND", help="The id that `act` printed.")]


def act(
    name: Annotated[str, typer.Argument(help="The connector.")],
    action: Annotated[str, typer.Argument(help="What to do; `sluice providers --json` lists the actions.")],
    target: Annotated[str, typer.Argument(help="The id of the user or file, as events name it.")],
    dry_run: DryRun = False,
    yes: Yes = False,
    irreversible: Annotated[bool, typer.Option("--irreversible", help="Allow what can't be undone.")] = False,
    wait: Wait = False,
    option: Annotated[list[str] | None, typer.Option(help="An option k=v; may be repeated.")] = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Do something about a user or a file; its plan is shown first, and it can be undone.

    Example: sluice act prod suspend-user AIDAEXAMPLE --dry-run
    """

    async def run() -> None:
        from sluice.acting import ordered
        from sluice.operate import Desk, settings

        desk = await Desk.open(settings())
        made = await ordered(desk, name, action, target, option or [], irreversible=irreversible)
        await _through(desk, made, dry_run=dry_run, yes=yes, wait=wait, timeout=timeout, as_json=as_json)

    _askable(dry_run=dry_run, yes=yes)
    go(run())


def undo(
    command: Identity,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Take an action back: what it saved is restored.

    Example: sluice undo 5f3c… --yes --wait
    """
    _askable(dry_run=dry_run, yes=yes)
    go(_follow_up("undo", command, dry_run=dry_run, yes=yes, wait=wait, timeout=timeout, as_json=as_json))


def approve(command: Identity, wait: Wait = False, timeout: Timeout = 30.0, as_json: Json = False) -> None:
    """Let an action go on that was held back by its policy's cap.

    Example: sluice approve 5f3c…
    """
    go(_follow_up("approve", command, dry_run=False, yes=True, wait=wait, timeout=timeout, as_json=as_json))


async def _follow_up(kind: str, of: str, **how: Any) -> None:
    from sluice.acting import follow_up
    from sluice.operate import Desk, settings

    desk = await Desk.open(settings())
    await _through(desk, await follow_up(desk, kind, of), **how)


def _askable(*, dry_run: bool, yes: bool) -> None:
    if not (dry_run or yes or interactive()):
        raise WrongCallError("nobody can be asked here: add --yes, or --dry-run to see the plan only")


async def _through(
    desk: "Desk",
    made: "tuple[Command, Wish]",
    *,
    dry_run: bool,
    yes: bool,
    wait: bool,
    timeout: float,  # noqa: ASYNC109 the option's name
    as_json: bool,
) -> None:
    """Rehearse, ask, send: as far as the options say."""
    from sluice.acting import perform, rehearse

    command, wish = made
    if dry_run or not yes:
        plan = await rehearse(desk, command, wish, timeout)
        if plan is None:
            raise FailedError("no plan came back: is `sluice run governance` up? Nothing was changed")
        _show(plan, note if as_json and not dry_run else say, as_json=as_json and dry_run)
        if not plan.good:
            raise FailedError("nothing was changed")
        if dry_run or plan.state == "already":
            return
        if not ask("Do this?"):
            note("nothing was changed")
            return
    outcome = await perform(desk, command, wish, timeout if wait else 0)
    if outcome is not None:
        _show(outcome, say, as_json=as_json)
        if not outcome.good:
            raise FailedError(f"{command.action or command.kind} did not succeed")
    elif wait:
        raise FailedError(
            f"command {command.id} was sent, but no outcome came in {timeout:g} s: see `sluice tail outcomes`"
        )
    elif as_json:
        emit({"command": command.id})
    else:
        say(f"sent, as command {command.id}; `sluice undo {command.id}` takes it back")


def _show(outcome: "Outcome", tell: Callable[[str], None], *, as_json: bool) -> None:
    if as_json:
        emit(outcome._asdict())
        return
    said = outcome.why if outcome.steps else f"{outcome.desc}{f' ({outcome.why})' if outcome.why else ''}"
    tell(f"{outcome.state}: {said}".removesuffix(": "))
    for step in outcome.steps:
        tell(f"  - {step}")
    if outcome.state in {"done", "failed", "unknown"}:
        tell(f"`sluice undo {outcome.command}` takes it back")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (act, undo, approve):
        app.command(rich_help_panel="Governance")(command)

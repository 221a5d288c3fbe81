"""How a person asks: commands as the command line makes them, and the records they go out in."""

from uuid import uuid4

from ingest.producing import Outgoing
from ingest.windows import now_ms
from schemas.control import Command, Json, Target, Wish


def act(
    connector: str,
    action: str,
    target: Target,
    *,
    options: Json = None,
    dry_run: bool = True,
    irreversible: bool = False,
    run: str = "",
    cap: int = 0,
) -> Command:
    """Ask for an action; with `run` and `cap`, no more than that many targets of the run are touched."""
    return Command(
        id=uuid4().hex, connector=connector, action=action, target=target, options=options, dry_run=dry_run,
        irreversible=irreversible, run=run, cap=cap, asked_at=now_ms(),
    )  # fmt: skip


def undo(connector: str, of: str, *, dry_run: bool = False) -> Command:
    """Ask for a command to be taken back."""
    return Command(
        kind="undo", id=uuid4().hex, connector=connector, of=of, dry_run=dry_run, asked_at=now_ms()
    )


def approve(connector: str, of: str, *, dry_run: bool = False) -> Command:
    """Let a held command go on."""
    return Command(
        kind="approve", id=uuid4().hex, connector=connector, of=of, dry_run=dry_run, asked_at=now_ms()
    )


def addressed(command: Command, wish: Wish) -> Outgoing:
    """Make the record of a command: it lies in its connector's partition, in order with the others."""
    return Outgoing("commands", wish.partition, wish.name.encode(), command.dump())

"""Governance by hand: a command goes to its connector's partition, what came of it comes back as an event."""

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson

from consumers.governance import asking
from consumers.governance.outcomes import Outcome, told
from ingest.consuming import Follower, Incoming, Place, ends, read_to_end
from schemas.control import ActionRecord, Command, Target, UnreadableRecordError, Wish
from sluice.operate import Desk
from sluice.terminal import WrongCallError


class Outcomes:
    """The outcomes of one partition from now on; opened before the command is sent."""

    def __init__(self, desk: Desk, partition: int) -> None:
        self._desk, self._place = desk, Place("outcomes", partition)
        self._follower = Follower(desk.cluster, "outcomes")
        self._found: asyncio.Queue[Outcome] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        found = await ends(self._desk.cluster, [self._place])
        await self._follower.start()
        self._follower.follow(self._place, found.get(self._place, 0), self._deliver)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._follower.stop()

    async def of(self, command: str, seconds: float) -> Outcome | None:
        """Wait for a command's outcome; None when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (found := await self._found.get()).command != command:
                    pass
                return found
        return None

    def _deliver(self, records: list[Incoming]) -> None:
        for record in records:
            with contextlib.suppress(ValueError):
                self._found.put_nowait(told(record.value or b""))


async def ordered(
    desk: Desk, name: str, action: str, target: str, options: Sequence[str], *, irreversible: bool
) -> tuple[Command, Wish]:
    """Make the command of an action, still as a dry run, and find its connector.

    Raises:
        WrongCallError: There is no such connector or action, an option is no `k=v`, or it can't be undone.
    """
    wish = await desk.wish(name)
    known = {one.name: one for one in desk.kind(wish.provider).actions}
    if action not in known:
        raise WrongCallError(
            f"{wish.provider} has no action {action!r}; there are: {', '.join(sorted(known)) or 'none'}"
        )
    if known[action].irreversible and not irreversible:
        raise WrongCallError(f"{action} can't be undone: add --irreversible if that is meant")
    thing = Target(kind=known[action].on, id=target)
    made = asking.act(name, action, thing, options=parsed(options) or None, irreversible=irreversible)
    return made, wish


def parsed(options: Sequence[str]) -> dict[str, Any]:
    """Read `k=v` options; a value that is JSON is taken as such.

    Raises:
        WrongCallError: One has no `=`.
    """
    found: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals):
            raise WrongCallError(f"--option {option!r} is not name=value")
        try:
            found[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            found[name] = value
    return found


async def follow_up(desk: Desk, kind: str, of: str) -> tuple[Command, Wish]:
    """Make the command that takes back or approves an earlier one, and find its connector.

    Raises:
        WrongCallError: There is no such command (any more), or its connector is gone.
    """
    wish = await desk.wish((await _find(desk, of)).connector)
    return (asking.undo if kind == "undo" else asking.approve)(wish.name, of), wish


async def _find(desk: Desk, identity: str) -> Command:
    """Find a command among those asked for (7 days) and those begun."""
    found: list[Command] = []

    def take(record: Incoming) -> None:
        if record.value is None or identity.encode() not in record.key + record.value:
            return
        with contextlib.suppress(UnreadableRecordError):
            begun = record.topic == "actions"
            if begun and record.key != identity.encode():
                return
            command = ActionRecord.load(record.value).command if begun else Command.load(record.value)
            if command.id == identity:
                found.append(command)

    places = [Place(topic, p) for topic in ("commands", "actions") for p in range(desk.cluster.owners)]
    await read_to_end(desk.cluster, places, take, 60.0)
    if not found:
        raise WrongCallError(f"there is no command {identity}: `sluice tail outcomes` shows the latest")
    return found[0]


async def rehearse(desk: Desk, command: Command, wish: Wish, seconds: float) -> Outcome | None:
    """Send a dry run of a command, under an id of its own, and wait for what it would do."""
    dry = command.model_copy(update={"id": uuid4().hex, "dry_run": True})
    return await _sent(desk, dry, wish, seconds)


async def perform(desk: Desk, command: Command, wish: Wish, seconds: float) -> Outcome | None:
    """Send a command in earnest; with `seconds` wait for its outcome."""
    return await _sent(desk, command.model_copy(update={"dry_run": False}), wish, seconds)


async def _sent(desk: Desk, command: Command, wish: Wish, seconds: float) -> Outcome | None:
    record = asking.addressed(command, wish)
    if not seconds:
        await desk.write(record)
        return None
    async with Outcomes(desk, wish.partition) as outcomes:
        await desk.write(record)
        return await outcomes.of(command.id, seconds)

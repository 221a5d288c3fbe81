"""One cycle after the other: faults, recovery, what the reader had to wait, what the metrics said of it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.chaos.faults import inflict
from tests.chaos.meters import lies, total
from tests.chaos.plan import BROKER, Cycle
from tests.chaos.world import World

RECOVERY_SECONDS = 90.0
_REST = 1.0
"""Seconds between two cycles, so that one's end is not the next one's beginning."""


@dataclass
class Row:
    """What came of a cycle; times in seconds, `recovery` counted from the moment the last fault was over.

    `fell` counts processes that ended though nobody ended them; `load` is the machine's at the end.
    """

    cycle: Cycle
    happened: int = 0
    stall: float = 0.0
    stalled: str = ""
    recovery: float = 0.0
    slowest: str = ""
    fenced: float = 0.0
    throttled: float = 0.0
    fell: int = 0
    load: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = (
            f"stall {self.stall:.1f} s ({self.stalled}), again after {self.recovery:.1f} s ({self.slowest})"
        )
        return f"{self.cycle}: {told}" + "".join(f"\n      WRONG {one}" for one in self.wrong)


@asynccontextmanager
async def driven(world: World, per_second: float) -> AsyncIterator[None]:
    """Let people act in all tenants."""
    tasks = [asyncio.create_task(one.drive(per_second)) for one in world.tenants.values()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for told in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(told, Exception):
                world.complain(f"a driver broke: {told!r}")


async def flowing(world: World, since: float, seconds: float) -> set[str]:
    """Wait until something that happened after a moment (s since 1970) was read of every tenant.

    Returns the names of those of whom nothing came in time.
    """
    end = world.now() + seconds
    while late := set(world.tenants) - set(world.fresh(since)):
        if world.now() > end:
            return late
        await asyncio.sleep(0.2)
    return set()


async def run(
    world: World, cycles: Iterable[Cycle], say: Callable[[str], None], seconds: float = float("inf")
) -> list[Row]:
    """Run the cycles; nothing that goes wrong in one keeps the next from being run.

    None begins when the time is up: what was run is judged and reported as it is.
    """
    rows, end = list[Row](), world.now() + seconds
    for cycle in cycles:
        if world.now() > end:
            say(f"the time is up after {len(rows)} cycles")
            break
        row = await _cycle(world, cycle)
        rows.append(row)
        say(str(row))
        await asyncio.sleep(_REST)
    return rows


async def _cycle(world: World, cycle: Cycle) -> Row:
    row, begun = Row(cycle), world.now()
    known = sum(len(list(one.truth())) for one in world.tenants.values())
    before, complaints, fell = await world.meters.look(), len(world.complaints), world.fleet.fell()
    told = await asyncio.gather(*(inflict(world, one) for one in cycle.faults), return_exceptions=True)
    over, since = world.now(), time.time()
    struck: dict[str, int] = {}
    for fault, outcome in zip(cycle.faults, told, strict=True):
        if isinstance(outcome, BaseException):
            row.wrong.append(f"{fault} could not be done: {outcome!r}")
        else:
            struck[fault.kind] = outcome
    late = await flowing(world, since, RECOVERY_SECONDS)
    row.slowest, again = max(world.fresh(since).items(), key=lambda one: one[1], default=("nobody", over))
    row.recovery = again - over
    if cycle.kinds & set(BROKER) and not await world.pulse.in_sync():
        row.wrong.append("not all replicas came back into sync")
    row.wrong += world.news()
    row.wrong += [f"nothing came of {name} for {RECOVERY_SECONDS:g} s" for name in sorted(late)]
    stalls = world.stalls(begun, max(world.fresh(since).values(), default=world.now()))
    row.stalled, row.stall = max(stalls.items(), key=lambda one: one[1])
    row.happened = sum(len(list(one.truth())) for one in world.tenants.values()) - known
    after = await world.meters.look()
    change = {sample: value - before.get(sample, 0.0) for sample, value in after.items()}
    row.fenced, row.throttled = total(change, "fenced"), total(change, "source_throttled")
    row.wrong += lies(cycle, change, struck) + world.complaints[complaints:]
    row.fell, row.load = world.fleet.fell() - fell, os.getloadavg()[0]
    return row

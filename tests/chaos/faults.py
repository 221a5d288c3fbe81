"""How each fault is done to a running world, and undone."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from ingest.consuming import Membership, UnreadableError
from tests.chaos.fleet import FAKETIME
from tests.chaos.links import Link
from tests.chaos.plan import Fault
from tests.chaos.tenants import OUTAGE, outage
from tests.chaos.world import World

_DELAY_SECONDS = 0.15
_CLOCK_SECONDS = 4.0
"""How long a clock stays wrong: a process looks at the file of its clock each second."""

Act = Callable[[World, Fault], Awaitable[int]]


async def inflict(world: World, fault: Fault) -> int:
    """Do a fault and undo it; tells how many calls or deliveries of a tenant it struck."""
    await asyncio.sleep(fault.after)
    return await _ACTS[fault.kind](world, fault)


async def _kill(world: World, fault: Fault) -> int:
    world.fleet.slots[fault.victim].send(signal.SIGKILL)
    return 0


async def _stop(world: World, fault: Fault) -> int:
    if not await world.fleet.slots[fault.victim].terminate():
        world.complain(f"{fault.victim} did not end when asked to")
    return 0


async def _freeze(world: World, fault: Fault) -> int:
    slot = world.fleet.slots[fault.victim]
    slot.send(signal.SIGSTOP)
    await asyncio.sleep(fault.seconds)
    slot.send(signal.SIGCONT)
    return 0


async def _broken(world: World, fault: Fault, harm: Callable[[Link], Awaitable[None]]) -> int:
    """Harm a process's way to a broker, or to all, for some seconds."""
    links, end = world.cluster.link(fault.victim, fault.node), world.now() + fault.seconds
    try:
        for link in links:
            await harm(link)
        await asyncio.sleep(end - world.now())
    finally:
        for link in links:
            await link.heal()
    return 0


async def _cut(world: World, fault: Fault) -> int:
    return await _broken(world, fault, Link.cut)


async def _hold(world: World, fault: Fault) -> int:
    return await _broken(world, fault, Link.hold)


async def _delay(world: World, fault: Fault) -> int:
    return await _broken(world, fault, lambda link: link.slow(_DELAY_SECONDS))


async def _broker_kill(world: World, fault: Fault) -> int:
    node = world.cluster.nodes[fault.node - 1]
    await node.kill()
    await asyncio.sleep(fault.seconds)
    await node.again()
    return 0


async def _broker_stop(world: World, fault: Fault) -> int:
    node = world.cluster.nodes[fault.node - 1]
    await node.stop()
    await asyncio.sleep(fault.seconds)
    await node.again()
    return 0


async def _broker_roll(world: World, fault: Fault) -> int:
    for node in world.cluster.nodes:
        await node.stop()
        await node.again()
        if not await world.pulse.in_sync():
            world.complain(f"{node.data.name} did not come back into sync")
        await asyncio.sleep(fault.seconds)
    return 0


async def _controller_loss(world: World, fault: Fault) -> int:
    node = world.cluster.leader()
    await node.kill()
    await asyncio.sleep(fault.seconds)
    await node.again()
    return 0


async def _disk_full(world: World, fault: Fault) -> int:
    node = world.cluster.nodes[fault.node - 1]
    node.fill()
    await asyncio.sleep(fault.seconds)
    node.empty()
    await node.again()
    return 0


def _out(*faults: str) -> Act:
    async def act(world: World, fault: Fault) -> int:
        tenant = world.tenants[fault.victim]
        kinds = faults or tuple(tenant.throttles())
        return await outage(tenant, kinds, fault.seconds, Random(str(fault)))

    return act


async def _expiry(world: World, fault: Fault) -> int:
    world.tenants[fault.victim].expire()
    return 0


async def _push_trouble(world: World, fault: Fault) -> int:
    world.tenants[fault.victim].misdeliver(Random(str(fault)))
    return 0


async def _clock_step(world: World, fault: Fault) -> int:
    if not FAKETIME.exists():
        return 0
    slot = world.fleet.slots[fault.victim]
    slot.step(fault.seconds)
    await asyncio.sleep(_CLOCK_SECONDS)
    slot.step(0.0)
    # Its look at the file is a second old at most; a cycle is over once the clock is right again.
    await asyncio.sleep(1.2)
    return 0


async def _slow_consumer(world: World, fault: Fault) -> int:
    slot, end = world.fleet.slots[fault.victim], world.now() + fault.seconds
    while world.now() < end:
        slot.send(signal.SIGSTOP)
        await asyncio.sleep(0.45)
        slot.send(signal.SIGCONT)
        await asyncio.sleep(0.05)
    return 0


async def _storm(world: World, fault: Fault) -> int:
    """Let members without a name join the owners' group and leave it, each second one of each."""
    config, end = world.kafka.config, world.now() + fault.seconds
    while world.now() < end:
        member = Membership(world.kafka, "inbox", "ingest", config.session_seconds)
        with contextlib.suppress(UnreadableError):
            await member.start()
            await asyncio.sleep(1.0)
        await member.stop()
    return 0


_ACTS: Final[dict[str, Act]] = {
    "kill": _kill,
    "stop": _stop,
    "freeze": _freeze,
    "cut": _cut,
    "hold": _hold,
    "delay": _delay,
    "broker-kill": _broker_kill,
    "broker-stop": _broker_stop,
    "broker-roll": _broker_roll,
    "controller-loss": _controller_loss,
    "disk-full": _disk_full,
    "outage": _out(*OUTAGE),
    "hang": _out("hang"),
    "reset": _out("cut"),
    "truncated": _out("truncated"),
    "throttle": _out(),
    "expiry": _expiry,
    "push-trouble": _push_trouble,
    "clock-step": _clock_step,
    "slow-consumer": _slow_consumer,
    "storm": _storm,
}

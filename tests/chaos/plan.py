"""What is broken when: a plan that its seed alone decides, so that any run can be had again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

PROCESS: Final = ("kill", "stop", "freeze")
LINK: Final = ("cut", "hold", "delay")
BROKER: Final = ("broker-kill", "broker-stop", "broker-roll", "controller-loss", "disk-full")
SOURCE: Final = ("outage", "hang", "reset", "truncated", "throttle", "expiry", "push-trouble")
OTHER: Final = ("clock-step", "slow-consumer", "storm")
KINDS: Final = (*PROCESS, *LINK, *BROKER, *SOURCE, *OTHER)
CONSUMERS: Final = ("dlp", "governance")
_TOGETHER: Final = ((1, 5), (2, 4), (3, 2))
"""How many faults a cycle has, and how often."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What there is to break: processes and tenants by name, brokers by number, the session in seconds."""

    slots: tuple[str, ...]
    tenants: tuple[str, ...]
    nodes: int = 3
    session: float = 6.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: of what, `after` seconds into its cycle, for how many seconds.

    `node` is a broker's number from 1; for a link 0 stands for its way to all of them.
    """

    kind: str
    victim: str
    after: float
    seconds: float
    node: int = 0

    def __str__(self) -> str:
        told = [part for part in (self.victim, f"broker {self.node}" if self.node else "") if part]
        return f"{self.kind}({', '.join(told)}; +{self.after:.1f} s, {self.seconds:.1f} s)"


@dataclass(frozen=True, slots=True)
class Cycle:
    """Some faults at once; the next cycle begins when all flows again."""

    number: int
    faults: tuple[Fault, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """Name what is broken."""
        return frozenset(one.kind for one in self.faults)

    def __str__(self) -> str:
        return f"{self.number:3d} " + " + ".join(map(str, self.faults))


def plan(seed: int, cycles: int, layout: Layout, kinds: Sequence[str] = KINDS) -> tuple[Cycle, ...]:
    """Make the plan: every kind comes before any comes again, one to three at once.

    At most one fault of a cycle is a broker's: with two of three gone nothing can be stored, which is an
    outage of Kafka and no test of who wins a partition.
    """
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; there are: {', '.join(KINDS)}")
    chance = Random(seed)
    deck = _deck(chance, kinds)
    made = []
    for number in range(1, cycles + 1):
        (count,) = chance.choices([n for n, _ in _TOGETHER], [weight for _, weight in _TOGETHER])
        made.append(Cycle(number, tuple(_faults(chance, deck, count, layout))))
    return tuple(made)


def _deck(chance: Random, kinds: Sequence[str]) -> Iterator[str]:
    while True:
        yield from chance.sample(list(kinds), len(kinds))


def _faults(chance: Random, deck: Iterator[str], count: int, layout: Layout) -> Iterator[Fault]:
    taken = set[str]()
    for _ in range(count):
        kind = next(deck)
        # What the cycle has already stays out of it: it comes with the deck's next round.
        if kind in taken or (kind in BROKER and taken & set(BROKER)):
            continue
        taken.add(kind)
        yield _fault(chance, kind, layout)


def _fault(chance: Random, kind: str, layout: Layout) -> Fault:
    after = round(chance.uniform(0.0, 1.5), 1)
    slot, tenant = chance.choice(layout.slots), chance.choice(layout.tenants)
    node, seconds = chance.randint(1, layout.nodes), round(chance.uniform(1.5, 4.0), 1)
    consumers = [one for one in layout.slots if one.startswith(CONSUMERS)]
    victim = slot
    match kind:
        case "freeze":
            seconds = round(layout.session + chance.uniform(1.0, 3.0), 1)
        case "kill" | "stop":
            seconds = 0.0
        case "clock-step":
            seconds = chance.choice((-1, 1)) * chance.choice((30.0, 120.0, 600.0))
        case "slow-consumer":
            victim = chance.choice(consumers or layout.slots)
        case "storm":
            victim, seconds = "", round(chance.uniform(4.0, 8.0), 1)
        case "controller-loss" | "broker-roll":
            victim, seconds = "", 1.0
        case _ if kind in LINK:
            return Fault(kind, slot, after, seconds, chance.choice((node, node, 0)))
        case _ if kind in BROKER:
            return Fault(kind, "", after, seconds, node)
        case _:
            victim = tenant
    return Fault(kind, victim, after, seconds)

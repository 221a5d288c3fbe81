"""What the processes say of themselves on /metrics, summed over their restarts, and whether it is true."""

import asyncio
from collections import Counter
from collections.abc import Mapping

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.fleet import Fleet, Slot
from tests.chaos.plan import Cycle

Sample = tuple[str, tuple[tuple[str, str], ...]]
_LIMIT = aiohttp.ClientTimeout(total=2.0)


class Meters:
    """Counters of all processes: what a process told before it was killed stays counted."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._last: dict[str, tuple[int, Mapping[Sample, float]]] = {}
        self._totals: Counter[Sample] = Counter()

    async def look(self) -> Counter[Sample]:
        """Read them all; a process that does not answer is passed over. Gives a copy of the totals."""
        async with aiohttp.ClientSession(timeout=_LIMIT) as http:
            await asyncio.gather(*(self._read(http, slot) for slot in self._fleet.slots.values()))
        return Counter(self._totals)

    async def _read(self, http: aiohttp.ClientSession, slot: Slot) -> None:
        starts = slot.child.starts
        try:
            async with http.get(slot.child.metrics + "/metrics") as reply:
                text = await reply.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        now: dict[Sample, float] = {
            (one.name, tuple(sorted(one.labels.items()))): one.value
            for family in text_string_to_metric_families(text)
            if family.type == "counter" and family.name.startswith("sluice_")
            for one in family.samples
            if one.name.endswith("_total")
        }
        before = self._last.get(slot.name)
        old = before[1] if before and before[0] == starts else {}
        for sample, value in now.items():
            self._totals[sample] += value - old.get(sample, 0.0)  # type: ignore[assignment]  # floats count too
        self._last[slot.name] = (starts, now)


def total(counted: Mapping[Sample, float], name: str, **labels: str) -> float:
    """Sum a counter (without prefix and `_total`) over all samples that have these labels."""
    wanted = set(labels.items())
    return sum(v for (n, have), v in counted.items() if n == f"sluice_{name}_total" and wanted <= set(have))


def failed(counted: Mapping[Sample, float]) -> float:
    """Count the calls to providers that did not end well."""
    return total(counted, "source_requests") - total(counted, "source_requests", outcome="ok")


def lies(cycle: Cycle, told: Mapping[Sample, float], struck: Mapping[str, int]) -> list[str]:
    """List what the metrics of one cycle say that is not so.

    `struck` counts what the tenants did to their callers, by kind of fault. What a killed process had not
    told is gone, so with such a fault counters may be low, never high.
    """
    wrong = []
    whole = not cycle.kinds & {"kill", "stop", "freeze", "clock-step", "cut", "hold", "broker-kill"}
    throttled, errors = total(told, "source_throttled"), failed(told)
    expected = sum(count for kind, count in struck.items() if kind != "push-trouble")
    if whole and struck.get("throttle", 0) > throttled:
        wrong.append(f"{struck['throttle']} calls were throttled, told are {throttled:.0f}")
    if whole and expected > errors:
        wrong.append(f"{expected} calls failed, told are {errors:.0f}")
    if letters := total(told, "dead_letters"):
        wrong.append(f"{letters:.0f} dead letters, and no record was bad")
    if cycle.kinds <= {"kill"} and (fenced := total(told, "fenced")):
        wrong.append(f"{fenced:.0f} fenced, and nobody lived who could have been")
    return wrong


def boasts(told: Mapping[Sample, float], read: Mapping[str, int]) -> list[str]:
    """List the topics of which more was counted as published than an independent reader found."""
    counted = {topic: total(told, "events_published", topic=topic) for topic in read}
    return [
        f"{counted[topic]:.0f} events counted on {topic}, read were {count}"
        for topic, count in read.items()
        if counted[topic] > count
    ]

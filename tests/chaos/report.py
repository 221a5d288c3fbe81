"""The report of a run: every number is the run's own."""

import os
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from sluice.java import ROOTS
from tests.chaos.cycles import Row
from tests.chaos.fleet import FAKETIME
from tests.chaos.judge import Verdict
from tests.chaos.meters import Sample, failed, total
from tests.chaos.plan import PROCESS

_PACKAGES = ("aiokafka", "aiohttp", "confluent-kafka")


@dataclass
class Run:
    """What a run found. `counted` are the processes' counters, less what killed ones could not tell."""

    seed: int
    planned: int
    slots: Sequence[str]
    rows: list[Row]
    verdict: Verdict
    settled: bool
    held: list[str]
    letters: list[str]
    truth: int
    records: int
    seconds: float
    rate: float
    session: float
    counted: Mapping[Sample, float]
    lied: list[str]

    @property
    def good(self) -> bool:
        """Whether every promise was kept in every cycle."""
        clean = not (self.held or self.letters or self.lied or any(row.wrong for row in self.rows))
        return self.verdict.good and self.settled and clean


def spread(values: Sequence[float]) -> str:
    """Tell median, 95th percentile and maximum."""
    if not values:
        return "- | - | -"
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95)]
    return " | ".join(f"{one:.1f}" for one in (*at, ordered[-1]))


def written(run: Run) -> str:
    """Write the report as Markdown."""
    return "\n".join([*_head(run), *_kinds(run), *_metrics(run), *_wrong(run), *_cycles(run), ""])


def _head(run: Run) -> list[str]:
    verdict = run.verdict
    roles: dict[str, int] = defaultdict(int)
    for slot in run.slots:
        roles[slot.rpartition("-")[0]] += 1
    processes = ", ".join(f"{count} {role}" for role, count in roles.items())
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    clock = (
        "libfaketime, wall clock only" if FAKETIME.exists() else "NOT stepped: libfaketime is not installed"
    )
    load = spread([row.load for row in run.rows]).replace(" | ", ", ")
    ends = [one for row in run.rows for one in row.cycle.faults if one.kind in PROCESS]
    hit = sum(one.victim.startswith("ingest") for one in ends)
    return [
        "# Chaos report",
        "",
        f"Written by the long form with seed {run.seed}: {len(run.rows)} of {run.planned} planned cycles.",
        "The plan follows from the seed alone. An independent reader (librdkafka, read committed) compared",
        "every public topic with what the simulated tenants know to have happened.",
        "",
        "What this does not show: an event that a delivery may have brought is left out of the order, and",
        "told as overtaking; what happened before a GitHub organisation was connected is not judged; no",
        "tenant has files, so that scanners and governance run and rebalance but have nothing to do.",
        "",
        f"Ingest processes were killed, stopped or frozen {hit} times in these cycles.",
        "",
        "| what | |",
        "| --- | --- |",
        f"| cycles, seed | {len(run.rows)}, {run.seed} |",
        f"| processes | {processes}; session {run.session:g} s |",
        "| Kafka | 3 nodes, combined roles, replication 3, min in-sync 2, heaps of 256 MB |",
        f"| versions | Kafka {ROOTS[0].rsplit(':', 1)[1]}, Python {platform.python_version()}, {versions} |",
        f"| machine | {os.cpu_count()} cores, shared by all processes, brokers, tenants and the judge |",
        f"| load of the machine, 1 minute: median, p95, max | {load} |",
        f"| took | {run.seconds / 60:.0f} minutes, {run.rate:g} occurrences a second were aimed at |",
        f"| occurrences | {run.truth} |",
        f"| records read | {run.records} |",
        f"| **lost** | {len(verdict.lost)} |",
        f"| **doubled** | {len(verdict.doubled)} |",
        f"| **reordered per entity** | {len(verdict.reordered)} |",
        f"| published though it never happened | {len(verdict.strange)} |",
        f"| cursor readable before its events | {len(verdict.ahead)} |",
        f"| partitions that end in a hanging transaction | {len(run.held)} |",
        f"| processes that ended by themselves, and were started again | {sum(r.fell for r in run.rows)} |",
        f"| dead letters | {len(run.letters)} |",
        f"| overtaken: pushed before the poll brought what came earlier | {verdict.overtaken} |",
        f"| clock steps | {clock} |",
        "| full disk | RLIMIT_FSIZE on the broker's process: each write fails (EFBIG) |",
        "",
    ]


def _kinds(run: Run) -> list[str]:
    lines = [
        "## By kind of fault",
        "",
        "A reader's longest stall is the longest time without anything of one tenant, from the cycle's begin",
        "until all tenants flow again; the recovery counts from the end of the cycle's last fault (a kill",
        "has no length) to the first new occurrence of the slowest tenant. Seconds. A cycle with several",
        "faults counts for each of them.",
        "",
        "| fault | cycles | stall median | p95 | max | recovery median | p95 | max |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in sorted({kind for row in run.rows for kind in row.cycle.kinds}):
        rows = [row for row in run.rows if kind in row.cycle.kinds]
        stalls, recoveries = spread([r.stall for r in rows]), spread([r.recovery for r in rows])
        lines.append(f"| {kind} | {len(rows)} | {stalls} | {recoveries} |")
    stalls, recoveries = spread([r.stall for r in run.rows]), spread([r.recovery for r in run.rows])
    alone = [r for r in run.rows if r.cycle.kinds <= {"kill"} and "ingest" in str(r.cycle)]
    lines += [
        f"| **all** | {len(run.rows)} | {stalls} | {recoveries} |",
        "",
        f"Take-over after a lone kill -9 of an ingest process, median, p95, max of {len(alone)} cycles in",
        f"seconds: {spread([r.recovery for r in alone]).replace(' | ', ', ')}.",
        "",
    ]
    return lines


def _metrics(run: Run) -> list[str]:
    told = run.counted
    rows = {
        "events_published_total": total(told, "events_published"),
        "events_duplicate_total": total(told, "events_duplicate"),
        "events_recovered_total": total(told, "events_recovered"),
        "fenced_total": total(told, "fenced"),
        "source_throttled_total": total(told, "source_throttled"),
        "source_requests_total, not ok": failed(told),
        "dead_letters_total": total(told, "dead_letters"),
    }
    return [
        "## What the processes' own metrics say",
        "",
        "Sums over all processes; what a killed one counted after the last look is gone.",
        "",
        "| metric | |",
        "| --- | --- |",
        *(f"| {name} | {value:.0f} |" for name, value in rows.items()),
        "",
    ]


def _wrong(run: Run) -> list[str]:
    verdict = run.verdict
    found = [*verdict.lost, *verdict.doubled, *verdict.reordered, *verdict.strange, *verdict.ahead]
    found += [*run.held, *run.letters, *run.lied] + (
        [] if run.settled else ["not all was read in time after the end"]
    )
    found += [f"cycle {row.cycle.number}: {one}" for row in run.rows for one in row.wrong]
    return ["## What went wrong", "", *(f"- {one}" for one in found[:100] or ["nothing"]), ""]


def _cycles(run: Run) -> list[str]:
    lines = [
        "## Every cycle",
        "",
        "| # | faults | occurrences | longest stall | of | recovery | of | fenced | throttled | load |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in run.rows:
        faults = " + ".join(map(str, row.cycle.faults))
        lines.append(
            f"| {row.cycle.number} | {faults} | {row.happened} | {row.stall:.1f} | {row.stalled} "
            f"| {row.recovery:.1f} | {row.slowest} | {row.fenced:.0f} | {row.throttled:.0f} "
            f"| {row.load:.1f} |"
        )
    return lines

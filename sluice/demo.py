"""The main job on simulated tenants: connect, see, scan, act, undo; only the tenants are not real.

The tenants and their driver come from `sandbox`, the only place in the product that does.
"""

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from ingest.config import Config, load
from ingest.errors import Misconfigured
from ingest.producing import Outgoing
from sandbox.stage import APPS, Stage, stage
from schemas.control import Command, Policy
from schemas.topics import TOPICS
from sluice.connecting import Asked, built, sign_in
from sluice.operate import Desk
from sluice.processes import free_port
from sluice.up import Machine, machine
from sluice.watching import Watch, percentiles

_REST = 3.0
"""Seconds of quiet before anybody acts, so that the order of the first connection can be seen."""
POLICIES: tuple[dict[str, Any], ...] = (
    {
        "name": "quarantine-secrets",
        "match": {"on": "finding", "detectors": ["private_key", "github_token"], "min_confidence": 75},
        "action": "quarantine", "dry_run": False, "cap": 50,
    },
    {
        "name": "no-public-objects",
        "match": {"on": "file", "exposure": "public", "types": ["file"]},
        "action": "remove-public-acl", "dry_run": False, "cap": 50,
    },
    {
        "name": "no-public-buckets",
        "match": {"on": "file", "exposure": "public", "types": ["bucket"]},
        "action": "remove-public-policy", "dry_run": False, "cap": 10,
    },
)  # fmt: skip


async def demo(seconds: float | None, providers: Sequence[str], as_json: bool) -> int:
    """Run the demo until Ctrl-C, or for some seconds after it is ready; the exit code.

    Raises:
        Misconfigured: There is no simulated tenant of a provider.
    """
    if unknown := sorted(set(providers) - set(APPS)):
        raise Misconfigured(f"no simulated tenant of {', '.join(unknown)}; there are: {', '.join(APPS)}")
    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    said = Said(as_json=as_json)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-demo-")))
        said.step("starting Kafka and the simulated tenants")
        port = free_port()
        config = load(
            session_seconds=6.0, prefix="sluice.", receive_port=port, public_url=f"http://127.0.0.1:{port}"
        )
        made, stages = await _all(config, folder, providers, stack)
        await asyncio.gather(*(one.prepare() for one in stages))
        said.step(f"connecting {', '.join(one.title for one in stages)}")
        show = Show(made, dict(zip(providers, stages, strict=True)), said, stack)
        await show.connect()
        said.ready(made)
        await show.run(seconds, stop)
        said.done(show.totals())
    return 0 if show.complete() else 1


async def _all(
    config: Config, folder: Path, providers: Sequence[str], stack: AsyncExitStack
) -> tuple[Machine, list[Stage]]:
    stages = asyncio.gather(*(stack.enter_async_context(stage(one, folder)) for one in providers))
    made = await stack.enter_async_context(machine(config, folder / "kafka"))
    return made, await stages


class Said:
    """What goes to the terminal: lines of progress, or exactly two JSON lines on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json)

    def step(self, text: str) -> None:
        """Say what is going on."""
        self.console.print(f"[dim]{text} …[/dim]" if not self.as_json else f"{text} …", highlight=False)

    def ready(self, made: Machine) -> None:
        """Say where everything is."""
        kafka, prefix = made.config.kafka, made.config.prefix
        topics = [prefix + name for name, row in TOPICS.items() if row.public]
        if self.as_json:
            self._line({"event": "ready", "kafka": kafka, "metrics": made.metrics, "prefix": prefix,
                        "topics": topics})  # fmt: skip
            return
        self.console.print(
            f"Kafka    {kafka}   (read with isolation.level=read_committed)\n"
            f"topics   {' '.join(topics)}\n"
            f"         kcat -b {kafka} -t {topics[0]} -C -X isolation.level=read_committed\n"
            f"         sluice tail findings -n 5      in a second terminal; so do status, act, undo\n"
            f"metrics  {made.metrics}\n",
            highlight=False,
        )

    def done(self, totals: dict[str, Any]) -> None:
        """Print the totals."""
        if self.as_json:
            self._line({"event": "done", **totals})
        else:
            self.console.print_json(data=totals)

    def _line(self, told: dict[str, Any]) -> None:
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        sys.stdout.flush()


class Show:
    """One run of the demo."""

    def __init__(self, made: Machine, stages: Mapping[str, Stage], said: Said, stack: AsyncExitStack) -> None:
        self._made, self._stages, self._said, self._stack = made, stages, said, stack
        self._watch = Watch(made.cluster)
        self._started = time.time()
        self._undone = ""

    async def connect(self) -> None:
        """Connect all there is; store the policies."""
        await self._watch.start()
        self._stack.push_async_callback(self._watch.stop)
        desk = await Desk.open(self._made.config)
        for app, one in self._stages.items():
            for name, settings in one.connections().items():
                asked = Asked(name=name, provider=app, settings=dict(settings))
                wishes = (await desk.view()).wishes
                connected = await sign_in(desk, asked, built(desk.kind(app), asked.settings), wishes)
                await desk.store(connected.wish, 0)
        policies = [Policy(**one) for one in POLICIES]
        await desk.write(*(Outgoing("policies", 0, one.name.encode(), one.dump()) for one in policies))
        self._desk = desk

    async def run(self, seconds: float | None, stop: asyncio.Event) -> None:
        """Let people act in the tenants, and show what comes of it."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._drive(one)) for one in self._stages.values()]
            tasks.append(group.create_task(self._undo_one()))
            async with self._live() as refresh:
                end = None if seconds is None else time.monotonic() + seconds
                while not stop.is_set() and (end is None or time.monotonic() < end):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await stop.wait()
                    refresh()
            for task in tasks:
                task.cancel()

    async def _drive(self, one: Stage) -> None:
        await asyncio.sleep(_REST)
        await one.drive()

    async def _undo_one(self) -> None:
        """Take one quarantine back on purpose; the policy must not do it again."""
        while True:
            await asyncio.sleep(0.5)
            quarantined = [
                one
                for one in self._watch.done
                if one.get("action") == "quarantine" and one.get("state") == "done"
            ]
            if quarantined:
                break
        await asyncio.sleep(2.0)
        one = quarantined[0]
        wish = (await self._desk.view()).wishes[one["connector"]]
        command = Command(
            kind="undo", id=f"undo-{one['command']}", connector=wish.name, of=one["command"], dry_run=False,
            asked_at=int(time.time() * 1000),
        )  # fmt: skip
        await self._desk.write(Outgoing("commands", wish.partition, wish.name.encode(), command.dump()))
        self._undone = one["command"]

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[Any]:
        if self._said.as_json:
            yield lambda: None
            return
        with Live(self._table(), console=self._said.console, refresh_per_second=4) as live:
            yield lambda: live.update(self._table())

    def _table(self) -> Group:
        watch = self._watch
        head = Table(title=f"Sluice demo, {time.time() - self._started:.0f} s", expand=True)
        for name in ("topic", "findings by detector", "actions"):
            head.add_column(name, ratio=3)
            head.add_column("", justify="right", width=6)
        topics, findings, outcomes = (list(c.items()) for c in (watch.topics, watch.findings, watch.outcomes))
        for row in range(max(len(topics), len(findings), len(outcomes), 8)):
            cells: list[str] = []
            for column in (topics, findings, outcomes):
                name, count = column[row] if row < len(column) else ("", "")
                cells += [name, str(count)]
            head.add_row(*cells)
        recent = Table(title="latest", expand=True, show_header=False)
        for line in list(watch.recent):
            recent.add_row(line)
        flow = " → ".join(f"{name} {at} s" for name, at in watch.order.items() if name != "health")
        feet = [
            f"{way.replace('_', ' ')} → readable: p50 {told['p50']} s, p95 {told['p95']} s ({told['count']})"
            for way, told in self._delays().items()
            if told["count"]
        ] or ["people are about to act in the tenants"]
        return Group(head, recent, f"first seen: {flow}", *feet)

    def _delays(self) -> dict[str, Any]:
        """Compare when something could be seen at the provider with when a reader had it."""
        delays: dict[str, list[float]] = {}
        for one in (one for each in self._stages.values() for one in each.happened()):
            late = delays.setdefault(one.way, [])
            if (seen := self._watch.arrived.get(one.id)) is not None:
                late.append(max(0.0, seen - one.since))
        return {way: percentiles(late) for way, late in delays.items()}

    def totals(self) -> dict[str, Any]:
        """Sum the run up."""
        watch = self._watch
        happened = [one for each in self._stages.values() for one in each.happened()]
        return {
            "seconds": round(time.time() - self._started, 1),
            "topics": dict(watch.topics),
            "deleted": dict(watch.deleted),
            "first_seen": watch.order,
            "findings": dict(watch.findings),
            "actions": dict(watch.outcomes),
            "delay_seconds": self._delays(),
            "driven": len(happened),
            "undone": self._undone,
            "restarts": {child.role: child.starts - 1 for child in self._made.processes.children},
        }

    def complete(self) -> bool:
        """Whether the main job was seen: people and what they did; with files, findings and an action."""
        watch = self._watch
        seen = watch.topics["logons"] and watch.topics["activities"] and watch.topics["accounts"]
        acted = watch.findings and any("done" in one for one in watch.outcomes)
        return bool(seen and (acted or "aws" not in self._stages))

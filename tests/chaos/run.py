"""`python -m tests.chaos.run --cycles 100 --seed 1`: the long form, which writes docs/chaos-report.md."""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.chaos.cycles import driven, flowing, run
from tests.chaos.judge import OCCURRENCES
from tests.chaos.meters import boasts
from tests.chaos.plan import KINDS, Layout, plan
from tests.chaos.report import Run, written
from tests.chaos.world import world

SLOTS = (
    "ingest-0", "ingest-1", "ingest-2", "receive-0", "receive-1", "dlp-0", "dlp-1", "governance-0",
    "governance-1",
)  # fmt: skip
START_SECONDS = 240.0
REPORT = Path(__file__).parents[2] / "docs" / "chaos-report.md"


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


async def perform(
    seed: int, cycles: int, folder: Path, *, slots: tuple[str, ...] = SLOTS, okta: int = 3, github: int = 1,
    rate: float = 4.0, session: float = 6.0, kinds: tuple[str, ...] = KINDS, seconds: float = float("inf"),
) -> Run:  # fmt: skip
    """Run the plan of a seed, and judge."""
    names = [f"okta{n + 1}" for n in range(okta)] + [f"github{n + 1}" for n in range(github)]
    made = plan(seed, cycles, Layout(slots, tuple(names), 3, session), kinds)
    for one in made:
        say(str(one))
    begun = time.monotonic()
    async with world(folder, slots, okta=okta, github=github, session=session) as all_:
        await all_.connect()
        async with driven(all_, rate):
            late = await flowing(all_, time.time(), START_SECONDS)
            assert not late, f"nothing ever came of {', '.join(late)}"
            say(f"all flows after {time.monotonic() - begun:.0f} s")
            rows = await run(all_, made, say, seconds)
        settled = await all_.settled()
        verdict, held = all_.verdict(), await all_.pulse.held_back()
        all_.keep(folder / "evidence.json")
        counted = await all_.meters.look()
        lied = boasts(counted, {topic: all_.reader.count(topic) for topic in sorted(OCCURRENCES)})
        result = Run(
            seed=seed, planned=cycles, slots=slots, rows=rows, verdict=verdict, settled=settled, held=held,
            letters=list(all_.reader.letters), truth=sum(len(list(t.truth())) for t in all_.tenants.values()),
            records=len(all_.reader.found), seconds=time.monotonic() - begun, rate=rate * (okta + github / 4),
            session=session, counted=dict(counted), lied=lied,
        )  # fmt: skip
    say(str(verdict))
    return result


def main() -> int:
    """Run from the command line; 1: a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=4.0, help="what happens a second in each tenant")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cycle after so many")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    parser.add_argument("--report", type=Path, default=REPORT)
    asked = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="sluice-chaos-"))
    say(f"logs in {folder}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        kinds = tuple(asked.kinds.split(","))
        running = perform(
            asked.seed, asked.cycles, folder, rate=asked.rate, kinds=kinds, seconds=asked.minutes * 60
        )
        result = runner.run(running)
    asked.report.write_text(written(result), encoding="utf-8")
    if result.good and not asked.keep:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{'good' if result.good else 'NOT good'}; report in {asked.report}")
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())

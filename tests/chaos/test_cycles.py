"""The short form of the chaos run: three brokers, real processes, a dozen faults, judged as in the long one.

Two processes own and one of each other role runs here, with a session of three seconds: two cores start no
more in the time there is. `make chaos` runs them all.
"""

import os
from pathlib import Path

import pytest

from tests.chaos.run import perform

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]
SLOTS = ("ingest-0", "ingest-1", "receive-0", "dlp-0", "governance-0")
KINDS = (
    "kill", "stop", "freeze", "cut", "hold", "broker-kill", "controller-loss", "outage", "throttle", "expiry",
    "push-trouble", "clock-step",
)  # fmt: skip
CYCLES = 10
SEED = int(os.environ.get("SLUICE_CHAOS_SEED", "3"))
"""Another seed is another run; a failure names its own."""


async def test_ten_cycles_of_faults_lose_double_and_reorder_nothing(tmp_path: Path) -> None:
    """What two tenants know to have happened is read once and in order, and the metrics tell no lies."""
    run = await perform(
        SEED, CYCLES, tmp_path, slots=SLOTS, kinds=KINDS, okta=1, github=1, rate=5.0, session=3.0
    )

    assert [f"cycle {row.cycle}: {one}" for row in run.rows for one in row.wrong] == []
    assert run.settled, f"lost with seed {SEED}: {run.verdict.lost[:10]}"
    assert str(run.verdict).startswith("lost 0 []; doubled 0 []; reordered 0 []; strange 0 []; ahead 0 []")
    assert run.held == []
    assert run.letters == []
    assert run.lied == []
    assert len(run.rows) == CYCLES
    assert run.truth > 100

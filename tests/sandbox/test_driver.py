"""The driver does what it writes down, and its process leaves with its parent."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import aiohttp
import pytest

from sandbox.aws.driver import WEIGHTS, Driver
from sandbox.aws.seed import clients, seed_account
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization

ROOT = Path(__file__).resolve().parents[2]


async def test_what_happened_can_be_seen(tenant: AwsTenant, fresh: Callable[[], str], tmp_path: Path) -> None:
    """Every action is in the journal, each record in the history and a trail file, each upload in S3."""
    own, journal = await seed_account(tenant, fresh(), Random(1), history=0), tmp_path / "truth.jsonl"
    async with Driver(tenant, own, number=3, journal=journal, trail_every=4) as driver:
        for kind in WEIGHTS:
            await driver.step(kind)
        await driver.flush()
        await driver.run(per_second=50, seconds=0.2)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["id"] for line in lines] == [done.id for done in driver.happened]
    assert {line["kind"] for line in lines} == set(WEIGHTS)
    recorded = {line["id"] for line in lines if "@" not in line["id"]}
    async with clients(tenant, own.key_pair) as use:
        shown = {e["EventId"] for e in (await use.cloudtrail.lookup_events())["Events"]}
        uploads = [line["detail"] for line in lines if "@" in line["id"]]
        for place in uploads:
            await use.s3.head_object(Bucket=place["bucket"], Key=place["key"])
    assert recorded <= shown
    assert len(own.trail_keys) >= 2
    assert len(uploads) >= 3


async def test_an_unknown_action_is_refused(tenant: AwsTenant, truth: Organization) -> None:
    """A wrong weight is an error at once."""
    with pytest.raises(ValueError, match="no such action: dance"):
        Driver(tenant, truth.member, weights={"dance": 1})


async def test_the_tenant_dies_with_its_parent() -> None:
    """Even a parent killed with SIGKILL leaves no process behind."""
    code = (
        "import asyncio, sys\n"
        "from sandbox.aws.tenant import AwsTenant\n"
        "async def main():\n"
        "    async with AwsTenant() as tenant:\n"
        "        print(tenant.endpoint, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    endpoint = (await parent.stdout.readline()).decode().strip()
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    async with aiohttp.ClientSession() as http:
        for _ in range(100):
            try:
                async with http.get(endpoint):
                    await asyncio.sleep(0.05)
            except aiohttp.ClientConnectionError:
                return
    pytest.fail("the tenant outlived its parent")

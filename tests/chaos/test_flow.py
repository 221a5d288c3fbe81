"""Kill -9 of any process at any time: nothing lost, nothing twice, for a read-committed reader."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sandbox.aws.driver import Driver
from schemas.control import Policy

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(400)]
KILLS = ["ingest", "dlp", "governance", "ingest", "kafka", "dlp", "ingest", "governance", "dlp", "ingest"]
DETECTORS = {
    "card": "credit_card",
    "iban": "iban",
    "ssn": "us_ssn",
    "aws_key": "aws_key_pair",
    "github_token": "github_token",
    "private_key": "private_key",
}
QUARANTINE = Policy.model_validate(
    {
        "name": "quarantine-keys",
        "match": {"on": "finding", "detectors": ["private_key"], "min_confidence": 75},
        "action": "quarantine",
        "dry_run": False,
        "cap": 1000,
    }
)


async def until(met: Callable[[], Awaitable[list[str]]], seconds: float) -> list[str]:
    """Wait until nothing is missing any more; return what still is."""
    end = time.monotonic() + seconds
    while (missing := await met()) and time.monotonic() < end:  # noqa: ASYNC110 other processes' work
        await asyncio.sleep(1.0)
    return missing


async def test_ten_kills_lose_nothing_and_double_nothing(whole: Any, tmp_path: Path) -> None:
    """What the tenant recorded is published once, though ingest, scanner, governance and Kafka are killed."""
    account = whole.truth.management
    await whole.policy(QUARANTINE)
    await whole.connect("first", account)
    chance = Random(11)
    weights = {"logon": 4, "failed logon": 1, "assume role": 1, "clean upload": 1, "sensitive upload": 3}
    async with Driver(
        whole.tenant, account, number=5, lag=2.0, trail_every=1, weights=weights, journal=tmp_path / "truth"
    ) as driver:
        driving = asyncio.create_task(driver.run(per_second=4.0))
        for victim in KILLS:
            await asyncio.sleep(chance.uniform(1.0, 3.0))
            if victim == "kafka":
                await whole.machine.broker.kill()
                await whole.machine.broker.start()
            else:
                whole.machine.processes.kill(victim)
        await asyncio.sleep(2.0)
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        happened = list(driver.happened)

    records = {one.id for one in happened if "key" not in one.detail}
    objects = {
        f"arn:aws:s3:::{one.id.rpartition('@')[0]}": one.detail for one in happened if "key" in one.detail
    }
    wanted = {
        (name, DETECTORS[kind])
        for name, detail in objects.items()
        for kind in detail["kinds"]
        if kind in DETECTORS
    }

    async def missing() -> list[str]:
        found = await whole.read()
        seen = set(found.sources("logons", "activities"))
        files = {one["resources"][0]["uid"] for one in found.events["files"]}
        scanned = {
            (one["file"]["uid"], one["data_security"]["detection_pattern"])
            for one in found.events["findings"]
        }
        done = {one["unmapped"]["target"]["id"] for one in found.events["outcomes"]}
        to_do = {name for name, detector in wanted if detector == "private_key"}
        lacking = [*(records - seen), *(set(objects) - files), *map(str, wanted - scanned), *(to_do - done)]
        return sorted(lacking)

    left = await until(missing, 120.0)
    found = await whole.read()

    assert left == []
    assert found.twice() == []
    assert [one for one, count in found.sources("logons", "activities").items() if count > 1] == []
    commands = [one["command_uid"] for one in found.events["outcomes"]]
    assert len(commands) == len(set(commands))
    assert len(records) > 10
    assert len(objects) > 10

"""A careless and hostile account: everything bad ends in a status or a dead letter, and the rest goes on."""

import asyncio
import time
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
import rig

from ingest.cluster import Cluster
from sandbox.aws.hostile import STRANGERS
from sandbox.aws.seed import seed_account
from schemas.control import DeadLetter, Scan
from schemas.topics import TOPICS

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(300)]


def raw(cluster: Cluster, topic: str) -> list[tuple[bytes, bytes, bytes]]:
    """Read a topic of any kind: keys, values and headers as they are."""
    found = rig.whole(cluster, topic)
    return [(one.key() or b"", one.value() or b"", repr(one.headers()).encode()) for one in found]


async def test_a_hostile_account_ends_in_statuses_and_dead_letters(whole: Any, tmp_path: Path) -> None:
    """Odd keys, bombs, locked, archived and huge files, broken trail files, strangers: each has its end."""
    account = await seed_account(whole.tenant, "000000000042", Random(3), hostile=True, history=10)
    await whole.connect("hostile", account)
    cluster, bad = whole.machine.cluster, account.hostile

    def scans() -> dict[str, Scan]:
        found = {}
        for key, value, _ in raw(cluster, "scans"):
            name = key.decode("utf-8", "replace")
            if value and "arn:aws:s3:::" in name:
                found[name.partition("arn:aws:s3:::")[2]] = Scan.load(value)
        return found

    def letters() -> list[DeadLetter]:
        latest = {key: value for key, value, _ in raw(cluster, "dead-letters")}
        return [DeadLetter.load(value) for value in latest.values() if value]

    wanted = {
        "archived": ("unscannable", "archived"),
        "big": ("unscannable", "size"),
        "encrypted": ("unscannable", "encrypted"),
        "bomb": ("unscannable", "ratio"),
        "spaces": ("complete", ""),
        "unicode": ("complete", ""),
        "parent": ("complete", ""),
        "slashes": ("complete", ""),
        "control": ("complete", ""),
        "plus": ("complete", ""),
        "markup": ("complete", ""),
        "long": ("complete", ""),
    }
    end = time.monotonic() + 90.0
    while time.monotonic() < end:
        found, dead = await asyncio.to_thread(scans), await asyncio.to_thread(letters)
        if all("/".join(bad[name]) in found for name in wanted) and len(dead) >= 8:
            break
        await asyncio.sleep(1.0)
    ends = {name: found.get("/".join(bad[name])) for name in wanted}
    read = await whole.read()

    assert {name: one and one.status for name, one in ends.items()} == {
        name: status for name, (status, _) in wanted.items()
    }
    assert all(
        why in (one.reason if one else "")
        for (_, why), one in zip(wanted.values(), ends.values(), strict=True)
    )
    assert {one.reason for one in dead} <= {"bad-record"}
    told = " ".join(one.detail + one.raw for one in dead)
    for name in ("truncated trail", "plain trail", "trail that is no JSON"):
        assert bad[name][1] in told, name
    assert any(STRANGERS[0] in one.raw for one in dead)
    assert set(account.events) <= set(read.sources("logons", "activities"))
    await _no_secrets(whole, account)


async def _no_secrets(whole: Any, account: Any) -> None:
    """Search every topic, log and metric for what must not be there."""
    config = whole.machine.config
    canaries = [account.key_pair["aws_secret_access_key"].encode(), config.key.get_secret_value().encode()]
    outputs: dict[str, bytes] = {}
    for topic in TOPICS:
        outputs[topic] = b"".join(
            b"".join(parts) for parts in await asyncio.to_thread(raw, whole.machine.cluster, topic)
        )
    for path in whole.machine.broker.log.parent.glob("*.log"):
        outputs[path.name] = path.read_bytes()
    async with aiohttp.ClientSession() as http:
        for child in whole.machine.processes.children:
            async with http.get(f"{child.metrics}/metrics") as reply:
                outputs[child.metrics] = await reply.read()
    leaks = [name for name, output in outputs.items() for canary in canaries if canary in output]

    assert leaks == []
    assert b"sluice_events_published_total" in b"".join(outputs.values())

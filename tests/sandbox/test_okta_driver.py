"""The driver of the simulated Okta org, and the org as a process."""

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.okta.__main__ import obey
from sandbox.okta.catalogue import KINDS
from sandbox.okta.driver import WEIGHTS, Driver
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant

Json = Any
LOGS = "/api/v1/logs?limit=1000"
ROOT = Path(__file__).resolve().parents[2]


async def test_what_was_done_is_in_the_log() -> None:
    """Every action leaves an event of the catalogue, in the log and in the truth."""
    org = OktaTenant(users=40, limits=LOOSE)
    driver = Driver(org, number=3)
    for kind in WEIGHTS:
        assert driver.step(kind).kind in KINDS
    await driver.run(per_second=500, seconds=0.1)
    token = {"Authorization": f"SSWS {org.api_token}"}
    async with running(org), aiohttp.ClientSession(org.url, headers=token) as http, http.get(LOGS) as answer:
        seen = [(one["uuid"], one["eventType"]) for one in await answer.json()]
    assert seen == [(one.id, one.kind) for one in org.truth]
    assert len(seen) >= len(WEIGHTS)


async def test_the_same_number_does_the_same() -> None:
    """Two orgs of one seed, driven by one number, see the same kinds by the same people."""
    told = []
    for _ in range(2):
        org = OktaTenant(users=40, seed=5)
        seed_history(org, 50, number=5)
        driver = Driver(org, number=9)
        for _ in range(60):
            driver.step()
        told.append([(one.id, one.kind, one.actor, one.targets) for one in org.truth])
    assert told[0] == told[1]
    assert len(told[0]) >= 110


def test_an_unknown_action_is_refused() -> None:
    """A wrong weight is an error at once."""
    with pytest.raises(ValueError, match="no such action: dance"):
        Driver(OktaTenant(), weights={"dance": 1})


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", '{"do": "act", "kind": "dance"}', '{"do": "order", "path": "/"}']
)
async def test_a_wrong_command_gets_an_answer(line: str) -> None:
    """Whatever comes by standard input, the process lives."""
    org = OktaTenant()
    assert set(obey(org, Driver(org), line)) == {"error"}


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Json]]:
    """Run the org as a process; its first line."""
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox.okta", *arguments, cwd=ROOT, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert made.stdout is not None
        yield made, json.loads(await asyncio.wait_for(made.stdout.readline(), 30))
    finally:
        if made.returncode is None:
            made.kill()
        await made.communicate()


async def test_it_runs_by_itself() -> None:
    """One line tells where; commands are answered; it leaves on SIGTERM."""
    async with process("--users", "30", "--rate", "0", "--history", "10", "--late", "0") as (made, told):
        assert made.stdin is not None
        assert made.stdout is not None
        made.stdin.write(b'{"do": "act", "kind": "zone"}\n{"do": "report"}\n')
        acted = json.loads(await asyncio.wait_for(made.stdout.readline(), 10))
        report = json.loads(await asyncio.wait_for(made.stdout.readline(), 10))
        assert (acted["kind"], report["happened"]) == ("zone.update", 11)
        headers = {"Authorization": f"SSWS {told['settings']['api_token']}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.get(f"{told['url']}/api/v1/org") as answer,
        ):
            assert answer.status == 200
        made.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(made.wait(), 10) == 0


async def test_it_serves_tls(tmp_path: Path) -> None:
    """With a file for the CA it is reached by https, by who trusts that file."""
    ca = tmp_path / "ca.pem"
    async with process("--users", "30", "--rate", "0", "--ca", str(ca)) as (_, told):
        assert told["url"].startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=str(ca))
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{told['url']}/.well-known/okta-organization", ssl=trust) as answer:
                assert answer.status == 200
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await http.get(told["url"])

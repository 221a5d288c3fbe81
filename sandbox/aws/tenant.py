"""The AWS tenant as a context: one endpoint for every service, in a process of its own.

Example:
    async with AwsTenant() as tenant:
        async with tenant.client("iam", await tenant.root("111122223333")) as iam:
            await iam.list_users()
"""

import asyncio
import json
import os
import re
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from sandbox.aws.faults import Kind

Json: TypeAlias = Any
Credentials: TypeAlias = Mapping[str, str]
HOME = "us-east-1"
_ROOT = Path(__file__).resolve().parents[2]


class AwsTenant:
    """A running tenant; `endpoint` is the address for all services and regions.

    `seed` fixes the root keys. `log` is a file for what moto complains of; none by default.
    """

    def __init__(self, *, seed: str = "tenant", log: Path | None = None) -> None:
        self.endpoint = ""
        self._seed, self._log = seed, log
        self._token = secrets.token_hex(16)
        self._process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None
        self._session = get_session()

    async def __aenter__(self) -> Self:
        """Start the process and wait until it listens; raises RuntimeError when it does not come up."""
        errors = self._log.open("ab") if self._log else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sandbox.aws.server",
                cwd=_ROOT,
                env=os.environ | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors or asyncio.subprocess.DEVNULL,
            )
        finally:
            if errors:
                errors.close()
        pipe, out = self._process.stdin, self._process.stdout
        if pipe is None or out is None:
            raise RuntimeError("the tenant's process has no pipes")
        pipe.write(json.dumps({"seed": self._seed, "token": self._token}).encode() + b"\n")
        await pipe.drain()
        line = await asyncio.wait_for(out.readline(), 30)
        if not line:
            raise RuntimeError("the AWS tenant did not start; give it a log file to see why")
        self.endpoint = f"http://127.0.0.1:{json.loads(line)['port']}"
        self._http = aiohttp.ClientSession(self.endpoint, headers={"X-Sandbox": self._token})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        if self._http is not None:
            await self._http.close()
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.communicate()

    @asynccontextmanager
    async def client(self, service: str, credentials: Credentials, region: str = HOME) -> AsyncIterator[Json]:
        """An official (aiobotocore) client of this tenant, without retries of its own.

        For S3 Control the account id is taken off the host again, which an address of numbers can't carry.
        """
        config = AioConfig(
            retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, max_pool_connections=20
        )
        made = self._session.create_client(
            service, region_name=region, endpoint_url=self.endpoint, config=config, **credentials
        )
        async with made as client:
            if service == "s3control":
                client.meta.events.register_first("request-created.s3-control", _plain_host)
            yield client

    async def root(self, account: str) -> dict[str, str]:
        """An all-powerful key pair of an account, as keyword arguments of a client; for seeding only."""
        keys: dict[str, str] = await self._tell("root", account=account)
        return keys

    async def add_history(self, records: Sequence[Json], *, after: float = 0.0) -> int:
        """Let LookupEvents show these records `after` seconds from now; data events are not taken."""
        taken: int = await self._tell("history", records=list(records), after=after)
        return taken

    async def mark(self) -> int:
        """How many calls there were so far; `log` and `calls` take it as their start."""
        count: int = await self._tell("mark")
        return count

    async def log(self, since: int = 0) -> list[dict[str, Json]]:
        """The calls (the last 100,000): service, operation, account, region, key, at (seconds), status."""
        rows: list[dict[str, Json]] = await self._tell("log", since=since)
        return rows

    async def calls(self, since: int = 0) -> Counter[str]:
        """How often each `service:Operation` was called."""
        return Counter(f"{row['service']}:{row['operation']}" for row in await self.log(since))

    async def fault(
        self,
        service: str,
        operation: str,
        kind: Kind,
        times: int = 1,
        *,
        skip: int = 0,
        seconds: float = 30.0,
    ) -> None:
        """Let the next `times` calls that match fail in that way, after `skip` that do not."""
        await self._tell(
            "fault", service=service, operation=operation, kind=kind, times=times, skip=skip, seconds=seconds
        )

    async def deny(self, action: str) -> None:
        """Take a permission such as `iam:ListUsers` from everybody."""
        await self._tell("deny", action=action)

    async def allow(self, action: str) -> None:
        """Give it back."""
        await self._tell("allow", action=action)

    async def clear(self) -> None:
        """Drop every fault and denial."""
        await self._tell("clear")

    async def expire_sessions(self) -> int:
        """Let all temporary credentials expire at once; how many."""
        ended: int = await self._tell("expire")
        return ended

    async def advance(self, seconds: float) -> None:
        """Push the tenant's clock forward: late records appear, sessions expire."""
        await self._tell("advance", seconds=seconds)

    async def log_in(self, account: str, user: str) -> None:
        """Note that a user's console password was used just now."""
        await self._tell("login", account=account, user=user)

    async def _tell(self, verb: str, **asked: Json) -> Json:
        if self._http is None:
            raise RuntimeError("the tenant is not running; enter it first")
        async with self._http.post(f"/_sandbox/{verb}", json=asked) as reply:
            answer = await reply.json()
            if reply.status != 200:
                raise ValueError(f"{verb}: {answer}")
            return answer


def _plain_host(request: Json, **_: Json) -> None:
    request.url = re.sub(r"//\d{12}\.", "//", request.url)

"""The simulated tenants of a run: how they are driven, what goes wrong with them, what really happened."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any, Protocol

from sandbox.github.server import running as running_github
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running as running_okta
from tests.chaos.judge import Occurrence
from tests.chaos.orgs import GitHub, Okta

OUTAGE = ("500", "502", "503", "504", "html")
_TOP_UP = 6
"""Faults that wait while a provider is out: more than its callers can use up between two looks."""


class Tenant(Protocol):
    """One tenant: its name is its connector's."""

    name: str
    provider: str

    def settings(self) -> Mapping[str, Any]:
        """Give what a connector needs."""
        ...

    async def drive(self, per_second: float) -> None:
        """Act until cancelled."""
        ...

    def truth(self) -> Iterable[Occurrence]:
        """List what happened, as far as polls can tell of it."""
        ...

    def recent(self, since: float) -> list[str]:
        """Name what happened after a moment (s since 1970); asked often, so it must not look at all."""
        ...

    def log(self) -> list[str]:
        """List the log's ids in the order in which they are handed out; empty: it has no such order."""
        ...

    def reached(self, position: Any) -> int:
        """Tell how many records of the log a cursor's position leaves behind; 0 if that can't be told."""
        ...

    def order(self, *faults: str) -> None:
        """Let the next calls fail so."""
        ...

    def waiting(self) -> int:
        """Count the faults that have not struck."""
        ...

    def calm(self) -> None:
        """Forget the faults that wait, and let hanging calls go."""
        ...

    def expire(self) -> int:
        """End all access tokens; how many."""
        ...

    def misdeliver(self, chance: Random) -> None:
        """Lose, repeat or forge the next deliveries."""
        ...

    def throttles(self) -> Sequence[str]:
        """Name the faults that are throttling, in the provider's dialect."""
        ...


async def outage(tenant: Tenant, faults: Sequence[str], seconds: float, chance: Random) -> int:
    """Let every call fail for some seconds; how many did."""
    struck, end = 0, asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        missing = max(0, _TOP_UP - tenant.waiting())
        tenant.order(*chance.choices(faults, k=missing))
        struck += missing
        await asyncio.sleep(0.05)
    struck -= tenant.waiting()
    tenant.calm()
    return struck


@asynccontextmanager
async def tenants(okta: int, github: int) -> AsyncIterator[dict[str, Tenant]]:
    """Run so many of each."""
    async with AsyncExitStack() as stack:
        made: dict[str, Tenant] = {}
        for number in range(1, okta + 1):
            org = Okta(f"okta{number}", number)
            await stack.enter_async_context(running_okta(org.tenant))
            seed_history(org.tenant, events=60)
            made[org.name] = org
        for number in range(1, github + 1):
            company = GitHub(f"github{number}", 100 + number)
            await stack.enter_async_context(running_github(company.tenant))
            made[company.name] = company
        yield made

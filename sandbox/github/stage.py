"""The GitHub of the demo: an organisation of 60 members, whose webhooks reach the receiver."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from sandbox.github.driver import Driver
from sandbox.github.seed import connect, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant
from sandbox.stage import Visible

_LAG = 3.0
"""Seconds that an entry of the audit log may be late."""


class GitHubStage:
    """One organisation with a driver."""

    title: ClassVar[str] = "a GitHub organisation"

    def __init__(self, tenant: GitHubTenant) -> None:
        self._tenant = tenant
        self._known = {one.id for one in tenant.truth}

    async def prepare(self) -> None:
        """Nothing is left to do: it was made with its past."""

    def connections(self) -> Mapping[str, Mapping[str, Any]]:
        """It is connected by an App's installation."""
        made = connect(self._tenant)
        url = self._tenant.url
        return {"github": made | {"enterprise": "", "endpoints": {"rest": url, "app": url, "graphql": url}}}

    async def drive(self) -> None:
        """Act in it."""
        await Driver(self._tenant, lag=_LAG).run(per_second=1.0)

    def happened(self) -> list[Visible]:
        """Tell what the organisation's audit log has got since."""
        return [
            Visible(one.id, one.visible, "github")
            for one in self._tenant.truth
            if one.id and not one.business and one.id not in self._known
        ]


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[GitHubStage]:
    """Run the tenant."""
    del folder
    async with running(seed(members=60, repos=40, teams=8, events=80)) as tenant:
        yield GitHubStage(tenant)

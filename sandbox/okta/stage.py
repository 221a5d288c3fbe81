"""The Okta of the demo: an org of 120 people, whose event hooks reach the receiver."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from sandbox.okta.driver import Driver
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running
from sandbox.okta.tenant import OktaTenant
from sandbox.stage import Visible


class OktaStage:
    """One org with a driver."""

    title: ClassVar[str] = "an Okta org"

    def __init__(self, tenant: OktaTenant) -> None:
        self._tenant = tenant
        self._known: set[str] = set()

    async def prepare(self) -> None:
        """Give it a past of thirty days."""
        seed_history(self._tenant, events=120)
        self._known = {one.id for one in self._tenant.truth}

    def connections(self) -> Mapping[str, Mapping[str, Any]]:
        """It is connected by a service app's key."""
        return {"okta": self._tenant.settings(oauth=True)}

    async def drive(self) -> None:
        """Act in it."""
        await Driver(self._tenant).run(per_second=1.0)

    def happened(self) -> list[Visible]:
        """Tell what was logged since."""
        return [Visible(one.id, one.seen, "okta") for one in self._tenant.truth if one.id not in self._known]


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[OktaStage]:
    """Run the tenant."""
    del folder
    async with running(OktaTenant(users=120, groups=20)) as tenant:
        yield OktaStage(tenant)

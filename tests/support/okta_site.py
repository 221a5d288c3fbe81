"""Okta for the conformance suite: a simulated org of some hundred people with a past of several pages."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, ClassVar

from tenants import ALWAYS, Fault

from ingest.errors import CursorLost, Misconfigured, Missing, NotAllowed, Refused, Retry
from ingest.provider import Provider
from ingest.providers.okta import Okta
from ingest.providers.okta.settings import Settings
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running
from sandbox.okta.tenant import OktaTenant


class OktaSite:
    """A simulated org, signed in to as a service app by its key."""

    kind: ClassVar[type[Provider[Any]]] = Okta
    mission: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "accounts": "must",
            "groups": "extra",
            "privileges": "extra",
            "logons": "must",
            "user_activity": "must",
            "admin_activity": "must",
            "user_governance": "extra",
        }
    )
    faults: ClassVar[Mapping[str, Fault]] = MappingProxyType(
        {
            "400": Fault("400", (Refused,)),
            "401": Fault("401", (Misconfigured,)),
            "403": Fault("403", (NotAllowed,)),
            "404": Fault("404", (Missing,)),
            "410": Fault("410", (CursorLost,)),
            "429": Fault("429", (Retry,)),
            "too many at once": Fault("concurrency", (Retry,)),
            "invalid session": Fault("session", (Misconfigured,)),
            "500": Fault("500", (Retry,)),
            "503": Fault("503", (Retry,)),
            "web page": Fault("html", (Retry,)),
            "200 with a web page": Fault("html-ok", (Retry,)),
            "truncated": Fault("truncated", (Retry,)),
            "broken off": Fault("cut", (Retry,)),
            "time-out": Fault("hang", (Retry,)),
        }
    )
    documented: ClassVar[bool] = True

    def __init__(self, tenant: OktaTenant) -> None:
        self.tenant = tenant
        self.settings = Settings.model_validate(tenant.settings(oauth=True))

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["OktaSite"]:
        """Start and fill it, under the limits of a paid org."""
        async with running(OktaTenant(users=450, groups=110)) as tenant:
            seed_history(tenant, events=2300)
            yield cls(tenant)

    async def fault(self, what: str, times: int) -> None:
        """Order it for every path but the sign-in."""
        order = self.faults[what].order
        count = times if times < ALWAYS else 400
        for path in ("/api/", "/oauth2/v1/clients"):
            self.tenant.order(path, *[order] * count)

    async def heal(self) -> None:
        """Drop what is ordered, and let hanging calls go."""
        self.tenant.faults.clear()

    def issued(self) -> list[str]:
        """List all that it gave out and is secret."""
        return list(self.tenant.issued())

    async def passed(self, seconds: float) -> None:
        """Move the org's clock, by which it counts calls and ends tokens."""
        self.tenant.clock.advance(seconds)

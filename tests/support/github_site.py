"""GitHub for the conformance suite: an organization of the simulated enterprise, connected by its App."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, ClassVar

from tenants import Fault

from ingest.errors import Misconfigured, Missing, NotAllowed, Refused, Retry
from ingest.provider import Provider
from ingest.providers.github import GitHub
from ingest.providers.github.kinds import EVENTS
from ingest.providers.github.settings import Settings
from sandbox.github.limits import Limits
from sandbox.github.seed import connect, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant
from sandbox.github.webhooks import Hook

PATHS = ("/orgs/", "/organizations/", "/repos/", "/graphql", "/scim/", "/enterprises/")
"""What the feeds call; the sign-in is left alone."""
HOOK = "http://127.0.0.1:9/v1/github/changed/conformance"
"""An address where nobody listens: what is sent there has failed."""


class GitHubSite:
    """An organization with members, teams, repositories, a log and deliveries that failed."""

    kind: ClassVar[type[Provider[Any]]] = GitHub
    mission: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "accounts": "must",
            "groups": "extra",
            "privileges": "must",
            "logons": "extra",
            "user_activity": "must",
            "admin_activity": "must",
            "user_governance": "extra",
            "app_permissions": "must",
            "revoke_app_permissions": "extra",
        }
    )
    faults: ClassVar[Mapping[str, Fault]] = MappingProxyType(
        {
            "401": Fault("401", (Misconfigured,)),
            "403": Fault("403", (NotAllowed,)),
            "single sign-on": Fault("403 sso", (NotAllowed,)),
            "404": Fault("404", (Missing,)),
            "422": Fault("422", (Refused,)),
            "429": Fault("429", (Retry,)),
            "429 without a time": Fault("429 bare", (Retry,)),
            "throttled in the provider's dialect": Fault("403 rate", (Retry,)),
            "secondary limit": Fault("403 secondary", (Retry,)),
            "500": Fault("500", (Retry,)),
            "502": Fault("502", (Retry,)),
            "web page": Fault("html", (Retry,)),
            "200 with a web page": Fault("html ok", (Retry,)),
            "200 with an error": Fault("graphql limited", (Retry,)),
            "truncated": Fault("truncated", (Retry,)),
            "broken off": Fault("cut", (Retry,)),
            "time-out": Fault("hang", (Retry,)),
        }
    )
    documented: ClassVar[bool] = True

    def __init__(self, tenant: GitHubTenant) -> None:
        self.tenant = tenant
        given = {**connect(tenant), "endpoints": dict.fromkeys(("rest", "app"), tenant.url)}
        self.settings = Settings.model_validate(given)

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["GitHubSite"]:
        """Start and fill it."""
        tenant = seed(members=12, repos=8, teams=3, events=60)
        async with running(tenant):
            await fail(tenant)
            yield cls(tenant)

    async def fault(self, what: str, times: int) -> None:
        """Order it for every path but the sign-in."""
        for path in PATHS:
            self.tenant.order(path, *[self.faults[what].order] * min(times, 40))

    async def heal(self) -> None:
        """Drop what is ordered, and let hanging calls go."""
        self.tenant.faults.waiting.clear()
        self.tenant.faults.release.set()
        self.tenant.faults.release.clear()

    def issued(self) -> list[str]:
        """List the tokens and the webhooks' secrets."""
        return self.tenant.issued()

    async def passed(self, seconds: float) -> None:
        """Let the tenant's limits forget what was asked; its log stays where it is."""
        if seconds >= 1:
            old = self.tenant.limits
            kept = {name: getattr(old, name) for name in ("rules", "exceeded", "busiest", "most", "running")}
            self.tenant.limits = Limits(**kept)


async def fail(tenant: GitHubTenant) -> None:
    """Let deliveries fail that only webhooks tell of."""
    tenant.webhooks.add(
        Hook(0, "Organization", HOOK, tenant.clock.now(), list(EVENTS), "json", "a-secret-of-a-hook")
    )
    owner = next(iter(tenant.org.users.values()))
    for number in range(4):
        issue = {"id": 900 + number, "number": number + 1, "title": f"Issue {number}"}
        tenant.send("issues", "opened", {"issue": issue}, owner)
    await tenant.webhooks.drained()

"""The providers that the conformance suite judges, each with its simulated tenant.

A site says how to start its tenant, with which settings to connect, what is in it, and which faults it can
do; it judges nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

from pydantic import BaseModel, SecretStr
from toy.provider import Toy, ToySettings
from toy.tenant import SECRET, Tenant, running

from ingest.errors import CursorLost, Misconfigured, Missing, NotAllowed, Retry, SourceError
from ingest.provider import Provider
from ingest.providers.aws import Aws
from ingest.providers.aws.session import Settings as AwsSettings
from sandbox.aws.faults import Kind
from sandbox.aws.seed import seed
from sandbox.aws.tenant import AwsTenant

ALWAYS = 10_000
"""As often as a fault strikes that does not pass by itself."""


class Fault(NamedTuple):
    """A fault by the tenant's word for it, and the errors it may end in."""

    order: str
    ends: tuple[type[SourceError], ...]


class Site(Protocol):
    """A provider with its simulated tenant; `mission` are the capabilities asked for, must or extra."""

    kind: ClassVar[type[Provider[Any]]]
    mission: ClassVar[Mapping[str, str]]
    faults: ClassVar[Mapping[str, Fault]]
    documented: ClassVar[bool]

    @property
    def settings(self) -> BaseModel:
        """What to connect with."""
        ...

    async def fault(self, what: str, times: int) -> None:
        """Let the next calls, whichever they are, fail in that way."""
        ...

    async def heal(self) -> None:
        """Let calls work again."""
        ...

    def issued(self) -> list[str]:
        """List the secrets that the tenant gave out since."""
        ...

    async def passed(self, seconds: float) -> None:
        """Let time pass for the tenant, where it counts calls by the second."""
        ...


class ToySite:
    """The toy with four users, their sign-ins, an audit trail and files."""

    kind: ClassVar[type[Provider[Any]]] = Toy
    mission: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "accounts": "must",
            "logons": "must",
            "user_activity": "must",
            "admin_activity": "must",
            "user_governance": "extra",
            "dlp_backlog": "extra",
        }
    )
    faults: ClassVar[Mapping[str, Fault]] = MappingProxyType(
        {
            "401": Fault("401", (Misconfigured,)),
            "403": Fault("403", (NotAllowed,)),
            "404": Fault("404", (Missing,)),
            "410": Fault("410", (CursorLost,)),
            "429": Fault("429", (Retry,)),
            "throttled in the provider's dialect": Fault("throttled", (Retry,)),
            "200 with an error": Fault("200 error", (Retry,)),
            "500": Fault("500", (Retry,)),
            "503": Fault("503", (Retry,)),
            "web page": Fault("html", (Retry,)),
            "truncated": Fault("truncated", (Retry,)),
            "broken off": Fault("cut", (Retry,)),
            "time-out": Fault("hang", (Retry,)),
        }
    )
    documented: ClassVar[bool] = False

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.settings = ToySettings(url=tenant.url, client_secret=SecretStr(SECRET))

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["ToySite"]:
        """Start and fill it."""
        # Waiting is skipped, so its limit by the second would count what the client had spread.
        async with running(Tenant(limit=ALWAYS)) as tenant:
            fill(tenant)
            yield cls(tenant)

    async def fault(self, what: str, times: int) -> None:
        """Order it for every path but the sign-in."""
        order = self.faults[what].order
        for path in ("/activity", "/audit", "/users", "/files", "/hooks", "/me"):
            self.tenant.order(path, *[order] * min(times, 20))

    async def heal(self) -> None:
        """Drop what is ordered, and let hanging calls go."""
        self.tenant.faults.clear()
        self.tenant.release.set()
        self.tenant.release.clear()

    def issued(self) -> list[str]:
        """List the tokens."""
        return [*self.tenant.tokens, *self.tenant.refresh]

    async def passed(self, seconds: float) -> None:
        """Its tokens and records go by the wall clock, so nothing passes."""


def fill(tenant: Tenant) -> None:
    """Give a toy some past: 8 users, 10 things they did, 10 changes, two of one moment, 5 files."""
    users = [tenant.add_user(name, admin=name == "root") for name in _NAMES]
    for number in range(10):
        tenant.act("login" if number % 2 else "logout", users[number % 8], ago=600 - number)
    for number in range(8):
        tenant.note("suspended", users[number], ago=700 - 30 * number)
    tied = tenant.note("activated", users[0], ago=100)
    tenant.note("activated", users[1], ago=100)["time"] = tied["time"]
    for number in range(5):
        tenant.add_file(f"report {number}.txt", b"nothing to see", public=number == 0)


PAST = 20
"""Occurrences in the past of a filled toy."""
_NAMES = ("ann", "bob", "cid", "dan", "eve", "fay", "gus", "root")


class AwsSite:
    """The management account of the simulated organization, connected by role, with a queue."""

    kind: ClassVar[type[Provider[Any]]] = Aws
    mission: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "accounts": "must",
            "groups": "extra",
            "privileges": "extra",
            "logons": "must",
            "admin_activity": "must",
            "user_governance": "extra",
            "dlp_backlog": "extra",
            "dlp_realtime": "must",
            "sharing_control": "must",
            "file_governance": "must",
        }
    )
    faults: ClassVar[Mapping[str, Fault]] = MappingProxyType(
        {
            "401": Fault("expired", (Misconfigured,)),
            "403": Fault("denied", (NotAllowed,)),
            "429": Fault("throttle", (Retry,)),
            "503": Fault("unavailable", (Retry,)),
            "500": Fault("error", (Retry,)),
            "web page": Fault("html", (Retry,)),
            "200 with a web page": Fault("html-ok", (Retry,)),
            "truncated": Fault("truncated", (Retry,)),
            "broken off": Fault("cut", (Retry,)),
            "connection lost": Fault("reset", (Retry,)),
            "time-out": Fault("timeout", (Retry,)),
        }
    )
    documented: ClassVar[bool] = True

    def __init__(self, tenant: AwsTenant, settings: AwsSettings) -> None:
        self._tenant, self.settings = tenant, settings

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["AwsSite"]:
        """Start and fill it."""
        async with AwsTenant() as tenant:
            truth = await seed(tenant)
            account = truth.management
            given = {
                "endpoints": {"aws": tenant.endpoint}, "role_arn": account.role_arn,
                "external_id": account.external_id, "access_key_id": truth.collector["aws_access_key_id"],
                "secret_access_key": truth.collector["aws_secret_access_key"],
                "queue_url": account.queue_url, "quarantine_bucket": account.buckets.quarantine,
            }  # fmt: skip
            yield cls(tenant, AwsSettings.model_validate(given))

    async def fault(self, what: str, times: int) -> None:
        """Order it for all services."""
        order: Kind = self.faults[what].order  # type: ignore[assignment]  # the words are the sandbox's
        await self._tenant.fault("*", "*", order, times, seconds=0.01)

    async def heal(self) -> None:
        """Drop what is ordered."""
        await self._tenant.clear()

    def issued(self) -> list[str]:
        """Nothing that can be known from outside its process."""
        return []

    async def passed(self, seconds: float) -> None:
        """Wait as long as it matters: it refuses a third look-up a second by a clock that can't be moved."""
        if seconds > 0.3:
            await asyncio.sleep(0.5)


def secrets_of(settings: BaseModel) -> list[str]:
    """List the secrets among settings."""
    values = [getattr(settings, name) for name in type(settings).model_fields]
    return [found for one in values if isinstance(one, SecretStr) and (found := one.get_secret_value())]

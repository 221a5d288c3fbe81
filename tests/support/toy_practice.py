"""The toy, to act on and to be pushed by."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

from practice import Guarded, Happened, Sample, Trial
from tenants import ToySite

from ingest.provider import Delivery, Json, Ref


def _signed(secret: str, at: datetime) -> Delivery:
    sent, body = str(int(at.timestamp())), b'{"entries": []}'
    mark = hmac.new(secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"x-toy-signature": f"sha256={mark}", "x-toy-time": sent, "x-toy-id": "e1"}
    return Delivery("POST", headers, {}, body)


class ToyPractice:
    """A filled toy."""

    guarded: ClassVar[Mapping[str, Guarded]] = MappingProxyType({"changed": Guarded(_signed, until=300)})

    def __init__(self, site: ToySite) -> None:
        self.sites, self._tenant = {"": site}, site.tenant

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["ToyPractice"]:
        """Start the tenant."""
        async with ToySite.start() as site:
            yield cls(site)

    async def user(self, name: str) -> Sample:
        """Find somebody."""
        return Ref("user", next(uid for uid, one in self._tenant.users.items() if one["name"] == name)), None

    async def changes(self) -> Json:
        """Count what the trail tells."""
        return len(self._tenant.trail)

    async def happen(self) -> Happened:
        """Let somebody sign in."""
        record = self._tenant.act()
        return Happened(record["id"], lambda: self._tenant.push(record))

    async def registrations(self) -> Mapping[str, str]:
        """List the hooks."""
        return {name: one["address"] for name, one in self._tenant.hooks.items()}

    async def forget(self) -> None:
        """Drop the hooks."""
        self._tenant.hooks.clear()

    trials: ClassVar[Mapping[str, Trial]] = MappingProxyType(
        {"suspend": Trial(lambda one: one.user("ann"), refused=lambda one: one.user("root"))}
    )

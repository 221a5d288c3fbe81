"""Registrations at the provider as state: made, checked, renewed, repaired, removed.

Making one can't be repeated blindly, so what is wanted is durable, in a transaction of its own, before the
provider is called; whoever finds a registration that is only wanted asks the provider first.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from ingest import metrics
from ingest.credentials import Keyring
from ingest.errors import Misconfigured, NotAllowed, Refused, SourceError
from ingest.feeds import Owner
from ingest.log import redact
from ingest.provider import Provider
from ingest.publish import StoppedError, Unit
from ingest.push import Registered, Subscription, Wanted
from ingest.reads import Axis
from ingest.state import key
from schemas.control import Registration

_CHECK = 300.0
_FOREVER = timedelta(days=365)
_RENEW_AT = 0.5


class Keeper:
    """Keeps the registrations of one kind for one connector."""

    def __init__(
        self, owner: Owner, provider: Provider[Any], kind: Subscription[Any], keyring: Keyring, address: str
    ) -> None:
        self._owner, self._provider, self._kind = owner, provider, kind
        self._keyring, self._address = keyring, address
        self._name = type(kind).__name__
        self._log = structlog.get_logger(part="subscriptions", connector=owner.wish.name, kind=self._name)
        self.problems: dict[str, str] = {}

    async def run(self) -> None:
        """Check again and again.

        Raises:
            StoppedError: The partition was handed over.
        """
        while True:
            try:
                await self.check()
            except StoppedError:
                raise
            except Exception as error:  # noqa: BLE001 a failed check is tried again, never a crash
                self._log.warning("check failed", why=redact(str(error))[:200])
            await self._owner.clock.sleep(_CHECK * random.uniform(0.8, 1.2))  # noqa: S311 spreads calls

    async def check(self) -> None:
        """Bring what is registered in line with what is wanted, once."""
        if not self._address and self._kind.brings in type(self._provider).hooks():
            return  # nobody could reach us: SLUICE_PUBLIC_URL says where
        axes = {axis.key: axis async for axis in self._axes()}
        listing = self._kind.listed(self._provider)
        listed = None if listing is None else {one.id: one async for one in listing}
        for axis in axes.values():
            try:
                await self._one(axis, listed)
                self.problems.pop(axis.key, None)
            except (NotAllowed, Refused, Misconfigured) as error:
                self._problem(axis, str(error))
            except SourceError as error:
                self._problem(axis, f"{type(error).__name__}: {error}")
            except (StoppedError, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 one axis' surprise is not the others'
                self._log.error("registration failed", axis=axis.key, exc_info=error)
                self._problem(axis, f"unexpected {type(error).__name__}, see the log")
        for gone in set(self.problems) - set(axes):
            del self.problems[gone]
        for (name, axis_key), found in list(self._owner.state.registrations.items()):
            if name == self._name and axis_key not in axes:
                await self._remove(found)
        self._expiry()

    async def remove_all(self) -> None:
        """Take everything of this kind away at the provider."""
        for (name, _), found in list(self._owner.state.registrations.items()):
            if name == self._name:
                await self._remove(found)

    def _axes(self) -> AsyncIterator[Axis]:
        # Read from the class: as an attribute of the object a function would be bound to it.
        per = type(self._kind).per
        return per(self._provider) if per else _only()

    def _problem(self, axis: Axis, why: str) -> None:
        if self.problems.get(axis.key) != why:
            self.problems[axis.key] = why
            self._log.warning("not registered", axis=axis.key, why=why)
            self._owner.changed()

    async def _one(self, axis: Axis, listed: dict[str, Registered] | None) -> None:
        found = self._owner.state.registrations.get((self._name, axis.key))
        if found is None:
            found = await self._want(axis)
        if found.address != self._address:
            await self._remove(found)
            found = await self._want(axis)
        registered = _registered(found)
        wanted = self._wanted(found, axis)
        if found.state == "active" and registered is not None:
            there = None if listed is None else listed.get(registered.id)
            lost = listed is not None and (there is None or not there.healthy)
            if not lost and not self._due(found):
                return
            renewed = None if lost else await self._kind.renew(self._provider, registered, wanted, None)
            if renewed is not None:
                await self._made(found, renewed)
                return
        elif listed is not None and (there := listed.get(found.id)) is not None:
            # Only wanted, as far as we know; but the call had gone through.
            await self._made(found, there)
            return
        await self._made(found, await self._kind.create(self._provider, wanted))
        self._log.info("registered", axis=axis.key)

    def _due(self, found: Registration) -> bool:
        if not found.expires or self._kind.lasts is None:
            return False
        left = found.expires - self._owner.clock.now()
        return left < self._kind.lasts.total_seconds() * 1000 * _RENEW_AT

    async def _want(self, axis: Axis) -> Registration:
        wish = self._owner.wish
        made = Registration(
            incarnation=wish.incarnation, kind=self._name, axis=axis.key, id=uuid.uuid4().hex,
            sealed=self._keyring.seal(uuid.uuid4().hex, f"{wish.name}/{wish.incarnation}"),
            address=self._address, at=self._owner.clock.now(),
        )  # fmt: skip
        await self._store(made)
        return made

    def _wanted(self, found: Registration, axis: Axis) -> Wanted:
        wish = self._owner.wish
        secret = self._keyring.open(found.sealed, f"{wish.name}/{wish.incarnation}") if found.sealed else ""
        until = datetime.fromtimestamp(self._owner.clock.now() / 1000, UTC) + (self._kind.lasts or _FOREVER)
        return Wanted(found.id, found.address, secret, axis, until)

    async def _made(self, found: Registration, registered: Registered) -> None:
        data = {"id": registered.id, "data": registered.data}
        expires = int(registered.expires.timestamp() * 1000) if registered.expires else 0
        await self._store(
            found.model_copy(update={"state": "active", "registered": data, "expires": expires})
        )

    async def _store(self, made: Registration) -> None:
        owner, place = self._owner, (made.kind, made.axis)

        def note() -> None:
            owner.state.registrations[place] = made

        record = owner.record("subscriptions", key(owner.wish.name, *place), made)
        await owner.committer.commit(Unit([record], [note]))
        owner.changed()

    async def _remove(self, found: Registration) -> None:
        owner, place = self._owner, (found.kind, found.axis)
        registered = _registered(found)
        if registered is not None or found.state == "wanted":
            await self._kind.remove(self._provider, registered or Registered(found.id))

        def note() -> None:
            owner.state.registrations.pop(place, None)

        record = owner.record("subscriptions", key(owner.wish.name, *place), None)
        await owner.committer.commit(Unit([record], [note]))

    def _expiry(self) -> None:
        ends = [one.expires for one in self._owner.state.registrations.values() if one.expires]
        if ends:
            left = (min(ends) - self._owner.clock.now()) / 1000
            metrics.subscription_expires.labels(self._owner.provider).set(left)


def _registered(found: Registration) -> Registered | None:
    if not isinstance(found.registered, dict):
        return None
    return Registered(found.registered["id"], data=found.registered.get("data"))


async def _only() -> AsyncIterator[Axis]:
    yield Axis()

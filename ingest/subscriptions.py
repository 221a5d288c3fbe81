"""Registrations at the provider as state: made, checked, renewed, repaired, rotated, removed.

Making one can't be repeated blindly, so what is wanted is durable, in a transaction of its own, before the
provider is called; whoever finds a registration that is only wanted asks the provider first. One that must
change (its secret is old, its address moved, it fell silent) is never changed in place: a fresh one with an
id and a secret of its own is made beside it, and only then the former one is taken away. So there is no
moment without one, and no delivery whose secret nobody knows.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import orjson
import structlog

from ingest import metrics
from ingest.credentials import Keyring, SealError
from ingest.errors import Misconfigured, Missing, NotAllowed, Refused, SourceError
from ingest.feeds import Owner
from ingest.hashes import from_hex
from ingest.log import redact
from ingest.mapping import Prepared
from ingest.provider import Provider
from ingest.publish import StoppedError
from ingest.push import Broken, Registered, Subscription
from ingest.reads import Axis
from ingest.roll import ByHand, Roll, address_of, registered, theirs
from ingest.silence import Told
from schemas.control import Former, Registration
from schemas.topics import TOPICS

ROTATE = timedelta(days=30)
"""Age at which an address and its secret are replaced, give or take a fifth."""
OVERLAP = timedelta(hours=1)
"""How long both deliver then: a provider may take minutes until a new registration does."""
WARMING = timedelta(minutes=5)
"""What happens this soon after a registration was made need not have been pushed."""
_CHECK, _SOON = 300.0, 60.0
_TICK = 30.0
_RENEW_AT, _JITTER = 0.5, 0.2
_INTENT_SECONDS = 5.0
_AGAIN_SECONDS = (3600.0, 86_400.0)
_UNHEALTHY = "the provider could not verify the address, or switched it off: can it reach the receiver?"


class Keeper:
    """Keeps the registrations of one kind for one connector."""

    def __init__(
        self,
        owner: Owner,
        provider: Provider[Any],
        kind: Subscription[Any],
        keyring: Keyring,
        public_url: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._owner, self._provider, self._kind = owner, provider, kind
        self._manual = isinstance(kind, ByHand)
        self._pushed = kind.brings in type(provider).hooks()
        # Read from the class: as an attribute of the object a function would be bound to it.
        self._per = type(kind).per
        self._roll = Roll(owner, kind, keyring, public_url if self._pushed else "", monotonic)
        self._log = structlog.get_logger(
            part="subscriptions", connector=owner.wish.name, kind=self._roll.name
        )
        self._broken: dict[str, Any] = {}
        self._awaiting: set[str] = set()
        self._woken = asyncio.Event()
        self.problems: dict[str, str] = {}

    # ---- what is heard of them

    def heard(self, hook: str, axis: str, told: Told) -> None:
        """Note a delivery of this kind, once what it led to is committed."""
        if hook != self._kind.brings or (found := self._roll.at(axis)) is None:
            return
        now = self._owner.clock.now()
        self._roll.tally(found).heard(told, now)
        # Where several share the work, what one brings may be what another seems to miss; what a feed without
        # axes found is noted with the one that has none.
        ids = [one for one in told if one[1] is not None]
        for other in self._awaiting - {found.axis, ""}:
            self._roll.tallies[other].brought(ids, now)
        if found.axis and (bare := self._roll.get("")) is not None:
            self._roll.tally(bare).brought(told, now)

    def found(self, feed: str, axis: str, prepared: Prepared) -> None:
        """Note what a poll published first, if a push should have brought it."""
        if feed == self._kind.brings:
            self.heard(feed, axis, [(one, None) for one in self._kind.speeds_up])
            return
        if feed not in self._kind.speeds_up or not prepared.seen:
            return
        found = self._roll.at(axis)
        if found is None or found.state != "active":
            return
        since = found.at + _ms(WARMING)
        fresh = {one: at for one, at in prepared.seen if at >= since}
        if fresh and (expected := self._expected(fresh, prepared)):
            self._roll.tally(found).found(feed, expected, self._owner.clock.now())
            self._awaiting.add(found.axis)

    def broken(self, broken: Broken) -> None:
        """Take up what a hook says of a registration, at once."""
        for (name, axis), found in self._owner.state.registrations.items():
            known = {found.id, (found.registered or {}).get("id")}
            if name == self._roll.name and broken.id in known:
                self._broken[axis] = broken.how
                self._woken.set()

    def _expected(self, fresh: dict[int, int], prepared: Prepared) -> list[tuple[int, int]]:
        """Leave out what a kind says it does not bring."""
        found = []
        for record in prepared.records:
            if record.value is None or TOPICS[record.topic].role != "public":
                continue
            event = orjson.loads(record.value)
            one = from_hex(event["metadata"]["uid"])
            if one in fresh and self._kind.expects(event):
                found.append((one, fresh[one]))
        return found

    # ---- the loop

    async def run(self) -> None:
        """Check again and again, at once when something is heard.

        Raises:
            StoppedError: The partition was handed over.
        """
        due = 0
        try:
            while True:
                now = self._owner.clock.now()
                try:
                    if await self._judge() or self._woken.is_set() or now >= due:
                        self._woken.clear()
                        await self.check()
                        pause = _SOON if self.problems else _CHECK
                        due = now + int(pause * 1000 * random.uniform(0.8, 1.2))  # noqa: S311 spreads calls
                except StoppedError:
                    raise
                except Exception as error:  # noqa: BLE001 a failed check is tried again, never a crash
                    self._log.warning("check failed", why=redact(str(error))[:200])
                await self._rest()
        finally:
            self._roll.close()

    async def _rest(self) -> None:
        waiting = [
            asyncio.ensure_future(self._owner.clock.sleep(_TICK)),
            asyncio.ensure_future(self._woken.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    async def _judge(self) -> bool:
        """Count what was recovered, store what changed, and tell whether one fell silent just now."""
        silent = False
        for found in self._roll.mine():
            tally = self._roll.tally(found)
            before = tally.suspect
            for feed, count in tally.judge(self._owner.clock.now()).items():
                metrics.events_recovered.labels(self._owner.provider, feed).inc(count)
                self._log.warning("recovered", feed=feed, count=count, axis=found.axis)
            if not tally.awaits():
                self._awaiting.discard(found.axis)
            if tally.suspect and not before:
                silent = not self._manual
                self._log.warning("suspect", axis=found.axis, missed=tally.missed)
                if self._owner.report is not None:
                    await self._owner.report(
                        "suspect", f"{self._roll.name} {found.axis}: {unlikely(tally.missed)}"
                    )
            if any(getattr(found, name) != count for name, count in tally.counts().items()):
                await self._roll.store(found)
        return silent

    async def check(self) -> None:
        """Bring what is registered in line with what is wanted, once."""
        if self._pushed and not self._roll.url:
            return  # nobody could reach us: SLUICE_PUBLIC_URL says where
        axes = {axis.key: axis async for axis in (self._per(self._provider) if self._per else _only())}
        try:
            listing = self._kind.listed(self._provider)
            listed = None if listing is None else {one.id: one async for one in listing}
        except SourceError as error:
            for axis in axes.values():
                await self._show(axis, _told(error))
            return
        for axis in axes.values():
            await self._show(axis, await self._tried(axis, listed))
        for gone in set(self.problems) - set(axes):
            del self.problems[gone]
        for found in self._roll.mine():
            if found.axis not in axes:
                await self._removed(found)
        self._roll.show_expiry()

    async def _tried(self, axis: Axis, listed: dict[str, Registered] | None) -> str:
        """Bring one in line, and say what to fix if that can't be."""
        try:
            await self._one(axis, listed)
        except (SourceError, SealError) as error:
            return _told(error)
        except (StoppedError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 one axis' surprise is not the others'
            self._log.error("registration failed", axis=axis.key, exc_info=error)
            return f"unexpected {type(error).__name__}, see the log"
        found = self._roll.get(axis.key)
        return "" if found is None or found.healthy else _UNHEALTHY

    async def _show(self, axis: Axis, why: str) -> None:
        """Show what to fix, in the connector's state and with the registration."""
        if self.problems.get(axis.key, "") != why:
            (self._log.warning if why else self._log.info)("registration", axis=axis.key, why=why)
            self._owner.changed()
        if why:
            self.problems[axis.key] = why
        else:
            self.problems.pop(axis.key, None)
        found = self._roll.get(axis.key)
        if found is not None and found.why != why:
            await self._roll.store(found.model_copy(update={"why": why}))

    async def remove_all(self) -> bool:
        """Take everything of this kind away at the provider; False where it can't be reached now."""
        return self._manual or all([await self._removed(found) for found in self._roll.mine()])

    async def _removed(self, found: Registration) -> bool:
        """Take one away; one that can't be reached now is noted as being removed."""
        try:
            for one in (found, found.former):
                if one is not None:
                    await self._kind.remove(self._provider, registered(one) or Registered(one.id))
        except (SourceError, OSError, TimeoutError) as error:
            why = f"still registered: {redact(str(error))[:200]}"
            self._log.warning("registration remains at the provider", axis=found.axis, why=why)
            await self._roll.store(found.model_copy(update={"state": "removing", "why": why}))
            return False
        self._awaiting.discard(found.axis)
        await self._roll.forget(found)
        return True

    # ---- one of them

    async def _one(self, axis: Axis, listed: dict[str, Registered] | None) -> None:
        found = self._roll.get(axis.key)
        if found is None:
            found = await self._roll.store(self._roll.fresh(axis))
        elif (resealed := self._roll.resealed(found)) is not None:
            found = await self._roll.store(resealed)
        if found.former is not None:
            found = await self._part(found)
        if self._manual:
            if found.state != "active" or found.address != self._roll.address(found.id):
                changes = {"state": "active", "manual": True, "address": self._roll.address(found.id)}
                await self._roll.store(found.model_copy(update=changes))
            return
        if found.state != "active":
            await self._make(found, axis, listed)
            return
        there = theirs(found, listed)
        if listed is not None and there is None:
            self._log.warning("gone at the provider", axis=axis.key)
            changes = {"state": "wanted", "registered": None}
            await self._make(await self._roll.store(found.model_copy(update=changes)), axis, None)
            return
        if there is not None and there.healthy != found.healthy:
            found = await self._roll.store(found.model_copy(update={"healthy": there.healthy}))
        if not await self._renewed(found, axis) and (why := self._outdated(found, there)):
            await self._replace(found, axis, why)

    async def _renewed(self, found: Registration, axis: Axis) -> bool:
        """Prolong it, or mend it, where that is due; True: there is nothing more to do."""
        ill = not found.healthy
        if ill and self._patient(found, _AGAIN_SECONDS[0]):
            await self._replace(found, axis, "unhealthy")
            return True
        if axis.key not in self._broken and not ill and not self._due(found):
            return False
        how = self._broken.get(axis.key)
        had, wanted = registered(found), self._roll.wanted(found, axis)
        try:
            renewed = had and await self._kind.renew(self._provider, had, wanted, how)
        except Missing:
            renewed = None
        self._broken.pop(axis.key, None)
        if renewed is not None:
            await self._made(found, renewed)
        elif not ill or self._patient(found):
            await self._replace(found, axis, "unhealthy" if ill else "it can't be renewed")
        return True

    def _outdated(self, found: Registration, there: Registered | None) -> str:
        """Say why it must be replaced by a fresh one, if it must."""
        now, tally = self._owner.clock.now(), self._roll.tally(found)
        address = address_of(there)
        if found.address != self._roll.address(found.id):
            return "moved"
        if address and address != found.address:
            return "it delivers to another address"
        if tally.suspect and tally.missed and self._patient(found):
            return "silent"
        spread = 1 + _JITTER * (2 * _share(found.id) - 1)
        return "old" if self._pushed and now - found.at > _ms(ROTATE) * spread else ""

    def _patient(self, found: Registration, least: float = 0.0) -> bool:
        """Tell whether it may be made anew: at once, then ever more rarely until a delivery comes."""
        again = self._roll.tally(found).again
        pause = min(_AGAIN_SECONDS[0] * 2 ** (again - 1), _AGAIN_SECONDS[1]) if again else least
        return self._owner.clock.now() - found.at >= pause * 1000

    def _due(self, found: Registration) -> bool:
        if not found.expires:
            return False
        life = found.expires - (found.renewed or found.at)
        keep = 1 - _RENEW_AT + _JITTER * (_share(found.id) - 0.5)
        return self._owner.clock.now() > found.expires - life * keep

    async def _replace(self, found: Registration, axis: Axis, why: str) -> None:
        """Make a fresh one beside it, then let go of it: after an overlap where it still works."""
        if found.former is not None:
            found = await self._part(
                found.model_copy(update={"former": found.former.model_copy(update={"until": 0})})
            )
        works = why in {"old", "moved"}
        now, tally = self._owner.clock.now(), self._roll.tally(found)
        self._log.info("registration is replaced", axis=axis.key, why=why)
        if not works:
            tally.made_anew()
        former = Former(
            id=found.id, sealed=found.sealed, address=found.address, registered=found.registered,
            until=now + (_ms(OVERLAP) if works else 0),
        )  # fmt: skip
        fresh = await self._roll.store(self._roll.fresh(axis).model_copy(update={"former": former}))
        made = await self._make(fresh, axis, None)
        await self._part(made)

    async def _part(self, found: Registration) -> Registration:
        """Take the former one away, once its time has come and the fresh one is there."""
        former = found.former
        if former is None or found.state != "active" or self._owner.clock.now() < former.until:
            return found
        had, has = registered(former) or Registered(former.id), registered(found)
        if has is None or has.id != had.id:
            await self._kind.remove(self._provider, had)
        return await self._roll.store(found.model_copy(update={"former": None}))

    async def _make(
        self, found: Registration, axis: Axis, listed: dict[str, Registered] | None
    ) -> Registration:
        """Make what is wanted, unless the provider has it already."""
        if found.address != self._roll.address(found.id) and await self._removed(found):
            found, listed = await self._roll.store(self._roll.fresh(axis)), None
        there = theirs(found, listed)
        if there is None:
            if self._roll.stored_ago(axis.key) > _INTENT_SECONDS:
                # Only who can still commit may call: a process that was frozen finds out here.
                found = await self._roll.store(found.model_copy(update={"state": "wanted"}))
            there = await self._kind.create(self._provider, self._roll.wanted(found, axis))
        made = await self._made(found.model_copy(update={"at": self._owner.clock.now()}), there)
        self._log.info("registered", axis=axis.key)
        return made

    async def _made(self, found: Registration, there: Registered) -> Registration:
        changes: dict[str, Any] = {
            "state": "active", "healthy": there.healthy, "renewed": self._owner.clock.now(),
            "registered": {"id": there.id, "data": there.data},
            "expires": int(there.expires.timestamp() * 1000) if there.expires else 0,
        }  # fmt: skip
        return await self._roll.store(found.model_copy(update=changes))


def keepers(owner: Owner, provider: Provider[Any], keyring: Keyring, public_url: str) -> list[Keeper]:
    """Make a keeper for each kind of registration, also for hooks that can only be registered by hand."""
    kinds = type(provider).subscriptions
    brought = {one.brings for one in kinds}
    by_hand = [ByHand(hook) for hook in type(provider).hooks() if hook not in brought]
    return [Keeper(owner, provider, kind, keyring, public_url) for kind in (*kinds, *by_hand)]


def unlikely(missed: int) -> str:
    """Say what a silence means, and what to look at."""
    return (
        f"the poll found {missed} that should have been pushed: can the provider reach the receiver? "
        "It is registered anew by itself"
    )


def _told(error: Exception) -> str:
    known = isinstance(error, NotAllowed | Refused | Misconfigured | SealError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def _share(name: str) -> float:
    """Give each registration a place of its own between 0 and 1, so that they don't fall due together."""
    return int(name[:8], 16) / 0xFFFFFFFF


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


async def _only() -> AsyncIterator[Axis]:
    yield Axis()

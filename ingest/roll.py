"""The records of a connector's registrations of one kind: made, sealed, stored, taken away."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest import metrics
from ingest.credentials import Keyring
from ingest.feeds import Owner
from ingest.provider import Provider
from ingest.publish import Unit
from ingest.push import Registered, Subscription, Wanted
from ingest.reads import Axis
from ingest.silence import Tally
from ingest.state import key
from schemas.control import Former, Registration

_FOREVER = timedelta(days=365)
_worst_expiry = metrics.Worst(metrics.subscription_expires, min)


class ByHand(Subscription[Any]):
    """A hook whose address an operator registers: there is nothing to call, only something to show."""

    def __init__(self, hook: str) -> None:
        # One object a hook, instead of one class a hook.
        self.brings = hook

    async def create(self, p: Provider[Any], w: Wanted) -> Registered:
        """Leave it to the operator."""
        del p
        return Registered(w.id)

    async def remove(self, p: Provider[Any], it: Registered) -> None:
        """Leave it to the operator."""


class Roll:
    """What is stored; `url` is where the hook's addresses begin, empty where there are none."""

    def __init__(
        self,
        owner: Owner,
        kind: Subscription[Any],
        keyring: Keyring,
        public_url: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._owner, self._kind, self._keyring, self._monotonic = owner, kind, keyring, monotonic
        self.manual = isinstance(kind, ByHand)
        self.name = f"by hand: {kind.brings}" if self.manual else type(kind).__name__
        self.url = f"{public_url.rstrip('/')}/v1/{owner.provider}/{kind.brings}" if public_url else ""
        self._whose = whose(owner.wish.name, owner.wish.incarnation)
        self.tallies: dict[str, Tally] = {}
        self._stored: dict[str, float] = {}

    def mine(self) -> list[Registration]:
        """List those of this kind."""
        return [one for (name, _), one in self._owner.state.registrations.items() if name == self.name]

    def get(self, axis: str) -> Registration | None:
        """Find the one of an axis."""
        return self._owner.state.registrations.get((self.name, axis))

    def at(self, axis: str) -> Registration | None:
        """Find the one that covers an axis."""
        return self.get(axis) or self.get("")

    def tally(self, found: Registration) -> Tally:
        """Give what is counted of it."""
        if found.axis not in self.tallies:
            self.tallies[found.axis] = Tally(
                found.delivered, found.recovered, found.missed, found.suspect, found.again
            )
        return self.tallies[found.axis]

    def address(self, name: str) -> str:
        """Make the address that ends with an id."""
        return f"{self.url}/{name}" if self.url else ""

    def fresh(self, axis: Axis) -> Registration:
        """Make one with an id of 128 random bits and a secret of 256."""
        name = secrets.token_hex(16)
        return Registration(
            incarnation=self._owner.wish.incarnation, kind=self.name, axis=axis.key, id=name,
            hook=self._kind.brings, sealed=self._keyring.seal(secrets.token_hex(32), self._whose),
            address=self.address(name), manual=self.manual, at=self._owner.clock.now(),
        )  # fmt: skip

    def resealed(self, found: Registration) -> Registration | None:
        """Seal its secret with the newest key; None: it is."""
        if not found.sealed or self._keyring.current(found.sealed):
            return None
        sealed = self._keyring.seal(self._keyring.open(found.sealed, self._whose), self._whose)
        return found.model_copy(update={"sealed": sealed})

    def wanted(self, found: Registration, axis: Axis) -> Wanted:
        """Say what the provider is asked for.

        Raises:
            SealError: The key that sealed its secret is missing.
        """
        secret = str(self._keyring.open(found.sealed, self._whose)) if found.sealed else ""
        until = datetime.fromtimestamp(self._owner.clock.now() / 1000, UTC) + (self._kind.lasts or _FOREVER)
        return Wanted(found.id, found.address, secret, axis, until)

    def stored_ago(self, axis: str) -> float:
        """Tell how many seconds ago this process stored the one of an axis."""
        return self._monotonic() - self._stored.get(axis, float("-inf"))

    async def store(self, made: Registration) -> Registration:
        """Store one as it is now, with what was counted of it."""
        owner, place = self._owner, (made.kind, made.axis)
        made = made.model_copy(update=self.tally(made).counts())

        def note() -> None:
            owner.state.registrations[place] = made

        record = owner.record("subscriptions", key(owner.wish.name, *place), made)
        await owner.committer.commit(Unit([record], [note]))
        self._stored[made.axis] = self._monotonic()
        owner.changed()
        return made

    async def forget(self, found: Registration) -> None:
        """Store that it is no more."""
        owner, place = self._owner, (found.kind, found.axis)

        def note() -> None:
            owner.state.registrations.pop(place, None)
            self.tallies.pop(found.axis, None)

        record = owner.record("subscriptions", key(owner.wish.name, *place), None)
        await owner.committer.commit(Unit([record], [note]))
        owner.changed()

    def show_expiry(self) -> None:
        """Show the time until the first of them ends."""
        ends = [one.expires for one in self.mine() if one.expires]
        if not ends:
            self.close()
            return
        left = (min(ends) - self._owner.clock.now()) / 1000
        _worst_expiry.note((self._owner.provider,), (self._owner.wish.name, self.name), left)

    def close(self) -> None:
        """Show nothing of them any more."""
        _worst_expiry.forget((self._owner.provider,), (self._owner.wish.name, self.name))


def whose(name: str, incarnation: str) -> str:
    """Say to whom a registration's secret is sealed: the connector's name and incarnation."""
    return f"{name}/{incarnation}"


def registered(found: Registration | Former) -> Registered | None:
    """Give it as the provider returned it."""
    if not isinstance(found.registered, dict):
        return None
    return Registered(found.registered["id"], data=found.registered.get("data"))


def theirs(found: Registration, listed: dict[str, Registered] | None) -> Registered | None:
    """Find ours in what the provider lists: by its own id, or as wanted by our id or address."""
    if listed is None:
        return None
    if (mine := registered(found)) is not None:
        return listed.get(mine.id)
    same = (one for one in listed.values() if found.address and address_of(one) == found.address)
    return listed.get(found.id) or next(same, None)


def address_of(there: Registered | None) -> str:
    """Read where it delivers to, if its kind lists that: `address` in its data."""
    data = there.data if there is not None else None
    return str(data.get("address", "")) if isinstance(data, dict) else ""

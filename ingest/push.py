"""The pushed half of the provider contract: deliveries, how they are guarded, registrations."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

from ingest.apis import NONE, Json, Text
from ingest.reads import Axes, Axis, Event, Nudge, Ref

F = TypeVar("F", bound=Callable[..., Any])
P_contra = TypeVar("P_contra", contravariant=True)


LARGEST = 750_000
"""Bytes of a body that still fit one record of the inbox, written as base64."""


class Delivery(NamedTuple):
    """One request as it came, header names in lower case; `axis` is its registration's.

    `peer` has the names in the caller's TLS certificate, checked by our own server; it is not stored.
    """

    method: str
    headers: Text
    query: Text
    body: bytes
    axis: str = ""
    peer: tuple[str, ...] = ()


class Answer(NamedTuple):
    """What the receiver answers."""

    status: int = 200
    body: bytes = b""
    headers: Text = NONE


class Pushed(NamedTuple):
    """Records a delivery carried: mapped, identified and de-duplicated as if `feed` had read them."""

    feed: str
    records: Sequence[Json]
    axis: str = ""
    mapper: str = ""


class Broken(NamedTuple):
    """A registration that ended or waits for confirmation; `how` reaches `Subscription.renew`."""

    id: str
    how: Json = None


class Held(NamedTuple):
    """A file kept from its readers until we decide or its timer runs out."""

    file: Ref


Hooked: TypeAlias = Pushed | Nudge | Broken | Held


class Scheme:
    """How an address is guarded: pure, in constant time.

    `secrets` come newest first, several while a rotation lasts; `keys` has the public key, by the address
    that `key_address` named. The default verifies nothing and therefore refuses everything.

    Attributes:
        ok: What the provider takes for success.
        largest: Bytes of a body; a larger one is answered 413.
        conceals: Headers, in lower case, that are never stored: they hold secrets.
    """

    ok: Answer = Answer()
    largest: int = LARGEST
    conceals: frozenset[str] = frozenset({"authorization", "proxy-authorization", "cookie"})

    def handshake(self, delivery: Delivery, secrets: Sequence[str]) -> Answer | None:
        """Answer the provider's proof of ownership, which comes before any authentication; None: not one."""
        del delivery, secrets
        return None

    def key_address(self, delivery: Delivery) -> str | None:
        """Name where the public key is that `verify` needs; only ever a host that the scheme allows."""
        del delivery
        return None

    def verify(
        self, delivery: Delivery, secrets: Sequence[str], keys: Callable[[str], bytes], now: datetime
    ) -> bool:
        """Tell whether the raw body is the provider's."""
        del delivery, secrets, keys, now
        return False

    def confirm_address(self, delivery: Delivery) -> str | None:
        """Name what the core fetches to confirm the registration, once verified; a host that it allows."""
        del delivery
        return None

    def delivery_id(self, delivery: Delivery) -> str | None:
        """Name what stays equal on redelivery; None: the core hashes the body."""
        del delivery
        return None

    def instances(self, delivery: Delivery) -> Sequence[str] | None:
        """Name the instances in the body, where one address serves many; None: the address says it."""
        del delivery
        return None


@dataclass(frozen=True)
class Hook:
    """What `@hook` says about a receiver of deliveries."""

    name: str
    scheme: Scheme


def hook(scheme: Scheme) -> Callable[[F], F]:
    """Mark the pure `h(self, d: Delivery) -> Iterable[Hooked]`, which the connector's owner runs."""

    def mark(f: F) -> F:
        f.__dict__["hook"] = Hook(f.__name__, scheme)
        return f

    return mark


class Wanted(NamedTuple):
    """A registration to make: durable, and known to every receiver, before `create` is called."""

    id: str
    address: str
    secret: str
    axis: Axis
    expires: datetime


class Registered(NamedTuple):
    """A registration as the provider has it; `data` is small JSON that `renew` and `remove` get back.

    In a listing `data["address"]` may say where it delivers to: one that was led elsewhere is replaced.
    """

    id: str
    expires: datetime | None = None
    healthy: bool = True
    data: Json = None


class Subscription(Protocol[P_contra]):
    """A kind of registration: the core knows when, the provider how.

    `brings` names the hook, or the stream feed, that receives it; `speeds_up` the feeds whose polls prove
    that it works; `lasts` how long one lives (None: for good).
    """

    brings: ClassVar[str]
    speeds_up: ClassVar[tuple[str, ...]] = ()
    lasts: ClassVar[timedelta | None] = None
    per: ClassVar[Axes | None] = None

    async def create(self, p: P_contra, w: Wanted) -> Registered:
        """Make it; must not double-register when called again with the same `Wanted`."""
        ...

    async def remove(self, p: P_contra, it: Registered) -> None:
        """Take it away, leaving what others registered; one that is gone already is fine."""
        ...

    async def renew(self, p: P_contra, it: Registered, w: Wanted, how: Json) -> Registered | None:
        """Prolong it; None: create a new one."""
        del p, it, w, how
        return None

    def expects(self, event: Event) -> bool:
        """Tell whether an event that a poll found should have been pushed."""
        del event
        return True

    def listed(self, p: P_contra) -> AsyncIterator[Registered] | None:
        """List what the provider has of ours; None: it can't be asked."""
        del p
        return None

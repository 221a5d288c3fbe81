"""What the conformance suite needs of a tenant beyond reading it: samples to act on, and what it pushes.

A practice is data and small adapters around one simulated tenant; it judges nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

from reading import Connected, connected
from tenants import Site

from ingest.provider import Answer, Delivery, Json, Ref

Sample = tuple[Ref, Json]
"""A target, and the options of the action."""


def whole(state: Json) -> Json:
    """Give a state as it is."""
    return state


@dataclass(frozen=True)
class Trial:
    """How one action is tried.

    Attributes:
        find: Finds a target that there is something to do about, or makes one.
        refused: Finds one about which the action must be refused.
        kept: Of the state that `look` gives, what the way back restores.
        sign_in: Which of the practice's sign-ins it is done by.
    """

    find: Callable[[Any], Awaitable[Sample]]
    refused: Callable[[Any], Awaitable[Sample]] | None = None
    kept: Callable[[Json], Json] = whole
    sign_in: str = ""


class Happened(NamedTuple):
    """An occurrence that is not pushed yet: its id in the provider's words; `send` gives the answers."""

    id: str
    send: Callable[[], Awaitable[Sequence[int]]]


class Guarded(NamedTuple):
    """How a hook of the provider is called.

    Attributes:
        signed: Makes a delivery as the provider sends it, with a secret, at a moment.
        challenges: What it asks before anything else, and what it wants to hear.
        covers_body: Whether the proof is over the body, or stands beside it.
        until: Seconds a delivery stays good; None: for ever.
    """

    signed: Callable[[str, datetime], Delivery]
    challenges: Sequence[tuple[Delivery, Answer]] = ()
    covers_body: bool = True
    until: float | None = None


class Practice(Protocol):
    """A running tenant and its levers.

    Attributes:
        trials: By the action's name; all of the provider's.
        guarded: By the hook's name; all of the provider's.
    """

    trials: ClassVar[Mapping[str, Trial]]
    guarded: ClassVar[Mapping[str, Guarded]]

    @property
    def sites(self) -> Mapping[str, Site]:
        """The ways to sign in, by name; "" is the usual one."""
        ...

    async def changes(self) -> Json:
        """Give what is different after anybody changed anything in the tenant."""
        ...

    async def happen(self) -> Happened:
        """Let something happen that both push and poll can tell of."""
        ...

    async def registrations(self) -> Mapping[str, str]:
        """List what is registered, by us and by others, as the tenant has it: id to address."""
        ...

    async def forget(self) -> None:
        """Delete what is ours behind our back."""
        ...


class Practised:
    """A practice with its connections, each made when it is first asked for."""

    def __init__(self, practice: Practice, stack: AsyncExitStack) -> None:
        self.practice, self._stack = practice, stack
        self._held: dict[str, Connected] = {}

    async def by(self, sign_in: str) -> Connected:
        """Give the connection of a sign-in."""
        if sign_in not in self._held:
            site = self.practice.sites[sign_in]
            self._held[sign_in] = await self._stack.enter_async_context(connected(site))
        return self._held[sign_in]


def at(state: Mapping[str, Json], *names: str) -> Json:
    """Pick parts of a state."""
    return {name: state[name] for name in names}


def without(state: Mapping[str, Json], *names: str) -> Json:
    """Leave parts of a state out."""
    return {name: value for name, value in state.items() if name not in names}

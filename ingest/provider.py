"""The contract of a provider: it declares, reads and maps; everything else is the core's.

A provider is a folder under `ingest/providers/` whose package defines one subclass of `Provider`. The core
finds it, signs in, paces and retries its calls, runs its feeds, publishes what its mappers make of them,
stores its cursors, keeps its registrations alive and carries out its actions. What a provider can do is read
from what its class has: feeds, hooks, subscriptions, actions, `content`.

Rules a feed can rely on, and must keep:

- A feed is an async generator of pages of raw records; a page's cursor is the one that *follows* it. Page and
  cursor are committed together; a page may be read ahead, but no page is asked for after a failed commit: the
  generator is closed and a new one begins at the committed cursor.
- A feed never sees the store, the broker, the clock or a status code.
- No `yield` inside a TaskGroup or a time-out: the generator may be closed at any yield.
- Mappers are pure: `(record, instance) -> events`. One that raises costs its record alone.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, Field

from ingest.acts import Action, Content, Step, Verdicts
from ingest.apis import (
    NONE,
    Api,
    Auth,
    ClientCredentials,
    Consent,
    Cost,
    Json,
    JwtBearer,
    Limit,
    Reply,
    Signed,
    Static,
    Text,
)
from ingest.errors import (
    BadRecord,
    Changed,
    CursorLost,
    Misconfigured,
    Missing,
    NotAllowed,
    Refused,
    Retry,
    SignInAgain,
    SourceError,
    Unscannable,
)
from ingest.push import (
    Answer,
    Broken,
    Delivery,
    Held,
    Hook,
    Hooked,
    Pushed,
    Registered,
    Scheme,
    Subscription,
    Wanted,
    hook,
)
from ingest.reads import (
    At,
    Axes,
    Axis,
    Capability,
    Event,
    Feed,
    Gone,
    Grant,
    Instance,
    Kind,
    Mapped,
    Mapper,
    Nudge,
    Page,
    Ref,
    feed,
)

__all__ = [
    "NONE",
    "Action",
    "Answer",
    "Api",
    "At",
    "Auth",
    "Axes",
    "Axis",
    "BadRecord",
    "Broken",
    "Capability",
    "Changed",
    "ClientCredentials",
    "Consent",
    "Content",
    "Cost",
    "CursorLost",
    "Delivery",
    "Event",
    "Feed",
    "Gone",
    "Grant",
    "Held",
    "Hook",
    "Hooked",
    "Http",
    "Instance",
    "Json",
    "JwtBearer",
    "Kind",
    "Limit",
    "Mapped",
    "Mapper",
    "Misconfigured",
    "Missing",
    "NotAllowed",
    "Nudge",
    "Page",
    "Provider",
    "Pushed",
    "Ref",
    "Refused",
    "Registered",
    "Reply",
    "Retry",
    "Scheme",
    "Settings",
    "SignInAgain",
    "Signed",
    "SourceError",
    "Static",
    "Step",
    "Subscription",
    "Text",
    "Unscannable",
    "Verdicts",
    "Wanted",
    "feed",
    "hook",
    "nothing",
]

S = TypeVar("S", bound=BaseModel)


class Http(Protocol):
    """The core's client: it signs, paces, retries inside the budget, classifies, redacts and counts."""

    async def call(
        self,
        api: str,
        method: str,
        path: str,
        *,
        acting_as: str | None = None,
        axis: str = "",
        cost: Cost = 1,
        params: Mapping[str, Json] = MappingProxyType({}),
        json: Json = None,
        data: bytes = b"",
        headers: Text = NONE,
        ok: Sequence[int] = (),
    ) -> Reply:
        """Make one call; statuses in `ok` come back like a success."""
        ...

    def stream(
        self,
        api: str,
        method: str,
        path: str,
        *,
        acting_as: str | None = None,
        axis: str = "",
        cost: Cost = 1,
        headers: Text = NONE,
    ) -> AbstractAsyncContextManager[Content]:
        """Open a body that is read piece by piece."""
        ...

    def paced(
        self, api: str, *, acting_as: str | None = None, axis: str = "", cost: Cost = 1, operation: str = ""
    ) -> AbstractAsyncContextManager[str]:
        """Spend, time and count one SDK call; what it raises is translated by `Provider.raised`.

        Gives the token of the sign-in, for the SDK to send; empty where the SDK signs by itself.
        A throttled call is not repeated here: `Retry` reaches the caller's feed, which starts again at its
        cursor; use it around single calls.
        """
        ...


class Settings(BaseModel, extra="forbid", frozen=True, hide_input_in_errors=True):
    """What every connector's settings have; secrets are `SecretStr` and are sealed before they are stored.

    `reserve` is the part of each limit, 0 to 0.9, that is left to the customer's other tools.
    """

    endpoints: dict[str, str] = {}
    reserve: float = Field(default=0.0, ge=0.0, le=0.9)


class Provider(Generic[S]):
    """One app.

    Five facts that no code can show are class attributes: `many` instances may be connected; whether it
    `can_disable`; its `components` and what each needs first; what it covers only `partly` and why; what
    comes `via` another connector.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    vendor: ClassVar[str] = ""
    settings_type: ClassVar[type[BaseModel]]
    many: ClassVar[bool] = True
    can_disable: ClassVar[bool] = True
    components: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    partly: ClassVar[Text] = NONE
    via: ClassVar[Text] = NONE
    account_type_id: ClassVar[int] = 99
    account_type: ClassVar[str] = ""
    actions: ClassVar[tuple[Action[Any], ...]] = ()
    subscriptions: ClassVar[tuple[Subscription[Any], ...]] = ()
    has_content: ClassVar[bool] = False

    def __init__(
        self,
        settings: S,
        http: Http,
        instance: Instance,
        elsewhere: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """Keep what the core hands over; `elsewhere` names instances with a connection of their own."""
        self.settings, self.http, self.instance, self.elsewhere = settings, http, instance, elsewhere

    def apis(self) -> Mapping[str, Api]:
        """Compute addresses, sign-in and budgets; pure, from the settings."""
        return {}

    async def identify(self) -> Instance:
        """Ask the provider who we are connected to; the cheapest call that proves the sign-in."""
        raise Misconfigured(f"{self.name} does not say whom it is connected to")

    def probe(self) -> AsyncIterator[Grant]:
        """Try each capability with a call as cheap as it gets and say what is missing."""
        return nothing()

    def lookback(self, feed: Feed) -> timedelta:
        """Tell how far back a feed begins, where the settings have a say in it."""
        return feed.lookback

    def ruling(self, reply: Reply) -> Exception | None:
        """Translate a reply in the provider's dialect into our error; None: judge it by its status."""
        del reply
        return None

    def raised(self, error: Exception) -> Exception | None:
        """Translate what an SDK raised; None: let it through."""
        del error
        return None

    def quota(self, reply: Reply) -> Mapping[str, tuple[float, float | None]]:
        """Read what a reply's headers say is left: bucket → (units, seconds to the reset)."""
        del reply
        return {}

    def content(self, file: Ref) -> AbstractAsyncContextManager[Content]:
        """Open a file's content, the version asked for or `Changed`."""
        raise Unscannable(f"{self.name} has no content for {file.kind}s")

    def ours(self, event: Event) -> bool:
        """Tell whether an event is the echo of an action of ours, by `instance.ourselves`."""
        user = (event.get("actor") or {}).get("user") or {}
        mine = self.instance.ourselves
        return bool(mine) and (user.get("uid") in mine or user.get("uid_alt") in mine)

    async def close(self) -> None:
        """Let go of what an SDK holds open."""

    @classmethod
    def feeds(cls) -> dict[str, Feed]:
        """List the feeds by name, in the order of their definition."""
        return _marked(cls, "feed")

    @classmethod
    def hooks(cls) -> dict[str, Hook]:
        """List the hooks by name."""
        return _marked(cls, "hook")


def _marked(cls: type, mark: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in reversed(cls.__mro__):
        for name, member in vars(one).items():
            if mark in getattr(member, "__dict__", {}):
                found[name] = member.__dict__[mark]
    return found


async def nothing() -> AsyncIterator[Any]:
    """Yield nothing, for optional listings."""
    return
    yield

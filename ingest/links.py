"""A link: a provider object signed in with a connector's settings, for any process that needs one."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import ClientSession
from pydantic import ValidationError

from ingest.catalog import providers
from ingest.credentials import Keyring, SealError, join
from ingest.custody import TOKENS
from ingest.errors import Misconfigured
from ingest.http import Client
from ingest.metrics import Meter
from ingest.outward import open_session
from ingest.pace import Pace, Shares
from ingest.provider import Consent, Content, Instance, Provider, Reply
from ingest.signin import Custody, Tokens
from schemas.control import Wish


class Link(NamedTuple):
    """A provider, and whom it is connected to."""

    provider: Provider[Any]
    instance: Instance


class _Door:
    """The client that a provider is made with: client and provider need each other."""

    client: Client

    async def call(self, *args: Any, **more: Any) -> Reply:
        return await self.client.call(*args, **more)

    def stream(self, *args: Any, **more: Any) -> AbstractAsyncContextManager[Content]:
        return self.client.stream(*args, **more)

    def paced(self, *args: Any, **more: Any) -> AbstractAsyncContextManager[Any]:
        return self.client.paced(*args, **more)


class Links:
    """Opens links for one process."""

    def __init__(
        self,
        keyring: Keyring,
        kinds: Mapping[str, type[Provider[Any]]] | None = None,
        elsewhere: Callable[[str, str], frozenset[str]] = lambda _provider, _name: frozenset(),
        ca_file: Path | None = None,
    ) -> None:
        """Keep the keys, the providers, and who else is connected (by provider, apart from a connector).

        `ca_file`: certificates that providers' hosts may have beside those this machine trusts.
        """
        self._keyring, self._kinds, self.elsewhere = keyring, kinds or providers(), elsewhere
        self._ca_file = ca_file
        self.shares: Callable[[Wish], Shares | None] = lambda _: None

    def sharing(self, shares: Callable[[Wish], Shares]) -> "Links":
        """Open links that share their provider's quota; otherwise each spends as if it were alone."""
        made = copy(self)
        made.shares = shares
        return made

    def session(self) -> ClientSession:
        """Open a session towards providers.

        Raises:
            ConfigError: The CA file can't be read.
        """
        return open_session(ca_file=self._ca_file)

    def kind(self, name: str) -> type[Provider[Any]]:
        """Get a provider's class.

        Raises:
            Misconfigured: There is none of this name.
        """
        if name not in self._kinds:
            raise Misconfigured(f"there is no provider {name!r}; known are: {', '.join(sorted(self._kinds))}")
        return self._kinds[name]

    def settings(self, wish: Wish) -> Any:
        """Put a connector's settings together again.

        Raises:
            Misconfigured: They don't fit any more, or the key that sealed them is missing.
        """
        kind = self.kind(wish.provider)
        try:
            secret = self._keyring.open(wish.sealed, f"{wish.name}/{wish.incarnation}") if wish.sealed else {}
            secret.pop(TOKENS, None)
            return join(kind.settings_type, wish.settings, secret)
        except (SealError, ValidationError) as error:
            raise Misconfigured(f"the settings of {wish.name} can't be used: {_plain(error)}") from None

    def consent(self, provider: str, settings: Any) -> Consent | None:
        """Find the admin's consent that a provider's sign-in rests on; None: it needs none."""
        made = self.kind(provider)(settings, _Door(), Instance(""))
        return next((api.auth for api in made.apis().values() if isinstance(api.auth, Consent)), None)

    @asynccontextmanager
    async def open(
        self, wish: Wish, *, known: Instance | None = None, custody: Custody | None = None
    ) -> AsyncIterator[Link]:
        """Sign in and ask who it is; `known` spares the question, `custody` keeps a consent's tokens.

        Raises:
            SourceError: As the provider's sign-in fails.
        """
        settings = self.settings(wish)
        shares = self.shares(wish)
        async with self.bare(wish.provider, settings, wish.name, known, custody, shares) as link:
            yield link

    @asynccontextmanager
    async def bare(
        self,
        provider: str,
        settings: Any,
        name: str,
        known: Instance | None = None,
        custody: Custody | None = None,
        shares: Shares | None = None,
    ) -> AsyncIterator[Link]:
        """The same, from settings that are not stored yet."""
        kind = self.kind(provider)
        pace = Pace(shares)
        async with self.session() as session:
            door = _Door()
            made = kind(settings, door, known or Instance(""), lambda: self.elsewhere(provider, name))
            tokens = Tokens(session, (lambda _: custody) if custody else None, clock=pace.clock)
            door.client = client = Client(made, session, pace, tokens, Meter())
            try:
                if known is None:
                    made.instance = await made.identify()
                yield Link(made, made.instance)
            finally:
                await made.close()
                await client.close()
                await pace.close()


def _plain(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(str(p) for p in one['loc'])}: {one['msg']}" for one in error.errors())
    return str(error)

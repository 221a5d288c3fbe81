"""What the governance of a process works with, as narrow as it needs it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from consumers.governance.act import Tempo
from consumers.governance.policies import Kinds
from ingest.provider import Provider
from schemas.control import Policy, Wish


class Providers(Protocol):
    """Lends providers that are signed in."""

    def use(self, name: str) -> AbstractAsyncContextManager[Provider[Any]]:
        """Use a connector's provider for a while.

        Raises:
            SourceError: It can't be had.
        """
        ...


class Connected(Protocol):
    """Knows the connectors."""

    @property
    def wishes(self) -> dict[str, Wish]:
        """All of them by name, also those that are disabled."""
        ...


class InForce(Protocol):
    """Knows the policies."""

    @property
    def policies(self) -> dict[str, Policy]:
        """All of them by name."""
        ...


@dataclass(frozen=True)
class Means:
    """What the jobs of a process share."""

    directory: Connected
    book: InForce
    providers: Providers
    kinds: Kinds
    tempo: Tempo = field(default_factory=Tempo)

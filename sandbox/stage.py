"""A simulated tenant as the demo shows it: what to connect, how people act in it, what should then show."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

APPS = ("aws", "okta", "github")


class Visible(NamedTuple):
    """Something that happened: its id in the provider's words, since when it shows it (s), and in what."""

    id: str
    since: float
    way: str


class Stage(Protocol):
    """One app with its tenant, which runs while its context lasts."""

    title: ClassVar[str]

    async def prepare(self) -> None:
        """Fill the tenant."""
        ...

    def connections(self) -> Mapping[str, Mapping[str, Any]]:
        """Give the settings of what to connect, by name."""
        ...

    async def drive(self) -> None:
        """Act in the tenant until cancelled."""
        ...

    def happened(self) -> list[Visible]:
        """List what was done so far."""
        ...


def stage(app: str, folder: Path) -> AbstractAsyncContextManager[Stage]:
    """Set up an app's stage; the folder is for logs."""
    made: AbstractAsyncContextManager[Stage] = import_module(f"sandbox.{app}.stage").stage(folder)
    return made

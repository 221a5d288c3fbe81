"""Open links to providers, one a connector, shared by this process and renewed when wishes change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ingest.directory import Directory
from ingest.errors import Misconfigured
from ingest.links import Link, Links
from ingest.provider import Instance, Provider
from ingest.signin import Custody
from schemas.control import Wish


@dataclass(slots=True)
class _Entry:
    wish: Wish
    link: Link
    stack: AsyncExitStack
    users: int = 0
    stale: bool = False
    free: asyncio.Event = field(default_factory=asyncio.Event)


class Connections:
    """The links of a process; a link that is replaced closes once its last user is done."""

    def __init__(
        self,
        links: Links,
        directory: Directory,
        custody: Callable[[Wish], Custody | None] = lambda _: None,
    ) -> None:
        """Keep where links come from; `custody` gives the tokens of a connector an admin consented to."""
        self._links, self._directory, self._custody = links, directory, custody
        self._open: dict[str, _Entry] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Provider[Any]]:
        """Use a connector's provider for a while.

        Raises:
            Misconfigured: There is no such connector, or its settings don't work.
        """
        entry = await self._entry(name)
        entry.users += 1
        try:
            yield entry.link.provider
        finally:
            entry.users -= 1
            if entry.stale and not entry.users:
                await entry.stack.aclose()

    async def close(self) -> None:
        """Close all links."""
        for name in list(self._open):
            await self._retire(self._open.pop(name), now=True)

    async def _entry(self, name: str) -> _Entry:
        wish = self._directory.wishes.get(name)
        if wish is None or wish.removing:
            raise Misconfigured(f"{name} is not connected")
        async with self._locks.setdefault(name, asyncio.Lock()):
            have = self._open.get(name)
            if have is not None and (have.wish.revision, have.wish.incarnation) == (
                wish.revision,
                wish.incarnation,
            ):
                return have
            if have is not None:
                await self._retire(self._open.pop(name))
            stack = AsyncExitStack()
            known = Instance(wish.instance, wish.instance_name)
            link = await stack.enter_async_context(
                self._links.open(wish, known=known, custody=self._custody(wish))
            )
            self._open[name] = _Entry(wish, link, stack)
            return self._open[name]

    async def _retire(self, entry: _Entry, *, now: bool = False) -> None:
        entry.stale = True
        if now or not entry.users:
            with contextlib.suppress(Exception):
                await entry.stack.aclose()

"""Public keys of providers by address: fetched once, kept a while, fetched anew when a key is unknown.

Which addresses there may be is the schemes' decision; this only bounds how many, how large and how often.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from ingest.config import Config
from ingest.outward import open_session, proxy_for

Fetch = Callable[[str], Awaitable[tuple[bytes, float]]]
"""Gets a body and the seconds it may be kept; raises `UnfetchedError`."""
_SECONDS = 2.0
_LARGEST = 256 * 1024
_MOST = 64
_KEEP = (300.0, 86_400.0)
_ANEW = 60.0
_FAILED = 5.0


class UnfetchedError(Exception):
    """An address did not answer as it should; whoever waits for it is to come again."""


class _Kept(NamedTuple):
    body: bytes | None
    at: float
    until: float


class PublicKeys:
    """A bounded cache; an address is fetched by one caller at a time."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._kept: dict[str, _Kept] = {}
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    async def get(self, address: str, *, anew: bool = False) -> bytes:
        """Get what is at an address; `anew` passes over what was kept for longer than a minute.

        Raises:
            UnfetchedError: It is not to be had, also for the next seconds.
        """
        lock = self._locks.setdefault(address, asyncio.Lock())
        async with lock:
            now, kept = self._clock(), self._kept.get(address)
            if kept is None or now >= kept.until or (anew and now - kept.at >= _ANEW):
                kept = await self._fetched(address, now)
        if kept.body is None:
            raise UnfetchedError("a public key is not to be had")
        return kept.body

    async def _fetched(self, address: str, now: float) -> _Kept:
        try:
            body, seconds = await self._fetch(address)
            kept = _Kept(body, now, now + min(max(seconds, _KEEP[0]), _KEEP[1]))
        except UnfetchedError:
            kept = _Kept(None, now, now + _FAILED)
        self._kept.pop(address, None)
        self._kept[address] = kept
        while len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
        return kept


@asynccontextmanager
async def fetching(config: Config) -> AsyncIterator[Fetch]:
    """Open a client that fetches small things over TLS and follows no redirect.

    Raises:
        ConfigError: SLUICE_CA_FILE can't be read.
    """
    async with open_session(_SECONDS, _SECONDS, config.ca_file) as session:

        async def fetch(address: str) -> tuple[bytes, float]:
            if not address.startswith("https://"):
                raise UnfetchedError("only https")
            try:
                proxy = proxy_for(URL(address))
                async with session.get(address, allow_redirects=False, proxy=proxy) as reply:
                    body = await reply.content.read(_LARGEST + 1)
                    while not reply.content.at_eof() and len(body) <= _LARGEST:
                        body += await reply.content.read(_LARGEST)
                    if reply.status != 200 or len(body) > _LARGEST:
                        raise UnfetchedError(f"answered {reply.status}")
                    age = re.search(r"max-age=(\d{1,9})", reply.headers.get("Cache-Control", ""))
                    return body, float(age[1]) if age else 0.0
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise UnfetchedError(type(error).__name__) from None

        yield fetch

"""A file's content on disk for the time of a scan, within the limit of size."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ingest.provider import Provider
from ingest.reads import Ref


class TooLargeError(Exception):
    """The file is larger than what is scanned."""


class Fetched(NamedTuple):
    """Where the content lies, and which version it really is."""

    path: Path
    version: str
    size: int
    name: str
    media_type: str


@asynccontextmanager
async def fetched(provider: Provider[Any], file: Ref, largest: int) -> AsyncIterator[Fetched]:
    """Download a file; it is deleted on leaving.

    Raises:
        TooLargeError: It is larger than `largest` bytes; nothing, or no more than that, was read.
        SourceError: As the provider says (Missing, Changed, Unscannable, NotAllowed, Retry …).
    """
    with tempfile.NamedTemporaryFile(prefix="sluice-scan-") as target:
        async with provider.content(file) as content:
            if content.size is not None and content.size > largest:
                raise TooLargeError(str(content.size))
            size = 0
            async for chunk in content.chunks:
                size += len(chunk)
                if size > largest:
                    raise TooLargeError(f"over {largest}")
                await asyncio.to_thread(target.write, chunk)
        target.flush()
        yield Fetched(
            Path(target.name), content.version or file.version, size, content.name, content.media_type
        )

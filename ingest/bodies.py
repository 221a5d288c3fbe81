"""Addresses checked, bodies read within bounds, JSON that is broken in known ways repaired."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import aiohttp
import orjson
from yarl import URL

from ingest.acts import Content
from ingest.apis import Json
from ingest.errors import Misconfigured, Refused, Retry, Unscannable

_PIECE: Final = 256 << 10
_PLAIN: Final = re.compile(r"[!#-;=?-\[\]_a-z~]*")
"""An address that needs no quoting: presigned ones must go out as they came."""


class NotJsonError(ValueError):
    """A body that says it is JSON and is not."""


def address(base: str, path: str, params: Mapping[str, Json], bases: Iterable[str]) -> URL:
    """Join a path to its base, or take an address of one of the `bases` as it is.

    A base like `https://*.example.com` stands for addresses only. Lists repeat their parameter.

    Raises:
        Refused: A foreign address, or a path that climbs out of its base.
        Misconfigured: A base that is no address.
    """
    if re.match(r"[a-zA-Z][\w+.-]*:", path) or path.startswith("//"):
        url = _url(path)
        if not any(serves(one, url) for one in bases):
            raise Refused(f"{url.host or 'an address without host'} is not one of this provider's hosts")
    else:
        root = _url(base)
        if root.scheme not in {"http", "https"} or not root.host or "*" in root.host:
            raise Misconfigured(f"{base!r} is no address of an api: give https://host/path")
        url = _url(base.rstrip("/") + ("" if path[:1] in {"", "/", "?"} else "/") + path)
    if {".", ".."} & set(url.path.split("/")):
        raise Refused("a path with dot segments is not sent")
    return url.extend_query(list(_pairs(params))) if params else url


def serves(base: str, url: URL) -> bool:
    """Tell whether an address lies at a base's scheme, host and port."""
    root = URL(base)
    if (root.scheme, root.port) != (url.scheme, url.port) or url.user is not None:
        return False
    if root.host and root.host.startswith("*."):
        return (url.host or "").endswith(root.host[1:])
    return bool(url.host) and root.host == url.host


def _url(text: str) -> URL:
    try:
        return URL(text, encoded=_PLAIN.fullmatch(text) is not None)
    except ValueError:
        raise Refused("an address that can't be read") from None


def _pairs(params: Mapping[str, Json]) -> Iterable[tuple[str, str]]:
    for name, value in params.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None:
                yield name, str(one).lower() if isinstance(one, bool) else str(one)


async def read(answer: aiohttp.ClientResponse, largest: int) -> bytes:
    """Read a body whole, unpacked, up to `largest` bytes.

    Raises:
        Refused: It is larger.
    """
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > largest:
            answer.close()
            raise Refused(f"a reply of more than {largest >> 20} MiB: ask for smaller pages")
        pieces.append(piece)
    return b"".join(pieces)


def parsed(media_type: str, raw: bytes) -> Json:
    """Parse a body that is, or looks like, JSON; None: it is something else, or empty.

    Half a surrogate pair and bytes that are no UTF-8 are replaced: one odd name must not hold up its page.

    Raises:
        NotJsonError: It calls itself JSON, and is broken.
    """
    declared = media_type.endswith(("/json", "+json", "/javascript"))
    if not raw or not (declared or (media_type in {"", "text/plain"} and raw.lstrip()[:1] in {b"{", b"["})):
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        repaired = json.dumps(json.loads(raw.decode("utf-8-sig", "replace")), ensure_ascii=False)
        return orjson.loads(repaired.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        pass
    if declared:
        raise NotJsonError
    return None


@contextmanager
def faults_as_retry(what: str) -> Iterator[None]:
    """Turn what a network does to a call into Retry; the texts of its errors are left out."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Retry(f"{what}: {type(error).__name__}") from None


def content_of(answer: aiohttp.ClientResponse, largest: int, what: str) -> Content:
    """Offer a body as pieces of at most 256 KiB.

    Raises:
        Unscannable: While reading, where it is larger than `largest` bytes.
        Retry: While reading, where it breaks off.
    """

    async def pieces() -> AsyncIterator[bytes]:
        size = 0
        while True:
            with faults_as_retry(what):
                piece = await answer.content.read(_PIECE)
            size += len(piece)
            if size > largest:
                raise Unscannable(f"{what}: more than {largest} bytes")
            if not piece:
                return
            yield piece

    named = answer.content_disposition
    return Content(
        pieces(),
        None if "Content-Encoding" in answer.headers else answer.content_length,
        answer.content_type if "Content-Type" in answer.headers else "",
        answer.headers.get("ETag", "").removeprefix("W/").strip('"'),
        (named.filename if named else None) or "",
    )

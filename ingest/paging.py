"""The ways providers page: a link to what follows, a token to send back, a number to count up.

Each is a generator of replies that ends where the provider's listing does; `Unchanged` beneath it saves what
a provider does not count. Paging that stands still (the same
link or token twice) is a Retry, never an end: an end would make a snapshot look complete. A feed whose link
never ends (Okta's log) stops by itself, at an empty page. Source: RFC 8288 (Web Linking).
"""

import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ingest.apis import NONE, Json, Reply, Text
from ingest.bodies import parsed
from ingest.errors import Retry
from ingest.provider import Http

_NOTHING: Final[Mapping[str, Json]] = MappingProxyType({})
_TOKEN: Final = r"[\w!#$%&'*+.^`|~-]+"  # noqa: S105 a token of the grammar
_VALUE: Final = r'(?:"(?:[^"\\]|\\.)*"|[^\s",;]*)'
_LINK: Final = re.compile(rf"<([^<>]*)>((?:\s*;\s*(?:{_TOKEN}(?:\s*=\s*{_VALUE})?)?)*)")
_PARAMETER: Final = re.compile(rf";\s*({_TOKEN})(?:\s*=\s*({_VALUE}))?")


def link_to(reply: Reply, rel: str = "next") -> str:
    """Find the address of a relation in `Link`, of which a reply may have several; empty: there is none."""
    for found in _LINK.finditer(reply.headers.get("link", "")):
        said = {name.lower(): value.strip('"') for name, value in reversed(_PARAMETER.findall(found[2]))}
        if rel in said.get("rel", "").lower().split():
            return found[1].strip()
    return ""


class _Kept(NamedTuple):
    tag: str
    link: str
    squeezed: bytes
    used: float


class Unchanged:
    """Lists that were read before are asked only whether they have changed; if not, they come from memory.

    It takes the client's place in `linked`, for a provider that answers `If-None-Match` with 304, and gains
    where a 304 is not counted (the client then takes the call back) or bodies are large. Replies with an ETag
    are kept compressed, with their Link, which a 304 need not repeat: `most` bytes in all. Where that is full
    only what was not asked for a day gives way, because each round asks for all in the same order. Source:
    RFC 9110, "Conditional Requests".
    """

    def __init__(
        self,
        http: Http,
        *,
        most: int = 1 << 20,
        day: float = 86_400.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http, self._most, self._day, self._now = http, most, day, now
        self._kept: dict[str, _Kept] = {}
        self._size = 0

    async def call(
        self,
        api: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, Json] = _NOTHING,
        headers: Text = NONE,
        **more: Any,
    ) -> Reply:
        """Make a GET as `Http.call` does; a 304 never reaches the caller."""
        key = f"{api} {more.get('acting_as')} {path} {sorted(params.items())}"
        kept = self._kept.get(key)
        if kept is not None:
            headers = {**headers, "If-None-Match": kept.tag}
            more["ok"] = (*more.get("ok", ()), 304)
        reply = await self._http.call(api, method, path, params=params, headers=headers, **more)
        if kept is not None and reply.status == 304:
            self._keep(key, kept._replace(used=self._now()))
            body, link = zlib.decompress(kept.squeezed), {"link": kept.link} if kept.link else {}
            return Reply(200, {**reply.headers, **link}, body, parsed("application/json", body))
        self._keep(key, self._worth_keeping(reply))
        return reply

    def _worth_keeping(self, reply: Reply) -> _Kept | None:
        tag = reply.headers.get("etag", "")
        if reply.status != 200 or not tag or reply.json is None:
            return None
        return _Kept(tag, reply.headers.get("link", ""), zlib.compress(reply.body), self._now())

    def _keep(self, key: str, new: _Kept | None) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._size -= _weight(key, old)
        if new is None:
            return
        for name, one in list(self._kept.items()):
            if self._size + _weight(key, new) <= self._most or one.used + self._day > new.used:
                break
            del self._kept[name]
            self._size -= _weight(name, one)
        if self._size + _weight(key, new) <= self._most:
            self._kept[key] = new
            self._size += _weight(key, new)


def _weight(key: str, kept: _Kept) -> int:
    return len(key) + len(kept.tag) + len(kept.link) + len(kept.squeezed)


async def linked(
    http: Http | Unchanged,
    api: str,
    path: str,
    *,
    then: Callable[[Reply], str | None] = link_to,
    params: Mapping[str, Json] = _NOTHING,
    **more: Any,
) -> AsyncIterator[Reply]:
    """Follow links: by default `rel="next"`; `then` finds another (in the body, in a header), if any.

    `path` may be a link kept from before. `more` (acting_as, headers, cost, …) goes to each call.
    """
    while True:
        reply = await http.call(api, "GET", path, params=params, **more)
        yield reply
        onward = then(reply)
        if not onward:
            return
        if onward == path:
            raise Retry(f"{api}: a page's link leads to itself")
        path, params = onward, _NOTHING


async def continued(
    http: Http,
    api: str,
    path: str,
    *,
    token: Callable[[Reply], Json],
    into: str,
    method: str = "GET",
    params: Mapping[str, Json] = _NOTHING,
    json: Mapping[str, Json] | None = None,
    **more: Any,
) -> AsyncIterator[Reply]:
    """Send a reply's token (of its body or a header) back as `into`: a parameter, or a field of `json`.

    None or an empty token ends it.
    """
    while True:
        reply = await http.call(
            api, method, path, params=params, json=None if json is None else dict(json), **more
        )
        yield reply
        found, asked = token(reply), params if json is None else json
        if found is None or found == "":
            return
        if found == asked.get(into):
            raise Retry(f"{api}: a page's token leads to itself")
        if json is None:
            params = {**params, into: found}
        else:
            json = {**json, into: found}


async def counted(
    http: Http,
    api: str,
    path: str,
    *,
    items: Callable[[Reply], int],
    into: str,
    first: int = 0,
    by_page: bool = False,
    total: Callable[[Reply], int | None] = lambda _: None,
    params: Mapping[str, Json] = _NOTHING,
    **more: Any,
) -> AsyncIterator[Reply]:
    """Count `into` up from `first`: by the `items` that came, or by one for each page.

    It ends at `total`, or at an empty page where none is told: a short page is no end, as providers cut
    pages shorter than asked. An empty page short of `total` is a Retry.
    """
    number, seen = first, 0
    while True:
        reply = await http.call(api, "GET", path, params={**params, into: number}, **more)
        came, whole = items(reply), total(reply)
        if whole is not None and not came and seen < whole:
            raise Retry(f"{api}: a page is empty before the end")
        yield reply
        seen += came
        if not came or (whole is not None and seen >= whole):
            return
        number += 1 if by_page else came

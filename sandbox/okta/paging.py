"""Pages: opaque cursors, and a Link header for each relation (core-okta-api, section Pagination)."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from aiohttp import web

from sandbox.okta.errors import invalid

Json: TypeAlias = Any


def seal(position: Json) -> str:
    """A position as text that tells the caller nothing."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def unseal(text: str) -> Json:
    """The position again; refused when the text is not one of ours."""
    try:
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError as error:
        raise invalid("after", "The after cursor is invalid") from error


def limit(query: Mapping[str, str], default: int, most: int, *, least: int = 1, clamp: bool = False) -> int:
    """The page size asked for; out of range it is refused, or cut to the maximum with `clamp`."""
    text = query.get("limit")
    if text is None:
        return default
    if not text.isdigit() or int(text) < least or (int(text) > most and not clamp):
        raise invalid("limit", f"The limit must be between {least} and {most}")
    return min(int(text), most)


def linked(
    answer: web.Response, url: str, path: str, query: Mapping[str, str], *, more: Mapping[str, str] | None
) -> web.Response:
    """Add `self`, and `next` when there is `more` to ask for: two headers, never one list."""

    def link(named: Mapping[str, str], relation: str) -> str:
        text = urlencode(named, quote_via=quote)
        return f'<{url}{path}{"?" if text else ""}{text}>; rel="{relation}"'

    answer.headers.add("Link", link(query, "self"))
    if more is not None:
        answer.headers.add("Link", link(more, "next"))
    return answer


def after(
    entries: Sequence[Json], size: int, query: Mapping[str, str]
) -> tuple[list[Json], dict[str, str] | None]:
    """A page of a list that fits into memory, by position; the query of the next page."""
    start = int(unseal(query["after"])) if query.get("after") else 0
    page = list(entries[start : start + size])
    more = {**query, "after": seal(start + size), "limit": str(size)} if start + size < len(entries) else None
    return page, more

"""Pages by number and by cursor, told in one Link header of several rels."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from sandbox.github.answers import Answer, Json, Refused
from sandbox.github.call import Call

T = TypeVar("T")


def paged(
    call: Call,
    entries: Sequence[T],
    show: Callable[[T], Json],
    *,
    under: str = "",
    canonical: str = "",
) -> Answer:
    """Answer the asked page; `under`: an object with total_count and the entries in that member.

    `canonical` is the path that links use, as GitHub's do: /organizations/{id} instead of /orgs/{login}.
    """
    size, page = call.size, call.number("page", 1)
    last = max(1, -(-len(entries) // size))
    shown = [show(entries[i]) for i in range((page - 1) * size, min(page * size, len(entries)))]
    rels: list[tuple[str, int]] = []
    if page > 1:
        rels.append(("prev", min(page - 1, last)))
    if page < last:
        rels += [("next", page + 1), ("last", last)]
    if page > 1:
        rels.append(("first", 1))
    where = call.base + (canonical or call.path)
    link = ", ".join(
        f'<{where}?{urlencode({**call.query, "page": str(number)})}>; rel="{rel}"' for rel, number in rels
    )
    body: Json = {"total_count": len(entries), under: shown} if under else shown
    return Answer(body, headers={"Link": link} if link else {})


def cursor(*parts: str) -> str:
    """An opaque cursor; its base64 has characters that must stay encoded in a URL."""
    return base64.b64encode(b"\xfb\xff" + "|".join(parts).encode()).decode()


def position(text: str) -> list[str]:
    """What is in a cursor; one of our own making, else 422."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw.startswith(b"\xfb\xff"):
        raise Refused(422, "Invalid cursor.")
    return raw[2:].decode("utf-8", "replace").split("|")


def cursor_link(call: Call, cursors: dict[str, tuple[str, str]], canonical: str = "") -> str:
    """A Link header; `cursors`: rel to parameter and value ("" drops the parameter)."""
    links = []
    for rel, (name, value) in cursors.items():
        query = {k: v for k, v in call.query.items() if k not in {"after", "before", "cursor", "page"}}
        query[name] = value
        links.append(f'<{call.base}{canonical or call.path}?{urlencode(query)}>; rel="{rel}"')
    return ", ".join(links)

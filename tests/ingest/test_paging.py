"""Paging by link, token and number, against a server that pages and one that never gets on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from toy.tenant import serving

from ingest.errors import Retry
from ingest.http import Client, open_session
from ingest.pace import Pace
from ingest.paging import continued, counted, link_to, linked
from ingest.provider import Api, Instance, Provider, Reply, Settings

WORDS = [f"w{number}" for number in range(7)]


class Shelf(Provider[Settings]):
    """An app of one api without a sign-in."""

    name = "shelf"
    settings_type = Settings
    base = ""

    def apis(self) -> Mapping[str, Api]:
        """Give the address under test."""
        return {"main": Api(self.base)}


@asynccontextmanager
async def client(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[Any]:
    """Serve one handler for every path, and give a client of it."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handler)
    async with serving(app) as base, open_session() as session:
        shelf = Shelf(Settings(), None, Instance("1"))  # type: ignore[arg-type]
        shelf.base = base
        yield Client(shelf, session, Pace())


async def read(pages: AsyncIterator[Reply]) -> list[str]:
    """Put the pages' entries together."""
    return [word async for reply in pages for word in reply.json["entries"]]


def page(start: int, size: int = 3) -> list[str]:
    """Cut a page."""
    return WORDS[start : start + size]


async def test_links_are_followed() -> None:
    """Two Link headers, self and next, lead through all pages; parameters go to the first call only."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        start = int(request.query.get("after", "0"))
        here = f"http://{request.host}/api/v1/logs"
        links = [("Link", f'<{here}?limit=3>; rel="self"')]
        if start + 3 < len(WORDS):
            links.append(("Link", f'<{here}?after={start + 3}&q=a,b>; rel="next"'))
        return web.json_response({"entries": page(start)}, headers=links)

    async with client(handler) as http:
        assert await read(linked(http, "main", "/api/v1/logs", params={"limit": 3})) == WORDS
        assert asked[0] == "/api/v1/logs?limit=3"
        assert asked[1] == "/api/v1/logs?after=3&q=a,b"
        kept = f"{http._apis['main'].base}/api/v1/logs?after=6"
        assert await read(linked(http, "main", kept)) == WORDS[6:]


async def test_links_in_the_body_and_in_other_headers() -> None:
    """A path of the next page in the body, and an address in a header, are followed too."""

    async def handler(request: web.Request) -> web.Response:
        start = int(request.query.get("s", "0"))
        onward = f"/next?s={start + 3}" if start + 3 < len(WORDS) else None
        headers = {"NextPageUri": f"http://{request.host}{onward}"} if onward else {}
        return web.json_response({"entries": page(start), "nextRecordsUrl": onward}, headers=headers)

    async with client(handler) as http:
        for then in (lambda r: r.json["nextRecordsUrl"], lambda r: r.headers.get("nextpageuri")):
            assert await read(linked(http, "main", "/first", then=then)) == WORDS


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_tokens_are_sent_back(method: str) -> None:
    """A page's token goes back as a parameter or as a field of the JSON; zero is a token."""

    async def handler(request: web.Request) -> web.Response:
        asked = dict(request.query) if method == "GET" else await request.json()
        assert asked["size"] in {"3", 3}
        start = WORDS.index(asked["page"]) if "page" in asked else 0
        onward = {"token": WORDS[start + 3]} if start + 3 < len(WORDS) else {"token": ""}
        return web.json_response({"entries": page(start), **onward})

    async with client(handler) as http:
        how: dict[str, Any] = {"params": {"size": 3}} if method == "GET" else {"json": {"size": 3}}
        pages = continued(
            http, "main", "/x", token=lambda r: r.json["token"], into="page", method=method, **how
        )
        assert await read(pages) == WORDS


@pytest.mark.parametrize("told", [True, False])
async def test_numbers_are_counted_up(told: bool) -> None:
    """Offsets follow what came, as pages are cut shorter than asked; page numbers go up by one."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query["n"])
        number = int(request.query["n"])
        start = number - 1 if request.path == "/scim" else (number - 1) * 2
        size = 2 if number != 3 else 1
        entries = page(start, size if request.path == "/scim" else 2)
        return web.json_response({"entries": entries, "totalResults": len(WORDS) if told else None})

    def items(reply: Reply) -> int:
        return len(reply.json["entries"])

    def total(reply: Reply) -> int | None:
        said = reply.json["totalResults"]
        return None if said is None else int(said)

    async with client(handler) as http:
        scim = counted(http, "main", "/scim", items=items, into="n", first=1, total=total)
        assert await read(scim) == WORDS
        assert asked == ["1", "3", "4", "6"] if told else ["1", "3", "4", "6", "8"]
        asked.clear()
        pages = counted(http, "main", "/pages", items=items, into="n", first=1, by_page=True, total=total)
        assert await read(pages) == WORDS
        assert asked == ["1", "2", "3", "4"] if told else ["1", "2", "3", "4", "5"]


async def test_paging_that_stands_still_is_no_end() -> None:
    """The same link or token twice, and an empty page before the total, are a Retry."""

    async def handler(request: web.Request) -> web.Response:
        link = {"Link": f'<http://{request.host}/x?after=1>; rel="next"'}
        return web.json_response({"entries": [], "token": "t", "total": 5}, headers=link)

    async with client(handler) as http:
        for pages in (
            linked(http, "main", "/x"),
            continued(http, "main", "/x", token=lambda r: r.json["token"], into="page"),
            counted(http, "main", "/x", items=lambda _: 0, into="n", total=lambda r: int(r.json["total"])),
        ):
            with pytest.raises(Retry):
                await read(pages)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('<https://a/?x=1>; rel="prev", <https://a/?x=2>; rel="next", <https://a/>; rel="last"', "https://a/?x=2"),
        ("<https://a/?f=eq%20%22b%22,c;d>; rel=next", "https://a/?f=eq%20%22b%22,c;d"),
        ('<https://a/1>; title="x, <https://evil/>; rel=next"; rel="prev"', ""),
        ('<https://a/1>;REL="start Next" ; type="x"', "https://a/1"),
        ('<https://a/1>; rel="next"; rel="prev"', "https://a/1"),
        ('<https://a/1>; rel="next', ""), ("", ""), ("<https://a/1>", ""), ("; rel=next", ""),
        ('<>; rel="next"', ""), ('<https://a/1>; rel="nextish"', ""), ("<a>" + "; ;" * 4000, ""),
    ],
)  # fmt: skip
def test_link_headers(header: str, expected: str) -> None:
    """RFC 8288: several links in one, commas and quotes inside, the first `rel` counts, nonsense is none."""
    assert link_to(Reply(200, {"link": header}, b"")) == expected


ADDRESS = st.from_regex(r"https://a/[a-z?=&,;%0-9]{0,12}", fullmatch=True)


@given(st.lists(st.tuples(ADDRESS, st.sampled_from(["self", "next", "prev"])), max_size=4))
def test_links_are_found_wherever_they_stand(links: list[tuple[str, str]]) -> None:
    """The first link of the relation is found in any list of links."""
    header = ", ".join(f'<{address}>; rel="{rel}"' for address, rel in links)
    expected = next((address for address, rel in links if rel == "next"), "")
    assert link_to(Reply(200, {"link": header}, b"")) == expected


@given(st.text(max_size=200))
def test_any_header_is_read(header: str) -> None:
    """No header breaks the reading."""
    assert isinstance(link_to(Reply(200, {"link": header}, b"")), str)

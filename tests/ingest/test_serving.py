"""HTTP of the receiver's own: what is served, how, and that nothing can be read in two ways."""

import time
from email.utils import parsedate_to_datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_http import HEAD, TALK, Book, fed, served

from ingest.push import LARGEST, Answer


async def test_a_connection_is_kept() -> None:
    """One request after the other, each answered with a date of now and no word on what serves."""
    book = Book()
    async with served(book) as port:
        line = await port.line()
        for number in range(3):
            await line.send(b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" % number)
            status, headers, body = await line.reply()
            assert (status, body) == (200, b"/%d" % number)
            assert abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < 3
            assert set(headers) == {"content-length", "server", "date"}
            assert headers["server"] == "sluice"
    assert book.asked == [("POST", f"/{number}", b"abc") for number in range(3)]
    assert book.rooms.held == 0


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    """What comes behind a request waits for its answer, whatever it is, and a refusal is the last word."""
    book = Book()
    async with served(book) as port:
        book.may.clear()
        line = await port.line()
        await line.send(
            b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)) + b"\0"
        )
        await book.asked_for(1)
        book.may.set()
        assert [(await line.reply())[2] for _ in range(5)] == [b"/%d" % number for number in range(5)]
        status, headers, _ = await line.reply()
        assert (status, headers["connection"], await line.rest()) == (400, "close", b"")


async def test_chunks_and_what_follows_them() -> None:
    """A body in chunks is put together; their extensions and trailers are no headers."""
    book = Book()
    async with served(book) as port:
        line = await port.line()
        await line.send(
            HEAD
            + b"Transfer-Encoding: Chunked\r\n\r\n1;x=y\r\na\r\n3\r\nbcd\r\n1\r\ne\r\n0\r\nX-T: 1\r\n\r\n"
        )
        assert (await line.reply())[0] == 200
        await line.send(HEAD + b"A:\r\nB: \t c \t\r\nA: \xc3\xa9\xff\r\nContent-Length: 0 \r\n\r\n")
        assert (await line.reply())[0] == 200
    assert book.asked == [("POST", "/a?b=c", b"abcde"), ("POST", "/a?b=c", b"")]
    assert "x-t" not in book.headers[0] | book.headers[1]
    assert (book.headers[1]["a"], book.headers[1]["b"]) == ("é\udcff", "c")


async def test_expectations() -> None:
    """100 is said before a body, behind the answer under way, never if that is too large (RFC 9110)."""
    book = Book()
    ask = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    async with served(book) as port:
        line = await port.line()
        book.may.clear()
        await line.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + ask % 3)
        await book.asked_for(1)
        book.may.set()
        assert [(await line.reply())[0] for _ in range(2)] == [200, 100]
        await line.send(b"abc")
        assert (await line.reply())[0] == 200
        await line.send(ask % (LARGEST + 1))
        assert (await line.reply())[0] == 413
        assert await line.rest() == b""
    assert [body for *_, body in book.asked] == [b"", b"abc"]


async def test_answers_without_a_body() -> None:
    """HEAD gets the head alone; 204 has no length (RFC 9110, 8.6)."""
    book = Book()
    book.answers["/none"] = Answer(204, b"", {"Allow": "POST"})
    async with served(book) as port:
        line = await port.line()
        await line.send(b"HEAD /four HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, _ = await line.reply(body=False)
        assert (status, headers["content-length"]) == (200, "5")
        status, headers, _ = await line.reply()
        assert (status, headers["allow"], "content-length" in headers) == (204, "POST", False)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_the_last_request_of_a_connection(raw: bytes) -> None:
    """It is answered once, told so, and the connection is closed."""
    book = Book()
    async with served(book) as port:
        status, answer = await port.ask(raw)
    assert status == 200
    assert answer.count(b"HTTP/1.1") == answer.count(b"Connection: close") == 1


UNSERVED = [
    HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    HEAD + b"Content-Length: +3\r\n\r\nabc",
    HEAD + b"Content-Length: 0x3\r\n\r\nabc",
    HEAD + b"Content-Length: -3\r\n\r\nabc",
    HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    HEAD + b"Content-Length : 3\r\n\r\nabc",
    HEAD + b"Content-Length:\r\n\r\nabc",
    HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcX0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\nHost: x\n\n",
    HEAD + b"A: b\n\r\n",
    HEAD + b"A: b\rC: d\r\n\r\n",
    HEAD + b"A: b\r\n c\r\n\r\n",
    HEAD + b" A: b\r\n\r\n",
    HEAD + b"A: b\0c\r\n\r\n",
    HEAD + b"A\xff: b\r\n\r\n",
    HEAD + b"hOST: y\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
]


@pytest.mark.parametrize("raw", UNSERVED)
async def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    """It is answered by 400 and hung up on, and what follows it is not read (RFC 9112, 11.2)."""
    book = Book()
    async with served(book) as port:
        status, answer = await port.ask(raw + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, answer.count(b"HTTP/1.1")) == (400, 1)
    assert b"\r\nConnection: close\r\n" in answer
    assert (book.asked, book.failures, book.rooms.held) == ([], ["no http"], 0)


@given(st.lists(st.integers(0, len(TALK)), max_size=12).map(sorted))
@settings(max_examples=300, deadline=None)
async def test_it_does_not_matter_where_a_packet_ends(cuts: list[int]) -> None:
    """The same bytes in any pieces are the same requests, headers included, and get the same answers."""
    edges = [0, *cuts, len(TALK)]
    pieces = [TALK[a:b] for a, b in pairwise(edges) if a < b]
    book, wire = await fed(pieces)
    assert [(target, body) for _, target, body in book.asked] == [
        ("/a?b=c", b"hello"), ("/2", b""), ("/a?b=c", b"abcde"), ("/4", b""),
    ]  # fmt: skip
    assert book.headers[1] == {"host": "x", "empty": ""}
    assert (wire.written.count(b"HTTP/1.1 200 OK"), wire.closed, book.rooms.held) == (4, True, 0)


@given(st.lists(st.binary(max_size=60) | st.sampled_from([HEAD, b"\r\n", *UNSERVED, TALK[:90]]), max_size=6))
@settings(max_examples=500, deadline=None)
async def test_no_bytes_make_it_fail(pieces: list[bytes]) -> None:
    """Whatever comes is waited for, answered or refused once; nothing of a body is held afterwards."""
    book, wire = await fed(pieces)
    assert book.rooms.held == 0
    assert wire.written.count(b"HTTP/1.1 400") == len(book.failures) <= 1
    assert wire.written.count(b"HTTP/1.1 200") == len(book.asked)

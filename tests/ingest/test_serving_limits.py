"""What a caller of the receiver may take: bytes, time and places, each within its limit."""

import asyncio
import time

import pytest
from raw_http import HEAD, TALK, Book, fed, served

from ingest.push import LARGEST
from ingest.serving import Limits


async def test_no_more_than_so_many_wait() -> None:
    """Who sends a hundred requests at once gets answers to those that may wait, and is refused."""
    book = Book()
    async with served(book) as port:
        status, answer = await port.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    assert status == 200
    assert 60 < answer.count(b"HTTP/1.1 200 OK") < 70
    assert answer.count(b"HTTP/1.1 400 Bad Request") == 1


async def test_the_size_of_a_head() -> None:
    """A head of just the limit is served, one byte or one header more is not; nor is an endless one."""
    book = Book()
    limits = Limits(head=2000, headers=10)
    plain = len(b"/") + len(b"Host: x\r\n")
    async with served(book, limits) as port:
        for extra, expected in ((0, 200), (1, 400)):
            long = b"A: " + b"x" * (limits.head - plain - 5 + extra) + b"\r\n"
            assert (await port.ask(b"GET / HTTP/1.1\r\nHost: x\r\n" + long + b"\r\n" + b"\0"))[0] == expected
        for count, expected in ((9, 200), (10, 400)):
            many = b"A: b\r\n" * count
            assert (await port.ask(b"GET / HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n" + b"\0"))[0] == expected
        for endless in (b"GET /" + b"x" * 3000, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 11):
            assert (await port.ask(endless))[0] == 400
        line = await port.line()
        await line.send(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        for _ in range(100):
            await asyncio.sleep(0)
            await line.send(b"x" * 100)
        assert (await line.reply())[0] == 400


@pytest.mark.parametrize("tail", [b"0\r\nX: ", b"1;"])
async def test_what_brings_no_byte_of_a_body_is_bounded(tail: bytes) -> None:
    """Endless trailers and extensions of chunks are refused long before the time for a body is over."""
    book = Book()
    async with served(book, Limits(head=2000)) as port:
        line = await port.line()
        await line.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + tail)
        for _ in range(100):
            await asyncio.sleep(0)
            await line.send(b"x" * 100)
        assert (await line.reply())[0] == 400
    assert (book.asked, book.rooms.held) == ([], 0)


async def test_a_body_has_its_room() -> None:
    """The largest body is served, one byte more is not, told before or found; all is given back."""
    book = Book()
    async with served(book) as port:
        largest = b"x" * LARGEST
        line = await port.line()
        await line.send(HEAD + b"Content-Length: %d\r\n\r\n" % LARGEST + largest)
        assert (await line.reply())[0] == 200
        await line.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (LARGEST + 1) + largest + b"x")
        assert (await line.reply())[0] == 413
        assert (await port.ask(HEAD + b"Content-Length: %d\r\n\r\n" % (LARGEST + 1)))[0] == 413
    assert book.asked == [("POST", "/a?b=c", largest)]
    assert (book.failures, book.rooms.held) == (["too large"] * 2, 0)


@pytest.mark.parametrize(("strict", "expected"), [(True, [200, 503]), (False, [200, 200])])
async def test_bodies_share_a_room(strict: bool, expected: list[int]) -> None:
    """While one body is held another finds no room: it is refused, or goes on without it."""
    book = Book(each=8, most=10, strict=strict)
    async with served(book) as port:
        book.may.clear()
        first, second = await port.line(), await port.line()
        await first.send(HEAD + b"Content-Length: 8\r\n\r\n12345678")
        await book.asked_for(1)
        assert book.rooms.held == 8
        await second.send(HEAD + b"Content-Length: 3\r\n\r\nabc")
        await book.asked_for(2)
        book.may.set()
        assert [(await one.reply())[0] for one in (first, second)] == expected
    assert [body for *_, body in book.asked] == [b"12345678", b""][: 2 - strict]
    assert book.rooms.held == 0


QUICK = Limits(head_seconds=0.4, body_seconds=0.4, idle_seconds=0.4)


@pytest.mark.parametrize(
    "raw",
    [
        b"G",
        b"POST / HTTP/1.1\r\nHost: x\r\nA: b",
        HEAD + b"Content-Length: 10\r\n\r\n",
        HEAD + b"Content-Length: 10\r\n\r\nabcde",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\na",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
async def test_what_stalls_is_broken_off(raw: bytes) -> None:
    """A head or a body that does not go on is answered by 408 in its time, and gives its room back."""
    book = Book()
    async with served(book, QUICK) as port:
        began = time.monotonic()
        status, _ = await port.ask(raw)
        assert status == 408
        assert 0.3 < time.monotonic() - began < 3
    assert (book.asked, book.failures, book.rooms.held) == ([], ["broken off"], 0)


async def test_dripping_does_not_prolong_a_head() -> None:
    """Its time counts from its first byte, however steadily the others come."""
    async with served(Book(), QUICK) as port:
        line = await port.line()
        reply = asyncio.create_task(line.reply())
        began = time.monotonic()
        await line.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        while not reply.done() and time.monotonic() - began < 5:
            await line.send(b"A: b\r\n")
            await asyncio.wait({reply}, timeout=0.05)
        assert (await reply)[0] == 408


async def test_who_rests_too_long_is_let_go() -> None:
    """Without a word: before the first request, and after one."""
    async with served(Book(), QUICK) as port:
        silent, used = await port.line(), await port.line()
        await used.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await used.reply())[0] == 200
        assert [await silent.rest(), await used.rest()] == [b"", b""]


async def test_an_answer_may_take_longer_than_a_rest() -> None:
    """While a request is being answered its connection is not at rest."""
    book = Book()
    async with served(book, QUICK) as port:
        book.may.clear()
        line = await port.line()
        await line.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait({asyncio.create_task(line.rest())}, timeout=0.9)
        assert book.failures == []
        book.may.set()


async def test_places_are_limited() -> None:
    """Of connections there are so many: who has rested longest makes room, who waits does not."""
    book = Book()
    ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(book, Limits(connections=3, from_one=3 + 1)) as port:
        oldest, *others = [await port.line() for _ in range(3)]
        book.may.clear()
        for one in others:
            await one.send(ask)
        others.append(await port.line())
        assert await oldest.rest() == b""
        await others[-1].send(ask)
        await book.asked_for(3)
        assert await (await port.line()).rest() == b""
        assert book.failures == ["crowded"]
        book.may.set()
        assert [(await one.reply())[0] for one in others] == [200] * 3


async def test_one_address_has_its_share() -> None:
    """An address' connections beyond it are cut off, those it has are not, and a place left is free again."""
    book = Book()
    async with served(book, Limits(connections=10, from_one=2)) as port:
        first, second = await port.line(), await port.line()
        assert await (await port.line()).rest() == b""
        for one in (first, second):
            await one.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await one.reply())[0] == 200
        assert book.failures == ["crowded"]
        await second.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await second.rest()
        third = await port.line()
        await third.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await third.reply())[0] == 200


async def test_a_stop_finishes_what_is_under_way() -> None:
    """What was asked is answered and told to be the last; who rests is let go, who stalls is cut off."""
    book = Book()
    async with served(book) as port:
        busy, resting, stalled = [await port.line() for _ in range(3)]
        book.may.clear()
        await busy.send(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
        await stalled.send(HEAD + b"Content-Length: 3\r\n\r\na")
        while not (book.asked and book.rooms.held):  # noqa: ASYNC110 the server runs in this loop
            await asyncio.sleep(0)
        stopping = asyncio.create_task(port.server.stop(0.5))
        assert await resting.rest() == b""
        with pytest.raises(ConnectionError):
            await port.line()
        book.may.set()
        status, headers, body = await busy.reply()
        assert (status, headers["connection"], body) == (200, "close", b"/busy")
        assert await stalled.rest() == b""
        await stopping
    assert book.rooms.held == 0


async def test_who_does_not_read_is_cut_off() -> None:
    """Answers that their caller leaves unread do not pile up."""
    for unread, answered in ((64 * 1024, 4), (64 * 1024 + 1, 0)):
        book, wire = await fed([TALK], unread)
        assert (wire.written.count(b"HTTP/1.1 200"), wire.closed, book.rooms.held) == (answered, True, 0)

"""The proxy between a process and a broker: it passes on, cuts, holds, slows and heals."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.links import links
from tests.chaos.proxy import Proxy


@pytest_asyncio.fixture(loop_scope="session")
async def echo() -> AsyncIterator[int]:
    """Run a server that says everything again; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1000):
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def ask(port: int, text: bytes, seconds: float = 5.0) -> bytes:
    """Say something and hear what comes back; nothing if the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        async with asyncio.timeout(seconds):
            return await reader.read(1000)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_it_passes_on_and_cuts_and_heals(echo: int) -> None:
    """What is said comes back; while it is cut connections end, old and new; then it is as before."""
    async with Proxy(echo) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await reader.read(10) == b"one"

        await proxy.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert await ask(proxy.port, b"two") == b""

        proxy.heal()
        assert await ask(proxy.port, b"three") == b"three"
        writer.close()


async def test_it_holds_without_ending_the_connection(echo: int) -> None:
    """What was said while it held arrives once it is healed, as after lost packets."""
    async with Proxy(echo) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.hold()
        writer.write(b"late")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(10), 0.3)
        proxy.heal()
        assert await asyncio.wait_for(reader.read(10), 5.0) == b"late"
        writer.close()


async def test_it_slows(echo: int) -> None:
    """Each direction takes the delay once."""
    async with Proxy(echo) as proxy:
        proxy.delay = 0.1
        began = time.monotonic()
        assert await ask(proxy.port, b"slow") == b"slow"
        assert time.monotonic() - began >= 0.2


async def test_it_leads_past_who_is_away(echo: int) -> None:
    """With several behind it the next one is asked where one does not answer; with none the caller is cut."""
    async with Proxy() as gone:
        nobody = gone.port
    async with Proxy(nobody, echo) as proxy:
        assert [await ask(proxy.port, b"hello") for _ in range(4)] == [b"hello"] * 4
    async with Proxy(nobody) as proxy:
        assert await ask(proxy.port, b"hello") == b""


async def test_a_process_of_proxies_does_the_same(echo: int) -> None:
    """Orders reach proxies of another process: opened, cut, held, slowed, healed."""
    async with links() as network:
        one, other = await network.lead([echo]), await network.lead([echo])
        assert await ask(one.port, b"one") == b"one"
        await one.cut()
        assert await ask(one.port, b"two") == b""
        assert await ask(other.port, b"three") == b"three"
        await one.heal()
        assert await ask(one.port, b"four") == b"four"
        await one.hold()
        with pytest.raises(TimeoutError):
            await ask(one.port, b"five", 0.3)
        await one.heal()
        await one.slow(0.1)
        began = time.monotonic()
        assert await ask(one.port, b"six") == b"six"
        assert time.monotonic() - began >= 0.2

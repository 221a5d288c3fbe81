"""A small TCP proxy that can be told to cut, to hold and to slow what goes through it."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self

_CHUNK = 256 * 1024


class Proxy:
    """Listens on a port of the loopback and passes on to the first of `upstreams` that answers, in turn.

    `cut` ends every connection and takes none until `heal`; `held` keeps them open and passes nothing on;
    `delay` is what each piece waits, in seconds, in each direction.
    """

    def __init__(self, *upstreams: int, port: int = 0) -> None:
        self._upstreams, self.port = list(upstreams), port
        self.held, self.delay, self._cut = asyncio.Event(), 0.0, False
        self.held.set()
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await self._end()

    async def cut(self) -> None:
        """End every connection, and every new one at once."""
        self._cut = True
        await self._end()

    def hold(self) -> None:
        """Pass nothing on, as if packets were dropped."""
        self.held.clear()

    def heal(self) -> None:
        """Pass everything on again."""
        self._cut, self.delay = False, 0.0
        self.held.set()

    async def _end(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await self._serve(reader, writer)
        self._open.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outward: asyncio.StreamWriter | None = None
        try:
            if self._cut:
                return
            inward, outward = await self._connect()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, outward))
                group.create_task(self._pump(inward, writer))
        except* (OSError, EOFError):
            pass
        finally:
            for one in (writer, outward):
                if one is not None:
                    one.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for port in self._order():
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError

    def _order(self) -> Sequence[int]:
        self._turn += 1
        at = self._turn % len(self._upstreams)
        return self._upstreams[at:] + self._upstreams[:at]

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(_CHUNK):
            if self.delay:
                await asyncio.sleep(self.delay)
            await self.held.wait()
            sink.write(piece)
            await sink.drain()
        # One end hung up: so does the other, as nothing of ours half-closes.
        raise EOFError

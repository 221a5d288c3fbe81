"""All proxies of a run, in a process of their own: what tenants and judge do must not slow the network.

`python -m tests.chaos.links` reads one order a line (JSON) from its standard input and answers each with a
line; it ends with its input.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from tests.chaos.proxy import Proxy

_ROOT = Path(__file__).parents[2]
_ANSWER_SECONDS = 30.0


class Wire:
    """The orders to the process, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process, self._turn = process, asyncio.Lock()

    async def ask(self, **order: Any) -> Any:
        """Send an order and wait for its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        async with self._turn, asyncio.timeout(_ANSWER_SECONDS):
            stdin.write(json.dumps(order).encode() + b"\n")
            await stdin.drain()
            return json.loads(await stdout.readline())


class Link:
    """One proxy; `port` is where it listens."""

    def __init__(self, wire: Wire, number: int, port: int) -> None:
        self._wire, self._number, self.port = wire, number, port

    async def cut(self) -> None:
        """End every connection, and every new one at once."""
        await self._wire.ask(to=self._number, do="cut")

    async def hold(self) -> None:
        """Pass nothing on, as if packets were dropped."""
        await self._wire.ask(to=self._number, do="hold")

    async def slow(self, seconds: float) -> None:
        """Let each piece wait, in each direction."""
        await self._wire.ask(to=self._number, do="slow", seconds=seconds)

    async def heal(self) -> None:
        """Pass everything on again."""
        await self._wire.ask(to=self._number, do="heal")


class Links:
    """Makes proxies while the process lasts."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def lead(self, upstreams: Sequence[int], port: int = 0) -> Link:
        """Make a proxy on a port (0: any) to the first of these that answers, in turn."""
        told = await self._wire.ask(to=-1, do="open", upstreams=list(upstreams), port=port)
        return Link(self._wire, told["number"], told["port"])


@asynccontextmanager
async def links() -> AsyncIterator[Links]:
    """Run the process while the block lasts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.links", cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Links(Wire(process))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def obey() -> None:
    """Do what standard input says until it ends."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    proxies: list[Proxy] = []
    async with AsyncExitStack() as stack:
        while line := await reader.readline():
            order = json.loads(line)
            answer: dict[str, int] = {}
            if order["do"] == "open":
                made = await stack.enter_async_context(Proxy(*order["upstreams"], port=order["port"]))
                proxies.append(made)
                answer = {"number": len(proxies) - 1, "port": made.port}
            else:
                await _done(proxies[order["to"]], order)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


async def _done(proxy: Proxy, order: dict[str, Any]) -> None:
    match order["do"]:
        case "cut":
            await proxy.cut()
        case "hold":
            proxy.hold()
        case "slow":
            proxy.delay = order["seconds"]
        case _:
            proxy.heal()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(obey())

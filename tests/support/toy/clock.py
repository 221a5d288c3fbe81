"""A clock for tests: time passes only when everyone waits."""

import asyncio
import heapq
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


class TestClock:
    """Monotonic seconds that jump to the next sleeper's end."""

    __test__ = False

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def time(self) -> float:
        """Tell the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has been moved on."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), next(self._numbers), woken))
        await woken

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        for _ in range(12):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move the time on, waking each sleeper at its moment."""
        end = self.now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self.now = max(self.now, at)
            woken.set_result(None)
            await self.settle()
        self.now = end

    async def drive(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work that waits on this clock alone, skipping over the waiting."""
        task = asyncio.ensure_future(work)
        await self.settle()
        while not task.done():
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if not self._sleepers:
                await asyncio.sleep(0.001)  # a socket is at work
                continue
            await self.advance(max(0.0, self._sleepers[0][0] - self.now))
        return task.result()

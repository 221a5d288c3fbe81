"""The calls to event hooks: the challenge, and events with one retry (event hooks concept page)."""

import asyncio
import json
import secrets
import ssl
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import aiohttp

from sandbox.okta import ids
from sandbox.okta.eligible import ELIGIBLE
from sandbox.okta.hooks import Hook, Hooks
from sandbox.okta.people import DAY

Json: TypeAlias = Any
TIMEOUT, MOST_AT_ONCE, QUOTA = 3.0, 50, 400_000


class Delivery(NamedTuple):
    """One attempt; `status` 0 stands for no answer in time, -1 for a delivery that was lost on purpose."""

    hook: str
    batch: str
    uuids: tuple[str, ...]
    attempt: int
    status: int
    at: float


class Deliveries:
    """Events on their way. `quota` is how many a day are sent, `timeout` how long an answer may take (s)."""

    def __init__(self, hooks: Hooks, now: Callable[[], float]) -> None:
        self._hooks, self._now = hooks, now
        self.timeout, self.quota = TIMEOUT, QUOTA
        self.trust: ssl.SSLContext | None = None
        self.sent: deque[Delivery] = deque(maxlen=100_000)
        self.failed: Callable[[Hook, int], None] = lambda _hook, _status: None
        self.url = ""
        self._waiting: dict[str, list[Json]] = {}
        self._lose = self._repeat = self._used = 0
        self._day = 0.0
        self._busy = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._count = count(1)

    def lose(self, batches: int = 1) -> None:
        """Let the next batches never arrive."""
        self._lose += batches

    def repeat(self, batches: int = 1) -> None:
        """Let the next batches arrive twice."""
        self._repeat += batches

    def put(self, event: Json) -> None:
        """Queue an event for the hooks that want it; beyond the day's quota it is forgotten."""
        if event["eventType"] not in ELIGIBLE:
            return
        for hook in self._hooks.of(event):
            now = self._now()
            if now >= self._day + DAY:
                self._day, self._used = now, 0
            if self._used < self.quota:
                self._used += 1
                self._waiting.setdefault(hook.shown["id"], []).append(event)

    async def flush(self) -> int:
        """Send what waits, several events in a request; how many requests there were."""
        async with self._busy:
            waiting, self._waiting = self._waiting, {}
            batches = [
                (self._hooks.all[key], events[start : start + MOST_AT_ONCE])
                for key, events in waiting.items()
                if key in self._hooks.all
                for start in range(0, len(events), MOST_AT_ONCE)
            ]
            await asyncio.gather(*(self._send(hook, events) for hook, events in batches))
            return len(batches)

    async def _send(self, hook: Hook, events: list[Json]) -> None:
        batch, uuids = str(uuid4()), tuple(one["uuid"] for one in events)
        if self._lose > 0:
            self._lose -= 1
            self.sent.append(Delivery(hook.shown["id"], batch, uuids, 1, -1, self._now()))
            return
        times, self._repeat = (2, self._repeat - 1) if self._repeat > 0 else (1, self._repeat)
        body = {
            "eventType": "com.okta.event_hook", "eventTypeVersion": "1.0", "cloudEventsVersion": "0.1",
            "contentType": "application/json", "eventId": batch, "eventTime": ids.stamp(self._now()),
            "source": f"{self.url}/api/v1/eventHooks/{hook.shown['id']}", "data": {"events": events},
        }  # fmt: skip
        status = 0
        for _ in range(times):
            for attempt in (1, 2):
                status = await self._post(hook, body)
                self.sent.append(Delivery(hook.shown["id"], batch, uuids, attempt, status, self._now()))
                if 200 <= status < 500:
                    break
        if status not in {200, 204}:
            self.failed(hook, status)

    async def _post(self, hook: Hook, body: Json) -> int:
        headers = {**hook.headers(), "Content-Type": "application/json"}
        try:
            async with self._client().post(
                hook.shown["channel"]["config"]["uri"], data=json.dumps(body), headers=headers,
                allow_redirects=False,
            ) as answer:  # fmt: skip
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def verify(self, hook: Hook) -> bool:
        """Challenge the address, twice at most; whether it gave the value back."""
        for _ in range(2):
            value = secrets.token_urlsafe(24)
            headers = {**hook.headers(), "x-okta-verification-challenge": value}
            try:
                async with self._client().get(
                    hook.shown["channel"]["config"]["uri"], headers=headers, allow_redirects=False
                ) as answer:
                    told = await answer.json(content_type=None)
                    return bool(
                        answer.status == 200 and isinstance(told, dict) and told.get("verification") == value
                    )
            except ValueError:
                return False
            except (aiohttp.ClientError, TimeoutError):
                continue
        return False

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(ssl=True if self.trust is None else self.trust)
            wait = aiohttp.ClientTimeout(total=self.timeout)
            self._session = aiohttp.ClientSession(connector=connector, timeout=wait)
        return self._session

    async def close(self) -> None:
        """End the client."""
        if self._session is not None:
            await self._session.close()

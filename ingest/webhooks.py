"""The one receiver of what providers push: handshake, verification, a durable record, then the answer.

The address of a hook is `/v1/{provider}/{hook}/{id}`; the id is the registration's, and nobody can guess it.
What is not ours to take gets one and the same answer, whatever was wrong with it. Success is told only after
Kafka has the delivery; when it can't be stored the provider is asked to send it again (503: several providers
never repeat after a 4xx), and the feeds that would find it as well are nudged once Kafka is back.
"""

import asyncio
import hmac
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qsl

import structlog
from msgspec.json import Encoder
from prometheus_client import Histogram

from ingest import metrics
from ingest.config import Config, ConfigError
from ingest.producing import Outgoing
from ingest.publickeys import Fetch, PublicKeys, UnfetchedError
from ingest.push import LARGEST, Answer, Delivery
from ingest.registrations import Registry, Route
from ingest.serving import DEFAULTS, Failure, Limits, Request, Room, Server
from ingest.storing import Outcome, Store
from ingest.tasks import ended
from ingest.windows import now_ms
from schemas.control import Inbox, Wish

REFUSED: Final = Answer(410)
TOO_LARGE: Final = Answer(413)
AGAIN: Final = Answer(503, b"", MappingProxyType({"Retry-After": "5"}))
_FAILURES: Final[Mapping[Failure, Answer]] = {
    "no http": Answer(400), "too large": TOO_LARGE, "busy": AGAIN, "broken off": Answer(408),
    "crowded": AGAIN,
}  # fmt: skip
_WAITING_RATE = 8.0
"""Requests a second that may wait for a registration made a moment ago; others are refused at once."""
_STRANGER_BYTES, _STRANGERS_BYTES = 16 * 1024, 4 * 1024 * 1024
"""What is kept of the body at an address not known yet, and of all of them: a handshake may be in it."""
_MOST_AT_ONCE = 1000
_MOST_REMEMBERED = 20_000
_STOP_SECONDS = 2.5
_DUMMY = os.urandom(32)
_ENCODER: Final = Encoder()
_SECONDS = Histogram(
    "sluice_webhook_answer_seconds", "From a request to its answer.", ["provider"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)  # fmt: skip
_log = structlog.get_logger(part="webhooks")
T = TypeVar("T")


class _BusyError(Exception):
    """Nothing more can be fetched just now."""


class _OddError(Exception):
    """A query with more fields than any provider sends."""


class Rates:
    """How many deliveries a second each address takes, with bursts of two seconds' worth."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._left: dict[str, tuple[float, float]] = {}

    def spend(self, address: str) -> bool:
        """Take one; False: there is none left."""
        now = self._clock()
        left, at = self._left.get(address, (2 * self._rate, now))
        left = min(2 * self._rate, left + (now - at) * self._rate)
        if left < 1:
            return False
        self._left[address] = (left - 1, now)
        if len(self._left) > _MOST_REMEMBERED:
            self._left.clear()
        return True


class Receiver:
    """One server; as many as needed may run beside each other, none knows of the others."""

    def __init__(
        self, config: Config, registry: Registry, store: Store, fetch: Fetch, news_seconds: float = 1.0,
        limits: Limits = DEFAULTS,
    ) -> None:  # fmt: skip
        """Keep what it stands on; `news_seconds` is how long a request may wait for its registration."""
        self._config, self._registry, self._store, self._fetch = config, registry, store, fetch
        self._keys, self._rates = PublicKeys(fetch), Rates(config.receive_rate)
        self._news_seconds, self._patience = news_seconds, Rates(_WAITING_RATE)
        self._recent: dict[str, asyncio.Future[Outcome] | None] = {}
        self._at_once: dict[str, int] = {}
        self._missed: dict[str, Route] = {}
        self._some_missed = asyncio.Event()
        self._known = Room(LARGEST, config.in_flight_bytes, strict=True)
        self._strangers = Room(_STRANGER_BYTES, _STRANGERS_BYTES, strict=False)
        self._counts: dict[tuple[str, str], Any] = {}
        self._server = Server(self, limits)
        self.address = ""

    def waiting(self) -> str:
        """Tell why this process is not ready, or nothing."""
        return self._store.away or ("" if self.address else "the receiver does not listen yet")

    async def run(self) -> None:
        """Serve until cancelled; what was accepted until then is finished.

        Raises:
            ConfigError: The address can't be listened on.
            UnreadableError: The registrations can't be read.
            Misconfigured: Kafka refuses the inbox.
        """
        storing = asyncio.create_task(self._store.run())
        nudging = asyncio.create_task(self._nudge())
        try:
            await self._registry.start()
            await self._listen()
            await asyncio.wait({storing, nudging}, return_when=asyncio.FIRST_COMPLETED)
            (storing if storing.done() else nudging).result()
        finally:
            await self._server.stop(_STOP_SECONDS)
            await ended(nudging)
            await ended(storing, _STOP_SECONDS)

    async def _listen(self) -> None:
        config = self._config
        tls = config.receiver_tls
        try:
            port = await self._server.start(config.receive_host, config.receive_port, tls)
        except OSError as error:
            raise ConfigError(
                f"the receiver can't listen on {config.receive_host} port {config.receive_port} "
                f"({error.strerror}): check SLUICE_RECEIVE_HOST and SLUICE_RECEIVE_PORT"
            ) from None
        self.address = f"{'https' if tls else 'http'}://{config.receive_host}:{port}"
        _log.info("receiving", address=self.address)

    def room(self, request: Request) -> Room:
        """Keep bodies for registered addresses; of a stranger's only what a handshake needs."""
        request.known = self._registry.find(*_place(request.target))
        return self._strangers if request.known is None else self._known

    def failed(self, request: Request | None, why: Failure) -> Answer:
        """Count what can't be served; what is too large, or too much, is looked for by the polls."""
        route = cast("Route | None", request.known) if request is not None else None
        if route is not None and why in {"too large", "busy"}:
            self._miss(route)
        began = request.began if request is not None else time.perf_counter()
        self._count(route.wish.provider if route is not None else "", why, began)
        return _FAILURES[why]

    async def answer(self, request: Request) -> Answer:
        """Answer a request, counted as what it was."""
        route = cast("Route | None", request.known)
        provider = route.wish.provider if route else ""
        try:
            answer, outcome, provider = await self._answer(request, route)
        except _BusyError:
            answer, outcome = AGAIN, "busy"
        except _OddError:
            answer, outcome = REFUSED, "refused"
        except Exception as error:  # noqa: BLE001 nothing that a stranger sends may say more than a refusal
            answer, outcome = REFUSED, "failed"
            _log.warning("a request could not be handled", provider=provider, kind=type(error).__name__)
        self._count(provider, outcome, request.began)
        return answer

    def _count(self, provider: str, outcome: str, began: float) -> None:
        counted = self._counts.get((provider, outcome))
        if counted is None:
            made = metrics.webhook_deliveries.labels(provider, outcome), _SECONDS.labels(provider)
            counted = self._counts[provider, outcome] = made
        counted[0].inc()
        counted[1].observe(time.perf_counter() - began)

    async def _answer(self, request: Request, route: Route | None) -> tuple[Answer, str, str]:
        """Decide on a request: what is answered, and what it is counted as."""
        body = bytes(request.body)
        delivery = Delivery(request.method, request.headers, _query(request.target), body, peer=request.peer)
        found = await self._admitted(route, delivery)
        if found is None and (later := await self._learned(_place(request.target), route)) is not None:
            if request.size > len(body):  # not kept, as nobody knew the address yet
                self._miss(later)
                return AGAIN, "busy", later.wish.provider
            found, route = await self._admitted(later, delivery), later
        if found is None or route is None:
            return REFUSED, "refused", ""
        provider = route.wish.provider
        if isinstance(found, Answer):
            return found, "handshake", provider
        scheme = route.scheme
        if len(delivery.body) > scheme.largest:
            self._miss(route)
            return TOO_LARGE, "too large", provider
        if (address := scheme.confirm_address(delivery)) is not None:
            await self._confirm(address)
            return scheme.ok, "confirmed", provider
        names = _told(scheme.instances, delivery)
        routes = [route] if names is None else self._registry.serving(route, names)
        outcomes = [await self._take(one, delivery) for one in routes] or ["unrouted"]
        worst = outcomes[0] if len(outcomes) == 1 else max(outcomes, key=_WORSE.index)
        return _ANSWERS.get(worst) or scheme.ok, worst, provider

    async def _admitted(self, route: Route | None, delivery: Delivery) -> Answer | bool | None:
        """Give the handshake's answer, True: verified, or None: refused."""
        if route is None:
            hmac.compare_digest(hmac.digest(_DUMMY, delivery.body, "sha256"), _DUMMY)
            return None
        scheme, secrets = route.scheme, route.secrets
        if (answer := scheme.handshake(delivery, secrets)) is not None:
            return answer
        if delivery.method not in {"POST", "PUT"}:
            return None
        if (address := scheme.key_address(delivery)) is not None:
            return await self._by_key(route, address, delivery)
        return scheme.verify(delivery, secrets, _no_key, datetime.now(UTC)) or None

    async def _by_key(self, route: Route, address: str, delivery: Delivery) -> bool | None:
        """Verify with a fetched key, and with a newer one if it does not fit."""
        try:
            for anew in (False, True):
                known = {address: await self._keys.get(address, anew=anew)}
                if route.scheme.verify(delivery, route.secrets, known.__getitem__, datetime.now(UTC)):
                    return True
        except UnfetchedError:
            raise _BusyError from None
        return None

    async def _learned(self, place: tuple[str, str, str], known: Route | None) -> Route | None:
        """Wait for what was registered a moment ago: some providers call while they are being asked to.

        Few may: a flood of strangers is refused at once.
        """
        if not place[2] or not self._patience.spend(""):
            return None
        end = time.monotonic() + self._news_seconds
        while (left := end - time.monotonic()) > 0:
            await self._registry.news(left)
            found = self._registry.find(*place)
            if found is not None and found is not known:
                return found
        return None

    async def _confirm(self, address: str) -> None:
        try:
            await self._fetch(address)
        except UnfetchedError:
            raise _BusyError from None

    async def _take(self, route: Route, delivery: Delivery) -> str:
        """Store a verified delivery for its connector's owner, once if its id was met lately."""
        if not route.wish.enabled and route.feeds:
            return "disabled"
        named = _told(route.scheme.delivery_id, delivery)
        # Bodies without an id may repeat for good reason: only the owner can tell.
        known = f"{route.id}/{named}" if named else ""
        if known in self._recent:
            under_way = self._recent[known]
            outcome = "stored" if under_way is None else await asyncio.shield(under_way)
            return "repeated" if outcome == "stored" else outcome
        if self._at_once.get(route.id, 0) >= _MOST_AT_ONCE or not self._rates.spend(route.id):
            self._miss(route)
            return "limited"
        future = self._store.put(record(route, delivery, named))
        if future is None:
            self._miss(route)
            return "late"
        self._at_once[route.id] = self._at_once.get(route.id, 0) + 1
        if known:
            self._recent[known] = future
        outcome = "late"
        try:
            outcome = await future
        finally:
            self._done(route, known, outcome)
        return outcome

    def _done(self, route: Route, known: str, outcome: Outcome) -> None:
        self._at_once[route.id] -= 1
        if not self._at_once[route.id]:
            del self._at_once[route.id]
        if outcome != "stored":
            self._recent.pop(known, None)
            self._miss(route)
        elif known:
            self._recent[known] = None
            if len(self._recent) > _MOST_REMEMBERED:
                del self._recent[next(iter(self._recent))]

    def _miss(self, route: Route) -> None:
        if route.feeds:
            self._missed[route.id] = route
            self._some_missed.set()

    async def _nudge(self) -> None:
        """Have what could not be taken looked for by the polls, once Kafka is there."""
        while True:
            await self._some_missed.wait()
            await asyncio.sleep(1.0)
            if self._store.away:
                continue
            missed, self._missed = self._missed, {}
            self._some_missed.clear()
            for route in missed.values():
                for feed in route.feeds:
                    future = self._store.put(_nudging(route.wish, feed))
                    if future is None or await future != "stored":
                        self._miss(route)


def _query(target: str) -> dict[str, str]:
    query = target.partition("?")[2]
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=100)) if query else {}
    except ValueError:
        raise _OddError from None


def _nudging(wish: Wish, feed: str) -> Outgoing:
    nudge = Inbox(kind="nudge", connector=wish.name, incarnation=wish.incarnation, at=now_ms(), feed=feed)
    return Outgoing("inbox", wish.partition, wish.name.encode(), nudge.dump())


_WORSE: Final = ("unrouted", "disabled", "repeated", "stored", "refused", "limited", "late")
_ANSWERS: Final[Mapping[str, Answer]] = {"refused": TOO_LARGE, "limited": AGAIN, "late": AGAIN}


def record(route: Route, delivery: Delivery, named: str | None) -> Outgoing:
    """Make the inbox record of a delivery, as `schemas.control.Inbox` reads it.

    Written by hand: the model's own way costs more than everything else that is done with a delivery. The
    encoder writes bytes as base64.
    """
    wish = route.wish
    headers = dict(delivery.headers)
    for name in route.scheme.conceals:
        headers.pop(name, None)
    document = {
        "v": 1, "kind": "delivery", "connector": wish.name, "incarnation": wish.incarnation, "at": now_ms(),
        "hook": route.hook.name, "axis": route.registration.axis, "method": delivery.method,
        "headers": headers, "query": delivery.query, "body": delivery.body,
        "delivery_id": named or blake2b(delivery.body, digest_size=16).hexdigest(),
    }  # fmt: skip
    try:
        value = _ENCODER.encode(document)
    except UnicodeEncodeError:  # bytes that are no UTF-8
        document |= {"headers": _clean(headers), "query": _clean(delivery.query)}
        document["delivery_id"] = _clean({"": str(document["delivery_id"])})[""]
        value = _ENCODER.encode(document)
    return Outgoing("inbox", wish.partition, wish.name.encode(), value)


def _clean(texts: Mapping[str, str]) -> dict[str, str]:
    def clean(text: str) -> str:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    return {clean(name): clean(text) for name, text in texts.items()}


def _place(target: str) -> tuple[str, str, str]:
    """Read provider, hook and id of an address of ours."""
    parts = target.partition("?")[0].split("/")
    return (parts[2], parts[3], parts[4]) if len(parts) == 5 and parts[1] == "v1" else ("", "", "")


def _told(ask: Callable[[Delivery], T], delivery: Delivery) -> T | None:
    """Ask a scheme about a verified delivery; a body it stumbles over is stored all the same."""
    try:
        return ask(delivery)
    except Exception as error:  # noqa: BLE001 the provider's code, on what the provider sent
        _log.warning("a delivery can't be told apart", kind=type(error).__name__)
        return None


def _no_key(address: str) -> bytes:
    del address
    return b""

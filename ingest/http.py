"""The one HTTP client: it signs, paces, retries within reason, judges replies, keeps secrets to itself.

A reply is judged by `Provider.ruling` first, then by its status (`ingest.judging`). A ruling of Retry or
SignInAgain holds for a status in `ok` too; any other gives way to `ok`. What asks for patience (a Retry with
a time, a bucket or everywhere; a Retry-After; a 429) pauses the budget it concerns, for everyone.

Retry is repeated here, with full jitter, for a minute and five attempts at most (in the governance lane for
five seconds, because an intent to act is no older), and then handed to the caller.
"""

import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import aiohttp
import orjson
from yarl import URL

from ingest.acts import Content
from ingest.apis import NONE, Api, Cost, Json, Reply, Signed, Static, Text
from ingest.bodies import NotJsonError, address, content_of, faults_as_retry, parsed, read, serves
from ingest.errors import Misconfigured, Refused, Retry, SignInAgain, SourceError
from ingest.judging import by_status, unusable
from ingest.outward import open_session, proxy_for
from ingest.pace import Pace, Spent, lane, retry_after
from ingest.provider import Provider
from ingest.signin import Tokens
from ingest.token_endpoint import scrubbed

__all__ = ["LARGEST", "LARGEST_STREAM", "Client", "HiddenError", "Meter", "Silent", "open_session"]

LARGEST: Final = 64 << 20
"""Bytes of a reply that is held in memory."""
LARGEST_STREAM: Final = 16 << 30
ATTEMPTS: Final = 5
PATIENCE: Final = 60.0
PATIENCE_TO_ACT: Final = 5.0
_REDIRECTS: Final = 5
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_PRIVATE: Final = frozenset({"authorization", "cookie"})
_ENDLESS: Final = aiohttp.ClientTimeout(total=None, connect=15, sock_read=30)
_SDK_FAULTS: Final = (aiohttp.ClientError, TimeoutError, ConnectionError, socket.gaierror)
T = TypeVar("T")


class Meter(Protocol):
    """Counts what the client does."""

    def called(self, provider: str, api: str, operation: str, outcome: str, seconds: float) -> None:
        """Count an attempt: its outcome is `ok` or the name of our error in lower case."""
        ...

    def throttled(self, provider: str, api: str, bucket: str) -> None:
        """Count a reply that asked for patience."""
        ...

    def waited(self, provider: str, seconds: float) -> None:
        """Note how long a call waited for its budget."""
        ...

    def remaining(self, provider: str, bucket: str, ratio: float) -> None:
        """Note what is left of a bucket, 0 to 1."""
        ...


class Silent:
    """Counts nothing."""

    def called(self, provider: str, api: str, operation: str, outcome: str, seconds: float) -> None:
        """Ignore it."""

    def throttled(self, provider: str, api: str, bucket: str) -> None:
        """Ignore it."""

    def waited(self, provider: str, seconds: float) -> None:
        """Ignore it."""

    def remaining(self, provider: str, bucket: str, ratio: float) -> None:
        """Ignore it."""


class HiddenError(Exception):
    """What an SDK raised, by its type and cleaned text: the cause of our own error."""


class _Request(NamedTuple):
    api: str
    method: str
    url: URL
    acting_as: str | None
    axis: str
    cost: Cost
    headers: Text
    body: bytes
    ok: Sequence[int]

    def __str__(self) -> str:
        return f"{self.method} {self.url.host}{scrubbed(self.url.path)}"


class _ProveAgain(Exception):
    """A nonce is asked for in our proof of possession: the call is repeated with it, once."""


class _Attempt:
    """What an attempt used and was told, for the judgement of its failure."""

    def __init__(self, *, nonced: bool = False) -> None:
        self.spent = Spent(0.0, {}, {})
        self.signed: Text = NONE
        self.told: Text = NONE
        self.nonced, self.fresh_nonce = nonced, False


class Client:
    """The `Http` of one connector, which it makes with its provider."""

    def __init__(
        self,
        provider: Provider[Any],
        session: aiohttp.ClientSession,
        pace: Pace,
        tokens: Tokens | None = None,
        meter: Meter | None = None,
        *,
        largest: int = LARGEST,
        largest_stream: int = LARGEST_STREAM,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._provider, self._session, self._pace = provider, session, pace
        self._tokens = tokens or Tokens(session, clock=pace.clock, now=now)
        self._meter: Meter = meter or Silent()
        self._largest, self._largest_stream = largest, largest_stream
        self._jitter, self._now = jitter, now

    @cached_property
    def _apis(self) -> Mapping[str, Api]:
        apis, endpoints = self._provider.apis(), self._provider.settings.endpoints
        sdk = any(isinstance(api.auth, Signed) for api in apis.values())  # which knows more names than we
        if not sdk and (unknown := sorted(set(endpoints) - set(apis))):
            raise Misconfigured(f"endpoints names {unknown[0]!r}; there are {', '.join(sorted(apis))}")
        return {name: api._replace(base=endpoints.get(name, api.base)) for name, api in apis.items()}

    async def close(self) -> None:
        """Let a renewal of tokens that is under way come to its end."""
        await self._tokens.close()

    async def call(
        self,
        api: str,
        method: str,
        path: str,
        *,
        acting_as: str | None = None,
        axis: str = "",
        cost: Cost = 1,
        params: Mapping[str, Json] = MappingProxyType({}),
        json: Json = None,
        data: bytes = b"",
        headers: Text = NONE,
        ok: Sequence[int] = (),
    ) -> Reply:
        """Make one call; statuses in `ok` come back like a success. Parameters that are None are left out.

        `path` is joined to the api's base, or is an address of one of the provider's apis, as links are.
        With `If-None-Match` in `headers` and 304 in `ok`, what has not changed comes back as a 304 (see
        `ingest.paging.Unchanged`). It is taken back from the buckets whose rest it tells (`Provider.quota`):
        there the provider's own count is the true one, whether it counts a 304 or not.
        """
        body = data if json is None else orjson.dumps(json)
        typed = {} if json is None else {"Content-Type": "application/json"}
        url = address(self._api(api).base, path, params, self._bases())
        sent = {"Accept": "application/json", **typed, **headers}
        request = _Request(api, method, url, acting_as, axis, cost, sent, body, ok)

        async def once(attempt: _Attempt) -> Reply:
            async with self._spend(request, attempt), self._opened(request, attempt) as answer:
                return self._judged(request, attempt, answer, await read(answer, self._largest))

        return await self._patiently(request, once)

    @asynccontextmanager
    async def stream(
        self,
        api: str,
        method: str,
        path: str,
        *,
        acting_as: str | None = None,
        axis: str = "",
        cost: Cost = 1,
        headers: Text = NONE,
    ) -> AsyncIterator[Content]:
        """Open a body that is read piece by piece; only the opening is retried, what breaks later is a Retry.

        `version` is the ETag, where there is one.
        """
        url = address(self._api(api).base, path, {}, self._bases())
        # The size announced is then the file's, and nothing swells while it is read.
        sent = {"Accept-Encoding": "identity", **headers}
        request = _Request(api, method, url, acting_as, axis, cost, sent, b"", ())

        async def once(attempt: _Attempt) -> tuple[aiohttp.ClientResponse, AsyncExitStack]:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._spend(request, attempt))
                answer = await stack.enter_async_context(self._opened(request, attempt, _ENDLESS))
                if not 200 <= answer.status < 300:
                    self._judged(request, attempt, answer, await read(answer, 1 << 20))
                return answer, stack.pop_all()

        answer, stack = await self._patiently(request, once)
        try:
            yield content_of(answer, self._largest_stream, str(request))
        except SourceError as error:
            await stack.__aexit__(type(error), error, error.__traceback__)
            raise
        finally:
            # The reader's own errors are none of the call's.
            await stack.aclose()

    @asynccontextmanager
    async def paced(
        self, api: str, *, acting_as: str | None = None, axis: str = "", cost: Cost = 1, operation: str = ""
    ) -> AsyncIterator[str]:
        """Spend, time and count one SDK call; what it raises is translated by `Provider.raised`.

        Yields the token the api is signed in with, for the SDK to send; empty where the SDK signs by itself.
        A SignInAgain drops it. Time-outs and lost connections that the provider does not translate become
        Retry.
        """
        auth, signed = self._api(api).auth, NONE
        spending = self._pace.spend(api, self._api(api).limits, cost, acting_as=acting_as, axis=axis)
        async with spending as spent:
            self._waited(spent)
            with self._counted(api, operation or "sdk"):
                try:
                    signed = await self._tokens.headers(auth, acting_as)
                    bearer = signed.get("Authorization", "").partition(" ")[2]
                    yield auth.value if isinstance(auth, Static) else bearer
                except Exception as error:
                    ours = self._translated(error, f"{api} {operation}".strip())
                    if isinstance(ours, Retry):
                        self._hold(api, spent, ours)
                    if isinstance(ours, SignInAgain):
                        self._tokens.refused(auth, acting_as, signed)
                    if ours is None or ours is error:
                        raise
                    raise ours from HiddenError(f"{type(error).__name__}: {self._clean(str(error))}")

    def _translated(self, error: Exception, what: str) -> Exception | None:
        if isinstance(error, SourceError):
            return error
        ours = self._provider.raised(error)
        if ours is None and isinstance(error, _SDK_FAULTS):
            return Retry(f"{what}: {type(error).__name__}")
        return ours

    def _api(self, name: str) -> Api:
        api = self._apis.get(name)
        if api is None:
            raise Misconfigured(f"{self._provider.name} declares no api {name!r}")
        return api

    @asynccontextmanager
    async def _spend(self, request: _Request, attempt: _Attempt) -> AsyncIterator[None]:
        limits = self._apis[request.api].limits
        spending = self._pace.spend(
            request.api, limits, request.cost, acting_as=request.acting_as, axis=request.axis
        )
        async with spending as attempt.spent:
            self._waited(attempt.spent)
            with self._counted(request.api, request.method), faults_as_retry(str(request)):
                yield

    def _waited(self, spent: Spent) -> None:
        self._meter.waited(self._provider.name, spent.waited)
        for bucket, cell in spent.cells.items():
            self._meter.remaining(self._provider.name, bucket, cell.part(self._pace.clock.time()))

    @contextmanager
    def _counted(self, api: str, operation: str) -> Iterator[None]:
        began, outcome = self._pace.clock.time(), "ok"
        try:
            yield
        except BaseException as error:
            outcome = type(error).__name__.lower() if isinstance(error, SourceError) else "error"
            raise
        finally:
            seconds = self._pace.clock.time() - began
            self._meter.called(self._provider.name, api, operation, outcome, seconds)

    @asynccontextmanager
    async def _opened(
        self, request: _Request, attempt: _Attempt, bounds: aiohttp.ClientTimeout | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and follow it to where the provider moved it, on its own hosts only."""
        more: dict[str, Any] = {} if bounds is None else {"timeout": bounds}
        hop = request
        for _ in range(_REDIRECTS):
            headers = await self._signed(hop, attempt)
            async with self._session.request(
                hop.method, hop.url, data=hop.body or None, headers=headers, allow_redirects=False,
                proxy=proxy_for(hop.url), **more,
            ) as answer:  # fmt: skip
                attempt.told = _lowered(answer)
                heard = self._tokens.heard(str(hop.url), attempt.told)
                attempt.fresh_nonce = heard and "DPoP" in headers
                onward = self._onward(hop, answer)
                if onward is None:
                    yield answer
                    return
            hop = onward
        raise Refused(f"{request}: redirected more than {_REDIRECTS} times")

    async def _signed(self, hop: _Request, attempt: _Attempt) -> Text:
        """Sign for hosts of this api and of those that share its sign-in; others get no credentials."""
        auth = self._apis[hop.api].auth
        if any(api.auth == auth and serves(api.base, hop.url) for api in self._apis.values()):
            attempt.signed = await self._tokens.headers(auth, hop.acting_as, hop.method, str(hop.url))
            return {**hop.headers, **attempt.signed}
        return {name: value for name, value in hop.headers.items() if name.lower() not in _PRIVATE}

    def _onward(self, hop: _Request, answer: aiohttp.ClientResponse) -> _Request | None:
        where = answer.headers.get("Location", "")
        if answer.status not in _MOVED or answer.status in hop.ok or not where:
            return None
        url = address("", str(hop.url.join(URL(where))), {}, self._bases())
        if answer.status == 303 and hop.method != "HEAD":
            return hop._replace(method="GET", url=url, body=b"")
        if answer.status in {301, 302} and hop.method not in {"GET", "HEAD"}:
            raise Refused(f"{hop}: moved to {url.host}; set endpoints to the new address")
        return hop._replace(url=url)

    def _judged(
        self, request: _Request, attempt: _Attempt, answer: aiohttp.ClientResponse, raw: bytes
    ) -> Reply:
        if attempt.fresh_nonce and not attempt.nonced and answer.status in {400, 401}:
            raise _ProveAgain
        reply, broken = _reply(answer, attempt.told, raw)
        error = self._ruled(attempt, reply)
        if reply.status in request.ok and not isinstance(error, Retry | SignInAgain):
            return reply
        if error is None and 200 <= reply.status < 300:
            accept = request.headers.get("Accept", "")
            error = unusable(str(request), request.method, accept, reply, broken=broken)
            if error is None:
                return reply
        error = error or by_status(str(request), reply)
        if isinstance(error, Retry):
            if error.after is None:
                error.after = retry_after(reply.headers, self._now())
            self._hold(request.api, attempt.spent, error, throttled=reply.status == 429)
        error.args = tuple(self._clean(one, request) if isinstance(one, str) else one for one in error.args)
        raise error

    def _ruled(self, attempt: _Attempt, reply: Reply) -> Exception | None:
        """Ask the provider's dialect; a reply it can't even read is judged by its status."""
        try:
            told = self._provider.quota(reply)
            if reply.status == 304:
                _take_back(attempt.spent, told)
            self._pace.heed(attempt.spent, told)
            return self._provider.ruling(reply)
        except (LookupError, TypeError, ValueError, AttributeError):
            return None

    def _hold(self, api: str, spent: Spent, error: Retry, *, throttled: bool = False) -> None:
        """Pause what a reply says is exhausted: everything, the bucket it names, the only one, or the api."""
        if not (throttled or error.bucket or error.everywhere or error.after is not None):
            return
        if error.after is None:
            error.after = 1 + 4 * self._jitter()
        bucket = error.bucket or (next(iter(spent.cells)) if len(spent.cells) == 1 else "")
        self._meter.throttled(self._provider.name, api, bucket)
        if error.everywhere:
            self._pace.pause(error.after)
        else:
            self._pace.pause(error.after, api, bucket, spent)

    async def _patiently(self, request: _Request, once: Callable[[_Attempt], Awaitable[T]]) -> T:
        clock, again, nonced = self._pace.clock, False, False
        patience = PATIENCE_TO_ACT if lane.get() == "governance" else PATIENCE
        began, number = clock.time(), 0
        while True:
            number += 1
            attempt = _Attempt(nonced=nonced)
            try:
                return await once(attempt)
            except _ProveAgain:
                nonced = True
            except SignInAgain:
                auth = self._apis[request.api].auth
                if again or not self._tokens.refused(auth, request.acting_as, attempt.signed, attempt.told):
                    raise Misconfigured(
                        f"{request}: the sign-in is refused (401): check the credentials and their scopes"
                    ) from None
                again = True
            except Retry as error:
                wait = error.after
                if wait is None:
                    wait = self._jitter() * min(20.0, 0.5 * 2**number)
                if number >= ATTEMPTS or clock.time() - began + wait > patience:
                    raise
                await clock.sleep(wait)

    def _clean(self, text: str, request: _Request | None = None) -> str:
        given = [value.split(" ", 1)[-1] for value in request.headers.values()] if request else []
        auths = [api.auth for api in self._apis.values()]
        static = [auth.value for auth in auths if isinstance(auth, Static)]
        return scrubbed(text, [*self._tokens.secrets(), *static, *(one for one in given if len(one) >= 16)])

    def _bases(self) -> list[str]:
        return [api.base for api in self._apis.values()]


def _take_back(spent: Spent, buckets: Iterable[str]) -> None:
    for bucket in buckets:
        cell = spent.cells.get(bucket)
        if cell is not None and cell.limit is not None and cell.log:
            units = min(spent.costs[bucket], cell.log[-1][1])
            cell.log[-1][1] -= units
            cell.used -= units
            cell.smooth_at -= units * cell.limit.per / cell.limit.n


def _lowered(answer: aiohttp.ClientResponse) -> Text:
    return {name.lower(): ", ".join(answer.headers.getall(name)) for name in answer.headers}


def _reply(answer: aiohttp.ClientResponse, headers: Text, raw: bytes) -> tuple[Reply, bool]:
    """Make a reply, and say whether it is broken."""
    media_type = answer.content_type if "Content-Type" in answer.headers else ""
    try:
        return Reply(answer.status, headers, raw, parsed(media_type, raw)), False
    except NotJsonError:
        return Reply(answer.status, headers, raw), True

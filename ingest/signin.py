"""Signing in: one token per sign-in and principal, renewed before it runs out, never fetched twice at once.

The ways are those of `ingest.apis`. A consent's tokens live in custody: with single-use refresh tokens the
intent to use one is durable before the call, and the new one before it is used. Sources: RFC 6749, RFC 7523.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol, TypeAlias
from uuid import uuid4

import aiohttp
import jwt
import orjson
from yarl import URL

from ingest.apis import NONE, Auth, ClientCredentials, Consent, Json, JwtBearer, Signed, Static, Text
from ingest.errors import Misconfigured, Missing, NotAllowed, Retry
from ingest.pace import Clock, LoopClock, retry_after

SKEW: Final = 30.0
"""Seconds before its end from which a token is not used any more."""
_RENEW_AT: Final = 0.8
_PAUSE_AFTER_FAILURE: Final = 10.0
_INTENT_HOLDS: Final = 5.0
_LARGEST: Final = 1 << 20
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=10)
_JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_CLIENT: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_PASSING: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down", "too_many_requests"})


@dataclass(frozen=True)
class TokenSet:
    """What a token endpoint gave; times are seconds since 1970, `expires_at` is infinite if unsaid."""

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    obtained_at: float = 0.0
    expires_at: float = math.inf


class Custody(Protocol):
    """Keeps a consent's tokens; each method returns once its effect is durable, and raises otherwise."""

    async def load(self) -> TokenSet | None:
        """Read the newest tokens; None: nobody has consented yet."""
        ...

    async def intend(self, tokens: TokenSet) -> None:
        """Note that these tokens' refresh token is about to be used up."""
        ...

    async def save(self, tokens: TokenSet) -> None:
        """Store what came of it; retries by itself until that is in."""
        ...


class TokenRefusedError(Exception):
    """A token endpoint's refusal, by its OAuth error code."""

    def __init__(self, code: str, told: str, offset: float) -> None:
        super().__init__(told)
        self.code, self.offset = code, offset


def scrubbed(text: str, secrets: Iterable[str] = ()) -> str:
    """Make foreign text fit for a message: no known secret, no query values, no control characters, short."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    text = re.sub(r"(?i)\b(bearer|basic|token)\s+\S+", r"\1 ***", text)
    text = re.sub(r"([?&;][\w.~%-]+=)[^&\s\"']+", r"\1***", text)
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:300]


@dataclass(slots=True)
class _Held:
    headers: Text
    renew_at: float = math.inf
    until: float = math.inf


_Signing: TypeAlias = ClientCredentials | JwtBearer | Consent
_Key: TypeAlias = tuple[Any, ...]


class Tokens:
    """The tokens of one connector."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        custody: Callable[[Consent], Custody] | None = None,
        clock: Clock | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._session, self._custody, self._now = session, custody, now
        self._clock: Clock = clock or LoopClock()
        self._held: dict[_Key, _Held] = {}
        self._fetching: dict[_Key, asyncio.Task[_Held]] = {}
        self._refused: dict[_Key, Text] = {}
        self._offset = 0.0

    async def headers(self, auth: Auth | None, acting_as: str | None = None) -> Text:
        """Give the headers that sign a call; only `JwtBearer` signs in as somebody else (claim `sub`).

        Raises:
            Misconfigured: The provider refuses our credentials, or nobody consented.
            Missing, NotAllowed: It refuses this one principal.
            Retry: The token endpoint can't answer now.
        """
        match auth:
            case None | Signed():
                return NONE
            case Static():
                return {auth.header: auth.prefix + auth.value}
            case ClientCredentials() | JwtBearer() | Consent():
                pass
        key = _key(auth, acting_as)
        held, now = self._held.get(key), self._clock.time()
        if held is None or now >= held.until:
            held = await asyncio.shield(self._fetch(key, auth, acting_as))
        elif now >= held.renew_at:
            held.renew_at = now + _PAUSE_AFTER_FAILURE
            self._fetch(key, auth, acting_as)
        return held.headers

    def refused(self, auth: Auth | None, acting_as: str | None, headers: Text) -> bool:
        """Drop a token the provider refused; False where another one can't be had."""
        if auth is None or isinstance(auth, Signed | Static):
            return False
        key = _key(auth, acting_as)
        held = self._held.get(key)
        if held is not None and held.headers == headers:
            del self._held[key]
            self._refused[key] = headers
        return True

    def secrets(self) -> list[str]:
        """List the secrets now in use, for messages to be cleaned of them."""
        return [value.split(" ", 1)[-1] for held in self._held.values() for value in held.headers.values()]

    async def close(self) -> None:
        """Let renewals under way come to their end: one cut off could lose a single-use token."""
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    def _fetch(self, key: _Key, auth: _Signing, acting_as: str | None) -> "asyncio.Task[_Held]":
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.create_task(self._obtain(key, auth, acting_as))
            task.add_done_callback(lambda done: self._fetched(key, done))
        return task

    def _fetched(self, key: _Key, task: "asyncio.Task[_Held]") -> None:
        del self._fetching[key]
        if not task.cancelled() and task.exception() is None:
            self._held[key] = task.result()

    async def _obtain(self, key: _Key, auth: _Signing, acting_as: str | None) -> _Held:
        match auth:
            case ClientCredentials():
                tokens = await self._client_credentials(auth)
            case JwtBearer():
                tokens = await self._jwt_bearer(auth, acting_as)
            case Consent():
                tokens = await self._consented(auth, self._refused.get(key, NONE))
        self._refused.pop(key, None)
        now, past = self._clock.time(), self._now()
        life = tokens.expires_at - tokens.obtained_at
        return _Held(
            {"Authorization": f"Bearer {tokens.access}"},
            now + tokens.obtained_at + _RENEW_AT * life - past,
            now + tokens.expires_at - past - min(SKEW, 0.1 * life),
        )

    async def _client_credentials(self, auth: ClientCredentials) -> TokenSet:
        def form(now: float) -> dict[str, str]:
            made = {
                "grant_type": "client_credentials",
                "client_id": auth.id,
                **unless_empty(scope=auth.scope),
            }
            if not auth.key:
                return {**made, **auth.extra, "client_secret": auth.secret}
            extra = {name: value for name, value in auth.extra.items() if name not in _JOSE}
            claims = {"iss": auth.id, "sub": auth.id}
            signed = assertion(auth.url, auth.key, claims, now, auth.extra)
            return {**made, **extra, "client_assertion_type": _JWT_CLIENT, "client_assertion": signed}

        try:
            return await self._in_time(auth.url, form, dated=bool(auth.key))
        except TokenRefusedError as error:
            raise Misconfigured(f"{host_of(auth.url)} refuses our client credentials: {error}") from None

    async def _jwt_bearer(self, auth: JwtBearer, acting_as: str | None) -> TokenSet:
        def form(now: float) -> dict[str, str]:
            claims = {**auth.claims, **({} if acting_as is None else {"sub": acting_as})}
            extra = {name: value for name, value in auth.extra.items() if name not in _JOSE}
            signed = assertion(auth.url, auth.key, claims, now, auth.extra)
            return {"grant_type": _JWT_GRANT, **extra, "assertion": signed}

        try:
            return await self._in_time(auth.url, form)
        except TokenRefusedError as error:
            if acting_as is None:
                raise Misconfigured(f"{host_of(auth.url)} refuses our assertion: {error}") from None
            if error.code in {"unauthorized_client", "access_denied"}:
                raise NotAllowed(
                    f"acting for a user is not granted at {host_of(auth.url)}: {error}"
                ) from None
            raise Missing(f"{host_of(auth.url)} knows no such user to act for: {error}") from None

    async def _in_time(
        self, url: str, form: Callable[[float], dict[str, str]], *, dated: bool = True
    ) -> TokenSet:
        """Ask once more with the provider's time where a refusal shows that our clock is off."""
        try:
            return await ask(self._session, url, form(self._now() + self._offset), self._now)
        except TokenRefusedError as error:
            if not dated or abs(error.offset - self._offset) <= SKEW:
                raise
            self._offset = error.offset
            return await ask(self._session, url, form(self._now() + self._offset), self._now)

    async def _consented(self, auth: Consent, refused: Text) -> TokenSet:
        if self._custody is None:
            raise Misconfigured("this connector has no place for an admin's consent: connect it again")
        custody = self._custody(auth)
        have = await custody.load()
        for _ in range(2):
            if have is None:
                raise Misconfigured(f"no admin has consented at {host_of(auth.authorize)}: connect it again")
            fresh = have.expires_at - SKEW > self._now()
            if fresh and have.access and refused.get("Authorization") != f"Bearer {have.access}":
                return have
            try:
                return await self._refresh(auth, custody, have)
            except TokenRefusedError as error:
                # Another process may have been faster; then custody has its result.
                newer = await custody.load()
                if newer is None or newer.refresh == have.refresh:
                    raise Misconfigured(
                        f"{host_of(auth.url)} refuses the stored consent ({error}): consent again"
                    ) from None
                have = newer
        raise Retry(f"the consent at {host_of(auth.url)} changes under our hands")

    async def _refresh(self, auth: Consent, custody: Custody, have: TokenSet) -> TokenSet:
        if not have.refresh:
            raise Misconfigured(f"{host_of(auth.url)} gave no refresh token: an admin must consent again")
        if auth.rotates:
            began = self._clock.time()
            await custody.intend(have)
            if self._clock.time() - began > _INTENT_HOLDS:
                raise Retry("storing the intent to refresh took too long")
        new = await refreshed(self._session, auth, have, self._now)
        if auth.rotates or new.refresh != have.refresh:
            await custody.save(new)
        return new


_JOSE: Final = frozenset({"kid", "x5t", "x5t#S256"})


def _key(auth: _Signing, acting_as: str | None) -> _Key:
    parts = (tuple(sorted(part.items())) if isinstance(part, Mapping) else part for part in auth)
    return (type(auth), acting_as if isinstance(auth, JwtBearer) else None, *parts)


def assertion(audience: str, key: str, claims: Text, now: float, extra: Text = NONE) -> str:
    """Sign an assertion that lives 45 seconds; `kid`, `x5t` and `x5t#S256` of `extra` go to its header.

    Box takes at most 60 seconds; a slow clock is covered by dating it 10 seconds back.
    """
    times = {"iat": int(now) - 10, "exp": int(now) + 45}
    body: dict[str, Any] = {"aud": audience, "jti": uuid4().hex, **claims, **times}
    header = {name: extra[name] for name in _JOSE if name in extra}
    for algorithm in ("RS256", "ES256"):
        try:
            return jwt.encode(body, key, algorithm, headers=header)
        except (TypeError, ValueError, jwt.PyJWTError):
            continue
    raise Misconfigured("the private key can't be read: give an unencrypted RSA or P-256 key as PEM")


async def ask(
    session: aiohttp.ClientSession, url: str, form: Mapping[str, str], now: Callable[[], float] = time.time
) -> TokenSet:
    """Ask a token endpoint; redirects are not followed.

    Raises:
        TokenRefusedError: It says no, with its OAuth error code.
        Retry: It can't say now, or says something that is no token.
    """
    began = now()
    try:
        async with session.post(
            url,
            data=dict(form),
            headers={"Accept": "application/json"},
            timeout=_TIMEOUT,
            allow_redirects=False,
        ) as reply:
            raw = await reply.content.read(_LARGEST)
            while len(raw) < _LARGEST and (more := await reply.content.read(_LARGEST)):
                raw += more
            status, headers = reply.status, {name.lower(): value for name, value in reply.headers.items()}
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Retry(f"{host_of(url)} can't be reached for a token ({type(error).__name__})") from None
    told = _object(raw)
    code = told.get("error", "")
    code = code if isinstance(code, str) and re.fullmatch(r"[\w.-]{1,64}", code) else ""
    if status == 429 or status >= 500 or code in _PASSING:
        raise Retry(f"{host_of(url)} gives no token now ({status})", retry_after(headers, now()))
    if status >= 300 or code:
        words = f"{code or status} {told.get('error_description', '')}".strip()
        raise TokenRefusedError(code, scrubbed(words, form.values()), _offset(headers, now()))
    return _token_set(told, url, began)


def _token_set(told: Mapping[str, Json], url: str, began: float) -> TokenSet:
    access, refresh = told.get("access_token", told.get("token")), told.get("refresh_token") or ""
    if not (isinstance(access, str) and isinstance(refresh, str) and re.fullmatch(r"[\x21-\x7e]+", access)):
        raise Retry(f"{host_of(url)} answered something that is no token")
    try:
        if "expires_at" in told:
            return TokenSet(access, refresh, began, datetime.fromisoformat(told["expires_at"]).timestamp())
        return TokenSet(access, refresh, began, began + float(told.get("expires_in") or math.inf))
    except (ValueError, TypeError):
        raise Retry(f"{host_of(url)} gave a token without a readable end") from None


async def refreshed(
    session: aiohttp.ClientSession, auth: Consent, have: TokenSet, now: Callable[[], float] = time.time
) -> TokenSet:
    """Use a refresh token; where no new one is given, the old one goes on."""
    form = {"grant_type": "refresh_token", "refresh_token": have.refresh, **client_fields(auth)}
    new = await ask(session, auth.url, form, now)
    return new if new.refresh else replace(new, refresh=have.refresh)


def client_fields(auth: Consent) -> dict[str, str]:
    """Say who we are in a token request's form."""
    return {"client_id": auth.id, **unless_empty(client_secret=auth.secret)}


def unless_empty(**fields: str) -> dict[str, str]:
    """Keep the fields that have a value."""
    return {name: value for name, value in fields.items() if value}


def host_of(url: str) -> str:
    """Name an address's host, for messages."""
    return URL(url).host or "the token endpoint"


def _object(raw: bytes) -> dict[str, Json]:
    try:
        told = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _offset(headers: Text, now: float) -> float:
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0

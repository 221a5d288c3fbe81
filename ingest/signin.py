"""Signing in: one token per sign-in and principal, renewed before it runs out, never fetched twice at once.

The ways are those of `ingest.apis`. A consent's tokens live in custody: with single-use refresh tokens the
intent to use one is durable before the call, and the new one before it is used. Sources: RFC 6749, RFC 7523,
RFC 9449 (DPoP).
"""

import asyncio
import base64
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import quote_plus

import aiohttp
from yarl import URL

from ingest.apis import NONE, Auth, ClientCredentials, Consent, JwtBearer, Signed, Static, Text
from ingest.errors import Misconfigured, Missing, NotAllowed, Retry
from ingest.pace import Clock, LoopClock
from ingest.proofs import JOSE, LIFE, Possession, assertion
from ingest.token_endpoint import (
    SKEW,
    TokenRefusedError,
    TokenSet,
    ask,
    clock_offset,
    host_of,
    refreshed,
    unless_empty,
)

_RENEW_AT: Final = 0.8
_PAUSE_AFTER_FAILURE: Final = 10.0
_INTENT_HOLDS: Final = 5.0
_JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_CLIENT: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


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


@dataclass(slots=True)
class _Held:
    token: str = field(repr=False)
    scheme: str = "Bearer"
    key: Possession | None = None
    renew_at: float = math.inf
    until: float = math.inf

    @property
    def header(self) -> str:
        return f"{self.scheme} {self.token}"


class _Question(NamedTuple):
    """What a token endpoint is asked: a form, and headers beside the usual."""

    form: Text
    headers: Text = NONE


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
        self._refused: dict[_Key, str] = {}
        self._nonces: dict[str, str] = {}
        self._offset = 0.0

    async def headers(
        self, auth: Auth | None, acting_as: str | None = None, method: str = "", url: str = ""
    ) -> Text:
        """Give the headers that sign one call; only `JwtBearer` signs in as somebody else (claim `sub`).

        A token that is bound to a key comes with a proof for `method` and `url`: ask again for each request.

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
        held = await self._current(auth, acting_as)
        if held.key is None or not url:
            return {"Authorization": held.header}
        nonce, now = self._nonces.get(_origin(url), ""), self._now() + self._offset
        return {"Authorization": held.header, "DPoP": held.key.proof(method, url, now, nonce, held.token)}

    def refused(self, auth: Auth | None, acting_as: str | None, headers: Text, told: Text = NONE) -> bool:
        """Drop a token the provider refused; False where another one can't be had.

        `told` are the refusing reply's headers: its date is taken for what we date ourselves.
        """
        if auth is None or isinstance(auth, Signed | Static):
            return False
        ahead = clock_offset(told, self._now())
        if abs(ahead - self._offset) > SKEW and "date" in told:
            self._offset = ahead
        key, header = _key(auth, acting_as), headers.get("Authorization", "")
        held = self._held.get(key)
        if held is not None and held.header == header:
            del self._held[key]
            self._refused[key] = header
        return True

    def heard(self, url: str, headers: Text) -> bool:
        """Remember the nonce that an answer gives for proofs to its origin; True: it is a new one."""
        nonce, origin = headers.get("dpop-nonce", ""), _origin(url)
        if not nonce or self._nonces.get(origin) == nonce:
            return False
        self._nonces[origin] = nonce
        return True

    def secrets(self) -> list[str]:
        """List the secrets now in use, for messages to be cleaned of them."""
        return [held.token for held in self._held.values()]

    async def close(self) -> None:
        """Let renewals under way come to their end: one cut off could lose a single-use token."""
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    async def _current(self, auth: _Signing, acting_as: str | None) -> _Held:
        key = _key(auth, acting_as)
        held, now = self._held.get(key), self._clock.time()
        if held is None or now >= held.until:
            return await asyncio.shield(self._fetch(key, auth, acting_as))
        if now >= held.renew_at:
            held.renew_at = now + _PAUSE_AFTER_FAILURE
            self._fetch(key, auth, acting_as)
        return held

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
        possession = Possession() if isinstance(auth, ClientCredentials) and auth.dpop else None
        match auth:
            case ClientCredentials():
                tokens = await self._client_credentials(auth, possession)
            case JwtBearer(url=""):
                tokens = self._self_signed(auth, acting_as)
            case JwtBearer():
                tokens = await self._jwt_bearer(auth, acting_as)
            case Consent():
                tokens = await self._consented(auth, self._refused.get(key, ""))
        self._refused.pop(key, None)
        now, past = self._clock.time(), self._now()
        life = tokens.expires_at - tokens.obtained_at
        bound = possession is not None and tokens.scheme == "DPoP"
        return _Held(
            tokens.access,
            "DPoP" if bound else "Bearer",
            possession if bound else None,
            now + tokens.obtained_at + _RENEW_AT * life - past,
            now + tokens.expires_at - past - min(SKEW, 0.1 * life),
        )

    async def _client_credentials(self, auth: ClientCredentials, possession: Possession | None) -> TokenSet:
        def question(now: float) -> _Question:
            form = {"grant_type": "client_credentials", **unless_empty(scope=auth.scope)}
            if auth.key:
                extra = {name: value for name, value in auth.extra.items() if name not in JOSE}
                claims = {"iss": auth.id, "sub": auth.id}
                signed = assertion(auth.url, auth.key, claims, now, auth.extra)
                told = {"client_id": auth.id, "client_assertion_type": _JWT_CLIENT}
                return _Question({**form, **extra, **told, "client_assertion": signed})
            if auth.basic:
                pair = f"{quote_plus(auth.id)}:{quote_plus(auth.secret)}".encode()
                basic = f"Basic {base64.b64encode(pair).decode()}"
                return _Question({**form, **auth.extra}, {"Authorization": basic})
            return _Question({**form, "client_id": auth.id, **auth.extra, "client_secret": auth.secret})

        try:
            return await self._ask(auth.url, question, possession, dated=bool(auth.key or possession))
        except TokenRefusedError as error:
            raise Misconfigured(f"{host_of(auth.url)} refuses our client credentials: {error}") from None

    def _self_signed(self, auth: JwtBearer, acting_as: str | None) -> TokenSet:
        now = self._now()
        signed = assertion("", auth.key, _claims(auth, acting_as), now + self._offset, auth.extra)
        return TokenSet(signed, "", now, now + LIFE)

    async def _jwt_bearer(self, auth: JwtBearer, acting_as: str | None) -> TokenSet:
        extra = {name: value for name, value in auth.extra.items() if name not in JOSE}

        def question(now: float) -> _Question:
            audience = "" if auth.in_header else auth.url
            signed = assertion(audience, auth.key, _claims(auth, acting_as), now, auth.extra)
            if auth.in_header:
                return _Question(NONE, {**extra, "Authorization": f"Bearer {signed}"})
            return _Question({"grant_type": _JWT_GRANT, **extra, "assertion": signed})

        try:
            return await self._ask(auth.url, question)
        except TokenRefusedError as error:
            if acting_as is None:
                raise Misconfigured(f"{host_of(auth.url)} refuses our assertion: {error}") from None
            if error.code in {"unauthorized_client", "access_denied"}:
                raise NotAllowed(
                    f"acting for a user is not granted at {host_of(auth.url)}: {error}"
                ) from None
            raise Missing(f"{host_of(auth.url)} knows no such user to act for: {error}") from None

    async def _ask(
        self,
        url: str,
        question: Callable[[float], _Question],
        possession: Possession | None = None,
        *,
        dated: bool = True,
    ) -> TokenSet:
        """Ask once more with the provider's nonce, and once with its time, where a refusal shows the need."""
        nonced = moved = False
        while True:
            now, nonce = self._now() + self._offset, self._nonces.get(_origin(url), "")
            form, headers = question(now)
            if possession is not None:
                headers = {**headers, "DPoP": possession.proof("POST", url, now, nonce)}
            try:
                return await ask(
                    self._session, url, form, self._now, headers, lambda heard: self.heard(url, heard)
                )
            except TokenRefusedError as error:
                if (
                    not nonced
                    and error.code == "use_dpop_nonce"
                    and self._nonces.get(_origin(url), "") != nonce
                ):
                    nonced = True
                elif not moved and dated and abs(error.offset - self._offset) > SKEW:
                    moved, self._offset = True, error.offset
                else:
                    raise

    async def _consented(self, auth: Consent, refused: str) -> TokenSet:
        if self._custody is None:
            raise Misconfigured("this connector has no place for an admin's consent: connect it again")
        custody = self._custody(auth)
        have = await custody.load()
        for _ in range(2):
            if have is None:
                raise Misconfigured(f"no admin has consented at {host_of(auth.authorize)}: connect it again")
            fresh = have.expires_at - SKEW > self._now()
            if fresh and have.access and refused != f"Bearer {have.access}":
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


def _claims(auth: JwtBearer, acting_as: str | None) -> Text:
    return auth.claims if acting_as is None else {**auth.claims, "sub": acting_as}


def _origin(url: str) -> str:
    return str(URL(url).origin())


def _key(auth: _Signing, acting_as: str | None) -> _Key:
    parts = (tuple(sorted(part.items())) if isinstance(part, Mapping) else part for part in auth)
    return (type(auth), acting_as if isinstance(auth, JwtBearer) else None, *parts)

"""Asking a token endpoint and reading its answer: RFC 6749 section 5, and App tokens as GitHub gives them."""

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import orjson
from yarl import URL

from ingest.apis import NONE, Consent, Json, Text
from ingest.errors import Retry
from ingest.outward import proxy_for
from ingest.pace import retry_after

SKEW: Final = 30.0
"""Seconds before its end from which a token is not used any more."""
_LARGEST: Final = 1 << 20
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=10)
_PASSING: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down", "too_many_requests"})


@dataclass(frozen=True)
class TokenSet:
    """What a token endpoint gave; times are seconds since 1970, `expires_at` is infinite if unsaid."""

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    obtained_at: float = 0.0
    expires_at: float = math.inf
    scheme: str = "Bearer"


class TokenRefusedError(Exception):
    """A token endpoint's refusal, by its OAuth error code; `offset`: how far its clock is ahead of ours."""

    def __init__(self, code: str, told: str, offset: float) -> None:
        super().__init__(told)
        self.code, self.offset = code, offset


def scrubbed(text: str, secrets: Iterable[str] = ()) -> str:
    """Make foreign text fit for a message: no known secret, no query values, no control characters, short."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    text = re.sub(r"(?i)\b(bearer|basic|token|dpop|ssws)\s+\S+", r"\1 ***", text)
    text = re.sub(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*", "***", text)
    text = re.sub(r"([?&;][\w.~%-]+=)[^&\s\"']+", r"\1***", text)
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:300]


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    form: Mapping[str, str],
    now: Callable[[], float] = time.time,
    headers: Text = NONE,
    heard: Callable[[Text], object] = lambda _: None,
) -> TokenSet:
    """Ask a token endpoint; redirects are not followed; `heard` is told the headers of any answer.

    Raises:
        TokenRefusedError: It says no, with its OAuth error code.
        Retry: It can't say now, or says something that is no token.
    """
    began = now()
    try:
        async with session.post(
            url,
            data=dict(form) or None,
            headers={"Accept": "application/json", **headers},
            timeout=_TIMEOUT,
            allow_redirects=False,
            proxy=proxy_for(URL(url)),
        ) as reply:
            raw = await reply.content.read(_LARGEST)
            while len(raw) < _LARGEST and (more := await reply.content.read(_LARGEST)):
                raw += more
            status, told_by = reply.status, {name.lower(): value for name, value in reply.headers.items()}
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Retry(f"{host_of(url)} can't be reached for a token ({type(error).__name__})") from None
    heard(told_by)
    told, offset = _object(raw), clock_offset(told_by, now())
    code = told.get("error", "")
    code = code if isinstance(code, str) and re.fullmatch(r"[\w.-]{1,64}", code) else ""
    patience = status == 429 or (status == 403 and "retry-after" in told_by)
    if patience or status >= 500 or code in _PASSING:
        raise Retry(f"{host_of(url)} gives no token now ({status})", retry_after(told_by, now()))
    if status >= 300 or code:
        why = told.get("error_description") or told.get("message") or ""
        known = [*form.values(), *(value.split(" ", 1)[-1] for value in headers.values())]
        raise TokenRefusedError(code, scrubbed(f"{code or status} {why}".strip(), known), offset)
    return _token_set(told, url, began, offset)


def _token_set(told: Mapping[str, Json], url: str, began: float, offset: float) -> TokenSet:
    access, refresh = told.get("access_token", told.get("token")), told.get("refresh_token") or ""
    if not (isinstance(access, str) and isinstance(refresh, str) and re.fullmatch(r"[\x21-\x7e]+", access)):
        raise Retry(f"{host_of(url)} answered something that is no token")
    scheme = "DPoP" if str(told.get("token_type")).lower() == "dpop" else "Bearer"
    try:
        if "expires_at" in told:
            end = datetime.fromisoformat(told["expires_at"]).timestamp()
            ours = end - offset if abs(offset) > SKEW else end
            return TokenSet(access, refresh, began, ours, scheme)
        life = float(told.get("expires_in") or math.inf)
        return TokenSet(access, refresh, began, began + life, scheme)
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


def clock_offset(headers: Text, now: float) -> float:
    """Tell how many seconds a reply's clock is ahead of `now`; 0 where it says nothing."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0

"""Signing in against real token endpoints: renewal, single flight, single-use refresh tokens, refusals."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import encode_basic_auth, web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from toy.clock import TestClock
from toy.tenant import serving

from ingest.errors import Misconfigured, Missing, NotAllowed, Retry, SourceError
from ingest.proofs import assertion
from ingest.provider import Auth, ClientCredentials, Consent, JwtBearer, Signed, Static, Text
from ingest.signin import Tokens
from ingest.token_endpoint import TokenSet, scrubbed

RSA = rsa.generate_private_key(65537, 2048)
PEM = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Endpoint:
    """A token endpoint that answers as it is told and keeps what it was asked."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.seen: list[Mapping[str, str]] = []
        self.answers: list[tuple[int, Any]] = []
        self.lives: Any = 1000
        self.headers: dict[str, str] = {}
        self.gate: asyncio.Event | None = None
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a token request."""
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        self.seen.append(request.headers)
        if self.gate:
            await self.gate.wait()
        number = len(self.forms)
        status, body = self.answers.pop(0) if self.answers else (200, {})
        if status == 200 and isinstance(body, dict):
            body = {"access_token": f"access-{number}", "expires_in": self.lives, **body}
        return web.json_response(body, status=status, headers=self.headers)


class Rig:
    """Tokens of a connector, their endpoint and clock."""

    def __init__(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, vault: "Vault | None" = None
    ) -> None:
        self.session, self.endpoint, self.clock = session, endpoint, TestClock()
        custody = (lambda _: vault) if vault else None
        self.tokens = Tokens(session, custody, self.clock, self.clock.time)
        self.auth: Auth = ClientCredentials(endpoint.url, "id", "a-secret-5521", scope="a b")

    async def token(self, auth: Auth | None = None, acting_as: str | None = None) -> str:
        """Get the token that signs a call now."""
        return (await self.tokens.headers(auth or self.auth, acting_as))["Authorization"].removeprefix(
            "Bearer "
        )


class Vault:
    """Custody in memory, that writes down the order of things."""

    def __init__(self, tokens: TokenSet | None, endpoint: Endpoint) -> None:
        self.tokens, self.endpoint, self.log = tokens, endpoint, list[str]()
        self.slow: Callable[[], None] = lambda: None

    async def load(self) -> TokenSet | None:
        """Read."""
        return self.tokens

    async def intend(self, tokens: TokenSet) -> None:
        """Note the intent."""
        self.slow()
        self.log.append(f"intend {tokens.refresh} before call {len(self.endpoint.forms) + 1}")

    async def save(self, tokens: TokenSet) -> None:
        """Store."""
        self.tokens = tokens
        self.log.append(f"save {tokens.refresh} after call {len(self.endpoint.forms)}")


@asynccontextmanager
async def rig(vault: Callable[[Endpoint], Vault] | None = None) -> AsyncIterator[Rig]:
    """Serve a token endpoint."""
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/token", endpoint.handle)
    async with serving(app) as base, aiohttp.ClientSession() as session:
        endpoint.url = f"{base}/token"
        yield Rig(session, endpoint, vault(endpoint) if vault else None)


async def renewed(one: Rig) -> None:
    """Wait for a renewal in the background."""
    await one.tokens.close()


async def test_what_needs_no_endpoint() -> None:
    """A fixed token is sent as it is; an SDK's sign-in and none at all add nothing."""
    async with rig() as one:
        static = await one.tokens.headers(Static("key", "X-Key", "Token "))
        nothing: list[Text] = [await one.tokens.headers(Signed()), await one.tokens.headers(None)]

    assert static == {"X-Key": "Token key"}
    assert nothing == [{}, {}]
    assert not one.tokens.refused(Static("key"), None, static)


async def test_one_fetch_for_many() -> None:
    """Fifty calls at once fetch one token; equal sign-ins of two apis share it."""
    async with rig() as one:
        again = ClientCredentials(one.endpoint.url, "id", "a-secret-5521", scope="a b")
        found = await asyncio.gather(*(one.token(again if n % 2 else None) for n in range(50)))

    assert set(found) == {"access-1"}
    assert one.endpoint.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": "id",
            "client_secret": "a-secret-5521",
            "scope": "a b",
        }
    ]


async def test_a_cancelled_caller_does_not_stop_the_fetch() -> None:
    """The fetch goes on for the others when who began it is cancelled."""
    async with rig() as one:
        one.endpoint.gate = asyncio.Event()
        first, second = asyncio.ensure_future(one.token()), asyncio.ensure_future(one.token())
        await one.clock.settle()
        first.cancel()
        one.endpoint.gate.set()
        assert await second == "access-1"

    assert len(one.endpoint.forms) == 1


async def test_renewal_in_good_time() -> None:
    """From 80 % of its life a token is renewed while it still serves; a failure is tried again later."""
    async with rig() as one:
        assert await one.token() == "access-1"
        one.clock.now += 799
        assert await one.token() == "access-1"
        one.clock.now += 2
        one.endpoint.answers = [(500, {})]
        assert [await one.token(), await one.token()] == ["access-1", "access-1"]
        await renewed(one)
        assert len(one.endpoint.forms) == 2
        one.clock.now += 11
        assert await one.token() == "access-1"
        await renewed(one)
        assert await one.token() == "access-3"
        one.clock.now += 971
        assert await one.token() == "access-4"


async def test_a_refused_token_is_dropped_once() -> None:
    """Two calls refused with the same token cause one new fetch, not two."""
    async with rig() as one:
        old = await one.tokens.headers(one.auth)
        assert one.tokens.refused(one.auth, None, old)
        assert await one.token() == "access-2"
        assert one.tokens.refused(one.auth, None, old)
        assert await one.token() == "access-2"


@pytest.mark.parametrize("lives", [None, "3600", 0])
async def test_odd_lifetimes(lives: Any) -> None:
    """A life as text is read; an unsaid one lasts until it is refused."""
    async with rig() as one:
        one.endpoint.lives = lives
        await one.token()
        one.clock.now += 100
        await one.token()
    assert len(one.endpoint.forms) == 1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": "invalid_client", "error_description": "bad a-secret-5521"}, Misconfigured),
        (400, {"error": "invalid_scope"}, Misconfigured),
        (200, {"error": "bad_verification_code"}, Misconfigured),
        (302, {}, Misconfigured), (429, {}, Retry), (503, {"error": "x"}, Retry),
        (200, {"access_token": 7}, Retry),
        (400, {"error": "temporarily_unavailable"}, Retry), (200, {"access_token": "a\r\nX: 1"}, Retry),
        (200, {"expires_in": "soon"}, Retry), (200, ["no", "object"], Retry),
    ],
)  # fmt: skip
async def test_refusals_of_the_endpoint(status: int, body: Any, expected: type[SourceError]) -> None:
    """What the token endpoint says ends in one of our errors, without the secret."""
    async with rig() as one:
        one.endpoint.answers = [(status, body)]
        one.endpoint.headers = {"Retry-After": "9"}
        with pytest.raises(expected) as caught:
            await one.token()

    assert "a-secret-5521" not in str(caught.value)
    if isinstance(caught.value, Retry) and status in {429, 503}:
        assert caught.value.after == 9.0


async def test_assertion_for_a_user() -> None:
    """A signed assertion names the user acted for, is short-lived, and a token is kept for each user."""
    async with rig() as one:
        auth = JwtBearer(
            one.endpoint.url, PEM, {"iss": "sa", "sub": "admin", "scope": "s"}, {"kid": "k1", "x": "y"}
        )
        names = [None, "ann@example.com", "bob@example.com", "ann@example.com"]
        found = [await one.token(auth, name) for name in names]

    form = one.endpoint.forms[1]
    claims = jwt.decode(
        form["assertion"],
        RSA.public_key(),
        ["RS256"],
        audience=auth.url,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert found == ["access-1", "access-2", "access-3", "access-2"]
    assert (form["grant_type"], form["x"]) == ("urn:ietf:params:oauth:grant-type:jwt-bearer", "y")
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("sa", "ann@example.com", 55)
    assert jwt.get_unverified_header(form["assertion"])["kid"] == "k1"


@pytest.mark.parametrize(
    ("acting_as", "code", "expected"),
    [
        (None, "invalid_grant", Misconfigured),
        ("x", "invalid_grant", Missing),
        ("x", "unauthorized_client", NotAllowed),
    ],
)
async def test_one_user_does_not_stop_the_connector(
    acting_as: str | None, code: str, expected: type[SourceError]
) -> None:
    """A user that can't be acted for is that user's trouble alone."""
    async with rig() as one:
        one.endpoint.answers = [(400, {"error": code})] * 2
        with pytest.raises(expected):
            await one.token(JwtBearer(one.endpoint.url, PEM, {"iss": "sa"}), acting_as)


async def test_a_wrong_clock_is_noticed() -> None:
    """An assertion refused because our clock is off is made again with the endpoint's time."""
    async with rig() as one:
        one.endpoint.answers = [(400, {"error": "invalid_grant"}), (200, {})]
        one.endpoint.headers = {"Date": formatdate(one.clock.time() + 7200, usegmt=True)}
        assert await one.token(JwtBearer(one.endpoint.url, PEM, {"iss": "sa"})) == "access-2"

    times = [
        jwt.decode(form["assertion"], options={"verify_signature": False})["exp"]
        for form in one.endpoint.forms
    ]
    assert times[1] - times[0] == 7200


async def test_private_key_client() -> None:
    """Client credentials with a key prove it by an assertion instead of a secret."""
    async with rig() as one:
        await one.token(
            ClientCredentials(one.endpoint.url, "id", key=PEM, extra={"x5t": "thumb", "resource": "r"})
        )

    form = one.endpoint.forms[0]
    assert (form["client_id"], form["resource"], "client_secret" in form) == ("id", "r", False)
    assert jwt.decode(form["client_assertion"], options={"verify_signature": False})["sub"] == "id"
    assert jwt.get_unverified_header(form["client_assertion"])["x5t"] == "thumb"


async def test_client_secret_basic() -> None:
    """Id and secret go in the header, each encoded as a form would (RFC 6749, section 2.3.1)."""
    async with rig() as one:
        await one.token(ClientCredentials(one.endpoint.url, "a:b c", "s/ü%", scope="x", basic=True))

    assert one.endpoint.seen[0]["Authorization"] == encode_basic_auth("a%3Ab+c", "s%2F%C3%BC%25")
    assert one.endpoint.forms == [{"grant_type": "client_credentials", "scope": "x"}]


async def test_an_absolute_end_is_read_by_the_endpoints_clock() -> None:
    """A token's `expires_at` is no earlier for a clock that is hours ahead."""
    async with rig() as one:
        one.endpoint.headers = {"Date": formatdate(one.clock.time() - 7200, usegmt=True)}
        until = datetime.fromtimestamp(one.clock.time() - 7200 + 3600, UTC).isoformat()
        one.endpoint.answers = [(200, {"expires_at": until})]
        assert [await one.token() for _ in range(3)] == ["access-1"] * 3
        one.clock.now += 3580
        assert await one.token() == "access-2"


def test_keys() -> None:
    """A P-256 key signs too; an encrypted one and garbage are refused without being shown."""
    elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    locked = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()

    assert jwt.get_unverified_header(assertion("a", elliptic.decode(), {}, 0.0))["alg"] == "ES256"
    for bad in (locked, "not a key", "", PEM[:100]):
        with pytest.raises(Misconfigured, match="unencrypted") as caught:
            assertion("a", bad, {}, 0.0)
        assert bad[:60] not in str(caught.value) or not bad


def stored(one: Endpoint) -> Vault:
    """Keep tokens that have expired."""
    return Vault(TokenSet("old", "r0", 0.0, 10.0), one)


def kept(vaults: list[Vault], endpoint: Endpoint) -> Vault:
    """Keep tokens that have expired, where the test can see them."""
    vaults.append(stored(endpoint))
    return vaults[0]


def agreed(one: Rig, *, rotates: bool = True) -> Consent:
    """Make a consent of the endpoint."""
    return Consent("https://x.example/authorize", one.endpoint.url, "id", "a-secret-5521", rotates=rotates)


async def test_single_use_refresh_tokens() -> None:
    """The intent is stored before the call, the new token before its use; many callers refresh once."""
    vaults: list[Vault] = []
    async with rig(lambda endpoint: kept(vaults, endpoint)) as one:
        one.endpoint.answers = [(200, {"refresh_token": "r1"})]
        found = await asyncio.gather(*(one.token(agreed(one)) for _ in range(20)))

    assert set(found) == {"access-1"}
    assert vaults[0].log == ["intend r0 before call 1", "save r1 after call 1"]
    assert one.endpoint.forms[0]["refresh_token"] == "r0"


async def test_another_process_was_faster() -> None:
    """A refresh token used up elsewhere is no error when custody has the newer one by then."""
    vaults: list[Vault] = []
    async with rig(lambda endpoint: kept(vaults, endpoint)) as one:
        vault = vaults[0]
        one.endpoint.answers = [(400, {"error": "invalid_grant"})]
        vault.slow = lambda: setattr(
            vault, "tokens", TokenSet("theirs", "r9", one.clock.now, one.clock.now + 600)
        )
        assert await one.token(agreed(one)) == "theirs"


async def test_consent_lost() -> None:
    """Without a consent, or with one that was withdrawn, an admin is asked to consent again."""
    for tokens in (None, TokenSet("old", "r0", 0.0, 10.0), TokenSet("old", "", 0.0, 10.0)):
        async with rig(lambda endpoint, tokens=tokens: Vault(tokens, endpoint)) as one:  # type: ignore[misc]
            one.endpoint.answers = [(400, {"error": "invalid_grant"})]
            with pytest.raises(Misconfigured, match="consent") as caught:
                await one.token(agreed(one))
            assert "r0" not in str(caught.value)


async def test_a_late_intent_is_not_acted_on() -> None:
    """An intent that took more than five seconds to store is not followed by a call."""
    vaults: list[Vault] = []
    async with rig(lambda endpoint: kept(vaults, endpoint)) as one:
        vaults[0].slow = lambda: setattr(one.clock, "now", one.clock.now + 6)
        with pytest.raises(Retry):
            await one.token(agreed(one))

    assert one.endpoint.forms == []


async def test_stored_tokens_serve_until_refused() -> None:
    """A stored token that is still good is used; refused, it is refreshed though it has not expired."""
    async with rig(lambda endpoint: Vault(TokenSet("good", "r0", 1000.0, math.inf), endpoint)) as one:
        auth = agreed(one, rotates=False)
        assert await one.token(auth) == "good"
        assert one.tokens.refused(auth, None, await one.tokens.headers(auth))
        assert await one.token(auth) == "access-1"


def test_scrubbing() -> None:
    """Known secrets, query values, bearer tokens and control characters leave foreign text."""
    text = "GET https://x/y?sig=AAA&k=BBB Bearer CCC said DDDD\r\nforged: line"

    assert scrubbed(text, ["DDDD"]) == "GET https://x/y?sig=***&k=*** Bearer *** said *** forged: line"
    assert len(scrubbed("x" * 5000)) == 300

"""Proofs of possession against a strict server, verified by another library; tokens we sign ourselves."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey
from toy.clock import TestClock
from toy.tenant import serving

from ingest.errors import Misconfigured, Refused, SignInAgain
from ingest.http import Client, open_session
from ingest.pace import Pace
from ingest.paging import linked
from ingest.proofs import Possession
from ingest.provider import Api, Auth, ClientCredentials, Instance, JwtBearer, Provider, Settings
from ingest.signin import Tokens

RSA = rsa.generate_private_key(65537, 2048)
PEM = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def opened(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Verify a proof by the key it carries; give header and claims."""
    header = jwt.get_unverified_header(proof)
    assert (header["typ"], header["alg"], set(header["jwk"])) == (
        "dpop+jwt",
        "ES256",
        {"kty", "crv", "x", "y"},
    )
    checked = jws.deserialize_compact(proof, ECKey.import_key(header["jwk"]), algorithms=["ES256"])
    return header, json.loads(checked.payload)


class Strict:
    """Wants a proof with its newest nonce for every request, each proof once, all of the token's key."""

    def __init__(self) -> None:
        self.url, self.nonces, self.seen = "", {"/token": "n0", "/api": "m0"}, set[str]()
        self.keys: dict[str, Any] = {}
        self.log: list[str] = []
        self.first = True

    def app(self) -> web.Application:
        """Build the server."""
        app = web.Application()
        app.router.add_post("/token", self._token)
        app.router.add_route("*", "/{any:.*}", self._api)
        return app

    def _refusal(self, request: web.Request, kind: str, token: str = "") -> web.Response | None:
        header, claims = opened(request.headers["DPoP"])
        assert claims["jti"] not in self.seen
        self.seen.add(claims["jti"])
        assert (claims["htm"], claims["htu"]) == (request.method, f"{self.url}{request.rel_url.raw_path}")
        if token:
            assert header["jwk"] == self.keys[token]
        self.log.append(f"{request.method} {request.path_qs} {claims.get('nonce')}")
        if claims.get("nonce") == self.nonces[kind]:
            return None
        fresh = {"DPoP-Nonce": self.nonces[kind]}
        if kind == "/api":
            fresh["WWW-Authenticate"] = 'DPoP error="use_dpop_nonce"'
        return web.json_response(
            {"error": "use_dpop_nonce"}, status=400 if kind == "/token" else 401, headers=fresh
        )

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["client_assertion"] not in self.seen
        self.seen.add(str(form["client_assertion"]))
        if (refusal := self._refusal(request, "/token")) is not None:
            return refusal
        token = f"bound-{len(self.keys)}"
        self.keys[token] = opened(request.headers["DPoP"])[0]["jwk"]
        return web.json_response({"access_token": token, "token_type": "DPoP", "expires_in": 3600})

    async def _api(self, request: web.Request) -> web.Response:
        scheme, token = request.headers["Authorization"].split(" ")
        assert scheme == "DPoP"
        if (refusal := self._refusal(request, "/api", token)) is not None:
            return refusal
        match request.path:
            case "/moved":
                raise web.HTTPTemporaryRedirect("/there?x=1")
            case "/bad":
                self.nonces["/api"] = f"m{len(self.log)}"
                return web.json_response({}, status=400, headers={"DPoP-Nonce": self.nonces["/api"]})
            case "/shaky" if self.first:
                self.first = False
                return web.Response(status=503)
            case "/pages":
                onward = {"Link": f'<{self.url}/pages/2?after=1>; rel="next"'}
                return web.json_response({}, headers=onward)
            case _:
                pass
        return web.json_response({})


class Bound(Provider[Settings]):
    """An app with one api."""

    name = "bound"
    settings_type = Settings
    base = ""
    auth: Auth | None = None

    def apis(self) -> Mapping[str, Api]:
        """Give the address and sign-in under test."""
        return {"main": Api(self.base, self.auth)}


@asynccontextmanager
async def client(base: str, auth: Auth, clock: TestClock) -> AsyncIterator[Client]:
    """Make a client of one api."""
    async with open_session() as session:
        bound = Bound(Settings(), None, Instance("1"))  # type: ignore[arg-type]
        bound.base, bound.auth = base, auth
        tokens = Tokens(session, clock=clock, now=clock.time)
        yield Client(bound, session, Pace(clock=clock), tokens, jitter=lambda: 0.5)


@asynccontextmanager
async def strict() -> AsyncIterator[tuple[Strict, Any, TestClock]]:
    """Run the strict server and a client with a private key and DPoP."""
    server, clock = Strict(), TestClock()
    async with serving(server.app()) as server.url:
        auth = ClientCredentials(f"{server.url}/token", "id", key=PEM, scope="s", dpop=True)
        async with client(server.url, auth, clock) as made:
            yield server, made, clock


async def test_each_request_has_a_proof_of_its_own() -> None:
    """Nonces are asked for once at each place; pages, redirects and retries get fresh proofs."""
    async with strict() as (server, http, clock):
        server.nonces["/api"] = "n0"  # one nonce for the whole origin, as a provider may have it
        await http.call("main", "GET", "/moved?a=b#c")
        assert len([reply async for reply in linked(http, "main", "/pages", params={"q": 1})]) == 2
        await clock.drive(http.call("main", "POST", "/shaky", json={}))

    assert server.log == [
        "POST /token None", "POST /token n0", "GET /moved?a=b n0", "GET /there?x=1 n0", "GET /pages?q=1 n0",
        "GET /pages/2?after=1 n0", "POST /shaky n0", "POST /shaky n0",
    ]  # fmt: skip


async def test_a_nonce_of_the_api_is_taken_over() -> None:
    """A call refused for its nonce is repeated once with the new one; another refusal is what it says."""
    async with strict() as (server, http, _):
        await http.call("main", "GET", "/x")
        server.nonces["/api"] = "m1"
        async with http.stream("main", "GET", "/y") as content:
            assert b"".join([piece async for piece in content.chunks]) == b"{}"
        await http.call("main", "GET", "/z")
        with pytest.raises(Refused, match="400"):
            await http.call("main", "GET", "/bad")

    calls = [line for line in server.log if line.startswith("GET")]
    assert calls[:6] == ["GET /x n0", "GET /x m0", "GET /y m0", "GET /y m1", "GET /z m1", "GET /bad m1"]
    assert len(calls) == 7


async def test_a_key_is_kept_as_long_as_its_token() -> None:
    """A renewed token has a key of its own; the old one's goes with the old one."""
    async with strict() as (server, http, clock):
        await http.call("main", "GET", "/x")
        clock.now += 3600
        await http.call("main", "GET", "/x")
    assert len(server.keys) == 2
    assert server.keys["bound-0"] != server.keys["bound-1"]


async def test_a_bearer_answer_is_sent_as_one() -> None:
    """An endpoint that binds nothing answers with a bearer token; then no proof is sent."""
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"access_token": "a", "token_type": "Bearer"})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handler)
    async with serving(app) as base:
        auth = ClientCredentials(f"{base}/token", "id", "secret", dpop=True)
        async with client(base, auth, TestClock()) as http:
            await http.call("main", "GET", "/x")
    assert [("DPoP" in one.headers, one.headers.get("Authorization")) for one in seen] == [
        (True, None),
        (False, "Bearer a"),
    ]


def test_the_rfcs_token_hash() -> None:
    """`ath` is that of RFC 9449, section 7.1; query and fragment are no part of `htu`."""
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    made = Possession().proof("GET", "https://r.example:443/a%2Fb?x=1#y", 1562262618.7, "n", token)
    _, claims = opened(made)
    assert claims.pop("jti")
    assert claims == {
        "htm": "GET",
        "htu": "https://r.example/a%2Fb",
        "iat": 1562262618,
        "nonce": "n",
        "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
    }


class Apps:
    """Takes an App's own JWT, at most ten minutes long, and gives installation tokens (GitHub)."""

    def __init__(self, clock: TestClock) -> None:
        self.clock, self.ahead, self.asked, self.tokens = clock, 0.0, list[Any](), list[str]()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer anything."""
        now = self.clock.now + self.ahead
        date = {"Date": formatdate(now, usegmt=True)}
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if token.startswith("ghs_"):
            return web.json_response({"login": "acme"})
        public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        claims = jwt.decode(token, public, ["RS256"], options={"verify_exp": False, "verify_iat": False})
        self.tokens.append(token)
        if not claims["iat"] <= now <= claims["exp"] <= now + 600:
            return web.json_response(
                {"message": "A JSON web token could not be decoded"}, status=401, headers=date
            )
        assert set(claims) == {"iss", "iat", "exp"}
        if request.method == "GET":
            return web.json_response({"slug": "sluice"}, headers=date)
        self.asked.append((request.path, await request.read(), request.headers.get("X-GitHub-Api-Version")))
        if request.path.endswith("/9/access_tokens"):
            return web.json_response({"message": f"Not Found {token}"}, status=404, headers=date)
        until = "2030-01-01T00:00:00Z"
        return web.json_response({"token": "ghs_abc", "expires_at": until}, status=201, headers=date)


@asynccontextmanager
async def apps() -> AsyncIterator[tuple[Apps, str]]:
    """Run it."""
    made = Apps(TestClock())
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", made.handle)
    async with serving(app) as base:
        yield made, base


async def test_an_app_gets_an_installation_token() -> None:
    """The assertion goes as the bearer of an empty POST, with neither audience nor id."""
    async with apps() as (server, base):
        auth = JwtBearer(
            f"{base}/app/installations/7/access_tokens", PEM, {"iss": "Iv1.x"},
            {"X-GitHub-Api-Version": "2022-11-28"}, in_header=True,
        )  # fmt: skip
        async with client(base, auth, server.clock) as http:
            assert (await http.call("main", "GET", "/user")).json == {"login": "acme"}
            async with http.paced("main") as token:
                assert token == "ghs_abc"
    assert server.asked == [("/app/installations/7/access_tokens", b"", "2022-11-28")]


async def test_an_sdk_that_is_refused_gets_another_token() -> None:
    """A SignInAgain inside a paced call drops the token it was given; another failure keeps it."""
    given: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"access_token": f"t{len(given)}"})

    async def sdk(error: Exception) -> None:
        async with http.paced("main") as token:
            given.append(token)
            raise error

    app = web.Application()
    app.router.add_post("/token", handler)
    async with (
        serving(app) as base,
        client(base, ClientCredentials(f"{base}/token", "id", "secret"), TestClock()) as http,
    ):
        for error in (SignInAgain("expired"), Refused("no"), Refused("no")):
            with pytest.raises(type(error)):
                await sdk(error)
    assert given == ["t0", "t1", "t1"]


async def test_a_wrong_installation_is_told() -> None:
    """The endpoint's own words are in the error, the assertion it echoes is not."""
    async with apps() as (server, base):
        url = f"{base}/app/installations/9/access_tokens"
        async with client(base, JwtBearer(url, PEM, {"iss": "x"}, in_header=True), server.clock) as http:
            with pytest.raises(Misconfigured, match="404 Not Found") as caught:
                await http.call("main", "GET", "/user")
    assert server.tokens[0] not in str(caught.value)


async def test_a_token_signed_by_ourselves() -> None:
    """It serves several calls, is renewed before its end, and a clock that is off is put right once."""
    async with apps() as (server, base):
        async with client(base, JwtBearer("", PEM, {"iss": "Iv1.x"}), server.clock) as http:
            for _ in range(2):
                await http.call("main", "GET", "/app")
            assert len(set(server.tokens)) == 1
            server.clock.now += 299
            await http.call("main", "GET", "/app")
            assert len(set(server.tokens)) == 2
        server.ahead = 7200
        async with client(base, JwtBearer("", PEM, {"iss": "Iv1.x"}), server.clock) as http:
            await http.call("main", "GET", "/app")
    assert (len(server.tokens), len(set(server.tokens))) == (5, 3)


@pytest.mark.parametrize(
    "auth",
    [
        ClientCredentials("u", "id", "planted", "planted", dpop=True),
        JwtBearer("u", "planted", {"iss": "x"}),
        JwtBearer(url="", key="planted", claims={}),
    ],
)
def test_sign_ins_hide_their_secrets(auth: Auth) -> None:
    """A sign-in's repr names its fields, and no secret."""
    assert "planted" not in repr(auth)
    assert "url='" in repr(auth)

"""OAUTHBEARER by client credentials: a token endpoint, signed tokens that Kafka checks, and their end."""

import json
import os
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from deployed import free_port
from jwt.algorithms import RSAAlgorithm
from rig import until

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.consuming import Incoming, Place, read_to_end
from ingest.errors import Misconfigured
from ingest.producing import BrokenError, Outgoing, Transactions
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]
SECRET = "client-secret-3f77"
MODULE = "org.apache.kafka.common.security.oauthbearer"


class Issuer:
    """An authorization server: one client, tokens of so many seconds, RFC 6749 section 4.4."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.keys = folder / "jwks.json"
        public = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
        self.keys.write_text(json.dumps({"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]}))
        self.forged = rsa.generate_private_key(65537, 2048)
        self.lives, self.forges, self.given, self.url = 300, False, 0, ""
        self.asked: list[dict[str, str]] = []

    async def token(self, request: web.Request) -> web.Response:
        """Give a token to who knows the secret."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        expected = "Basic " + b64encode(f"sluice:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") != expected or form["grant_type"] != "client_credentials":
            return web.json_response({"error": "invalid_client"}, status=401)
        now = int(time.time())
        claims = {"sub": "sluice", "iss": "issuer", "aud": "kafka", "iat": now, "exp": now + self.lives,
                  "scope": form["scope"], "jti": uuid4().hex}  # fmt: skip
        self.given += 1
        told = jwt.encode(claims, self.forged if self.forges else self.key, "RS256", {"kid": "k1"})
        return web.json_response({"access_token": told, "expires_in": self.lives, "token_type": "Bearer"})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def issuer(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Issuer]:
    """Run the authorization server."""
    made = Issuer(tmp_path_factory.mktemp("issuer"))
    app = web.Application()
    app.add_routes([web.post("/token", made.token)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made.url = f"http://127.0.0.1:{port}/token"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Start the embedded Kafka with a listener for tokens; it cuts connections when their token ends."""
    data = tmp_path_factory.mktemp("oauth") / "kafka"
    first = Broker(data)
    await first.start()
    plain = first.bootstrap
    await first.stop()
    controller = json.loads((data / "sluice.json").read_text())["controller"]
    oauth = f"127.0.0.1:{free_port()}"
    listeners = f"PLAINTEXT://{plain},CONTROLLER://127.0.0.1:{controller},OAUTH://{oauth}"
    mine = "listener.name.oauth.oauthbearer"
    properties = {
        "listeners": listeners, "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OAUTH:SASL_PLAINTEXT",
        "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{mine}.sasl.jaas.config": f"{MODULE}.OAuthBearerLoginModule required;",
        f"{mine}.sasl.server.callback.handler.class": f"{MODULE}.OAuthBearerValidatorCallbackHandler",
        "sasl.oauthbearer.jwks.endpoint.url": issuer.keys.as_uri(),
        "sasl.oauthbearer.expected.audience": "kafka",
        f"{mine}.connections.max.reauth.ms": "3600000",
    }  # fmt: skip
    before = os.environ.get("JAVA_TOOL_OPTIONS", "")
    allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={issuer.keys.as_uri()}"
    os.environ["JAVA_TOOL_OPTIONS"] = f"{before} {allowed}"
    broker = Broker(data, properties=properties)
    try:
        await broker.start()
    finally:
        os.environ["JAVA_TOOL_OPTIONS"] = before
    yield oauth
    await broker.stop()


def settings(guarded: str, issuer: Issuer, **more: Any) -> Config:
    """Say how to come in."""
    given = {
        "kafka": guarded, "kafka_security": "SASL_PLAINTEXT", "kafka_mechanism": "OAUTHBEARER",
        "kafka_token_url": issuer.url, "kafka_client_id": "sluice", "kafka_client_secret": SECRET,
        "kafka_scope": "kafka.write", "prefix": f"{uuid4().hex[:8]}.", "partitions": 1, "replication": 1,
    }  # fmt: skip
    return Config.model_validate({**given, **more})


async def made(config: Config) -> Cluster:
    """Make the topics."""
    cluster = Cluster(config)
    await cluster.create_topics()
    await cluster.ready()
    await cluster.learn()
    return cluster


async def test_tokens_let_in(guarded: str, issuer: Issuer) -> None:
    """Topics, a transaction and a reader by one token a client, asked for with the scope."""
    issuer.lives = 300
    cluster = await made(settings(guarded, issuer))
    producer = Transactions(cluster, "owner-0")
    await producer.start()
    await producer.commit([Outgoing("health", 0, b"k", b"v")])
    await producer.stop()
    found: list[Incoming] = []
    await read_to_end(cluster, [Place("health", 0)], found.append)

    assert [one.value for one in found] == [b"v"]
    assert {one["scope"] for one in issuer.asked} == {"kafka.write"}


async def test_tokens_that_end_are_renewed(guarded: str, issuer: Issuer) -> None:
    """Kafka cuts each connection when its token ends: commits go on over several tokens, each once."""
    issuer.lives = 300
    cluster = await made(settings(guarded, issuer))
    issuer.lives = 5
    before, count, broken = issuer.given, 0, 0
    began = time.monotonic()
    producer = Transactions(cluster, "owner-0")
    await producer.start()
    sent: list[bytes] = []

    async def committed() -> bool:
        nonlocal producer, count, broken
        try:
            await producer.commit([Outgoing("health", 0, b"k", str(count).encode())])
            sent.append(str(count).encode())
        except BrokenError:
            broken += 1
            await producer.stop()
            producer = Transactions(cluster, "owner-0")
            await producer.start()
        count += 1
        return time.monotonic() - began > 14

    await until(committed, 40, every=0.1)
    await producer.stop()
    found: list[Incoming] = []
    await read_to_end(cluster, [Place("health", 0)], found.append)
    values = [one.value for one in found]
    print(f"{issuer.given - before} tokens, {len(sent)} commits, {broken} broken")  # noqa: T201 the figure is wanted

    assert issuer.given - before >= 3
    assert len(values) == len(set(values))
    assert set(sent) <= set(values)
    assert broken <= 4


@pytest.mark.parametrize(
    ("more", "forges", "why"),
    [({"kafka_client_secret": "wrong"}, False, "the token address for Kafka answered 401"),
     ({}, True, "SASL settings"),
     ({"kafka_token_url": "http://127.0.0.1:9/token"}, False, "SASL settings")],
)  # fmt: skip
async def test_what_is_wrong_is_said_without_the_secret(
    guarded: str, issuer: Issuer, more: dict[str, str], forges: bool, why: str
) -> None:
    """A wrong secret, a token that somebody else signed, an address where nobody is: one clear error each."""
    issuer.forges = forges
    try:
        with pytest.raises(Misconfigured, match=why) as refused:
            await Cluster(settings(guarded, issuer, **more)).admin()
    finally:
        issuer.forges = False

    assert SECRET not in str(refused.value)

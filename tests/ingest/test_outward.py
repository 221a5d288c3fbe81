"""The way out: a proxy, a CA of one's own, and a `~/.netrc` that is nobody's business."""

import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from toy.tenant import serving
from yarl import URL

from ingest.config import ConfigError
from ingest.outward import _proxy, open_session, proxy_for
from ingest.provider import ClientCredentials
from ingest.signin import Tokens


@pytest.fixture(autouse=True)
def fresh_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without a proxy, and forget what was read."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    _proxy.cache_clear()
    yield
    _proxy.cache_clear()


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scheme has its own; NO_PROXY's hosts, with their subdomains, go directly."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://user:word@plain.example")
    monkeypatch.setenv("NO_PROXY", "localhost,.inside.example,127.0.0.1")
    assert proxy_for(URL("https://api.example/x")) == URL("http://proxy.example:3128")
    assert proxy_for(URL("http://api.example/x")) == URL("http://user:word@plain.example")
    for direct in ("https://a.inside.example/", "http://127.0.0.1:80/", "https://localhost:8443/"):
        assert proxy_for(URL(direct)) is None


async def test_token_requests_take_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked for the whole address; its own credentials go to it alone."""
    seen: list[tuple[str, str | None]] = []

    async def proxy(request: web.Request) -> web.Response:
        seen.append((request.raw_path, request.headers.get("Proxy-Authorization")))
        return web.json_response({"access_token": "t"})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", proxy)
    async with serving(app) as base, open_session() as session:
        monkeypatch.setenv("HTTP_PROXY", base.replace("://", "://me:word@"))
        signed = await Tokens(session).headers(ClientCredentials("http://far.example/token", "i", "s"))
    assert signed == {"Authorization": "Bearer t"}
    assert seen == [("http://far.example/token", "Basic bWU6d29yZA==")]


async def test_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A password that the user keeps for a host is neither sent to it nor in the way of our token."""
    (tmp_path / "netrc").write_text("default login me password planted\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    async with serving(app) as base, open_session() as session:
        for headers in ({}, {"Authorization": "Bearer ours"}):
            async with session.get(base, headers=headers):
                pass
    assert seen == [None, "Bearer ours"]


Key = ec.EllipticCurvePrivateKey


def _certificate(name: str, issuer: str, key: Key, signer: Key, *, ca: bool) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    )
    return made.sign(signer, hashes.SHA256())


@pytest_asyncio.fixture
async def private(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """Serve under a certificate of a CA that nobody knows; give the address and the CA's file."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ca.pem").write_bytes(
        _certificate("ca", "ca", root, root, ca=True).public_bytes(Encoding.PEM)
    )
    served = _certificate("leaf", "ca", leaf, root, ca=False).public_bytes(Encoding.PEM)
    secret = leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "leaf.pem").write_bytes(served + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "leaf.pem")

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="inside")

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/", tmp_path / "ca.pem"
    await runner.cleanup()


async def test_a_ca_of_ones_own(private: tuple[str, Path]) -> None:
    """A host under a private CA is trusted with its file, and not without."""
    url, ca_file = private
    async with open_session(ca_file=ca_file) as session, session.get(url) as answer:
        assert await answer.text() == "inside"
    async with open_session() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(url)


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_is_none(tmp_path: Path, content: str | None) -> None:
    """The error names the setting."""
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(ConfigError, match="SLUICE_CA_FILE"):
        open_session(ca_file=tmp_path / "ca.pem")

"""TLS of the receiver's own: callers with a certificate are told from those without."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from raw_http import Book

from ingest.config import Config
from ingest.serving import Server


def issue(folder: Path, name: str, issuer: tuple[Any, Any] | None) -> tuple[Any, Any]:
    """Make a certificate and its key, files beside each other; without an issuer it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = [x509.DNSName(name), x509.IPAddress(IPv4Address("127.0.0.1"))]
    signer = issuer or (None, key)
    made = (
        x509.CertificateBuilder(issuer[0].subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer[1], SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    raw = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(raw)
    return made, key


async def test_mutual_tls(tmp_path: Path) -> None:
    """The names of a certificate of the right authority are seen; none is no hindrance, a wrong one is."""
    authority = issue(tmp_path, "authority", None)
    issue(tmp_path, "server.example", authority)
    issue(tmp_path, "manage.office.com", authority)
    issue(tmp_path, "stranger", issue(tmp_path, "another", None))
    tls = Config(
        receive_certificate=tmp_path / "server.example.pem",
        receive_private_key=tmp_path / "server.example.key",
        receive_client_ca=tmp_path / "authority.pem",
    ).receiver_tls
    book = Book()
    server = Server(book)
    url = f"https://127.0.0.1:{await server.start('127.0.0.1', 0, tls)}/"

    async def call(name: str) -> int:
        context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
        if name:
            context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as reply:
            return reply.status

    try:
        assert [await call("manage.office.com"), await call("")] == [200, 200]
        with pytest.raises(aiohttp.ClientError):
            await call("stranger")
    finally:
        await server.stop(1.0)
    assert book.peers == [("manage.office.com", "manage.office.com"), ()]

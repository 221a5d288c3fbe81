"""A cluster of the user's own: TLS, client certificates, SASL; the embedded Kafka set up that way."""

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.consuming import Incoming, Place, read_to_end
from ingest.errors import Misconfigured
from ingest.producing import Outgoing, Transactions
from sluice.broker import Broker

pytestmark = pytest.mark.kafka
PASSWORD = "correct horse"


def issued(
    folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make a certificate, by itself or by an issuer, and write both files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made, key


@dataclass
class Guarded:
    """A broker with a listener a way in."""

    plain: str
    tls: str
    sasl: str
    folder: Path


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """Start the embedded Kafka with TLS and SASL listeners beside its own."""
    folder = tmp_path_factory.mktemp("guarded")
    authority = issued(folder, "authority", None)
    issued(folder, "broker", authority)
    issued(folder, "client", authority)
    data = folder / "kafka"
    first = Broker(data)
    await first.start()
    plain = first.bootstrap
    await first.stop()
    controller = json.loads((data / "sluice.json").read_text())["controller"]
    tls, sasl = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    listeners = f"PLAINTEXT://{plain},CONTROLLER://127.0.0.1:{controller},TLS://{tls},SASL://{sasl}"
    broker = Broker(
        data,
        properties={
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_SSL"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": (folder / "broker.pem").read_text(),
            "ssl.keystore.key": (folder / "broker.key").read_text(),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": (folder / "authority.pem").read_text(),
            "listener.name.tls.ssl.client.auth": "required",
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl.plain.sasl.jaas.config": (
                f'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="{PASSWORD}";'
            ),
            **{
                f"listener.name.sasl.scram-sha-{size}.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
                for size in (256, 512)
            },
        },
    )
    await broker.start()
    admin = AdminClient({"bootstrap.servers": plain})
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
        wanted = UserScramCredentialUpsertion(
            "alice", ScramCredentialInfo(mechanism, 4096), PASSWORD.encode()
        )
        for future in admin.alter_user_scram_credentials([wanted]).values():
            future.result(20)
    yield Guarded(plain, tls, sasl, folder)
    await broker.stop()


async def used(config: Config) -> list[bytes | None]:
    """Make the topics, commit a record and read it back, all through the guarded way in."""
    cluster = Cluster(config)
    await cluster.create_topics()
    await cluster.ready()
    await cluster.learn()
    producer = Transactions(cluster, "owner-0")
    await producer.start()
    await producer.commit([Outgoing("health", 0, b"k", b"v")])
    await producer.stop()
    found: list[Incoming] = []
    await read_to_end(cluster, [Place("health", 0)], found.append)
    return [one.value for one in found]


async def test_client_certificates_are_enough(guarded: Guarded) -> None:
    """Mutual TLS: with a certificate of the authority everything works."""
    config = Config(
        kafka=guarded.tls, kafka_security="SSL", prefix=f"{uuid4().hex[:8]}.", partitions=1, replication=1,
        kafka_ca=guarded.folder / "authority.pem", kafka_certificate=guarded.folder / "client.pem",
        kafka_private_key=guarded.folder / "client.key",
    )  # fmt: skip

    assert await used(config) == [b"v"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_passwords_over_tls(guarded: Guarded, mechanism: str) -> None:
    """SASL by password, inside TLS."""
    config = Config.model_validate(
        {
            "kafka": guarded.sasl, "kafka_security": "SASL_SSL", "kafka_mechanism": mechanism,
            "kafka_username": "alice", "kafka_password": PASSWORD, "prefix": f"{uuid4().hex[:8]}.",
            "partitions": 1, "replication": 1, "kafka_ca": guarded.folder / "authority.pem",
        }
    )  # fmt: skip

    assert await used(config) == [b"v"]


@pytest.mark.parametrize("wrong", ["password", "authority"])
async def test_what_is_wrong_is_said_without_the_password(guarded: Guarded, wrong: str) -> None:
    """A wrong password, or a broker we have no reason to trust, ends in one clear error."""
    config = Config.model_validate(
        {
            "kafka": guarded.sasl, "kafka_security": "SASL_SSL", "kafka_mechanism": "PLAIN",
            "kafka_username": "alice", "kafka_password": "wrong" if wrong == "password" else PASSWORD,
            "kafka_ca": guarded.folder / "authority.pem" if wrong == "password" else None,
        }
    )  # fmt: skip

    with pytest.raises(Misconfigured, match="SASL settings") as refused:
        await Cluster(config).admin()

    assert PASSWORD not in str(refused.value)

"""Settings of a deployment, from the environment (`SLUICE_…`); a wrong one is refused with what to do."""

import ssl
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Prefix = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9._-]{1,80})?$")]

PublicUrl = Annotated[
    str,
    StringConstraints(pattern=r"^(https?://[^\s/?#]+(/[^\s?#]*)?)?$"),
    AfterValidator(lambda text: text.rstrip("/")),
]


class ConfigError(ValueError):
    """A setting is wrong; the message names it and the remedy, never its value."""


class Config(BaseSettings):
    """Everything a process needs to know that is not a connector.

    Attributes:
        kafka: Bootstrap servers, comma-separated; empty: the embedded Kafka is started.
        partitions: Partitions of new topics; more of them spread the work over more processes.
        worker: A name that stays the same over restarts: a process that comes back in time keeps its work.
        key: Keys that seal secrets, newest first, comma-separated, 32 bytes base64 each.
        session_seconds: How long a silent process keeps its work.
        in_flight_bytes: What may wait in memory for Kafka.
        share_quota: Whether processes share a provider's quota by grants of its owner; else each spends it.
        ca_file: Certificates to trust for providers' hosts, beside the system's.
        public_url: Where providers reach the receiver.
        receive_port: Where the receiver listens; 0: a free port, shown at the start.
        receive_client_ca: Callers are asked for a certificate of this authority (mutual TLS).
        receive_rate: Deliveries a second that one address takes; the rest is to be sent again.
    """

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    kafka: str = ""
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "PLAIN"
    kafka_username: str = ""
    kafka_password: SecretStr = SecretStr("")
    kafka_ca: Path | None = None
    kafka_certificate: Path | None = None
    kafka_private_key: Path | None = None
    kafka_private_key_password: SecretStr = SecretStr("")
    kafka_token_url: str = ""
    kafka_client_id: str = ""
    kafka_client_secret: SecretStr = SecretStr("")
    kafka_scope: str = ""
    prefix: Prefix = "sluice."
    partitions: int = Field(default=64, ge=1, le=4096)
    replication: int = Field(default=3, ge=1, le=32)
    tenant: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "default"
    worker: str = ""
    key: SecretStr = SecretStr("")
    key_file: Path | None = None
    ca_file: Path | None = None
    public_url: PublicUrl = ""
    receive_host: str = "127.0.0.1"
    receive_port: int = Field(default=0, ge=0, le=65535)
    receive_certificate: Path | None = None
    receive_private_key: Path | None = None
    receive_client_ca: Path | None = None
    receive_rate: float = Field(default=2000.0, gt=0)
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, ge=0, le=65535)
    session_seconds: float = Field(default=10.0, ge=1.0, le=300.0)
    in_flight_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    share_quota: bool = False
    scanners: int = Field(default=2, ge=1, le=64)

    @model_validator(mode="after")
    def _together(self) -> "Config":
        if self.kafka_security.startswith("SASL"):
            if self.kafka_mechanism == "OAUTHBEARER":
                if not (self.kafka_token_url and self.kafka_client_id):
                    raise ValueError("OAUTHBEARER needs SLUICE_KAFKA_TOKEN_URL and SLUICE_KAFKA_CLIENT_ID")
            elif not (self.kafka_username and self.kafka_password.get_secret_value()):
                raise ValueError("SASL needs SLUICE_KAFKA_USERNAME and SLUICE_KAFKA_PASSWORD")
        if bool(self.kafka_certificate) != bool(self.kafka_private_key):
            raise ValueError("a client certificate needs both SLUICE_KAFKA_CERTIFICATE and _PRIVATE_KEY")
        if bool(self.receive_certificate) != bool(self.receive_private_key):
            raise ValueError("TLS needs both SLUICE_RECEIVE_CERTIFICATE and SLUICE_RECEIVE_PRIVATE_KEY")
        if self.receive_client_ca and not self.receive_certificate:
            raise ValueError("SLUICE_RECEIVE_CLIENT_CA needs SLUICE_RECEIVE_CERTIFICATE: it is a part of TLS")
        return self

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """Build the TLS context towards Kafka.

        Raises:
            ConfigError: A certificate file can't be read.
        """
        if "SSL" not in self.kafka_security:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.kafka_ca) if self.kafka_ca else None)
            if self.kafka_certificate and self.kafka_private_key:
                password = self.kafka_private_key_password.get_secret_value() or None
                context.load_cert_chain(str(self.kafka_certificate), str(self.kafka_private_key), password)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"the TLS files for Kafka can't be used ({error.__class__.__name__}): "
                              "check SLUICE_KAFKA_CA, _CERTIFICATE and _PRIVATE_KEY") from None  # fmt: skip
        return context

    @cached_property
    def receiver_tls(self) -> ssl.SSLContext | None:
        """Build the TLS context that the receiver listens with; None: plain, behind a proxy that ends TLS.

        A caller without a certificate is let in: whether an address needs one is its scheme's decision.

        Raises:
            ConfigError: A certificate file can't be read.
        """
        if not (self.receive_certificate and self.receive_private_key):
            return None
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(str(self.receive_certificate), str(self.receive_private_key))
            if self.receive_client_ca:
                context.load_verify_locations(str(self.receive_client_ca))
                context.verify_mode = ssl.CERT_OPTIONAL
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the receiver's TLS files can't be used ({error.__class__.__name__}): "
                "check SLUICE_RECEIVE_CERTIFICATE, SLUICE_RECEIVE_PRIVATE_KEY and SLUICE_RECEIVE_CLIENT_CA"
            ) from None
        return context


def load(**overrides: object) -> Config:
    """Read the settings.

    Raises:
        ConfigError: One is wrong; the message lists them all.
    """
    try:
        return Config(**overrides)  # type: ignore[arg-type]  # pydantic checks the values
    except ValidationError as error:
        lines = [
            f"SLUICE_{'_'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
            if one["loc"]
            else one["msg"]
            for one in error.errors()
        ]
        raise ConfigError("wrong settings:\n  " + "\n  ".join(lines)) from None

"""Settings of a deployment: every wrong one is refused by its name, and none is repeated."""

import os
from pathlib import Path

import pytest

from ingest.config import Config, ConfigError, load

CANARY = "canary-9b2e"
WRONG = {
    "SLUICE_PARTITIONS": "0",
    "SLUICE_REPLICATION": CANARY,
    "SLUICE_PREFIX": f"{CANARY}/with a slash",
    "SLUICE_TENANT": "x" * 101,
    "SLUICE_METRICS_PORT": "65536",
    "SLUICE_SESSION_SECONDS": "0.1",
    "SLUICE_IN_FLIGHT_BYTES": "1000",
    "SLUICE_SCANNERS": CANARY,
    "SLUICE_PUBLIC_URL": f"{CANARY}.example/without-a-scheme",
    "SLUICE_RECEIVE_PORT": "-1",
    "SLUICE_RECEIVE_RATE": "0",
    "SLUICE_KAFKA_SECURITY": CANARY,
    "SLUICE_KAFKA_MECHANISM": CANARY,
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the surroundings set."""
    for name in list(os.environ):
        if name.startswith("SLUICE_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has its variable's name and not what stood in it."""
    monkeypatch.setenv(name, WRONG[name])
    with pytest.raises(ConfigError, match=name) as caught:
        load()
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_all_wrong_settings_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator corrects them in one go."""
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load()
    assert all(name in str(caught.value) for name in WRONG)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"kafka_security": "SASL_SSL"}, "SLUICE_KAFKA_USERNAME"),
        ({"kafka_security": "SASL_SSL", "kafka_username": "u"}, "SLUICE_KAFKA_PASSWORD"),
        ({"kafka_security": "SASL_PLAINTEXT", "kafka_mechanism": "OAUTHBEARER"}, "SLUICE_KAFKA_TOKEN_URL"),
        ({"kafka_certificate": "/x"}, "PRIVATE_KEY"),
        ({"receive_certificate": "/x"}, "SLUICE_RECEIVE_PRIVATE_KEY"),
        ({"receive_private_key": "/x", "kafka_password": CANARY}, "SLUICE_RECEIVE_CERTIFICATE"),
        ({"receive_client_ca": "/x"}, "SLUICE_RECEIVE_CERTIFICATE"),
        ({"kafka_private_key": "/x", "kafka_password": CANARY}, "SLUICE_KAFKA_CERTIFICATE"),
    ],
)
def test_settings_that_need_each_other_say_so(settings: dict[str, object], named: str) -> None:
    """What is missing is named."""
    with pytest.raises(ConfigError, match=named) as caught:
        load(**settings)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "garbage"])
def test_tls_files_that_can_not_be_used_are_named(kind: str, tmp_path: Path) -> None:
    """A certificate that is not there, or is none, ends in the names of the settings."""
    file = tmp_path / "ca.pem"
    if kind == "garbage":
        file.write_text(CANARY)
    with pytest.raises(ConfigError, match="SLUICE_KAFKA_CA") as caught:
        _ = load(kafka_security="SSL", kafka_ca=file).tls
    assert CANARY not in str(caught.value)


def test_the_receivers_tls_files_are_named(tmp_path: Path) -> None:
    """The same for those that the receiver listens with."""
    file = tmp_path / "cert.pem"
    file.write_text(CANARY)
    with pytest.raises(ConfigError, match="SLUICE_RECEIVE_CERTIFICATE") as caught:
        _ = load(receive_certificate=file, receive_private_key=file).receiver_tls
    assert CANARY not in str(caught.value)
    assert load().receiver_tls is None


def test_a_public_address_ends_without_a_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are put behind it as they are."""
    monkeypatch.setenv("SLUICE_PUBLIC_URL", "https://hooks.acme.example/sluice/")
    assert load().public_url == "https://hooks.acme.example/sluice"


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords and keys are stars wherever the settings are shown."""
    for name in ("KEY", "KAFKA_PASSWORD", "KAFKA_CLIENT_SECRET", "KAFKA_PRIVATE_KEY_PASSWORD"):
        monkeypatch.setenv(f"SLUICE_{name}", CANARY)
    config = load()
    assert config.key.get_secret_value() == CANARY
    assert CANARY not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"


def test_defaults_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any setting, and with empty ones, there is a whole configuration on loopback."""
    monkeypatch.setenv("SLUICE_PARTITIONS", "")
    config = load()
    assert config == Config()
    assert config.partitions == 64
    assert config.metrics_host == "127.0.0.1"
    assert config.tls is None

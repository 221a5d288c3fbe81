"""Secrets at rest: they open for their owner alone, survive a rotation, and show nowhere."""

import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from ingest.config import Config, ConfigError
from ingest.credentials import Keyring, SealError, join, key_at, new_key, split

CANARY = "canary-7f3a-secret"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ONE, TWO = os.urandom(32), os.urandom(32)


@given(JSON, st.text(max_size=20))
def test_what_is_sealed_opens_for_its_owner(secret: Any, owner: str) -> None:
    """Any JSON comes back, and no two seals are alike."""
    ring = Keyring([ONE])
    sealed = ring.seal(secret, owner)
    assert ring.open(sealed, owner) == secret
    assert ring.seal(secret, owner) != sealed


def test_a_sealed_text_hides_what_it_holds() -> None:
    """Neither the text nor any repr shows the secret or the key."""
    ring = Keyring([ONE])
    shown = f"{ring.seal(CANARY, 'c/1')} {ring!r} {ring}"
    assert CANARY not in shown
    assert base64.b64encode(CANARY.encode()).decode()[:12] not in shown
    assert base64.b64encode(ONE).decode() not in shown
    assert ONE.hex() not in shown


def test_an_older_key_still_opens_and_a_rotation_is_told() -> None:
    """The newest key seals; what another sealed opens, and asks to be sealed anew."""
    old = Keyring([ONE])
    sealed = old.seal(CANARY, "c/1")
    both = Keyring([TWO, ONE])
    assert both.open(sealed, "c/1") == CANARY
    assert not both.current(sealed)
    assert both.current(both.seal(CANARY, "c/1"))
    assert both.derive("x") == old.derive("x")
    assert both.derive("x") != both.derive("y")
    with pytest.raises(SealError, match="SLUICE_KEY does not have"):
        Keyring([TWO]).open(sealed, "c/1")


def test_a_secret_of_another_does_not_open() -> None:
    """Copied into another connector's record, or into the next incarnation's, it is refused."""
    ring = Keyring([ONE])
    for owner in ("d/1", "c/2", ""):
        with pytest.raises(SealError, match="connect again"):
            ring.open(ring.seal(CANARY, "c/1"), owner)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_secret_does_not_open(place: int, change: int) -> None:
    """Whichever byte changed, it ends in the same clear error."""
    ring = Keyring([ONE])
    name, _, body = ring.seal(CANARY, "c/1").partition(".")
    raw = bytearray(base64.b64decode(body))
    raw[place % len(raw)] ^= change
    with pytest.raises(SealError) as caught:
        ring.open(f"{name}.{base64.b64encode(raw).decode()}", "c/1")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", ".", "x", CANARY, f"{CANARY}.abc", "é.é", "{name}.", "{name}.AA", "{name}.%%"]
)
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    """Plain text where a sealed one should be is refused and not repeated in the error."""
    ring = Keyring([ONE])
    name = ring.seal("x", "c/1").partition(".")[0]
    with pytest.raises(SealError) as caught:
        ring.open(text.replace("{name}", name), "c/1")
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["", " ", CANARY, base64.b64encode(b"short").decode(), "é", ",", "\n"])
def test_a_wrong_key_is_refused_with_what_to_do(text: str) -> None:
    """The error names the setting and the command, never the text."""
    with pytest.raises(ConfigError, match=r"SLUICE_KEY.*sluice key new") as caught:
        Keyring.of(Config(key=SecretStr(text)))
    assert not text.strip(" ,\n") or text not in str(caught.value)


def test_keys_come_from_a_file_one_a_line(tmp_path: Path) -> None:
    """Newest first, like the variable's commas."""
    file = tmp_path / "keys"
    file.write_text("\n".join(base64.b64encode(one).decode() for one in (TWO, ONE)) + "\n")
    ring = Keyring.of(Config(key_file=file))
    assert ring.open(Keyring([ONE]).seal(1, "c"), "c") == 1
    assert ring.current(Keyring([TWO]).seal(1, "c"))


def test_a_key_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, or raw bytes instead of base64: a clear error, none of the key in it."""
    raw = tmp_path / "raw"
    raw.write_bytes(b"\xff\xfe" + ONE)
    for path in (tmp_path / "none", tmp_path, raw):
        with pytest.raises(ConfigError, match="SLUICE_KEY") as caught:
            Keyring.of(Config(key_file=path))
        assert caught.value.__cause__ is None


def test_a_kept_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """The file is made at the first use, readable by nobody else, and stays."""
    path = tmp_path / "deep" / "key"
    first = key_at(path)
    assert key_at(path) == first
    assert len(base64.b64decode(first)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert new_key() != new_key()


class Plain(BaseModel, frozen=True, hide_input_in_errors=True):
    """Settings as a provider declares them."""

    region: str = "eu"
    token: SecretStr
    other: SecretStr | None = None
    endpoints: dict[str, str] = {}


class Nested(BaseModel, frozen=True, hide_input_in_errors=True):
    """Settings with secrets further down."""

    tokens: dict[str, SecretStr]


def test_settings_are_parted_by_their_types() -> None:
    """Secrets go to the sealed half, the rest stays readable, and together they are what they were."""
    settings = Plain(token=SecretStr(CANARY), region="us", endpoints={"a": "b"})
    plain, secret = split(settings)
    assert (plain, secret) == ({"region": "us", "endpoints": {"a": "b"}}, {"token": CANARY})
    assert join(Plain, plain, secret) == settings
    assert CANARY not in repr(settings)


def test_secrets_further_down_are_kept_or_refused() -> None:
    """A secret inside a mapping is never stored as asterisks."""
    settings = Nested(tokens={"a": SecretStr(CANARY)})
    try:
        plain, secret = split(settings)
    except TypeError:
        return
    assert CANARY not in str(plain)
    assert join(Nested, plain, secret) == settings


def test_wrong_settings_are_not_repeated() -> None:
    """What does not fit is named, its value is not."""
    with pytest.raises(ValueError, match="token") as caught:
        join(Plain, {"token": [CANARY]}, {})
    assert CANARY not in str(caught.value)

"""Secrets at rest: settings split into plain and sealed, AES-256-GCM with several keys for rotation.

A sealed text is bound to what it belongs to (the connector's name and incarnation), so that one copied into
another record does not open.
"""

import base64
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, SecretStr

from ingest.config import Config, ConfigError

_KEY_BYTES = 32
_NONCE_BYTES = 12
_MASK = "*" * 10


class SealError(ValueError):
    """A sealed text does not open; the message says what to check."""


class Keyring:
    """The keys of this deployment: the first seals, all of them open."""

    def __init__(self, keys: list[bytes]) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ConfigError(
                "SLUICE_KEY needs at least one key of 32 bytes in base64: make one with `sluice key new`"
            )
        self._keys = {_name(key): AESGCM(key) for key in keys}
        self._newest, self._oldest = _name(keys[0]), keys[-1]

    @classmethod
    def of(cls, config: Config) -> "Keyring":
        """Read the keys from SLUICE_KEY, or from the file that SLUICE_KEY_FILE names.

        Raises:
            ConfigError: There is none, or it is not 32 bytes of base64.
        """
        text = config.key.get_secret_value()
        if not text and config.key_file:
            try:
                text = config.key_file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"SLUICE_KEY_FILE can't be read: {type(error).__name__}") from None
        try:
            return cls(
                [base64.b64decode(part, validate=True) for part in text.replace("\n", ",").split(",") if part]
            )
        except ValueError:
            raise ConfigError(
                "SLUICE_KEY needs keys of 32 bytes in base64: make one with `sluice key new`"
            ) from None

    def seal(self, secret: Any, owner: str) -> str:
        """Seal a JSON value for its owner."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self._newest].encrypt(nonce, orjson.dumps(secret), owner.encode())
        return f"{self._newest}.{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, owner: str) -> Any:
        """Open what was sealed for this owner.

        Raises:
            SealError: The key is not among ours, or the text is damaged or another's.
        """
        name, _, body = sealed.partition(".")
        key = self._keys.get(name)
        if key is None:
            known = name if re.fullmatch("[0-9a-f]{8}", name) else "unknown"
            raise SealError(
                f"sealed with key {known}, which SLUICE_KEY does not have: add it as an older key"
            )
        try:
            raw = base64.b64decode(body, validate=True)
            return orjson.loads(key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode()))
        except (InvalidTag, ValueError):
            raise SealError("a sealed secret is damaged or belongs elsewhere: connect again") from None

    def derive(self, purpose: str) -> bytes:
        """Derive a key for another purpose from the oldest key, so that a rotation does not change it."""
        return hmac.digest(self._oldest, purpose.encode(), "sha256")

    def current(self, sealed: str) -> bool:
        """Tell whether the newest key sealed it; otherwise a rotation should seal it anew."""
        return sealed.startswith(f"{self._newest}.")


def new_key() -> str:
    """Make a key, base64."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def key_at(path: Path) -> str:
    """Read the key kept in a file, made there at the first use and readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(new_key())
    return path.read_text().strip()


def split(settings: BaseModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part settings into what may be read and what must be sealed, by their types."""
    plain: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    dumped = settings.model_dump(mode="json", exclude_defaults=True)
    for name in dumped:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            secret[name] = value.get_secret_value()
        elif _MASK in str(dumped[name]):
            raise TypeError(f"{name}: a secret inside another value can't be sealed, make it a field")
        else:
            plain[name] = dumped[name]
    return plain, secret


def join(kind: type[BaseModel], plain: Mapping[str, Any], secret: Mapping[str, Any]) -> BaseModel:
    """Put settings together again."""
    return kind.model_validate({**plain, **secret})


def _name(key: bytes) -> str:
    # Tells keys apart without telling anything about them.
    return hmac.digest(key, b"sluice key name", "sha256").hex()[:8]

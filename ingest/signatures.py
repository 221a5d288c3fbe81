"""The ways providers guard their deliveries: pure, in constant time, over the raw bytes.

Each is a part to build a provider's `Scheme` from; a handshake is added by a subclass.
"""

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from ingest.push import Delivery, Scheme

Digest = Literal["sha1", "sha256", "sha512"]
_SIZES: Final = {"sha1": 20, "sha256": 32, "sha512": 64}


class Hmac(Scheme):
    """A keyed hash of the body in a header.

    Args:
        header: The header's name.
        digest: The hash.
        encoding: How its bytes are written.
        prefix: What stands before it, like `sha256=`; a comma-separated list may hold several.
        timestamp: A header with the time of sending (seconds or milliseconds since 1970, or ISO 8601), which
            is signed too.
        tolerance: Seconds that time may be off, either way.
        signed: What is signed; `{time}` stands for that header's text, `{body}` for the raw body.
        id: A header that stays equal on redelivery.
        key: Makes the key's bytes of a secret; its UTF-8 by default.
    """

    def __init__(
        self,
        header: str,
        digest: Digest = "sha256",
        encoding: Literal["hex", "base64"] = "hex",
        *,
        prefix: str = "",
        timestamp: str = "",
        tolerance: float = 300.0,
        signed: str = "{body}",
        id: str = "",  # noqa: A002 reason: the word of the contract
        key: Callable[[str], bytes] = str.encode,
    ) -> None:
        self._header, self._digest, self._encoding, self._prefix = header.lower(), digest, encoding, prefix
        self._timestamp, self._tolerance, self._id, self._key = timestamp.lower(), tolerance, id.lower(), key
        self._before, body, self._after = signed.partition("{body}")
        if not body or ("{time}" in signed) != bool(timestamp):
            raise ValueError(
                "`signed` must name {body}, and {time} exactly where there is a timestamp header"
            )

    def verify(
        self, delivery: Delivery, secrets: Sequence[str], keys: Callable[[str], bytes], now: datetime
    ) -> bool:
        """Compare with each secret's hash, all of them, whichever fits."""
        del keys
        time = delivery.headers.get(self._timestamp, "") if self._timestamp else ""
        if self._timestamp and not _near(time, now, self._tolerance):
            return False
        given = self._given(delivery.headers.get(self._header, ""))
        if not given:
            return False
        sent = time.encode("utf-8", "surrogateescape")
        before = self._before.encode().replace(b"{time}", sent)
        after = self._after.encode().replace(b"{time}", sent)
        good = False
        for secret in secrets:
            if secret:
                made = hmac.digest(self._key(secret), before + delivery.body + after, self._digest)
                for one in given:
                    good |= hmac.compare_digest(made, one)
        return good

    def delivery_id(self, delivery: Delivery) -> str | None:
        """Read the id's header, if this scheme has one."""
        return delivery.headers.get(self._id) or None if self._id else None

    def _given(self, text: str) -> list[bytes]:
        found = []
        for part in text.split(",")[:8]:
            word = part.strip()
            if not word.startswith(self._prefix):
                continue
            raw = _decoded(word.removeprefix(self._prefix), self._encoding)
            if len(raw) == _SIZES[self._digest]:
                found.append(raw)
        return found


class SharedSecret(Scheme):
    """The secret itself in a header, as Okta, Azure and Google's channel tokens have it."""

    def __init__(self, header: str = "authorization", *, prefix: str = "", id: str = "") -> None:  # noqa: A002 reason: the word of the contract
        self._header, self._prefix, self._id = header.lower(), prefix, id.lower()

    def verify(
        self, delivery: Delivery, secrets: Sequence[str], keys: Callable[[str], bytes], now: datetime
    ) -> bool:
        """Compare with every secret."""
        del keys, now
        given = delivery.headers.get(self._header, "").encode("utf-8", "surrogateescape")
        good = False
        for secret in secrets:
            if secret:
                good |= hmac.compare_digest((self._prefix + secret).encode(), given)
        return good

    def delivery_id(self, delivery: Delivery) -> str | None:
        """Read the id's header, if this scheme has one."""
        return delivery.headers.get(self._id) or None if self._id else None


def _decoded(word: str, encoding: Literal["hex", "base64"]) -> bytes:
    try:
        return bytes.fromhex(word) if encoding == "hex" else b64decode(word, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _near(text: str, now: datetime, tolerance: float) -> bool:
    try:
        if text.isascii() and text.isdigit() and len(text) <= 14:
            at = float(text) / (1000 if len(text) > 11 else 1)
        else:
            moment = datetime.fromisoformat(text)
            at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return False
    return abs(now.timestamp() - at) <= tolerance

"""The ways providers guard their deliveries by a secret: pure, in constant time, over the raw bytes.

Each is a part to build a provider's `Scheme` from; `Guard` puts parts and handshakes together, and what rests
on public keys is in `keysigned`.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from ingest.push import LARGEST, Answer, Delivery, Scheme

Digest = Literal["sha1", "sha256", "sha512"]
Handshake = Callable[[Delivery, Sequence[str]], Answer | None]
Keys = Callable[[str], bytes]
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

    def verify(self, delivery: Delivery, secrets: Sequence[str], keys: Keys, now: datetime) -> bool:
        """Compare with each secret's hash, all of them, whichever fits."""
        del keys
        time = delivery.headers.get(self._timestamp, "") if self._timestamp else ""
        if self._timestamp and not _near(time, now, self._tolerance):
            return False
        given = self._given(delivery.headers.get(self._header, ""))
        if not given:
            return False
        signed = delivery.body
        if self._before or self._after:
            sent = time.encode("utf-8", "surrogateescape")
            before, after = (part.encode().replace(b"{time}", sent) for part in (self._before, self._after))
            signed = before + signed + after
        good = False
        for secret in secrets:
            if secret:
                made = hmac.digest(self._key(secret), signed, self._digest)
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
        self.conceals = Scheme.conceals | {self._header}

    def verify(self, delivery: Delivery, secrets: Sequence[str], keys: Keys, now: datetime) -> bool:
        """Compare with every secret."""
        del keys, now
        given = delivery.headers.get(self._header, "").encode("utf-8", "surrogateescape")
        return _among(given, [self._written(secret) for secret in secrets if secret])

    def delivery_id(self, delivery: Delivery) -> str | None:
        """Read the id's header, if this scheme has one."""
        return delivery.headers.get(self._id) or None if self._id else None

    def _written(self, secret: str) -> bytes:
        return (self._prefix + secret).encode()


class Basic(SharedSecret):
    """HTTP Basic: a fixed user, the secret as password."""

    def __init__(self, user: str, *, id: str = "") -> None:  # noqa: A002 reason: the word of the contract
        super().__init__("authorization", id=id)
        self._user = user

    def _written(self, secret: str) -> bytes:
        return b"Basic " + b64encode(f"{self._user}:{secret}".encode())


class BodySecret(Scheme):
    """The secret in each item of a JSON body, as Graph's `clientState`; all items must have it.

    Args:
        field: The item's field.
        items: The body's field that has the list of items.
    """

    def __init__(self, field: str, items: str) -> None:
        self._field, self._items = field, items

    def verify(self, delivery: Delivery, secrets: Sequence[str], keys: Keys, now: datetime) -> bool:
        """Compare each item's with every secret."""
        del keys, now
        items = json_of(delivery, dict).get(self._items)
        if not isinstance(items, list) or not items:
            return False
        known, good = [secret.encode() for secret in secrets if secret], True
        for item in items:
            text = item.get(self._field) if isinstance(item, dict) else None
            good &= _among(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b"", known)
        return good


class ClientCertificate(Scheme):
    """Mutual TLS: one of these names is in the caller's certificate, which our own server has checked."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)

    def verify(self, delivery: Delivery, secrets: Sequence[str], keys: Keys, now: datetime) -> bool:
        """Look for the names."""
        del secrets, keys, now
        return not self._names.isdisjoint(delivery.peer)


class Guard(Scheme):
    """Schemes that must all hold, the handshakes before them, and what else an address needs.

    Args:
        schemes: Each must hold; with `either`, one of them.
        handshakes: Asked in turn (`handshakes` has them).
        ok: What the provider takes for success.
        id: Reads what stays equal on redelivery; else the first scheme that knows says it.
        instances: Reads whom a delivery is for, where one address serves many.
        largest: Bytes of a body.
    """

    def __init__(
        self,
        *schemes: Scheme,
        either: bool = False,
        handshakes: Sequence[Handshake] = (),
        ok: Answer | None = None,
        id: Callable[[Delivery], str | None] | None = None,  # noqa: A002 reason: the word of the contract
        instances: Callable[[Delivery], Sequence[str] | None] | None = None,
        largest: int = LARGEST,
    ) -> None:
        if not schemes:
            raise ValueError("a guard without a scheme lets nobody in")
        self._schemes, self._either, self._handshakes = schemes, either, handshakes
        self._reads_id, self._instances = id, instances
        self.ok = ok or schemes[0].ok
        self.largest = min(largest, *(one.largest for one in schemes), LARGEST)
        self.conceals = frozenset().union(*(one.conceals for one in schemes))

    def handshake(self, delivery: Delivery, secrets: Sequence[str]) -> Answer | None:
        """Give the first answer."""
        for one in self._handshakes:
            if (answer := one(delivery, secrets)) is not None:
                return answer
        return None

    def key_address(self, delivery: Delivery) -> str | None:
        """Name the key of the scheme that needs one."""
        return next(filter(None, (one.key_address(delivery) for one in self._schemes)), None)

    def verify(self, delivery: Delivery, secrets: Sequence[str], keys: Keys, now: datetime) -> bool:
        """Ask every scheme."""
        held = [one.verify(delivery, secrets, keys, now) for one in self._schemes]
        return any(held) if self._either else all(held)

    def confirm_address(self, delivery: Delivery) -> str | None:
        """Name the address of the scheme that has one."""
        return next(filter(None, (one.confirm_address(delivery) for one in self._schemes)), None)

    def delivery_id(self, delivery: Delivery) -> str | None:
        """Read the id."""
        if self._reads_id is not None:
            return self._reads_id(delivery)
        return next(filter(None, (one.delivery_id(delivery) for one in self._schemes)), None)

    def instances(self, delivery: Delivery) -> Sequence[str] | None:
        """Read whom it is for."""
        return self._instances(delivery) if self._instances is not None else None


def json_of(delivery: Delivery, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    """Read a JSON body; whatever is no object, or no list, is an empty one."""
    try:
        found = orjson.loads(delivery.body)
    except orjson.JSONDecodeError:
        return kind()
    return found if isinstance(found, kind) else kind()


def _among(given: bytes, secrets: Sequence[bytes]) -> bool:
    good = False
    for secret in secrets:
        good |= hmac.compare_digest(secret, given)
    return good


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

"""Deliveries signed with a provider's private key: tokens (JWT) and signed messages, checked by public keys.

The keys come from hosts that the scheme names, never from one that a delivery names alone.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from ingest.push import Delivery, Scheme
from ingest.signatures import Keys, json_of

Claims = Callable[[str], Mapping[str, str]]
_MOST_TOKENS: Final = 16


def bearer(delivery: Delivery) -> Sequence[str]:
    """Take the token out of the Authorization header."""
    kind, _, token = delivery.headers.get("authorization", "").partition(" ")
    return [token.strip()] if kind.lower() == "bearer" else []


def in_body(field: str) -> Callable[[Delivery], Sequence[str]]:
    """Take the tokens out of a list in a JSON body (Graph's `validationTokens`)."""

    def tokens(delivery: Delivery) -> Sequence[str]:
        found = json_of(delivery, dict).get(field)
        return [one if isinstance(one, str) else "" for one in found] if isinstance(found, list) else []

    return tokens


class Jwt(Scheme):
    """A signed token of the sender's: Google's OIDC push, Event Grid's Entra bearer, Graph's rich notices.

    Args:
        keys: Address of the public keys: a JWKS, or an object of certificates by key id.
        claims: Claims the token must have, from a secret of the registration; by default the secret is the
            audience, so that no token made for anybody else will do.
        fixed: Claims, each with the values it may have (`iss`, `email` …).
        tokens: Takes the tokens out of a delivery; there must be one, and all must hold.
        algorithms: Nothing else is accepted.
        leeway: Seconds that clocks may differ.
    """

    def __init__(
        self,
        keys: str,
        *,
        claims: Claims = lambda secret: {"aud": secret},
        fixed: Mapping[str, Sequence[str]] | None = None,
        tokens: Callable[[Delivery], Sequence[str]] = bearer,
        algorithms: Sequence[str] = ("RS256",),
        leeway: float = 60.0,
    ) -> None:
        if any(not one.startswith(("RS", "PS", "ES")) for one in algorithms):
            raise ValueError("only algorithms with a public key can be checked by one")
        self._address, self._claims, self._fixed = keys, claims, fixed or {}
        self._tokens, self._algorithms, self._leeway = tokens, list(algorithms), leeway

    def key_address(self, delivery: Delivery) -> str | None:
        """Name the keys, if there is a token to check."""
        return self._address if self._tokens(delivery) else None

    def verify(self, delivery: Delivery, secrets: Sequence[str], keys: Keys, now: datetime) -> bool:
        """Check each token's signature, times and claims."""
        tokens = self._tokens(delivery)
        if not 0 < len(tokens) <= _MOST_TOKENS:
            return False
        known = keys_of(keys(self._address))
        return all(self._holds(token, secrets, known, now) for token in tokens)

    def _holds(self, token: str, secrets: Sequence[str], known: Mapping[str, Any], now: datetime) -> bool:
        try:
            key = known[jwt.get_unverified_header(token).get("kid", "")]
            # The clock is an argument, so the times are looked at below.
            options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False,
                            "verify_aud": False, "require": ["exp", "aud"]}  # fmt: skip
            found = jwt.decode(token, key, algorithms=self._algorithms, options=options)
        except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError):
            return False
        return (
            self._in_time(found, now.timestamp())
            and all(_one_of(found.get(name), values) for name, values in self._fixed.items())
            and any(
                all(_one_of(found.get(name), (value,)) for name, value in self._claims(secret).items())
                for secret in secrets
                if secret
            )
        )

    def _in_time(self, claims: Mapping[str, Any], now: float) -> bool:
        for name, late in (("exp", True), ("nbf", False), ("iat", False)):
            at = claims.get(name, now)
            if isinstance(at, bool) or not isinstance(at, int | float):
                return False
            if (now - at if late else at - now) > self._leeway:
                return False
        return True


def keys_of(raw: bytes) -> dict[str, Any]:
    """Read public keys by id: a JWKS, or certificates in PEM by id; what is neither is left out."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(document, dict):
        return {}
    found: dict[str, Any] = {}
    listed = document.get("keys")
    if isinstance(listed, list):
        for one in listed:
            try:
                found[one["kid"]] = jwt.PyJWK.from_dict(one).key
            except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError):
                continue
        return found
    for kid, pem in document.items():
        try:
            found[kid] = x509.load_pem_x509_certificate(pem.encode()).public_key()
        except (AttributeError, TypeError, ValueError):
            continue
    return found


class Sns(Scheme):
    """Amazon SNS: a message signed by the key of a certificate that it names itself.

    The registration's secret is the topic's ARN: anybody can have a topic, and Amazon signs for all of them.
    "Verifying the signatures of Amazon SNS messages"; raw delivery has no signature and is refused.
    """

    _HOST: Final = re.compile(r"sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(\.cn)?")
    _SIGNED: Final = {
        "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
        "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn",
                                     "Type"),
        "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn",
                                    "Type"),
    }  # fmt: skip

    def __init__(self, tolerance: timedelta = timedelta(hours=1)) -> None:
        self._tolerance = tolerance

    def key_address(self, delivery: Delivery) -> str | None:
        """Name the certificate, if it lies with SNS itself."""
        address = json_of(delivery, dict).get("SigningCertURL")
        return address if self._theirs(address) and urlsplit(address).path.endswith(".pem") else None

    def verify(self, delivery: Delivery, secrets: Sequence[str], keys: Keys, now: datetime) -> bool:
        """Check topic, age and signature; version 1 is SHA-1, version 2 SHA-256."""
        message, address = json_of(delivery, dict), self.key_address(delivery)
        version = message.get("SignatureVersion")
        names = self._SIGNED.get(message.get("Type", "")) if isinstance(message.get("Type"), str) else None
        texts = [(name, message[name]) for name in names or () if name in message]
        if address is None or not texts or any(not isinstance(text, str) for _, text in texts):
            return False
        if message.get("TopicArn") not in [one for one in secrets if one] or version not in {"1", "2"}:
            return False
        if not self._recent(message.get("Timestamp"), now):
            return False
        text = "".join(f"{name}\n{value}\n" for name, value in texts).encode("utf-8", "surrogatepass")
        hashed = SHA1() if version == "1" else SHA256()  # noqa: S303 reason: version 1 is SNS' default
        return certified(keys(address), message.get("Signature"), text, hashed, now)

    def confirm_address(self, delivery: Delivery) -> str | None:
        """Name what confirms the subscription, if it lies with SNS itself."""
        message = json_of(delivery, dict)
        address = message.get("SubscribeURL") if message.get("Type") == "SubscriptionConfirmation" else None
        return address if self._theirs(address) else None

    def delivery_id(self, delivery: Delivery) -> str | None:
        """Read the message's id, which a retry keeps."""
        found = json_of(delivery, dict).get("MessageId")
        return found if isinstance(found, str) else None

    def _theirs(self, address: object) -> bool:
        try:
            parts = urlsplit(address) if isinstance(address, str) and len(address) <= 2048 else None
            port = parts.port if parts else None
        except ValueError:
            return False
        return bool(
            parts and parts.scheme == "https" and port in {None, 443} and "@" not in parts.netloc
            and self._HOST.fullmatch(parts.hostname or "")
        )  # fmt: skip

    def _recent(self, text: object, now: datetime) -> bool:
        try:
            at = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            return False
        if at is None:
            return False
        return abs(now - (at if at.tzinfo else at.replace(tzinfo=UTC))) <= self._tolerance


def certified(pem: bytes, signature: object, text: bytes, hashed: SHA1 | SHA256, now: datetime) -> bool:
    """Check a base64 signature (RSA with PKCS#1 v1.5, or ECDSA) by a certificate that is valid now."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return False
        raw = b64decode(signature, validate=True) if isinstance(signature, str) else b""
        key = certificate.public_key()
        if isinstance(key, RSAPublicKey):
            key.verify(raw, text, PKCS1v15(), hashed)
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(raw, text, ECDSA(hashed))
        else:
            return False
    except (ValueError, InvalidSignature):
        return False
    return True


def _one_of(found: object, values: Iterable[str]) -> bool:
    if isinstance(found, bool):
        found = str(found).lower()
    texts = found if isinstance(found, list) else [found]
    return any(text in values for text in texts if isinstance(text, str))

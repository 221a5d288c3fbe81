"""What we sign to prove who we are: assertions (RFC 7523) and proofs of possession (DPoP, RFC 9449)."""

import base64
import hashlib
from typing import Any, Final
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from yarl import URL

from ingest.apis import NONE, Text
from ingest.errors import Misconfigured

JOSE: Final = frozenset({"kid", "x5t", "x5t#S256"})
"""What of a sign-in's `extra` goes to an assertion's header."""
LIFE: Final = 300
"""Seconds that an assertion without audience lives: it serves many calls. GitHub takes at most 600."""


def assertion(audience: str, key: str, claims: Text, now: float, extra: Text = NONE) -> str:
    """Sign an assertion; `kid`, `x5t` and `x5t#S256` of `extra` go to its header.

    One for an audience lives 45 seconds (Box takes at most 60) and works once; a slow clock is covered by
    dating it 10 seconds back. One without lives longer and is dated a minute back, as GitHub advises.

    Raises:
        Misconfigured: The key can't be read.
    """
    back, ahead = (10, 45) if audience else (60, LIFE)
    once = {"aud": audience, "jti": uuid4().hex} if audience else {}
    body: dict[str, Any] = {**once, **claims, "iat": int(now) - back, "exp": int(now) + ahead}
    header = {name: extra[name] for name in JOSE if name in extra}
    for algorithm in ("RS256", "ES256"):
        try:
            return jwt.encode(body, key, algorithm, headers=header)
        except (TypeError, ValueError, jwt.PyJWTError):
            continue
    raise Misconfigured("the private key can't be read: give an unencrypted RSA or P-256 key as PEM")


class Possession:
    """A key of our own that a token is bound to, made with the token and forgotten with it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public: dict[str, Any] = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)

    def proof(self, method: str, url: str, now: float, nonce: str = "", token: str = "") -> str:
        """Prove possession for one request: no proof serves twice."""
        where = URL(url)
        claims: dict[str, Any] = {
            "jti": uuid4().hex,
            "htm": method,
            "htu": f"{where.origin()}{where.raw_path}",
            "iat": int(now),
        }
        if nonce:
            claims["nonce"] = nonce
        if token:
            digest = hashlib.sha256(token.encode()).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        header = {"typ": "dpop+jwt", "jwk": self._public}
        return jwt.encode(claims, self._key, "ES256", headers=header)

"""DPoP proofs, checked as RFC 9449 section 4.3 asks, with Okta's nonces (the DPoP guide)."""

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeAlias

import jwt
from aiohttp import web

Json: TypeAlias = Any
ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
_REQUIRED = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}
NONCE_LIFE, NONCE_GRACE, FRESH = 24 * 3600.0, 3 * 24 * 3600.0, 300.0


class BadProof(Exception):
    """The proof is not good; the text says why. `nonce`: it has to be repeated with a nonce."""

    def __init__(self, why: str, *, nonce: bool = False) -> None:
        super().__init__(why)
        self.nonce = nonce


class Proofs:
    """Judges proofs; each `jti` works once, a nonce is renewed every 24 h and works for three days."""

    def __init__(self, now: Callable[[], float], word: Callable[[], str]) -> None:
        self._now, self._word = now, word
        self._seen: dict[str, float] = {}
        self._nonces: dict[str, float] = {}

    def nonce(self) -> str:
        """The nonce of the day."""
        now = self._now()
        self._nonces = {text: at for text, at in self._nonces.items() if at > now - NONCE_GRACE}
        latest = max(self._nonces.values(), default=0.0)
        if latest <= now - NONCE_LIFE:
            self._nonces[self._word()] = now
        return list(self._nonces)[-1]

    def rotate(self, *, forget: bool = False) -> None:
        """Make a new nonce; with `forget` the old ones are refused at once."""
        if forget:
            self._nonces.clear()
        self._nonces[self._word()] = self._now()

    def judge(self, request: web.Request, url: str, *, token: str = "", nonced: bool = False) -> str:
        """The thumbprint of a good proof's key; BadProof otherwise.

        `url` is the request's without query; `token` has to be bound by `ath`; `nonced`: a nonce is required.
        """
        proofs = request.headers.getall("DPoP", [])
        if len(proofs) != 1:
            raise BadProof("The DPoP proof JWT header is missing.")
        header, claims = _opened(proofs[0])
        if claims.get("htm") != request.method:
            raise BadProof("'htm' claim in the DPoP proof JWT is invalid.")
        if claims.get("htu") != url:
            raise BadProof("'htu' claim in the DPoP proof JWT is invalid.")
        if token and claims.get("ath") != _text(sha256(token.encode()).digest()):
            raise BadProof("'ath' claim in the DPoP proof JWT is invalid.")
        self._once(claims)
        self.nonce()
        if nonced and claims.get("nonce") not in self._nonces:
            raise BadProof("Authorization server requires nonce in DPoP proof.", nonce=True)
        return thumbprint(header["jwk"])

    def _once(self, claims: Json) -> None:
        now, issued, key = self._now(), claims.get("iat"), claims.get("jti")
        if not isinstance(issued, int | float) or abs(now - issued) > FRESH:
            raise BadProof("'iat' claim in the DPoP proof JWT is invalid.")
        if not isinstance(key, str) or not key:
            raise BadProof("'jti' claim in the DPoP proof JWT is missing.")
        self._seen = {one: at for one, at in self._seen.items() if at > now - 2 * FRESH}
        if key in self._seen:
            raise BadProof("The DPoP proof JWT has already been used.")
        self._seen[key] = now


def _opened(proof: str) -> tuple[Json, Json]:
    """Header and claims of a proof that its own key signed."""
    try:
        header = jwt.get_unverified_header(proof)
        key = header.get("jwk")
        if (
            header.get("typ") != "dpop+jwt"
            or header.get("alg") not in ALGORITHMS
            or not isinstance(key, dict)
        ):
            raise BadProof("The DPoP proof JWT header is invalid.")
        if "d" in key or key.get("kty") not in _REQUIRED:
            raise BadProof("The DPoP proof JWT 'jwk' header must be a public key.")
        claims = jwt.decode(
            proof, jwt.PyJWK(key, algorithm=header["alg"]).key, algorithms=[header["alg"]],
            options={"verify_iat": False, "verify_aud": False},
        )  # fmt: skip
    except jwt.PyJWTError as error:
        raise BadProof("The DPoP proof JWT signature is invalid.") from error
    return header, claims


def thumbprint(key: Json) -> str:
    """The SHA-256 thumbprint of a public JWK (RFC 7638)."""
    members = {name: key[name] for name in _REQUIRED[key["kty"]]}
    return _text(sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

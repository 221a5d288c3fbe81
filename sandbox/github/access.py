"""Who may call: the App's key and its installations' tokens, and the tokens of people.

Source: "Generating a JSON Web Token for a GitHub App", "Generating an installation access token".
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sandbox.github.answers import Json, Refused, anonymous, unknown_caller
from sandbox.github.call import Caller
from sandbox.github.state import Installation

LIFE, LONGEST = 3_600.0, 600.0
IMPLIED: Mapping[str, tuple[str, ...]] = {
    "admin:org": ("write:org", "read:org", "manage_runners:org", "read:audit_log"),
    "write:org": ("read:org",),
    "admin:enterprise": ("manage_billing:enterprise", "read:enterprise", "scim:enterprise"),
    "repo": ("repo:status", "public_repo", "security_events"),
    "user": ("read:user", "user:email"),
}


@dataclass(slots=True)
class App:
    """The GitHub App that connects: its number, its names and both halves of its key (PEM)."""

    id: int
    slug: str
    client_id: str
    private: str
    public: str
    permissions: dict[str, str]
    events: list[str]


def new_app(number: int, slug: str, permissions: dict[str, str], events: list[str]) -> App:
    """Register an App; a key is made for it, as its owner downloads one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return App(number, slug, f"Iv23li{number:014d}", private, public, permissions, events)


@dataclass(slots=True)
class _Token:
    caller: Caller
    ends: float


class Access:
    """Issues tokens and knows them again. `given` keeps every secret that was ever handed out."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.given: list[str] = [app.private]
        self._tokens: dict[str, _Token] = {}

    def caller(self, authorization: str, address: str, now: float) -> Caller:
        """Who an Authorization header speaks for; "" is nobody."""
        if not authorization:
            return Caller("nobody", f"ip:{address}")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() not in {"bearer", "token"} or not token:
            raise unknown_caller()
        if token.count(".") == 2:
            return self._signed(token, now)
        found = self._tokens.get(token)
        if found is None or now >= found.ends:
            raise unknown_caller()
        return found.caller

    def install(
        self, one: Installation, asked: Mapping[str, str], now: float, login: str, life: float = LIFE
    ) -> tuple[str, float, dict[str, str]]:
        """Give an installation a token: the token, its end, and what it may do."""
        wider = {"": 0, "read": 1, "write": 2, "admin": 3}
        for name, level in asked.items():
            if wider.get(level, 9) > wider[one.permissions.get(name, "")]:
                raise Refused(422, "The permissions requested are not granted to this installation.")
        granted = dict(asked) or dict(one.permissions)
        token = f"ghs_{secrets.token_hex(18)}"
        caller = Caller(
            "installation",
            f"installation:{one.id}",
            login,
            one.app_id,
            granted,
            installation=one.id,
        )
        self.keep(token, caller, now + life)
        return token, now + life, granted

    def person(self, login: str, number: int, *scopes: str, prefix: str = "ghp_", sso: bool = True) -> str:
        """Give a person a token with scopes; one of prefix ghp_ (classic) or gho_ (OAuth app)."""
        token = prefix + secrets.token_hex(18)
        held = set(scopes)
        for _ in scopes:
            held |= {more for one in tuple(held) for more in IMPLIED.get(one, ())}
        caller = Caller("oauth", f"user:{login}", login, number, scopes=frozenset(held), sso=sso)
        self.keep(token, caller, float("inf"))
        return token

    def keep(self, token: str, caller: Caller, ends: float) -> None:
        """Remember a token."""
        self.given.append(token)
        self._tokens[token] = _Token(caller, ends)

    def revoke(self, token: str) -> None:
        """End one token."""
        self._tokens.pop(token, None)

    def revoke_all(self, login: str = "", installation: int = 0) -> None:
        """End the tokens of a person or an installation, or with no argument of everyone."""
        self._tokens = {
            token: one
            for token, one in self._tokens.items()
            if (login and one.caller.login != login)
            or (installation and one.caller.installation != installation)
        }

    def _signed(self, token: str, now: float) -> Caller:
        try:
            claims: Json = jwt.decode(
                token,
                self.app.public,
                algorithms=["RS256"],
                options={
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_aud": False,
                    "verify_iss": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.PyJWTError:
            raise Refused(401, "A JSON web token could not be decoded") from None
        issued, ends, issuer = claims.get("iat"), claims.get("exp"), claims.get("iss")
        if not isinstance(issued, int) or issued > now:
            _refuse(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion"
                " was issued"
            )
        if not isinstance(ends, int) or ends <= now:
            _refuse(
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at"
                " which the assertion expires"
            )
        if ends > now + LONGEST:
            _refuse("'Expiration time' claim ('exp') is too far in the future")
        if str(issuer) not in {str(self.app.id), self.app.client_id}:
            raise Refused(404, "Integration not found")
        return Caller("app", f"app:{self.app.id}", f"{self.app.slug}[bot]", self.app.id)


def _refuse(message: str) -> NoReturn:
    raise Refused(401, message)


def allowed(
    caller: Caller, permission: str, scopes: tuple[str, ...], *, hidden: bool, only: tuple[str, ...]
) -> None:
    """Let pass who has the right; else 401, 403 or 404 as the endpoint answers."""
    if caller.kind not in only:
        if caller.kind == "nobody":
            raise anonymous()
        if "app" in only and len(only) == 1:
            raise Refused(401, "A JSON web token could not be decoded")
        if caller.kind == "oauth" and not hidden:
            raise Refused(403, "Resource not accessible by personal access token")
        _lacking(caller, hidden=hidden)
    if caller.kind == "installation" and permission and not _granted(caller.permissions, permission):
        _lacking(caller, hidden=hidden)
    if caller.kind == "oauth" and scopes and not caller.scopes & set(scopes):
        _lacking(caller, hidden=hidden)


def _lacking(caller: Caller, *, hidden: bool) -> NoReturn:
    if caller.kind == "app":
        raise unknown_caller()
    if hidden:
        raise Refused(404, "Not Found")
    if caller.kind == "installation":
        raise Refused(403, "Resource not accessible by integration")
    raise Refused(403, "You need the right scopes to call this; see X-Accepted-OAuth-Scopes.")


def _granted(held: Mapping[str, str], needed: str) -> bool:
    """Whether one of the alternatives ("a=read; b=write") is held."""
    order = ("read", "write", "admin")
    for one in needed.split("; "):
        name, _, level = one.partition("=")
        if level in order and held.get(name) in order[order.index(level) :]:
            return True
    return False

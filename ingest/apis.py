"""Where a provider is reached, how it is signed in to, what may be spent there."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

Json: TypeAlias = Any
"""A provider's record, as it came: typed only once a mapper made an event of it."""
Text: TypeAlias = Mapping[str, str]
Cost: TypeAlias = float | Mapping[str, float]
NONE: Text = MappingProxyType({})


_SECRET: Final = frozenset({"value", "secret", "key"})


def _shown(auth: Any) -> str:
    """Show a sign-in without its secrets."""
    fields = ((one, "***" if one in _SECRET and value else value) for one, value in auth._asdict().items())
    return f"{type(auth).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"


class Static(NamedTuple):
    """A token that does not change, sent as `header: prefix value`."""

    value: str
    header: str = "Authorization"
    prefix: str = "Bearer "

    def __repr__(self) -> str:
        return _shown(self)


class ClientCredentials(NamedTuple):
    """OAuth 2.0 client credentials, by secret or by a private key (PEM).

    `basic` sends id and secret as HTTP Basic instead of in the form; `dpop` binds the token to a key of our
    own and proves its possession with each request (RFC 9449). `extra` goes to the form, but for `kid`,
    `x5t` and `x5t#S256`, which go to the assertion's header.
    """

    url: str
    id: str
    secret: str = ""
    key: str = ""
    scope: str = ""
    extra: Text = NONE
    basic: bool = False
    dpop: bool = False

    def __repr__(self) -> str:
        return _shown(self)


class JwtBearer(NamedTuple):
    """A signed assertion exchanged for a token (RFC 7523); with `url == ""` it is itself each call's token.

    `in_header` sends it as the bearer of an empty POST, as GitHub's Apps want it; `extra` then goes to that
    request's headers instead of its form. These two kinds have no `aud` unless `claims` say one, and live
    five minutes.
    """

    url: str
    key: str
    claims: Text
    extra: Text = NONE
    in_header: bool = False

    def __repr__(self) -> str:
        return _shown(self)


class Consent(NamedTuple):
    """An admin's consent in the browser, once; `rotates`: each refresh token works a single time."""

    authorize: str
    url: str
    id: str
    secret: str
    scope: str = ""
    rotates: bool = False

    def __repr__(self) -> str:
        return _shown(self)


class Signed(NamedTuple):
    """An SDK signs by itself; the core only paces and classifies."""


Auth: TypeAlias = Static | ClientCredentials | JwtBearer | Consent | Signed


class Limit(NamedTuple):
    """`n` units in `per` seconds and at most `at_once` calls, counted per instance, acting_as or axis."""

    n: float
    per: float = 1.0
    scope: Literal["instance", "acting_as", "axis"] = "instance"
    at_once: int | None = None


class Api(NamedTuple):
    """An address, its sign-in and its budgets; `settings.endpoints[name]` overrides `base`."""

    base: str
    auth: Auth | None = None
    limits: Mapping[str, Limit] = MappingProxyType({})


class Reply(NamedTuple):
    """A provider's answer; header names in lower case, `json` None when the body is something else."""

    status: int
    headers: Text
    body: bytes
    json: Json = None

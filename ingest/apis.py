"""Where a provider is reached, how it is signed in to, what may be spent there."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

Json: TypeAlias = Any
"""A provider's record, as it came: typed only once a mapper made an event of it."""
Text: TypeAlias = Mapping[str, str]
Cost: TypeAlias = float | Mapping[str, float]
NONE: Text = MappingProxyType({})


class Static(NamedTuple):
    """A token that does not change, sent as `header: prefix value`."""

    value: str
    header: str = "Authorization"
    prefix: str = "Bearer "


class ClientCredentials(NamedTuple):
    """OAuth 2.0 client credentials, by secret or by a private key (PEM)."""

    url: str
    id: str
    secret: str = ""
    key: str = ""
    scope: str = ""
    extra: Text = NONE


class JwtBearer(NamedTuple):
    """A signed assertion exchanged for a token (RFC 7523)."""

    url: str
    key: str
    claims: Text
    extra: Text = NONE


class Consent(NamedTuple):
    """An admin's consent in the browser, once; `rotates`: each refresh token works a single time."""

    authorize: str
    url: str
    id: str
    secret: str
    scope: str = ""
    rotates: bool = False


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

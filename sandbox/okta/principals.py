"""Who calls: API tokens of people, and the service app with its scopes and roles."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeAlias

from sandbox.okta import ids
from sandbox.okta.errors import Refused
from sandbox.okta.people import DAY, People
from sandbox.okta.roles import Roles, allows

Json: TypeAlias = Any
TOKEN_LIFE = 30 * DAY


@dataclass(slots=True)
class Principal:
    """An authenticated caller; `scopes` is None for an API token, which is not bound to any."""

    id: str
    actor: Json
    scopes: frozenset[str] | None = None
    token: str = ""
    roles: list[str] = field(default_factory=list)

    def needs(self, scope: str) -> None:
        """Refused when no admin role of the caller suffices; scopes were checked before."""
        if not any(allows(role, scope) for role in self.roles):
            raise Refused("E0000006")


@dataclass(slots=True)
class ApiToken:
    """An API token; each call moves its end to 30 days from then."""

    id: str
    name: str
    owner: int
    created: float
    used: float
    revoked: bool = False


class ApiTokens:
    """The tokens by the hash of their value; a token is as good as its owner."""

    def __init__(self, people: People, now: Callable[[], float]) -> None:
        self._people, self._now = people, now
        self._tokens: dict[str, ApiToken] = {}

    def issue(self, value: str, name: str, owner: int) -> ApiToken:
        """Make a token of a user."""
        now = self._now()
        made = ApiToken(ids.make("00T", len(self._tokens) + 1), name, owner, now, now)
        self._tokens[_hash(value)] = made
        return made

    def use(self, value: str) -> ApiToken:
        """The token of a call; Refused when unknown, revoked, 30 days unused, or its owner is not active."""
        token, now = self._tokens.get(_hash(value)), self._now()
        if token is None or token.revoked or now > token.used + TOKEN_LIFE:
            raise Refused("E0000011")
        if self._people.field(token.owner, "status") in {None, "DEPROVISIONED", "SUSPENDED"}:
            raise Refused("E0000011")
        token.used = now
        return token

    def all(self) -> list[ApiToken]:
        """Those that were not revoked."""
        return [token for token in self._tokens.values() if not token.revoked]

    def revoke(self, key: str) -> ApiToken | None:
        """End a token by its id; None when there is none."""
        found = next((token for token in self.all() if token.id == key), None)
        if found is not None:
            found.revoked = True
        return found


def roles_of(roles: Roles, groups: list[str], principal: str) -> list[str]:
    """The types of a principal's roles, those by its groups included."""
    return [one["type"] for key in (principal, *groups) for one in roles.of(key)]


def _hash(value: str) -> str:
    return sha256(value.encode()).hexdigest()

"""One request as an endpoint sees it, and the table of endpoints."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import unquote

from sandbox.github.answers import Answer, Json, Refused, invalid

if TYPE_CHECKING:
    from sandbox.github.tenant import GitHubTenant

Kind: TypeAlias = Literal["nobody", "app", "installation", "oauth"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `key` names the owner of the rate limits, `login` acts in the audit log."""

    kind: Kind
    key: str
    login: str = ""
    id: int = 0
    permissions: Mapping[str, str] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset()
    installation: int = 0
    sso: bool = True


@dataclass(slots=True)
class Call:
    """A request: `path` without the Enterprise Server's prefix, `base` the URL it is relative to."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    caller: Caller
    base: str
    body: Json = None
    params: Mapping[str, str] = field(default_factory=dict)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """A query parameter of a fixed set."""
        value = self.query.get(name, default)
        if value not in allowed:
            raise invalid("Search", name)
        return value

    def number(self, name: str, default: int) -> int:
        """A query parameter that is a positive number; others count as the default, as GitHub does it."""
        value = self.query.get(name, "")
        return int(value) if value.isdecimal() and int(value) > 0 else default

    @property
    def size(self) -> int:
        """Entries a page: 30, at most 100."""
        return min(self.number("per_page", 30), 100)

    def given(self) -> dict[str, Json]:
        """The body, which is to be a JSON object."""
        if self.body is None:
            return {}
        if not isinstance(self.body, dict):
            raise Refused(400, "Body should be a JSON object")
        return self.body

    def word(self, name: str, default: str = "") -> str:
        """A member of the body that is to be text; 422 for anything else."""
        value = self.given().get(name, default)
        if not isinstance(value, str):
            raise invalid("Request", name, "invalid", f"{name} is not a string")
        return value


Handler: TypeAlias = "Callable[[GitHubTenant, Call], Answer]"
IDS: tuple[str, ...] = (
    "installation_id",
    "hook_id",
    "delivery_id",
    "role_id",
    "credential_id",
    "pat_id",
    "account_id",
)


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint.

    `permission` is what an App needs ("members=read"; "" is nothing, "no" means Apps may not at all),
    `scopes` any of which an OAuth token needs, `only` the kind of caller it is for, `query` the
    parameters it knows, `bucket` whose limit it counts on.
    """

    method: str
    template: str
    pattern: re.Pattern[str]
    handler: Handler
    permission: str
    scopes: tuple[str, ...]
    only: tuple[Kind, ...]
    query: frozenset[str]
    bucket: str
    hidden: bool


ROUTES: list[Route] = []
PAGES = ("per_page", "page")


def route(
    method: str,
    template: str,
    *,
    permission: str = "",
    scopes: tuple[str, ...] = (),
    only: tuple[Kind, ...] = ("installation", "oauth"),
    query: tuple[str, ...] = (),
    bucket: str = "core",
    hidden: bool = False,
) -> Callable[[Handler], Handler]:
    """Register an endpoint; `hidden`: without the right it answers 404 in place of 403."""
    pattern = re.compile(re.sub(r"\{(\w+)\}", _group, template))

    def register(handler: Handler) -> Handler:
        ROUTES.append(
            Route(
                method, template, pattern, handler, permission, scopes, only, frozenset(query), bucket, hidden
            )
        )
        return handler

    return register


def _group(name: re.Match[str]) -> str:
    return rf"(?P<{name[1]}>\d+)" if name[1] in IDS else rf"(?P<{name[1]}>[^/]+)"


class Table:
    """Finds the endpoint of a request."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, int], list[Route]] = {}
        for one in ROUTES:
            self._routes.setdefault((one.method, one.template.count("/")), []).append(one)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The endpoint and the variables of its path, or None."""
        for one in self._routes.get((method, path.count("/")), []):
            if found := one.pattern.fullmatch(path):
                return one, {name: unquote(value) for name, value in found.groupdict().items()}
        return None

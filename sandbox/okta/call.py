"""A call as the handlers see it, and how an endpoint is described."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from aiohttp import web

from sandbox.okta.errors import Refused, invalid, missing
from sandbox.okta.paging import after, limit, linked
from sandbox.okta.principals import Principal
from sandbox.okta.records import person

if TYPE_CHECKING:
    from sandbox.okta.tenant import OktaTenant

Json: TypeAlias = Any


@dataclass(slots=True)
class Call:
    """A call that was let in; `body` is None without one."""

    tenant: "OktaTenant"
    request: web.Request
    who: Principal
    body: Json = None

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters."""
        return self.request.query

    def only(self, *names: str) -> None:
        """Refuse parameters that the endpoint does not have; the provider ignores some of them silently."""
        for name in self.query:
            if name not in names:
                raise invalid(name, "unknown parameter")

    def part(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]

    def user(self, name: str = "user") -> int:
        """The number of the user in the path, by id, login, or `me`; refused with 404 when there is none."""
        key = self.part(name)
        found = self.tenant.people.number(self.who.id if key == "me" else key)
        if found is None:
            raise missing("User", key)
        return found

    def group(self) -> int:
        """The number of the group in the path."""
        found = self.tenant.groups.number(self.part("group"))
        if found is None:
            raise missing("UserGroup", self.part("group"))
        return found

    def app(self) -> int:
        """The number of the app in the path."""
        found = self.tenant.apps.number(self.part("app"))
        if found is None:
            raise missing("AppInstance", self.part("app"))
        return found

    def of_service(self) -> bool:
        """Whether the app in the path is a service app, which nobody can be assigned to."""
        return self.part("app") in self.tenant.oauth.apps

    def flag(self, name: str, *, default: bool | None) -> bool:
        """A boolean parameter; one without a default has to be there."""
        text = self.query.get(name)
        if text is None and default is None:
            raise Refused("E0000028")
        if text is not None and text not in {"true", "false"}:
            raise invalid(name, "must be true or false")
        return bool(default) if text is None else text == "true"

    def listed(self, entries: list[Json], *, default: int, most: int, clamp: bool = False) -> web.Response:
        """Answer with a page of a short list."""
        page, more = after(entries, limit(self.query, default, most, clamp=clamp), self.query)
        return self.page(page, more)

    def page(self, entries: list[Json], more: Mapping[str, str] | None) -> web.Response:
        """Answer with a page, and where the next one is."""
        return linked(web.json_response(entries), self.tenant.url, self.request.path, self.query, more=more)

    def note(self, kind: str, targets: Sequence[Json], **more: Any) -> None:
        """Note what the caller did, and by which API token."""
        detail = {"requestApiTokenId": self.who.token} if self.who.token else {}
        self.tenant.note(kind, self.who.actor, targets, transaction={"detail": detail}, **more)

    def did(self, kind: str, user: int, *targets: Json, **more: Any) -> None:
        """Note what the caller did to a user."""
        self.note(kind, [person(self.tenant.people.get(user)), *targets], **more)

    def href(self, path: str) -> Json:
        """A link."""
        return {"href": f"{self.tenant.url}{path}"}


Handle: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """An endpoint: the scope it needs and the rate bucket it counts in."""

    method: str
    path: str
    handle: Handle
    scope: str
    bucket: str


def empty() -> web.Response:
    """Success without a body."""
    return web.Response(status=204)


def now_of(call: Call) -> float:
    """The tenant's time."""
    return call.tenant.clock.now()

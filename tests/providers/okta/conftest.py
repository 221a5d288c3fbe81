"""What the Okta tests share: a simulated org, a connection to it through the core's client, a judge."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import pytest
from okta_site import OktaSite
from reading import Connected, connected

from ingest.acts import Action
from ingest.provider import Json, Ref, Step
from ingest.providers.okta import Okta
from ingest.providers.okta.actions import ACTIONS
from ingest.providers.okta.settings import Settings
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant
from schemas.events import Event, Origin, stamp
from schemas.validation import encode, validate

Judge: TypeAlias = Callable[[Event], Event]
ORIGIN = Origin("acme", "okta", "00o1", {"name": "Okta", "vendor_name": "Okta"}, account_type="Okta org")


class Org:
    """A simulated org and our connection to it."""

    def __init__(self, tenant: OktaTenant, one: Connected) -> None:
        self.tenant, self.one = tenant, one
        self.provider: Okta = one.provider  # type: ignore[assignment]  # the site's kind

    async def run(self, work: Awaitable[Json]) -> Json:
        """Wait for something while the test's clock skips pauses."""

        async def done() -> Json:
            return await work

        return await self.one.clock.drive(done())

    def uid(self, number: int) -> str:
        """Give a person's id."""
        return str(self.tenant.people.get(number)["id"])

    def status(self, number: int) -> str:
        """Give a person's status."""
        return str(self.tenant.people.field(number, "status"))

    async def plan(self, name: str, target: Ref, options: Mapping[str, Json] | None = None) -> list[Step]:
        """Look and plan."""
        action = action_of(name)
        return action.plan(await self.run(action.look(self.provider, target, options or {})), options or {})

    async def act(
        self, name: str, target: Ref, options: Mapping[str, Json] | None = None
    ) -> tuple[Json, Json]:
        """Look, do what is planned, look again; give what was before, and each step's result."""
        action = action_of(name)
        before = await self.run(action.look(self.provider, target, options or {}))
        done = {}
        for step in action.plan(before, options or {}):
            done[step.do] = await self.run(action.do(self.provider, target, step))
        return before, done

    async def take_back(
        self, name: str, target: Ref, before: Json, done: Json, options: Mapping[str, Json] | None = None
    ) -> list[Step] | None:
        """Undo, and give the steps that took."""
        action = action_of(name)
        now = await self.run(action.look(self.provider, target, options or {}))
        steps = action.undo(before, now, done)
        for step in steps or []:
            await self.run(action.do(self.provider, target, step))
        return steps


def action_of(name: str) -> Action[Any]:
    """Find an action."""
    return next(one for one in ACTIONS if one.name == name)


Open: TypeAlias = Callable[..., Awaitable[Org]]


@pytest.fixture
async def connect() -> AsyncIterator[Open]:
    """Give what starts an org and connects to it; settings and the tenant's arguments may be given."""
    async with AsyncExitStack() as stack:

        async def opened(settings: Mapping[str, Json] | None = None, **more: Any) -> Org:
            return await stack.enter_async_context(_org(settings or {}, {"users": 40, "groups": 10, **more}))

        yield opened


@asynccontextmanager
async def _org(settings: Mapping[str, Json], more: Mapping[str, Any]) -> AsyncIterator[Org]:
    async with running(OktaTenant(**{"limits": LOOSE, **more})) as tenant:
        site = OktaSite(tenant)
        sign_in = {name: value for name, value in settings.items() if name in {"oauth", "dpop", "scopes"}}
        own = {name: value for name, value in settings.items() if name not in {"oauth", "dpop"}}
        site.settings = Settings.model_validate({**tenant.settings(**sign_in), **own})
        async with connected(site) as one:
            yield Org(tenant, one)


@pytest.fixture
async def org(connect: Open) -> Org:
    """Give an org signed in to by an API token."""
    return await connect()


@pytest.fixture
def judge(official: Callable[[Mapping[str, Any]], list[str]]) -> Judge:
    """Stamp an event, hold it against the official OCSF schema and ours, and give it back."""

    def judged(event: Event) -> Event:
        stamp(event, ORIGIN, 1_772_359_201_000)
        assert official(event) == []
        encode(validate(event))
        return event

    return judged

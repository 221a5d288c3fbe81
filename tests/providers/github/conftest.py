"""What the GitHub tests share: a simulated organization, a connection to it, two judges of events."""

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from github_site import GitHubSite, fail
from reading import Connected, connected

from ingest.provider import Instance, Json, Ref
from ingest.providers.github import GitHub
from ingest.providers.github.actions import ACTIONS
from ingest.providers.github.settings import Settings
from sandbox.github.seed import seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant
from schemas.events import Event, Origin, stamp
from schemas.validation import encode, validate

HERE = Path(__file__).parent
ORIGIN = Origin("acme", "github", "6811672", {"name": "GitHub", "vendor_name": "GitHub"}, account_type="x")
Mapped: TypeAlias = Callable[..., list[Event]]
Open: TypeAlias = Callable[..., Awaitable["Org"]]


class Org:
    """A simulated organization and our connection to it."""

    def __init__(self, tenant: GitHubTenant, one: Connected) -> None:
        self.tenant, self.one = tenant, one
        self.provider: GitHub = one.provider  # type: ignore[assignment]  # the site's kind

    async def run(self, work: Awaitable[Json]) -> Json:
        """Wait for something while the test's clock skips pauses."""

        async def done() -> Json:
            return await work

        return await self.one.clock.drive(done())

    async def read(self, feed: str) -> list[Event]:
        """Read all of a feed, as events."""
        return [event for one in await self.one.read(feed) for event in self.one.events(feed, one.pages)]

    async def act(self, name: str, target: Ref, options: Json = None) -> tuple[Json, Json, dict[str, Json]]:
        """Look, do each step twice as after a crash, look again, and hold that nothing is left to do."""
        action = next(one for one in ACTIONS if one.name == name)
        before = await self.run(action.look(self.provider, target, options))
        done = {}
        for step in action.plan(before, options):
            done[step.do] = await self.run(action.do(self.provider, target, step))
            await self.run(action.do(self.provider, target, step))
        now = await self.run(action.look(self.provider, target, options))
        assert action.plan(now, options) == []
        return before, now, done

    async def back(self, name: str, target: Ref, before: Json, now: Json, options: Json = None) -> Json:
        """Undo, and look once more."""
        action = next(one for one in ACTIONS if one.name == name)
        for step in action.undo(before, now, {}) or []:
            await self.run(action.do(self.provider, target, step))
        return await self.run(action.look(self.provider, target, options))


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Give what opens a connection: by the App, or with other settings (a function of the tenant)."""
    async with AsyncExitStack() as stack:

        async def at(
            settings: Callable[[GitHubTenant], Mapping[str, Json]] | None = None,
            tenant: GitHubTenant | None = None,
            change: Callable[[GitHubTenant], Any] = lambda _: None,
        ) -> Org:
            made = tenant or seed(members=12, repos=8, teams=3, events=60)
            change(made)
            await stack.enter_async_context(running(made))
            await fail(made)
            site = GitHubSite(made)
            if settings is not None:
                given = {"organization": "acme", "endpoints": {"rest": made.url}, **settings(made)}
                site.settings = Settings.model_validate(given)
            return Org(made, await stack.enter_async_context(connected(site)))

        yield at


@pytest.fixture
async def org(opened: Open) -> Org:
    """Give an organization connected by the App."""
    return await opened()


@pytest.fixture(scope="session")
def payloads() -> dict[str, list[Json]]:
    """Give the published webhook payloads, by event."""
    found: dict[str, list[Json]] = orjson.loads(gzip.decompress((HERE / "payloads.json.gz").read_bytes()))
    return found


@pytest.fixture(scope="session")
def mapped(official: Callable[[Any], list[str]]) -> Mapped:
    """Map records with a mapper; every event is held against the official OCSF schema and ours."""

    def all_of(mapper: Callable[[Json, Instance], Iterable[Any]], records: Iterable[Json]) -> list[Event]:
        found = []
        for record in records:
            for number, event in enumerate(mapper(record, Instance("6811672", "acme"))):
                stamp(event, ORIGIN, 1_790_000_000_000, index=number)
                assert official(event) == []
                encode(validate(event))
                found.append(event)
        return found

    return all_of

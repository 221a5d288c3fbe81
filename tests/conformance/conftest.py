"""The conformance suite's cases, one a provider and feed, and its tenants, each started once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import pytest
import pytest_asyncio
import rig
from core import Core
from practice import Guarded, Practised
from reading import Connected, connected
from sites import PRACTICES, SITES, START
from tenants import Site, ToySite, fill
from toy.tenant import Tenant, running

from ingest.provider import Feed, Scheme
from sluice.broker import Broker

Open: TypeAlias = Callable[[str], Awaitable[Connected]]
Case: TypeAlias = tuple[Connected, str]
Practices: TypeAlias = Callable[[str], Awaitable[Practised]]


def feed_of(case: tuple[str, str]) -> Feed:
    """Give what the feed of a case says of itself."""
    name, feed = case
    return SITES[name].kind.feeds()[feed]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask each judgement of each provider, of each of its feeds, actions, hooks, of each fault."""
    feeds = [(name, feed) for name, site in SITES.items() for feed in site.kind.feeds()]
    actions = [(name, action) for name, practice in PRACTICES.items() for action in practice.trials]
    cases = {
        "reader": feeds,
        "ending": [case for case in feeds if feed_of(case).every],
        "windowed": [case for case in feeds if feed_of(case).late is not None],
        "resumable": [case for case in feeds if feed_of(case).late is None and feed_of(case).every],
        "faulty": [(name, fault) for name, site in SITES.items() for fault in site.faults],
        "passing": [(name, fault) for name in SITES for fault in PASSING],
        "guard": [(name, hook) for name, practice in PRACTICES.items() for hook in practice.guarded],
        "acted": actions,
        "refusable": [(name, one) for name, one in actions if PRACTICES[name].trials[one].refused],
    }
    for fixture in cases.keys() & set(metafunc.fixturenames):
        ids = [" ".join(case) for case in cases[fixture]]
        metafunc.parametrize(fixture, cases[fixture], ids=ids, indirect=True)
    if "site_type" in metafunc.fixturenames:
        metafunc.parametrize("site_type", SITES.values(), ids=list(SITES))


@pytest.fixture(scope="session")
async def sites() -> AsyncIterator[Callable[[str], Awaitable[Site]]]:
    """Start a provider's tenant when it is first asked for."""
    running: dict[str, Site] = {}
    async with AsyncExitStack() as stack:

        async def started(name: str) -> Site:
            if name not in running:
                running[name] = await stack.enter_async_context(START[name]())
            return running[name]

        yield started


@pytest.fixture(scope="session")
async def opened(sites: Callable[[str], Awaitable[Site]]) -> AsyncIterator[Open]:
    """Keep one undisturbed connection a provider, whose readings are remembered."""
    held: dict[str, Connected] = {}
    async with AsyncExitStack() as stack:

        async def at(name: str) -> Connected:
            if name not in held:
                held[name] = await stack.enter_async_context(connected(await sites(name)))
                for feed in held[name].provider.feeds().values():
                    if feed.every is None:  # before anybody else takes what its queue has
                        await held[name].once(feed.name)
            return held[name]

        yield at


@pytest.fixture
async def reader(request: pytest.FixtureRequest, opened: Open) -> Case:
    """Give a connection and the name of the feed to judge."""
    name, feed = request.param
    return await opened(name), feed


@pytest.fixture
async def ending(request: pytest.FixtureRequest, opened: Open) -> Case:
    """Give a feed that is no stream."""
    name, feed = request.param
    return await opened(name), feed


@pytest.fixture
async def windowed(request: pytest.FixtureRequest, opened: Open) -> Case:
    """Give a feed that reads windows."""
    name, feed = request.param
    return await opened(name), feed


@pytest.fixture
async def resumable(request: pytest.FixtureRequest, opened: Open) -> Case:
    """Give a feed that goes on at a cursor."""
    name, feed = request.param
    return await opened(name), feed


Faulty: TypeAlias = tuple[Site, str, Connected]
PASSING = ("401", "429", "500", "truncated")
"""Faults that must be overcome when they pass."""


@pytest.fixture
async def passing(
    request: pytest.FixtureRequest, sites: Callable[[str], Awaitable[Site]], opened: Open
) -> AsyncIterator[Faulty]:
    """Give a connection of its own and a fault that is going to pass."""
    name, what = request.param
    await opened(name)
    site = await sites(name)
    async with connected(site) as one:
        yield site, what, one
        await site.heal()


@pytest.fixture
async def faulty(
    request: pytest.FixtureRequest, sites: Callable[[str], Awaitable[Site]], opened: Open
) -> AsyncIterator[Faulty]:
    """Give a connection of its own and a fault to order; all is well again afterwards."""
    name, what = request.param
    await opened(name)
    site = await sites(name)
    async with connected(site, patience=0.08 if what == "time-out" else 60.0) as one:
        yield site, what, one
        await site.heal()


@pytest.fixture(scope="session")
async def practices() -> AsyncIterator[Callable[[str], Awaitable[Practised]]]:
    """Start a tenant to act on when it is first asked for; the readers' are left alone."""
    running: dict[str, Practised] = {}
    async with AsyncExitStack() as stack:

        async def started(name: str) -> Practised:
            if name not in running:
                practice = await stack.enter_async_context(PRACTICES[name].start())
                running[name] = Practised(practice, stack)
            return running[name]

        yield started


@pytest.fixture
def guard(request: pytest.FixtureRequest) -> tuple[Guarded, Scheme]:
    """Give how a hook is called, and how it is guarded."""
    name, hook = request.param
    return PRACTICES[name].guarded[hook], SITES[name].kind.hooks()[hook].scheme


async def _practised(request: pytest.FixtureRequest, practices: Practices) -> tuple[Practised, str]:
    name, action = request.param
    return await practices(name), action


@pytest.fixture
async def acted(request: pytest.FixtureRequest, practices: Practices) -> tuple[Practised, str]:
    """Give a tenant to act on, and the name of the action to try."""
    return await _practised(request, practices)


@pytest.fixture
async def refusable(request: pytest.FixtureRequest, practices: Practices) -> tuple[Practised, str]:
    """Give one that there is a target for which it must be refused on."""
    return await _practised(request, practices)


@pytest_asyncio.fixture(loop_scope="session")
async def core(kafka: Broker, topic_prefix: str) -> Core:
    """Give a deployment with topics of its own that knows all the sites."""
    kinds = {name: site.kind for name, site in SITES.items()}
    return Core(await rig.topics(kafka.bootstrap, topic_prefix), kinds)


@pytest_asyncio.fixture(loop_scope="session")
async def toy() -> AsyncIterator[ToySite]:
    """Give a toy of its own."""
    async with running(Tenant()) as tenant:
        fill(tenant)
        yield ToySite(tenant)

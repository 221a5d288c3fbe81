"""The toy and its tenant: faults in its dialect, its feeds, its webhook, its action, its limits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from toy.clock import TestClock
from toy.provider import Hooks, Toy, ToySettings
from toy.tenant import SECRET, Tenant, running, serving

from ingest.errors import Changed, CursorLost, Misconfigured, NotAllowed, Retry, SourceError
from ingest.http import Client
from ingest.pace import Pace
from ingest.provider import At, Axis, Delivery, Instance, Json, Page, Pushed, Ref, Registered, Wanted
from schemas.events import Origin, stamp
from schemas.validation import validate


@asynccontextmanager
async def toy(tenant: Tenant, **options: Any) -> AsyncIterator[tuple[Toy, TestClock]]:
    """Connect the toy to its tenant."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(tenant))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        clock = TestClock()
        pace = Pace(clock=clock)
        settings = ToySettings.model_validate({"url": tenant.url, "client_secret": SECRET, **options})
        provider = Toy(settings, None, Instance("toy-1"))  # type: ignore[arg-type]
        provider.http = Client(provider, session, pace, jitter=lambda: 0.5)
        yield provider, clock
        await pace.close()


@pytest.mark.parametrize(
    ("fault", "times", "expected"),
    [
        ("throttled", 1, None), ("200 error", 1, None), ("401", 1, None), ("401", 2, Misconfigured),
        ("403", 1, NotAllowed), ("410", 1, CursorLost), ("500", 4, None), ("500", 5, Retry),
        ("html", 2, None),
        ("truncated", 2, None), ("cut", 2, None), ("200 error", 5, Retry),
    ],
)  # fmt: skip
async def test_faults_of_the_toy(fault: str, times: int, expected: type[SourceError] | None) -> None:
    """In the provider's own dialect, a passing fault is overcome and a lasting one ends in its error."""
    tenant = Tenant()
    tenant.order("/me", *[fault] * times)
    async with toy(tenant) as (provider, clock):
        if expected is None:
            assert (await clock.drive(provider.identify())).id == "toy-1"
        else:
            with pytest.raises(expected) as caught:
                await clock.drive(provider.identify())
            assert "toy-access" not in str(caught.value)
    assert tenant.faults == []


async def test_toy_limits_are_kept() -> None:
    """A hundred calls at once, in real time, are never refused by a tenant that counts."""
    tenant: Tenant = Tenant(limit=50)
    async with running(tenant), aiohttp.ClientSession() as session:
        settings = ToySettings.model_validate({"url": tenant.url, "client_secret": SECRET})
        provider = Toy(settings, None, Instance("toy-1"))  # type: ignore[arg-type]
        pace = Pace()
        provider.http = Client(provider, session, pace)
        replies: list[Json] = await asyncio.gather(*(provider.identify() for _ in range(100)))
        await pace.close()

    assert len(replies) == 100
    assert tenant.refused == 0
    assert tenant.busiest() <= 51


def reading(cursor: Json = None, back: timedelta = timedelta(days=7)) -> At:
    """Read up to now."""
    now = datetime.now(UTC)
    return At(Axis(), cursor, now - back, now + timedelta(seconds=1))


async def pages(provider: Toy, feed: str, at: At) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in getattr(provider, feed)(at)]


async def test_feeds_read_everything_and_map_to_valid_events() -> None:
    """Each feed yields all there is, resumes after any page, and its events fit their classes."""
    tenant = Tenant()
    ids = [tenant.add_user(name) for name in ("ann", "bob", "cid", "dan")]
    for number in range(7):
        tenant.act("login" if number % 2 else "logout", ids[number % 4])
        tenant.note("suspended", ids[0], ago=number)
    tenant.note("activated", ids[1], ago=5, late=600)
    origin = Origin(
        "acme", "toy", "toy-1", {"name": "Toy", "vendor_name": "Sluice"}, account_type="Toy account"
    )
    async with toy(tenant) as (provider, clock):
        for name, count in (("activity", 7), ("audit", 7), ("users", 4)):
            read = await clock.drive(pages(provider, name, reading()))
            records = [record for page in read for record in page.records]
            assert len({record["id"] for record in records}) == len(records) == count
            for record in records:
                for made in Toy.feeds()[name].to[""](record, provider.instance):
                    assert isinstance(made, dict)
                    validate(stamp(made, origin, 1_790_000_000_000))
            if name != "audit":
                rest = await clock.drive(pages(provider, name, reading(read[0].cursor)))
                assert [page.records for page in rest] == [page.records for page in read[1:]]


async def test_an_old_position_is_lost() -> None:
    """A position the stream has forgotten is answered as declared."""
    tenant = Tenant()
    tenant.oldest = 5
    async with toy(tenant) as (provider, clock):
        with pytest.raises(CursorLost) as caught:
            await clock.drive(pages(provider, "activity", reading("2")))
    assert caught.value.since == timedelta(days=1)


async def test_a_delivery_carries_what_the_poll_reads() -> None:
    """A delivery of a registered hook verifies, and holds the record as the stream has it."""
    tenant, came = Tenant(), list[Delivery]()
    tenant.add_user("ann")
    record = tenant.act()

    async def receive(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        came.append(Delivery("POST", headers, {}, await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    async with serving(app) as base, toy(tenant) as (provider, clock):
        wanted = Wanted("h1", f"{base}/hook", "hook-secret", Axis(), datetime.now(UTC))
        for _ in range(2):
            await clock.drive(Hooks().create(provider, wanted))
        assert await tenant.push(record) == [200]
        await tenant.push(record, secret="other")
        for _ in range(2):
            await clock.drive(Hooks().remove(provider, Registered("h1")))
        assert tenant.hooks == {}

        scheme = Toy.hooks()["changed"].scheme
        now = datetime.now(UTC)
        good = [scheme.verify(one, ["new", "hook-secret"], lambda _: b"", now) for one in came]
        assert good == [True, False]
        assert list(provider.changed(came[0])) == [Pushed("activity", [record])]
        assert scheme.delivery_id(came[0]) == record["id"]


async def test_a_file_is_read_in_the_version_asked_for() -> None:
    """A file's bytes come with their version; one that was replaced is another by now."""
    tenant = Tenant()
    name = tenant.add_file("plan.txt", b"the plan")
    asked = Ref("file", name, tenant.files[name]["version"])
    async with toy(tenant) as (provider, clock):

        async def read() -> bytes:
            async with provider.content(asked) as content:
                assert content.version == asked.version
                return b"".join([chunk async for chunk in content.chunks])

        assert await clock.drive(read()) == b"the plan"
        tenant.add_file("plan.txt", b"another plan")
        with pytest.raises(Changed):
            await clock.drive(read())

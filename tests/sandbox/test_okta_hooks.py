"""Event hooks of the simulated Okta org: registration, challenge, delivery (event hooks concept page)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sandbox.okta.records import person
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant

Json = Any
SECRET = "static-header-value-41c7"


class Receiver:
    """A web service that answers as told: `statuses` for the next POSTs (0: not in time), then 204."""

    def __init__(self) -> None:
        self.url, self.answers, self.got = "", True, list[tuple[Json, dict[str, str]]]()
        self.statuses: list[int] = []
        self.challenges = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a challenge or take events."""
        if request.method == "GET":
            self.challenges += 1
            value = request.headers["x-okta-verification-challenge"] if self.answers else "wrong"
            return web.json_response({"verification": value})
        self.got.append((await request.json(), dict(request.headers)))
        status = self.statuses.pop(0) if self.statuses else 204
        if status == 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 1)
        return web.Response(status=status or 204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver on loopback."""
    made, app = Receiver(), web.Application()
    app.router.add_route("*", "/hook", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


@pytest.fixture
async def org() -> AsyncIterator[OktaTenant]:
    """Run an org that delivers only when told, and waits 0.2 s for an answer."""
    tenant = OktaTenant(users=20, limits=LOOSE)
    tenant.push_every, tenant.deliveries.timeout = 0.0, 0.2
    async with running(tenant):
        yield tenant


@pytest.fixture
async def http(org: OktaTenant) -> AsyncIterator[aiohttp.ClientSession]:
    """Call it with its API token."""
    async with aiohttp.ClientSession(org.url, headers={"Authorization": f"SSWS {org.api_token}"}) as session:
        yield session


def body(uri: str, *kinds: str, **more: Json) -> Json:
    """Write a registration."""
    scheme = {"type": "HEADER", "key": "Authorization", "value": SECRET}
    config = {"uri": uri, "headers": [{"key": "X-Own", "value": "1"}], "authScheme": scheme}
    events = {"type": "EVENT_TYPE", "items": list(kinds) or ["user.session.start", "user.lifecycle.suspend"]}
    channel = {"type": "HTTP", "version": "1.0.0", "config": config}
    return {"name": "sluice", "events": events, "channel": channel} | more


async def ask(http: aiohttp.ClientSession, method: str, path: str, sent: Json = None) -> tuple[int, Json]:
    """Call and read the answer."""
    async with http.request(method, f"/api/v1/eventHooks{path}", json=sent) as answer:
        return answer.status, await answer.json() if answer.status != 204 else None


async def registered(http: aiohttp.ClientSession, url: str) -> str:
    """Register and verify a hook; its id."""
    _, made = await ask(http, "POST", "", body(url))
    status, told = await ask(http, "POST", f"/{made['id']}/lifecycle/verify")
    assert (status, told["verificationStatus"]) == (200, "VERIFIED")
    return str(made["id"])


async def test_its_life(org: OktaTenant, http: aiohttp.ClientSession, receiver: Receiver) -> None:
    """Created UNVERIFIED, verified by the challenge, unverified by another uri, deleted when inactive."""
    status, made = await ask(http, "POST", "", body(receiver.url))
    assert (status, made["status"], made["verificationStatus"]) == (200, "ACTIVE", "UNVERIFIED")
    assert SECRET not in str(made)
    assert SECRET in org.issued()
    path = f"/{made['id']}"
    assert (await ask(http, "POST", f"{path}/lifecycle/verify"))[1]["verificationStatus"] == "VERIFIED"
    same = await ask(http, "PUT", path, body(receiver.url, "user.session.end"))
    assert same[1]["verificationStatus"] == "VERIFIED"
    moved = await ask(http, "PUT", path, body(receiver.url + "?new"))
    assert moved[1]["verificationStatus"] == "UNVERIFIED"
    assert (await ask(http, "DELETE", path))[0] == 400
    assert (await ask(http, "POST", f"{path}/lifecycle/deactivate"))[1]["status"] == "INACTIVE"
    assert await ask(http, "DELETE", path) == (204, None)
    assert (await ask(http, "GET", path))[0] == 404
    kinds = [one.kind for one in org.truth]
    assert kinds == [
        f"event_hook.{verb}"
        for verb in ("created", "verified", "updated", "updated", "deactivated", "deleted")
    ]


async def test_a_wrong_answer_to_the_challenge(http: aiohttp.ClientSession, receiver: Receiver) -> None:
    """400, and the hook stays unverified."""
    receiver.answers = False
    _, made = await ask(http, "POST", "", body(receiver.url))
    status, told = await ask(http, "POST", f"/{made['id']}/lifecycle/verify")
    assert (status, told["errorCode"]) == (400, "E0000001")
    assert (await ask(http, "GET", f"/{made['id']}"))[1]["verificationStatus"] == "UNVERIFIED"


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"events": {"type": "EVENT_TYPE", "items": []}},
        {"events": {"type": "EVENT_TYPE", "items": ["user.session.access_admin_app"]}},
        {"events": {"type": "EVENT_TYPE", "items": ["user.session.begin"]}},
        {"events": {"type": "EVENT", "items": ["user.session.start"]}},
        {"channel": {"type": "HTTP", "version": "2", "config": {"uri": "https://a.example"}}},
        {"channel": {"type": "HTTP", "version": "1.0.0", "config": {"uri": "http://a.example/"}}},
        {"channel": {"type": "HTTP", "version": "1.0.0", "config": {"uri": "a.example"}}},
        {"secret": "x"},
    ],
)
async def test_a_wrong_registration_is_refused(http: aiohttp.ClientSession, change: Json) -> None:
    """Ineligible types, plain HTTP, missing or unknown fields: 400."""
    status, told = await ask(http, "POST", "", body("https://a.example/hook", **change))
    assert (status, told["errorCode"]) == (400, "E0000001")


async def test_events_come_together(org: OktaTenant, http: aiohttp.ClientSession, receiver: Receiver) -> None:
    """Several in a POST, with the header's secret and the log's uuids; other types do not come."""
    hook = await registered(http, receiver.url)
    made = [org.note("user.session.start", person(org.people.get(index))) for index in (2, 3)]
    org.note("user.session.end", person(org.people.get(2)))
    assert await org.deliver() == 1
    ((told, headers),) = receiver.got
    assert told["eventType"] == "com.okta.event_hook"
    assert told["source"].endswith(f"/api/v1/eventHooks/{hook}")
    assert [one["uuid"] for one in told["data"]["events"]] == [one["uuid"] for one in made]
    assert (headers["Authorization"], headers["X-Own"]) == (SECRET, "1")


@pytest.mark.parametrize(
    ("statuses", "attempts", "failures"),
    [([500, 204], 2, 0), ([500, 500], 2, 1), ([404], 1, 1), ([0, 204], 2, 0), ([200], 1, 0)],
)
async def test_one_retry_but_never_on_4xx(
    org: OktaTenant,
    http: aiohttp.ClientSession,
    receiver: Receiver,
    statuses: list[int],
    attempts: int,
    failures: int,
) -> None:
    """A timeout or 5xx is tried once more; what failed is in the log as event_hook.delivery."""
    await registered(http, receiver.url)
    receiver.statuses = statuses
    org.note("user.session.start", person(org.people.get(2)))
    await org.deliver()
    assert len(receiver.got) == attempts
    assert len({told["eventId"] for told, _ in receiver.got}) == 1
    assert [one.kind for one in org.truth].count("event_hook.delivery") == failures


async def test_deliveries_get_lost_and_repeated(
    org: OktaTenant, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """On demand, as at-least-once and best effort allow."""
    await registered(http, receiver.url)
    org.deliveries.lose()
    org.note("user.session.start", person(org.people.get(2)))
    await org.deliver()
    assert receiver.got == []
    org.deliveries.repeat()
    event = org.note("user.session.start", person(org.people.get(2)))
    await org.deliver()
    assert [told["data"]["events"][0]["uuid"] for told, _ in receiver.got] == [event["uuid"]] * 2
    assert [one.status for one in org.deliveries.sent] == [-1, 204, 204]


async def test_nothing_comes_beyond_the_quota(
    org: OktaTenant, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """After the day's number of events hooks are silent until 24 h after the first."""
    await registered(http, receiver.url)
    org.deliveries.quota = 1
    for _ in range(3):
        org.note("user.session.start", person(org.people.get(2)))
    await org.deliver()
    assert sum(len(told["data"]["events"]) for told, _ in receiver.got) == 1
    org.clock.advance(86400)
    org.note("user.session.start", person(org.people.get(2)))
    await org.deliver()
    assert len(receiver.got) == 2


async def test_the_running_org_pushes_by_itself(
    org: OktaTenant, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """With `push_every` nobody has to ask."""
    await registered(http, receiver.url)
    org.push_every = 0.02
    org.note("user.session.start", person(org.people.get(2)))
    for _ in range(100):
        if receiver.got:
            break
        await asyncio.sleep(0.02)
    assert len(receiver.got) == 1

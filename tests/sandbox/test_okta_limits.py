"""Rate limits and faults of the simulated Okta org (rate-limits reference)."""

import asyncio
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from sandbox.clock import Clock
from sandbox.okta.server import running
from sandbox.okta.tenant import OktaTenant

LOGS = "/api/v1/logs"


@pytest.fixture
async def org() -> AsyncIterator[OktaTenant]:
    """Run an org with six log calls a minute, of which a token may use half."""
    async with running(OktaTenant(users=20, limits={LOGS: 6}, clock=Clock(5.0))) as tenant:
        yield tenant


@pytest.fixture
async def http(org: OktaTenant) -> AsyncIterator[aiohttp.ClientSession]:
    """Call it with its API token."""
    async with aiohttp.ClientSession(org.url, headers={"Authorization": f"SSWS {org.api_token}"}) as session:
        yield session


async def test_a_token_may_use_half_of_a_bucket(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """The fourth call is refused until the window ends, as headers tell; another bucket is untouched."""
    left = []
    for _ in range(4):
        async with http.get(LOGS) as answer:
            left.append((answer.status, answer.headers["X-Rate-Limit-Remaining"]))
            reset, date = (
                int(answer.headers["X-Rate-Limit-Reset"]),
                parsedate_to_datetime(answer.headers["Date"]),
            )
            text = await answer.text()
    assert left == [(200, "2"), (200, "1"), (200, "0"), (429, "0")]
    assert "E0000047" in text
    assert "Retry-After" not in answer.headers
    assert 55 <= reset - date.timestamp() <= 62
    async with http.get("/api/v1/org") as other:
        assert other.status == 200
    org.clock.advance(61)
    async with http.get(LOGS) as answer:
        assert answer.status == 200
        kinds = [event["eventType"] for event in await answer.json()]
    assert kinds == ["system.org.rate_limit.violation"]
    assert (org.limits.requests[LOGS], org.limits.refused[LOGS], org.limits.busiest[LOGS]) == (5, 1, 4)


async def test_the_org_shares_a_bucket(org: OktaTenant) -> None:
    """Two tokens together are refused where the bucket ends."""
    statuses = []
    for name in ("one", "two", "three"):
        token = org.issue_token(name)
        async with aiohttp.ClientSession(org.url, headers={"Authorization": f"SSWS {token}"}) as http:
            for _ in range(3):
                async with http.get(LOGS) as answer:
                    statuses.append(answer.status)
    assert statuses == [200] * 6 + [429] * 3


async def test_headers_come_twice_on_demand(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Of nested buckets both are shown, the org's and the token's."""
    org.limits.twice = True
    async with http.get(LOGS) as answer:
        assert answer.headers.getall("X-Rate-Limit-Limit") == ["6", "3"]
        assert answer.headers.getall("X-Rate-Limit-Remaining") == ["5", "2"]


async def test_too_many_at_once(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """The concurrency limit shows two zeros and a reset far away; a free place is enough to go on."""
    org.limits.at_once = 1
    org.order("/api/v1/org", "hang")
    hanging = asyncio.create_task(http.get("/api/v1/org").__aenter__())
    async with asyncio.timeout(2):
        while not org.limits.running:  # noqa: ASYNC110 a count on the server's side has no event to wait for
            await asyncio.sleep(0)
    async with http.get("/api/v1/users?limit=1") as answer:
        shown = [answer.headers[f"X-Rate-Limit-{name}"] for name in ("Limit", "Remaining")]
        reset = int(answer.headers["X-Rate-Limit-Reset"])
    assert (answer.status, shown) == (429, ["0", "0"])
    assert reset > org.clock.now() + 60
    org.faults.clear()
    assert (await hanging).status == 503
    async with http.get("/api/v1/users?limit=1") as answer:
        assert answer.status == 200
    assert org.limits.refused["concurrency"] == 1
    assert [one.kind for one in org.truth] == ["core.concurrency.org.limit.violation"]


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("401", 401, "E0000011"), ("403", 403, "E0000006"), ("session", 403, "E0000005"), ("404", 404,
        "E0000007"),
        ("400", 400, "E0000001"), ("410", 410, "E0000001"), ("429", 429, "E0000047"), ("concurrency", 429,
        "E0000047"),
        ("500", 500, "E0000009"), ("timeout", 500, "E0000009"), ("502", 502, "<html>"), ("503", 503,
        "<html>"),
        ("504", 504, "<html>"), ("html", 503, "<html>"), ("html-ok", 200, "<html>"), ("truncated", 200,
        '[{"id"'),
        ("nonce", 401, ""), ("expired", 401, ""),
    ],
)  # fmt: skip
async def test_faults_to_order(
    org: OktaTenant, http: aiohttp.ClientSession, fault: str, status: int, text: str
) -> None:
    """Each strikes once, the next call of the path goes through."""
    org.order(LOGS, fault)
    async with http.get(LOGS) as answer:
        assert answer.status == status
        assert text in await answer.text()
        assert ("dpop-nonce" in answer.headers) == (fault == "nonce")
    async with http.get(LOGS) as answer:
        assert answer.status == 200


async def test_a_connection_can_be_cut(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """In the middle of a body."""
    org.order(LOGS, "cut")
    async with http.get(LOGS) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_fault_may_be_for_one_method(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Others pass, and an unknown fault can't be ordered."""
    org.order("/api/v1/users/", "500", method="POST")
    user = org.people.get(15)["id"]
    async with http.get(f"/api/v1/users/{user}") as answer:
        assert answer.status == 200
    async with http.post(f"/api/v1/users/{user}/lifecycle/suspend") as answer:
        assert answer.status == 500
    with pytest.raises(ValueError, match="no fault 'flood'"):
        org.order("/", "flood")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "E0000008"), ("PATCH", LOGS, 405, "E0000022"),
        ("GET", "/api/v1/users/00uNobody", 404, "E0000007"), ("GET", "/api/v1/apps/0oaNone", 404, "E0000007"),
    ],
)  # fmt: skip
async def test_what_is_not_there(
    http: aiohttp.ClientSession, method: str, path: str, status: int, code: str
) -> None:
    """Unknown paths, verbs and ids have their own codes."""
    async with http.request(method, path) as answer:
        assert (answer.status, (await answer.json())["errorCode"]) == (status, code)


async def test_bodies_and_types_are_judged(http: aiohttp.ClientSession) -> None:
    """A body that is no JSON, or is not called so, and an answer that nobody accepts."""
    for sent, headers, code in (
        (b"{", {"Content-Type": "application/json"}, "E0000003"),
        (b"{}", {"Content-Type": "text/plain"}, "E0000021"),
    ):
        async with http.post("/api/v1/eventHooks", data=sent, headers=headers) as answer:
            assert (await answer.json())["errorCode"] == code
    async with http.get("/api/v1/org", headers={"Accept": "text/xml"}) as answer:
        assert answer.status == 400

"""The system log of the simulated Okta org (System Log query guide)."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.okta import ids
from sandbox.okta.filters import LOG_FILTER, Malformed, parse
from sandbox.okta.records import person
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant

Json = Any
DAY = 86400.0


@pytest.fixture
async def org() -> AsyncIterator[OktaTenant]:
    """Run an org with a past of 100 events in 20 days."""
    tenant = OktaTenant(users=20, limits=LOOSE, clock=Clock())
    seed_history(tenant, 100, days=20)
    async with running(tenant):
        yield tenant


@pytest.fixture
async def http(org: OktaTenant) -> AsyncIterator[aiohttp.ClientSession]:
    """Call it with its API token."""
    async with aiohttp.ClientSession(org.url, headers={"Authorization": f"SSWS {org.api_token}"}) as session:
        yield session


async def page(http: aiohttp.ClientSession, path: str) -> tuple[list[Json], str]:
    """Read a page; its events and where the next is ("" when nowhere)."""
    async with http.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json(), str(answer.links["next"]["url"]) if "next" in answer.links else ""


def since(org: OktaTenant, days: float) -> str:
    """Write a moment some days ago."""
    return ids.stamp(org.clock.now() - days * DAY)


async def test_polling_has_no_last_page(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """`next` is there on an empty page too, and shows what happens later."""
    seen, following = await page(http, f"/api/v1/logs?since={since(org, 30)}&limit=40&sortOrder=ASCENDING")
    while True:
        more, following = await page(http, following)
        if not more:
            break
        seen += more
    assert [one["uuid"] for one in seen] == [one.id for one in org.truth]
    assert "since=" not in following
    event = org.note("user.session.start", person(org.people.get(3)))
    more, following = await page(http, following)
    assert [one["uuid"] for one in more] == [event["uuid"]]
    assert (await page(http, following))[0] == []


async def test_a_late_event_comes_out_of_order(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """What is persisted late is in no bounded answer before, and in the poll after, younger ones first."""
    _, following = await page(http, f"/api/v1/logs?since={since(org, 0)}")
    late = org.note("user.session.start", person(org.people.get(3)), ago=60, late=120)
    prompt = org.note("user.session.end", person(org.people.get(3)))
    first, following = await page(http, following)
    assert [one["uuid"] for one in first] == [prompt["uuid"]]
    bounded = f"/api/v1/logs?since={since(org, 0.01)}&until={since(org, -0.01)}"
    assert late["uuid"] not in [one["uuid"] for one in (await page(http, bounded))[0]]
    org.clock.advance(121)
    then, _ = await page(http, following)
    assert [one["uuid"] for one in then] == [late["uuid"]]
    assert then[0]["published"] < first[0]["published"]
    both = [one["uuid"] for one in (await page(http, bounded))[0]]
    assert both == [late["uuid"], prompt["uuid"]]


async def test_since_filters_a_poll_by_persistence(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """An event published before `since`, persisted after it, is in the poll and not in a bounded answer."""
    start = since(org, 0)
    org.clock.advance(5)
    event = org.note("user.session.start", person(org.people.get(3)), ago=3600)
    polled, _ = await page(http, f"/api/v1/logs?since={start}")
    assert [one["uuid"] for one in polled] == [event["uuid"]]
    assert await page(http, f"/api/v1/logs?since={start}&until={since(org, -1)}") == ([], "")


@pytest.mark.parametrize("order", ["ASCENDING", "DESCENDING"])
async def test_a_bounded_request_ends(org: OktaTenant, http: aiohttp.ClientSession, order: str) -> None:
    """With `until` pages are in the order of `published`, and the last has no `next`."""
    path = f"/api/v1/logs?since={since(org, 15)}&until={since(org, 5)}&limit=7&sortOrder={order}"
    times: list[str] = []
    while path:
        events, path = await page(http, path)
        times += [one["published"] for one in events]
    assert times == sorted(times, reverse=order == "DESCENDING")
    low, high = since(org, 15), since(org, 5)
    whole = [one for one in org.truth if low <= ids.stamp(one.at) < high]
    assert len(times) == len(whole)
    assert len(whole) > 7


@pytest.mark.parametrize(
    ("query", "code", "summary"),
    [
        ("limit=1001", "E0000001", "limit"),
        ("until=yesterday", "E0000001", "must be a valid date-time or empty."),
        ('filter=display_message eqq "Create okta user"', "E0000053", "eqq"),
        ('filter=some_invalid_field eq "x"', "E0000053", "field is not valid: some_invalid_field"),
        ('filter=published gt "2026-01-01T00:00:00Z"', "E0000053", "published"),
        ('filter=debugContext.debugData.url co "/oauth/"', "E0000031", "debugContext.debugData.url"),
        ("since=2020-01-01T00:00:00Z", "E0000053", "over 180 days prior"),
        ("since=2099-01-01T00:00:00Z&after=WyJwb2xsIiwgMSwgMF0", "E0000053", "mutually exclusive"),
        ("after=garbage", "E0000001", "after"),
        (f"q={'x' * 41}", "E0000001", "longer than 40"),
        ("q=a b c d e f g h i j k", "E0000001", "q"),
        ("sortOrder=UP", "E0000001", "sortOrder"),
        ("sinse=1", "E0000001", "sinse"),
    ],
)
async def test_a_wrong_question_is_refused(
    http: aiohttp.ClientSession, query: str, code: str, summary: str
) -> None:
    """400 with the code and words of the guide."""
    async with http.get(f"/api/v1/logs?{query}") as answer:
        told = await answer.json()
    assert (answer.status, told["errorCode"]) == (400, code)
    assert summary in told["errorSummary"] + str(told["errorCauses"])


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ('eventType eq "user.session.start"', {"user.session.start"}),
        (
            'eventType sw "user.session"',
            {"user.session.start", "user.session.end", "user.session.access_admin_app"},
        ),
        ('eventType eq "user.session.start" and outcome.result eq "FAILURE"', {"user.session.start"}),
        ('eventType ew "sso" or eventType eq "zone.update"', {"user.authentication.sso", "zone.update"}),
        ('target.type eq "NetworkZone"', {"zone.update"}),
    ],
)
async def test_filters_of_the_guide(
    org: OktaTenant, http: aiohttp.ClientSession, text: str, kinds: set[str]
) -> None:
    """Its examples find what they say, in a poll whose `next` keeps the filter."""
    org.note("zone.update", person(org.people.get(0)), [{"type": "NetworkZone", "id": "nzo1"}])
    org.note("user.session.start", person(org.people.get(3)), result="FAILURE")
    found, following = await page(
        http, f"/api/v1/logs?since={since(org, 30)}&limit=1000&filter={quote(text)}"
    )
    assert found
    assert {one["eventType"] for one in found} <= kinds
    assert quote(text) in following or "filter=" in following


async def test_what_is_older_than_90_days_is_gone(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """A question that reaches back further is answered with what is kept."""
    for _ in range(4):
        org.clock.advance(20 * DAY)
        await page(http, "/api/v1/logs?limit=1")  # or the API token would be 30 days unused
    found, _ = await page(http, f"/api/v1/logs?since={since(org, 150)}&limit=1000")
    assert 0 < len(found) < 100
    assert all(one["published"] > since(org, 90) for one in found)


async def test_cursors_can_die(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """After `forget_cursors` an old cursor is refused, a new one works."""
    _, following = await page(http, f"/api/v1/logs?since={since(org, 1)}")
    org.clock.advance(1)
    org.forget_cursors()
    async with http.get(following) as answer:
        assert answer.status == 400
    org.clock.advance(1)
    _, following = await page(http, f"/api/v1/logs?since={since(org, 1)}")
    await page(http, following)


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    """The reader of filters never fails in another way."""
    with suppress(Malformed):
        assert parse(text, LOG_FILTER) is not None


@given(st.integers(0, 62**7 - 1))
def test_ids_are_20_characters_and_reversible(number: int) -> None:
    """An id leads back to its number, and to nothing under another prefix."""
    made = ids.make("00u", number)
    assert len(made) == 20
    assert ids.number("00u", made) == number
    assert ids.number("00g", made) is None

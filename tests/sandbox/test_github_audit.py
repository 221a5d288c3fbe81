"""The simulated audit log: phrases, order, cursors, lateness and retention."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.github.answers import Refused
from sandbox.github.phrase import search
from sandbox.github.seed import clone, owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant

DAY = 86_400.0
OWNER = "acme-owner"


class Reader:
    """Reads the log of a tenant of its own, whose log starts empty."""

    def __init__(self, tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
        self.tenant, self._session = tenant, session
        self._headers = {"Authorization": f"Bearer {owner_token(tenant)}"}

    async def page(
        self, where: str = "", *, log: str = "/orgs/acme/audit-log", **query: str
    ) -> tuple[Any, dict[str, str]]:
        """The body and the links of one page; an error's body has its status."""
        url = where or self.tenant.url + log
        async with self._session.get(url, headers=self._headers, params=query or None) as answer:
            links = {str(rel): str(told["url"]) for rel, told in answer.links.items()}
            return await answer.json(), links

    async def all(self, **query: str) -> list[str]:
        """The ids of every page, by rel="next" alone."""
        body, links = await self.page(**query)
        seen = [one["_document_id"] for one in body]
        while "next" in links:
            body, links = await self.page(links["next"])
            seen += [one["_document_id"] for one in body]
        return seen


@pytest.fixture
async def log() -> AsyncIterator[Reader]:
    """An empty log and its reader."""
    tenant = seed(members=5, repos=5, events=0, clock=Clock())
    async with running(tenant), aiohttp.ClientSession() as session:
        yield Reader(tenant, session)


def at(seconds: float) -> str:
    """A time as a phrase has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_every_event_once_in_both_orders(log: Reader) -> None:
    """Pages of any size show each event once; the newest come first unless asked otherwise."""
    made = [log.tenant.happen("org.sso_response", OWNER, ago=100 - i).id for i in range(23)]
    assert await log.all(order="asc", per_page="5") == made
    assert await log.all(per_page="7") == made[::-1]
    assert await log.all(per_page="100") == made[::-1]


async def test_pages_lead_back(log: Reader) -> None:
    """rel="prev" leads to the page before, whose cursor needs its encoding kept."""
    made = [log.tenant.happen("team.create", OWNER, ago=100 - i).id for i in range(6)]
    _, links = await log.page(order="asc", per_page="2")
    assert "%2B" in links["next"] or "%2F" in links["next"] or "%3D" in links["next"]
    body, links = await log.page(links["next"])
    assert [one["_document_id"] for one in body] == made[2:4]
    body, _ = await log.page(links["prev"])
    assert [one["_document_id"] for one in body] == made[:2]


async def test_an_event_is_seen_later_than_it_happened(log: Reader) -> None:
    """A late event takes the place of its own time, behind who has read past it."""
    late = log.tenant.happen("org.add_member", OWNER, ago=60, late=600).id
    soon = log.tenant.happen("org.add_member", OWNER, ago=30).id
    assert await log.all() == [soon]
    log.tenant.clock.advance(560)
    assert await log.all() == [soon, late]


async def test_git_events(log: Reader) -> None:
    """They are asked for, have no created_at, name the repository in other members and stay a week."""
    web = log.tenant.happen("repo.create", OWNER).id
    clone(log.tenant, log.tenant.org.users[1_000_002], log.tenant.org.estate.ids()[0])
    git = log.tenant.truth[-1].id
    assert await log.all() == [web]
    assert set(await log.all(include="all")) == {web, git}
    (told,), _ = await log.page(include="git")
    assert (told["_document_id"], told["action"], "created_at" in told) == (git, "git.clone", False)
    assert told["transport_protocol_name"] == "http"
    assert told["repository"].startswith("acme/")
    log.tenant.clock.advance(7 * DAY + 1)
    assert await log.all(include="all") == [web]


async def test_three_months_unless_asked_and_half_a_year_at_most(log: Reader) -> None:
    """Without created: the log reaches back three months, with it 180 days."""
    for days in (200, 170, 89, 1):
        log.tenant.happen(f"test.{days}", OWNER, ago=days * DAY)
    body, _ = await log.page()
    assert [one["action"] for one in body] == ["test.1", "test.89"]
    body, _ = await log.page(phrase="created:>=2000-01-01", order="asc")
    assert [one["action"] for one in body] == ["test.170", "test.89", "test.1"]


async def test_the_window_of_a_poll(log: Reader) -> None:
    """Two bounds in one phrase, and a range, hold to the very second."""
    now = float(int(log.tenant.clock.now())) - 1_000
    log.tenant.clock.advance(1)
    ago = log.tenant.clock.now() - now
    ids = [
        log.tenant.happen("org.sso_response", OWNER, ago=ago - after).id
        for after in (-0.5, 0.1, 5.0, 9.9, 10.5)
    ]
    phrase = f"created:>={at(now)} created:<={at(now + 10)}"
    assert await log.all(phrase=phrase, order="asc") == ids[1:4]
    assert await log.all(phrase=f"created:{at(now)}..{at(now + 10)}", order="asc") == ids[1:4]


async def test_qualifiers(log: Reader) -> None:
    """Actions by name and category, actors, and their contrary."""
    for action, actor in (
        ("team.create", OWNER),
        ("team.add_member", OWNER),
        ("org.add_member", "nobody-else"),
    ):
        log.tenant.happen(action, actor)
    cases = {
        "action:team": {"team.create", "team.add_member"},
        "action:team.create": {"team.create"},
        "-action:team": {"org.add_member"},
        f"actor:{OWNER} -action:team.create": {"team.add_member"},
    }
    for phrase, expected in cases.items():
        body, _ = await log.page(phrase=phrase)
        assert {one["action"] for one in body} == expected, phrase


@pytest.mark.parametrize(
    "query",
    [
        {"phrase": "somebody"},
        {"phrase": "colour:red"},
        {"phrase": "created:>=yesterday"},
        {"phrase": "created:2026-02-31"},
        {"include": "everything"},
        {"order": "random"},
        {"after": "not a cursor"},
        {"after": "+/8=", "before": "+/8="},
        {"page": "2"},
    ],
)
async def test_what_the_log_refuses(log: Reader, query: dict[str, str]) -> None:
    """Free text, unknown qualifiers, wrong dates and foreign cursors end in 422."""
    body, _ = await log.page(**query)
    assert body["status"] == "422"


async def test_the_enterprises_log_has_more(log: Reader) -> None:
    """Enterprise events are in its log only, the organisation's in both."""
    own = log.tenant.happen("org.add_member", OWNER).id
    business = log.tenant.happen("business.add_admin", OWNER, business=True).id
    body, _ = await log.page(log="/enterprises/acme-inc/audit-log")
    assert {one["_document_id"] for one in body} == {own, business}
    assert await log.all() == [own]


async def test_addresses_only_where_disclosed(log: Reader) -> None:
    """actor_ip is there when the owner enabled it, and never for an App's bot."""
    log.tenant.happen("org.add_member", OWNER)
    log.tenant.happen("org.add_member", "sluice-connect[bot]")
    log.tenant.org.discloses_ip = False
    log.tenant.happen("org.add_member", OWNER)
    body, _ = await log.page(order="asc")
    assert ["actor_ip" in one for one in body] == [True, False, False]
    assert [one["actor_is_bot"] for one in body] == [False, True, False]


@given(st.text(max_size=60))
def test_any_phrase_is_parsed_or_refused(phrase: str) -> None:
    """Nothing that is typed makes the parser fail otherwise."""
    with suppress(Refused):
        search(phrase).matches({"action": "org.add_member"})

"""Users and groups of the simulated Okta org: what lists show, how they are paged, how late search is."""

import tracemalloc
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from sandbox.clock import Clock
from sandbox.okta import ids
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant

Json = Any
EVERYONE = 'created gt "2000-01-01T00:00:00.000Z"'


@pytest.fixture
async def org() -> AsyncIterator[OktaTenant]:
    """Run a small org whose index is 30 s behind."""
    async with running(OktaTenant(users=300, limits=LOOSE, clock=Clock(), index_lag=30.0)) as tenant:
        yield tenant


@pytest.fixture
async def http(org: OktaTenant) -> AsyncIterator[aiohttp.ClientSession]:
    """Call it with its API token."""
    async with aiohttp.ClientSession(org.url, headers={"Authorization": f"SSWS {org.api_token}"}) as session:
        yield session


async def everything(http: aiohttp.ClientSession, path: str) -> list[Json]:
    """Follow the next links to the end."""
    found: list[Json] = []
    while path:
        async with http.get(path) as answer:
            assert answer.status == 200, await answer.text()
            found += await answer.json()
            path = str(answer.links["next"]["url"]) if "next" in answer.links else ""
    return found


async def test_a_plain_list_omits_the_deprovisioned(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """List Users without a filter leaves them out; search and filter find them."""
    plain = await everything(http, "/api/v1/users?limit=50")
    whole = await everything(http, f"/api/v1/users?limit=50&search={quote(EVERYONE)}")
    gone = await everything(http, "/api/v1/users?filter=" + quote('status eq "DEPROVISIONED"'))
    assert gone
    assert not {one["status"] for one in plain} & {"DEPROVISIONED"}
    assert {one["id"] for one in plain} | {one["id"] for one in gone} == {one["id"] for one in whole}
    assert len(whole) == 300
    assert len(plain) + len(gone) == 300


async def test_links_are_headers_of_their_own(http: aiohttp.ClientSession) -> None:
    """`self` and `next` come in two Link headers, and the cursor says nothing."""
    async with http.get("/api/v1/users?limit=2") as answer:
        links = answer.headers.getall("Link")
    assert [link.rpartition("; ")[2] for link in links] == ['rel="self"', 'rel="next"']
    assert ids.make("00u", 2) not in links[1]


async def test_more_than_the_maximum_is_cut(http: aiohttp.ClientSession) -> None:
    """No page of users is longer than 200."""
    async with http.get("/api/v1/users?limit=10000") as answer:
        assert len(await answer.json()) == 200


async def test_search_is_late_and_an_id_is_not(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """The index learns of a change 30 s later; reading by id knows at once."""
    user = org.people.get(20)["id"]
    since = ids.stamp(org.clock.now() - 1)
    async with http.post(f"/api/v1/users/{user}/lifecycle/suspend") as answer:
        assert answer.status == 200
    later = quote(f'lastUpdated gt "{since}"')
    asked = f"/api/v1/users?search={later}&sortBy=lastUpdated&sortOrder=asc"
    assert await everything(http, asked) == []
    direct = f"/api/v1/users?filter={later}"
    assert [one["id"] for one in await everything(http, direct)] == [user]
    async with http.get(f"/api/v1/users/{user}") as answer:
        assert (await answer.json())["status"] == "SUSPENDED"
    org.clock.advance(31)
    assert [one["id"] for one in await everything(http, asked)] == [user]


async def test_a_new_user_is_found_when_the_index_knows(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """A user created now is in the list at once and in search later."""
    index = org.people.add("Nina", "Novak", "nina@example.com", org.clock.now())
    wanted = "/api/v1/users?search=" + quote('profile.login eq "nina@example.com"')
    assert await everything(http, wanted) == []
    async with http.get("/api/v1/users/nina@example.com") as answer:
        assert (await answer.json())["id"] == ids.make("00u", index)
    org.clock.advance(31)
    assert [one["id"] for one in await everything(http, wanted)] == [ids.make("00u", index)]


async def test_sorting_goes_over_pages(http: aiohttp.ClientSession) -> None:
    """With sortBy the order holds from the first page to the last."""
    path = f"/api/v1/users?search={quote(EVERYONE)}&sortBy=lastUpdated&sortOrder=asc&limit=70"
    times = [one["lastUpdated"] for one in await everything(http, path)]
    assert times == sorted(times)
    assert len(times) == 300


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("search=status eq&filter=status eq", "E0000033"),
        ('search=status eqq "ACTIVE"', "E0000031"),
        ('search=shoeSize eq "44"', "E0000031"),
        ('filter=profile.department eq "Sales"', "E0000031"),
        ('filter=status co "A"', "E0000031"),
        ("limit=none", "E0000001"),
        ("after=%21%21", "E0000001"),
        ("sortBy=lastUpdated", "E0000001"),
        ("lmit=5", "E0000001"),
    ],
)
async def test_a_wrong_question_is_refused(http: aiohttp.ClientSession, query: str, code: str) -> None:
    """400 with the documented code, in the body that all errors have."""
    async with http.get(f"/api/v1/users?{query}") as answer:
        told = await answer.json()
    assert (answer.status, told["errorCode"]) == (400, code)
    assert set(told) == {"errorCode", "errorSummary", "errorLink", "errorId", "errorCauses"}


async def test_credentials_are_omitted_when_asked(http: aiohttp.ClientSession) -> None:
    """The Content-Type parameter `okta-response` takes effect on a GET too; an unknown word does not."""
    kind = "application/json; okta-response=omitCredentials,omitCredentialsLinks"
    async with http.get("/api/v1/users?limit=1", headers={"Content-Type": kind}) as answer:
        assert "credentials" not in (await answer.json())[0]
    async with http.get("/api/v1/users?limit=1") as answer:
        assert "credentials" in (await answer.json())[0]
    wrong = {"Content-Type": "application/json; okta-response=omitEverything"}
    async with http.get("/api/v1/users?limit=1", headers=wrong) as answer:
        assert answer.status == 400


async def test_groups_know_their_members(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Everyone has everybody, each user is in one other group, and a user's groups say the same."""
    groups = await everything(http, "/api/v1/groups?limit=3")
    assert {one["type"] for one in groups} == {"BUILT_IN", "OKTA_GROUP", "APP_GROUP"}
    everyone = await everything(http, f"/api/v1/groups/{groups[0]['id']}/users?limit=100")
    assert len(everyone) == 300
    counted = 0
    for group in groups[2:]:
        counted += len(await everything(http, f"/api/v1/groups/{group['id']}/users"))
    assert counted == 300
    async with http.get(f"/api/v1/users/{org.people.get(40)['id']}/groups") as answer:
        mine = [one["profile"]["name"] for one in await answer.json()]
    assert mine[0] == "Everyone"
    assert len(mine) == 2


async def test_group_admins_do_not_see_everyone(org: OktaTenant) -> None:
    """The group of all is hidden from who administers groups."""
    headers = {"Authorization": f"SSWS {org.issue_token('groups', 3)}"}
    async with aiohttp.ClientSession(org.url, headers=headers) as http:
        assert "BUILT_IN" not in {one["type"] for one in await everything(http, "/api/v1/groups")}


async def test_a_changed_group_is_found(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """A search by lastMembershipUpdated shows the group that somebody joined, and no other."""
    since, user, group = ids.stamp(org.clock.now() - 1), org.people.get(30)["id"], ids.make("00g", 3)
    async with http.put(f"/api/v1/groups/{group}/users/{user}") as answer:
        assert answer.status == 204
    text = f'lastUpdated gt "{since}" or lastMembershipUpdated gt "{since}"'
    assert [one["id"] for one in await everything(http, f"/api/v1/groups?search={quote(text)}")] == [group]


async def test_fifty_thousand_people_cost_no_memory() -> None:
    """They are computed when asked for: a few pages leave less than 3 MB behind."""
    tracemalloc.start()
    try:
        org = OktaTenant(users=50_000, limits=LOOSE)
        async with (
            running(org),
            aiohttp.ClientSession(org.url, headers={"Authorization": f"SSWS {org.api_token}"}) as http,
        ):
            for start in ("/api/v1/users?limit=200", f"/api/v1/groups/{ids.make('00g', 0)}/users?limit=1000"):
                path = start
                for _ in range(3):
                    async with http.get(path) as answer:
                        assert len(await answer.json()) in {200, 1000}
                        path = str(answer.links["next"]["url"])
            async with http.get(f"/api/v1/users/{ids.make('00u', 49_999)}") as answer:
                assert answer.status == 200
            kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 3_000_000
    assert not org.people.changed

"""Reading a simulated org: the log in pages, late events, lost places; users, groups and roles."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from reading import MOST_PAGES

from ingest.errors import CursorLost, Retry
from ingest.provider import At, Axis, Page, Reply
from ingest.providers.okta import inventory, reads
from sandbox.okta.records import person, thing
from sandbox.okta.seed import seed_history

Org: TypeAlias = Any


async def read(org: Org, feed: str, cursor: Any = None, until: datetime | None = None) -> list[Page]:
    """Read a feed from a cursor to its end."""
    until = until or datetime.fromtimestamp(org.tenant.clock.now(), UTC)
    at = At(Axis(), cursor, until - timedelta(days=7), until)

    async def pages() -> list[Page]:
        found = [page async for page in getattr(org.provider, feed)(at)]
        assert len(found) < MOST_PAGES
        return found

    found: list[Page] = await org.run(pages())
    return found


def uuids(pages: list[Page]) -> list[str]:
    """List the events' ids."""
    return [one["uuid"] for page in pages for one in page.records]


def happened(org: Org) -> list[str]:
    """List what really happened."""
    return [one.id for one in org.tenant.truth]


async def test_the_log_is_read_whole_and_once(org: Org) -> None:
    """A full page is followed at once, a part of one ends the poll; every event came exactly once."""
    seed_history(org.tenant, events=2300, days=30)
    pages = await read(org, "log")
    assert [len(page.records) for page in pages[:2]] == [1000, 1000]
    assert len(uuids(pages)) == len(set(uuids(pages)))
    assert set(uuids(pages)) == set(happened(org))
    assert len(pages[-1].records) < reads.LOG_PAGE


async def test_an_idle_log_is_asked_once(org: Org) -> None:
    """Without news a poll is one empty page, whose cursor brings what happens next and nothing else."""
    seed_history(org.tenant, events=5)
    (first,) = await read(org, "log")
    (empty,) = await read(org, "log", first.cursor)
    assert empty.records == []
    made = org.tenant.note("user.session.start", person(org.tenant.people.get(20)))
    org.tenant.clock.advance(1)
    (news,) = await read(org, "log", empty.cursor)
    assert uuids([news]) == [made["uuid"]]


async def test_an_event_that_shows_up_late_is_read(org: Org) -> None:
    """An event published before others but stored after them is read when it shows, out of order."""
    ann = person(org.tenant.people.get(20))
    late = org.tenant.note("user.session.start", ann, late=120)
    org.tenant.clock.advance(5)
    prompt = org.tenant.note("user.session.end", ann)
    org.tenant.clock.advance(1)
    (first,) = await read(org, "log")
    assert uuids([first]) == [prompt["uuid"]]
    org.tenant.clock.advance(130)
    (second,) = await read(org, "log", first.cursor)
    assert uuids([second]) == [late["uuid"]]
    assert late["published"] < prompt["published"]


async def test_a_lost_place_is_found_again(org: Org) -> None:
    """Okta forgets the address: the log is read from an hour before the last event, so nothing is missed."""
    ann = person(org.tenant.people.get(20))
    for _ in range(5):
        org.tenant.clock.advance(1700)
        org.tenant.note("user.session.start", ann)
    org.tenant.clock.advance(1)
    (before,) = await read(org, "log")
    assert len(before.records) == 5
    org.tenant.forget_cursors()
    missed = org.tenant.note("user.session.end", ann)
    org.tenant.clock.advance(1)
    with pytest.raises(CursorLost) as lost:
        await read(org, "log", before.cursor)
    assert not lost.value.gap
    again = await read(org, "log", lost.value.cursor)
    assert missed["uuid"] in uuids(again)
    assert len(set(uuids(again)) & set(uuids([before]))) == 3


async def test_a_place_lost_for_longer_than_okta_keeps_is_a_gap(org: Org) -> None:
    """After more than 90 days what lies between is gone, and that is said."""
    org.tenant.note("user.session.start", person(org.tenant.people.get(20)))
    org.tenant.clock.advance(1)
    (before,) = await read(org, "log")
    org.tenant.forget_cursors()
    then = datetime.fromtimestamp(org.tenant.clock.now(), UTC) + timedelta(days=120)
    with pytest.raises(CursorLost) as lost:
        await read(org, "log", before.cursor, until=then)
    assert lost.value.gap
    assert (
        datetime.fromisoformat(lost.value.cursor["since"])
        == then.replace(microsecond=then.microsecond // 1000 * 1000) - reads.KEPT
    )


async def test_the_first_read_goes_back_as_far_as_set(connect: Any) -> None:
    """`days` says how much past is read."""
    org = await connect({"days": 3})
    old = thing("AppInstance", "0oa1", "CRM")
    for age in (10, 5, 2, 1):
        org.tenant.recall(
            "application.lifecycle.update", person(org.tenant.people.get(2)), [old], ago=age * 86_400
        )
    assert len(uuids(await read(org, "log"))) == 2


async def test_two_link_headers_and_two_limits_are_understood(org: Org) -> None:
    """Nested limits name their numbers twice, relations come in headers of their own."""
    org.tenant.limits.twice = True
    seed_history(org.tenant, events=1200)
    assert len(uuids(await read(org, "log"))) == 1200


async def test_users_of_every_status_are_listed(org: Org) -> None:
    """Deprovisioned users are there too, which a plain list leaves out."""
    org.tenant.people.change(20, org.tenant.clock.now(), status="DEPROVISIONED")
    org.tenant.people.change(21, org.tenant.clock.now(), status="LOCKED_OUT")
    pages = await read(org, "users")
    found = {one["id"]: one["status"] for page in pages for one in page.records}
    assert len(found) == org.tenant.people.size
    assert (found[org.uid(20)], found[org.uid(21)]) == ("DEPROVISIONED", "LOCKED_OUT")
    assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]


async def test_groups_come_with_their_members(org: Org) -> None:
    """Each group has who is in it, but for Everyone, whose members are all."""
    records = [one for page in await read(org, "groups") for one in page.records]
    assert len(records) == 10
    for number, record in enumerate(records):
        members = {one["id"] for one in record["members"]}
        assert members == (
            set() if number == 0 else {org.uid(one) for one in org.tenant.groups.members(number)}
        )


async def test_a_large_group_is_cut(connect: Any) -> None:
    """Members beyond what fits an event are not even read, and the event says that some are left out."""
    org = await connect(users=6500, groups=3)
    number = next(one for one in range(2, 3) if org.tenant.groups.get(one)["type"] == "OKTA_GROUP")
    for user in range(6400):
        org.tenant.groups.join(number, user, org.tenant.clock.now())
    records = [one for page in await read(org, "groups") for one in page.records]
    large = next(one for one in records if one["group"]["id"] == org.tenant.groups.get(number)["id"])
    assert reads.MOST_MEMBERS < len(large["members"]) < 6400
    (event,) = inventory.record(large, org.provider.instance)
    assert len(event["resources"][0]["data"]["members"]) == reads.MOST_MEMBERS
    assert event["resources"][0]["data"]["truncated"]


async def test_roles_of_users_groups_and_apps(connect: Any) -> None:
    """Who holds roles itself, who through a group, that group, and the service app are all there."""
    org = await connect({"oauth": True})
    pages = await read(org, "privileges")
    held = {
        (one["principal"]["type"], one["principal"]["id"]): one["roles"]
        for page in pages
        for one in page.records
    }
    assert [role["type"] for role in held["User", org.uid(0)]] == ["SUPER_ADMIN"]
    assert {role["type"] for role in held["User", org.uid(8)]} == {"CUSTOM"}
    assert {role["assignmentType"] for role in held["User", org.uid(9)]} == {"GROUP"}
    groups = [uid for kind, uid in held if kind == "Group"]
    assert groups == [org.tenant.groups.get(1)["id"]]
    assert pages[-1].complete


async def test_roles_of_many_are_read_in_pages(org: Org) -> None:
    """The list of assignees, unlike others, has its next page's address in the body."""
    for number in range(12, 120):
        org.tenant.roles.assign(org.uid(number % 40) + str(number), "REPORT_ADMIN")
    reply = await org.run(
        org.one.client.call("okta", "GET", "/api/v1/iam/assignees/users", params={"limit": 100})
    )
    assert reads.place(reply).startswith("/api/v1/iam/assignees/users?")


class Replies:
    """Answers by path."""

    def __init__(self, replies: dict[str, Any]) -> None:
        self.replies = replies

    async def call(self, api: str, method: str, path: str, **more: Any) -> Reply:
        """Answer."""
        del api, method, more
        return Reply(200 if path in self.replies else 404, {}, b"", self.replies.get(path))


async def test_roles_of_service_apps(org: Org) -> None:
    """Service apps among the apps are asked for their roles; others and those without are left out."""
    service = {"settings": {"oauthClient": {"application_type": "service"}}, "label": "Robot"}
    web = {"settings": {"oauthClient": {"application_type": "web"}}}
    role = {"id": "irb1", "type": "READ_ONLY_ADMIN", "label": "Read-only Administrator",
            "assignmentType": "CLIENT", "created": "2026-01-01T00:00:00.000Z",
            "lastUpdated": "2026-01-02T00:00:00.000Z"}  # fmt: skip
    org.provider.http = Replies(
        {
            "/api/v1/apps": [{"id": "0oa1", **service}, {"id": "0oa2", **web}, {"id": "0oa3", **service}],
            "/oauth2/v1/clients/0oa1/roles": [role], "/oauth2/v1/clients/0oa3/roles": [],
        }
    )  # fmt: skip
    (page,) = await read(org, "privileges", {"part": "apps", "next": None, "groups": []})
    assert page.records == [{"principal": {"id": "0oa1", "type": "Client", "name": "Robot"}, "roles": [role]}]
    assert page.complete
    (event,) = inventory.record(page.records[0], org.provider.instance)
    assert (event["user"]["type_id"], event["user"]["groups"][0]["privileges"]) == (4, ["READ_ONLY_ADMIN"])


@pytest.mark.parametrize("feed", ["users", "groups", "privileges"])
async def test_a_list_that_lost_its_place_starts_over(org: Org, feed: str) -> None:
    """A stored address that Okta refuses is a lost cursor, not an end: an end would delete what is left."""
    org.tenant.order("/api/v1/", "400", method="GET")
    cursor: Any = "/api/v1/users?after=x&limit=200"
    if feed == "privileges":
        cursor = {"part": "users", "next": "/api/v1/iam/assignees/users?after=x", "groups": []}
    with pytest.raises(CursorLost):
        await read(org, feed, cursor)


@pytest.mark.parametrize("fault", ["html-ok", "truncated"])
async def test_a_page_that_is_none_is_waited_out(org: Org, fault: str) -> None:
    """A web page or half a page is never taken for the end of a list."""
    org.tenant.order("/api/v1/users", *[fault] * 9)
    with pytest.raises(Retry):
        await read(org, "users")

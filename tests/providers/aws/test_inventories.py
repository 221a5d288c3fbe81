"""People, groups and grants of the simulated tenant, against what it was filled with."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ingest.provider import At, Axis, CursorLost, Gone, Json, NotAllowed, Page, Refused
from ingest.providers.aws import Aws, people
from ingest.providers.aws.accounts import account_axes, place_axes
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization
from schemas.events import Event
from schemas.topics import topic_of

Connect = Callable[..., Awaitable[Aws]]
Drain = Callable[[AsyncIterator[Page]], Awaitable[list[Page]]]
Mapped = Callable[..., list[Event]]
Place = Callable[..., At]
FEEDS = {"accounts": people.account, "groups": people.group, "privileges": people.privilege}


def records(pages: list[Page]) -> list[Json]:
    """Put the records of pages together."""
    return [record for page in pages for record in page.records]


async def test_accounts_are_what_the_tenant_has(
    connect: Connect, truth: Organization, at: Place, drain: Drain, mapped: Mapped
) -> None:
    """Ids, groups, MFA and what cannot sign in agree with the tenant; the root user is one of them."""
    aws = await connect()
    events = mapped(people.account, records(await drain(aws.accounts(at()))))
    found = {event["user"]["name"]: event["user"] for event in events}
    for name, user in truth.management.users.items():
        assert found[name]["uid"] == user.id
        assert found[name]["uid_alt"] == user.arn
        assert [group["name"] for group in found[name].get("groups", [])] == list(user.groups)
        assert found[name]["has_mfa"] is user.mfa
        alive = user.console or "Active" in user.keys.values()
        assert found[name]["account"].get("is_disabled", False) is not alive
    assert found["root"]["uid"] == "111122223333:root"
    assert {topic_of(event) for event in events} == {"accounts"}


async def test_a_user_younger_than_the_report_is_asked_for(
    connect: Connect, tenant: AwsTenant, truth: Organization, at: Place, drain: Drain, mapped: Mapped
) -> None:
    """The credential report is up to four hours old; whom it does not know is looked at directly."""
    account = "777700000001"
    aws = await connect(account)
    async with tenant.client("iam", await tenant.root(account)) as iam:
        await iam.generate_credential_report()
        await iam.create_user(UserName="newcomer")
        await iam.create_login_profile(UserName="newcomer", Password="Correct-Horse-7-Battery")
    record = {"kind": "user", "account": account, "user": {"UserName": "newcomer", "UserId": "AIDANEW"}}
    pages = await drain(aws.accounts(at(Axis(account, data={"account": ""}))))
    live = next(r for r in records(pages) if r.get("user", {}).get("UserName") == "newcomer")
    (event,) = mapped(people.account, [record | {"report": live["report"]}])
    assert "is_disabled" not in event["user"]["account"]


async def test_groups_name_their_members(
    connect: Connect, truth: Organization, at: Place, drain: Drain, mapped: Mapped
) -> None:
    """Members carry the ids that the accounts have; policies are named."""
    aws = await connect()
    events = mapped(people.group, records(await drain(aws.groups(at()))))
    found = {event["resources"][0]["name"]: event["resources"][0] for event in events}
    for name, members in truth.management.groups.items():
        assert {one["name"] for one in found[name]["data"]["members"]} == set(members)
    alice = found["admins"]["data"]["members"][0]
    assert alice["uid"] == truth.management.users["alice"].id
    assert found["admins"]["group"]["privileges"] == ["AdministratorAccess"]


async def test_privileges_come_directly_and_through_groups(
    connect: Connect, truth: Organization, at: Place, drain: Drain, mapped: Mapped
) -> None:
    """Alice is an admin by her group, the backup job holds an inline policy, a role its own."""
    aws = await connect()
    events = mapped(people.privilege, records(await drain(aws.privileges(at()))))
    held = {event["user"]["name"]: event["user"]["groups"] for event in events}
    assert [(one["type"], one["privileges"]) for one in held["alice"]] == [("group", ["AdministratorAccess"])]
    assert held["backup-job"][0]["privileges"] == ["s3:PutObject"]
    assert held["BreakGlass"][0]["uid"] == "arn:aws:iam::aws:policy/AdministratorAccess"
    assert {topic_of(event) for event in events} == {"privileges"}


@pytest.mark.parametrize("name", sorted(FEEDS))
async def test_an_inventory_ends_complete_and_resumes_anywhere(
    connect: Connect, truth: Organization, at: Place, drain: Drain, mapped: Mapped, name: str
) -> None:
    """The last page alone is complete; after any page's cursor the rest follows, and ids stay unique."""
    read = getattr(await connect(), name)
    pages = await drain(read(at()))
    json.dumps(records(pages))  # raw records may become dead letters: they are JSON as they are
    assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]
    for place, page in enumerate(pages[:-1]):
        again = await drain(read(at(cursor=page.cursor)))
        assert records(again) == records(pages[place + 1 :])
    ids = [event["metadata"]["uid"] for event in mapped(FEEDS[name], records(pages))]
    assert len(set(ids)) == len(ids) > 0


async def test_people_of_identity_center_are_accounts(
    connect: Connect, tenant: AwsTenant, at: Place, drain: Drain, mapped: Mapped
) -> None:
    """Where the account has Identity Center, its people and groups follow IAM's."""
    account = "777700000002"
    key = await tenant.root(account)
    aws = await connect(account)
    async with tenant.client("sso-admin", key) as sso:
        (instance,) = (await sso.list_instances())["Instances"]
    store = instance["IdentityStoreId"]
    async with tenant.client("identitystore", key) as people_store:
        made = await people_store.create_user(
            IdentityStoreId=store,
            UserName="dora",
            DisplayName="Dora Example",
            Name={"GivenName": "Dora", "FamilyName": "Example"},
            Emails=[{"Value": "dora@example.com", "Type": "Work", "Primary": True}],
        )
        group = await people_store.create_group(IdentityStoreId=store, DisplayName="Everyone")
        await people_store.create_group_membership(
            IdentityStoreId=store, GroupId=group["GroupId"], MemberId={"UserId": made["UserId"]}
        )
    place = at(Axis(account, data={"account": ""}))
    events = mapped(people.account, records(await drain(aws.accounts(place))))
    dora = next(event["user"] for event in events if event["user"].get("name") == "dora")
    assert (dora["uid"], dora["email_addr"]) == (made["UserId"], "dora@example.com")
    groups = mapped(people.group, records(await drain(aws.groups(place))))
    everyone = next(e["resources"][0] for e in groups if e["resources"][0]["uid"] == group["GroupId"])
    assert everyone["data"]["members"] == [{"uid": made["UserId"]}]


async def test_members_are_axes_unless_connected_by_themselves(connect: Connect, truth: Organization) -> None:
    """An account that has a connection of its own rests here."""
    member = truth.member.id
    more = {"organization": True, "member_role": "BreakGlass"}
    aws = await connect(**more)
    assert member in [axis.key async for axis in account_axes(aws)]
    alone = await connect(elsewhere=lambda: frozenset({member}), **more)
    assert member not in [axis.key async for axis in account_axes(alone)]
    single = await connect(regions=["us-east-1", "eu-central-1"])
    assert [axis.key async for axis in place_axes(single)] == [
        "111122223333/us-east-1",
        "111122223333/eu-central-1",
    ]


class Forgetful:
    """An IAM that does not take its own markers back, which the simulated one always does."""

    async def call(self, service: str, operation: str, **asked: Json) -> Json:
        """Answer the report, refuse a marker."""
        if "Marker" in asked:
            raise Refused("AWS declines GetAccountAuthorizationDetails (ValidationError)")
        return {"Content": b"user,arn\n"}


async def test_a_forgotten_marker_begins_anew(
    connect: Connect, truth: Organization, at: Place, drain: Drain
) -> None:
    """What IAM does not take back as a marker costs a new full read, not the feed."""
    aws = await connect()
    sessions, aws.sessions = aws.sessions, Forgetful()  # type: ignore[assignment]
    with pytest.raises(CursorLost) as lost:
        await drain(aws.accounts(at(cursor={"iam": "a marker of last year"})))
    aws.sessions = sessions
    assert lost.value.cursor is None
    assert not lost.value.gap


async def test_a_lost_permission_is_no_empty_inventory(
    connect: Connect, tenant: AwsTenant, truth: Organization, at: Place, drain: Drain
) -> None:
    """Nobody is gone only because we may not look: the feed rests and names the action."""
    aws = await connect()
    await tenant.deny("sso:ListInstances")
    try:
        with pytest.raises(NotAllowed, match=r"sso:ListInstances.*identity_center"):
            await drain(aws.accounts(at()))
    finally:
        await tenant.allow("sso:ListInstances")


def test_an_entity_that_went_is_named_as_its_events_named_it(mapped: Mapped) -> None:
    """The id in `Gone` is the uid of the inventory's events."""
    (event,) = mapped(people.account, [{"kind": "root", "account": "111122223333", "report": None}])
    assert Gone("user", event["user"]["uid"]).id == event["metadata"]["original_event_uid"]

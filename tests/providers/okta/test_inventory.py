"""Users, groups and roles as inventory events: valid, with Okta's ids, without what is nobody's business."""

from typing import Any

import pytest

from ingest.provider import Instance
from ingest.providers.okta.inventory import record
from schemas.events import entity_of
from schemas.topics import topic_of

HERE = Instance("00o1", "Acme")
USER: dict[str, Any] = {
    "id": "00ub0oNGTSWTBKOLGLNR", "status": "ACTIVE", "created": "2026-06-24T16:39:18.000Z",
    "activated": "2026-06-24T16:39:19.000Z", "statusChanged": "2026-06-24T16:39:19.000Z",
    "lastLogin": "2026-11-20T17:39:19.000Z", "lastUpdated": "2026-10-02T14:06:25.000Z",
    "passwordChanged": "2026-09-13T10:00:00.000Z", "type": {"id": "otyfnjfba4ye7pgjB0g4"},
    "transitioningToStatus": None,
    "profile": {
        "login": "isaac.brock@example.com", "firstName": "Isaac", "lastName": "Brock", "nickName": "issac",
        "displayName": "Isaac Brock", "email": "isaac.brock@example.com", "secondEmail": "isaac@home.example",
        "title": "Director", "department": "R&D", "employeeNumber": "187", "userType": "Employee",
        "mobilePhone": "+1-555-415-1337", "custom_ssn": "078-05-1120",
    },
    "credentials": {"recovery_question": {"question": "Who's a major player in the cowboy scene?"}},
}  # fmt: skip
GROUP: dict[str, Any] = {
    "id": "00g1emaKYZTWRYYRRTSK", "created": "2026-02-06T10:11:28.000Z", "type": "OKTA_GROUP",
    "lastUpdated": "2026-10-05T19:16:43.000Z", "lastMembershipUpdated": "2026-11-28T19:15:32.000Z",
    "objectClass": ["okta:user_group"],
    "profile": {"name": "West Coast users", "description": "All users West of The Rockies"},
}  # fmt: skip
ROLE: dict[str, Any] = {
    "id": "JBCUYUC7IRCVGS27IFCE2SKO", "label": "Help Desk Administrator", "type": "HELP_DESK_ADMIN",
    "status": "ACTIVE", "created": "2026-02-06T16:17:40.000Z", "lastUpdated": "2026-02-07T16:17:40.000Z",
    "assignmentType": "USER", "_embedded": {"targets": {"groups": [GROUP]}},
}  # fmt: skip


def only(judge: Any, one: Any) -> Any:
    """Map and judge one record."""
    (event,) = record(one, HERE)
    return judge(event)


def test_a_user(judge: Any) -> None:
    """Identity, status, times and job are there; questions, phones and custom attributes are not."""
    event = only(judge, USER)
    user = event["user"]
    assert (topic_of(event), entity_of(event)) == ("accounts", USER["id"])
    assert (user["uid"], user["name"], user["email_addr"]) == (
        USER["id"], "isaac.brock@example.com", "isaac.brock@example.com",
    )  # fmt: skip
    assert user["account"]["labels"] == ["active"]
    assert not user["account"]["is_disabled"]
    assert user["ldap_person"] == {
        "created_time": 1782319158000, "modified_time": 1790949985000, "last_login_time": 1795196359000,
        "given_name": "Isaac", "surname": "Brock", "department": "R&D", "job_title": "Director",
        "employee_uid": "187",
    }  # fmt: skip
    assert event["unmapped"]["passwordChanged"] == "2026-09-13T10:00:00.000Z"
    assert [one for one in ("cowboy", "078-05-1120", "+1-555") if one in str(event)] == []


@pytest.mark.parametrize(
    ("status", "disabled", "locked"),
    [("ACTIVE", False, False), ("SUSPENDED", True, False), ("DEPROVISIONED", True, False),
     ("STAGED", True, False), ("LOCKED_OUT", False, True), ("PASSWORD_EXPIRED", False, False),
     ("RECOVERY", False, False), ("PROVISIONED", False, False), ("SOMETHING_NEW", False, False)],
)  # fmt: skip
def test_every_status(judge: Any, status: str, disabled: bool, locked: bool) -> None:
    """Who can't sign in is disabled, who failed too often locked; Okta's own word is a label."""
    account = only(judge, {**USER, "status": status})["user"]["account"]
    assert (account["is_disabled"], account["is_locked"], account["labels"]) == (
        disabled,
        locked,
        [status.lower()],
    )


def test_a_user_of_which_little_is_known(judge: Any) -> None:
    """A staged user may have no time but its creation and no name but its login."""
    times = {"created": "2026-01-01T00:00:00.000Z", "lastUpdated": None, "lastLogin": None}
    event = only(judge, {"id": "00u1", "status": "STAGED", **times, "profile": {"login": "no address"}})
    assert "email_addr" not in event["user"]
    assert "has_mfa" not in event["user"]


@pytest.mark.parametrize(("factors", "mfa"), [(["push", "token:software:totp"], True), ([], False)])
def test_factors_say_whether_there_is_mfa(judge: Any, factors: list[str], mfa: bool) -> None:
    """Where factors were asked for, having none is known too."""
    assert only(judge, {**USER, "factors": factors})["user"]["has_mfa"] is mfa


def test_a_group_with_its_members(judge: Any) -> None:
    """A group's members are ids, as the accounts have them, with logins."""
    members = [{"id": "00u1", "login": "ann@acme.example"}, {"id": "00u2", "login": None}]
    event = only(judge, {"group": GROUP, "members": members})
    (resource,) = event["resources"]
    assert (topic_of(event), entity_of(event)) == ("groups", GROUP["id"])
    assert resource["data"]["members"] == [{"uid": "00u1", "name": "ann@acme.example"}, {"uid": "00u2"}]
    assert resource["group"]["desc"] == "All users West of The Rockies"
    assert resource["labels"] == ["okta_group"]


def test_a_group_as_the_list_has_it(judge: Any) -> None:
    """Without its members read, it is a group all the same."""
    assert "members" not in only(judge, GROUP)["resources"][0]["data"]


def test_everyone_lists_nobody(judge: Any) -> None:
    """Of the built-in group all accounts are members, which it says instead."""
    group = {**GROUP, "type": "BUILT_IN", "profile": {"name": "Everyone"}}
    data = only(judge, {"group": group, "members": []})["resources"][0]["data"]
    assert data["everyone"]
    assert "members" not in data


def test_roles_of_a_user(judge: Any) -> None:
    """Each role is a group of type role; what it is limited to, and a custom role's set, are kept."""
    custom = {"id": "cr1", "label": "Auditor", "type": "CUSTOM", "role": "cr0", "resource-set": "iam1",
              "assignmentType": "GROUP", "created": "2026-03-01T00:00:00.000Z"}  # fmt: skip
    event = only(judge, {"principal": {"id": "00u1", "type": "User", "name": None}, "roles": [ROLE, custom]})
    assert (topic_of(event), entity_of(event)) == ("privileges", "00u1")
    assert event["user"]["groups"] == [
        {"uid": ROLE["id"], "name": ROLE["label"], "type": "role", "privileges": ["HELP_DESK_ADMIN"]},
        {"uid": "cr1", "name": "Auditor", "type": "role", "privileges": ["CUSTOM"],
         "desc": "through a group"},
    ]  # fmt: skip
    assert event["unmapped"] == {
        "targets": {ROLE["id"]: ["West Coast users"]},
        "resourceSets": {"cr1": "iam1"},
    }


@pytest.mark.parametrize(
    ("kind", "type_id", "word"), [("User", 1, None), ("Client", 4, None), ("Group", 99, "Group")]
)
def test_whoever_holds_a_role(judge: Any, kind: str, type_id: int, word: str | None) -> None:
    """People, service apps and groups are told apart."""
    user = only(judge, {"principal": {"id": "x1", "type": kind, "name": "x"}, "roles": [ROLE]})["user"]
    assert (user["type_id"], user.get("type")) == (type_id, word)


def test_the_same_state_has_the_same_id(judge: Any) -> None:
    """An entity seen again unchanged is the same event, changed another."""
    one, same, other = only(judge, USER), only(judge, USER), only(judge, {**USER, "status": "SUSPENDED"})
    assert one["metadata"]["uid"] == same["metadata"]["uid"] != other["metadata"]["uid"]


async def test_factors_are_asked_for_if_wanted(connect: Any) -> None:
    """With the setting on, every user's record says which factors are active."""
    org = await connect({"factors": True})
    (reading,) = await org.one.once("users")
    assert all(isinstance(one["factors"], list) for page in reading.pages for one in page.records)

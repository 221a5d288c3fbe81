"""CloudTrail records to events; the inputs are the examples of AWS's user guides.

Sources: CloudTrail user guide, "CloudTrail log file examples", "AWS console sign-in events"; IAM user guide,
"Logging IAM and AWS STS API calls with AWS CloudTrail".
"""

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.provider import BadRecord, Instance, Json
from ingest.providers.aws.events import trail_record
from schemas.events import Event, entity_of
from schemas.topics import topic_of

HERE = Instance("111122223333")
SAMPLES: dict[str, Json] = json.loads((Path(__file__).parent / "samples.json").read_text())
ALICE = {
    "uid": "EX_PRINCIPAL_ID",
    "name": "Alice",
    "type_id": 1,
    "uid_alt": "arn:aws:iam::123456789012:user/Alice",
    "account": {"uid": "123456789012", "type_id": 10},
    "credential_uid": "EXAMPLE_KEY_ID",
}
Mapped = Callable[..., list[Event]]


def one(mapped: Mapped, record: Json) -> Event:
    """Map a record that makes one event."""
    (event,) = mapped(trail_record, [record])
    return event


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_published_sample_is_valid(mapped: Mapped, name: str) -> None:
    """Each example of the guides becomes one event that the official schema accepts."""
    event = one(mapped, SAMPLES[name])
    assert event["metadata"]["original_event_uid"] == SAMPLES[name]["eventID"]
    assert event["metadata"]["log_name"] == "cloudtrail"
    assert event["metadata"]["original_time"] == SAMPLES[name]["eventTime"]
    assert event["cloud"]["region"] == SAMPLES[name]["awsRegion"]


@pytest.mark.parametrize(
    ("name", "class_uid", "activity", "status", "topic"),
    [
        ("sign-in", 3002, 1, 1, "logons"),
        ("sign-in with MFA", 3002, 1, 1, "logons"),
        ("failed sign-in", 3002, 1, 2, "logons"),
        ("MFA check", 3002, 6, 1, "logons"),
        ("root sign-in", 3002, 1, 1, "logons"),
        ("failed root sign-in", 3002, 1, 2, "logons"),
        ("AssumeRole", 3002, 1, 1, "logons"),
        ("CreateUser", 3001, 1, 1, "activities"),
        ("AddUserToGroup", 3006, 3, 1, "activities"),
        ("CreateRole", 6003, 1, 1, "activities"),
        ("StartInstances", 6003, 3, 1, "activities"),
        ("CreateKeyPair", 6003, 1, 1, "activities"),
        ("refused UpdateTrail", 3004, 3, 2, "activities"),
    ],
)
def test_samples_get_their_class(
    mapped: Mapped, name: str, class_uid: int, activity: int, status: int, topic: str
) -> None:
    """Class, activity and outcome follow from the call and its answer."""
    event = one(mapped, SAMPLES[name])
    assert (event["class_uid"], event["activity_id"], event["status_id"]) == (class_uid, activity, status)
    assert topic_of(event) == topic


def test_a_sign_in_says_whether_mfa_was_used(mapped: Mapped) -> None:
    """`additionalEventData.MFAUsed` is what the console saw."""
    assert one(mapped, SAMPLES["sign-in with MFA"])["is_mfa"] is True
    assert one(mapped, SAMPLES["sign-in"])["is_mfa"] is False
    assert "is_mfa" not in one(mapped, SAMPLES["MFA check"])


def test_a_sign_in_names_who_whence_and_how(mapped: Mapped) -> None:
    """Person, address, browser and time (2018-08-29T16:24:34Z) are where OCSF wants them."""
    event = one(mapped, SAMPLES["sign-in"])
    assert event["time"] == 1_535_559_874_000
    assert event["user"]["uid"] == "AIDACKCEVSQ6C2EXAMPLE"
    assert event["user"]["name"] == "anaya"
    assert event["src_endpoint"] == {"ip": "192.0.2.0"}
    assert event["http_request"]["user_agent"].startswith("Mozilla/5.0 (Macintosh")
    assert event["service"] == {"name": "signin.amazonaws.com"}


def test_root_is_known_by_its_account(mapped: Mapped) -> None:
    """The root user has no id of its own: the inventory's id is the account's number."""
    user = one(mapped, SAMPLES["root sign-in"])["user"]
    assert (user["uid"], user["name"], user["type_id"]) == ("111122223333:root", "root", 2)


def test_a_failure_keeps_its_reason(mapped: Mapped) -> None:
    """The console's words and the API's code are kept."""
    assert one(mapped, SAMPLES["failed sign-in"])["status_detail"] == "Failed authentication"
    refused = one(mapped, SAMPLES["refused UpdateTrail"])
    assert refused["status_code"] == "TrailNotFoundException"
    assert refused["entity"] == {"name": "myTrail2", "type_id": 99, "type": "trail"}
    assert refused["api"]["request"] == {"uid": "5d40662a-49f7-11e6-97e4-d9cb6ff7d6a3"}


def test_a_new_user_is_the_one_that_changed(mapped: Mapped) -> None:
    """Alice acts, Bob is the account: with the id that the answer gave."""
    event = one(mapped, SAMPLES["CreateUser"])
    assert event["actor"]["user"] == ALICE
    assert event["user"] == {
        "uid": "EXAMPLEUSERID",
        "name": "Bob",
        "uid_alt": "arn:aws:iam::123456789012:user/Bob",
    }
    assert entity_of(event) == "EXAMPLEUSERID"


def test_a_member_is_added_to_a_group(mapped: Mapped) -> None:
    """A null answer is no failure; group and member are named by the parameters."""
    event = one(mapped, SAMPLES["AddUserToGroup"])
    assert (event["group"], event["user"]) == ({"name": "admin"}, {"name": "Bob"})
    assert event["actor"]["session"] == {"is_mfa": False, "created_time": 1_395_773_111_000}


def test_an_assumed_role_is_the_session_that_began(mapped: Mapped) -> None:
    """The caller acts, the role's session is who is signed in; its secrets are nowhere."""
    event = one(mapped, SAMPLES["AssumeRole"])
    answer = SAMPLES["AssumeRole"]["responseElements"]
    assert event["user"]["uid"] == answer["assumedRoleUser"]["assumedRoleId"]
    assert event["user"]["uid_alt"] == answer["assumedRoleUser"]["arn"]
    assert answer["credentials"]["sessionToken"] not in json.dumps(event)


def test_a_hidden_name_is_no_name(mapped: Mapped) -> None:
    """A sign-in with a name that does not exist: AWS hides it, and the account remains."""
    record = SAMPLES["failed sign-in"] | {
        "userIdentity": {
            "type": "IAMUser",
            "accountId": "111122223333",
            "accessKeyId": "",
            "userName": "HIDDEN_DUE_TO_SECURITY_REASONS",
        },
    }
    assert one(mapped, record)["user"] == {"type_id": 1, "account": {"uid": "111122223333", "type_id": 10}}


def test_a_service_acts_by_itself(mapped: Mapped) -> None:
    """A service has no address and no account: its name is both actor and source."""
    record = SAMPLES["StartInstances"] | {
        "userIdentity": {"type": "AWSService", "invokedBy": "autoscaling.amazonaws.com"},
        "sourceIPAddress": "autoscaling.amazonaws.com",
    }
    event = one(mapped, record)
    assert event["actor"] == {
        "user": {"type_id": 4, "name": "autoscaling.amazonaws.com"},
        "invoked_by": "autoscaling.amazonaws.com",
    }
    assert event["src_endpoint"] == {"svc_name": "autoscaling.amazonaws.com"}


@pytest.mark.parametrize(
    ("source", "name", "params", "class_uid", "activity"),
    [
        (
            "iam",
            "AttachUserPolicy",
            {"userName": "bob", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
            3005,
            1,
        ),
        ("iam", "DeleteRolePolicy", {"roleName": "r", "policyName": "p"}, 3005, 2),
        ("iam", "PutGroupPolicy", {"groupName": "g", "policyName": "p"}, 3006, 1),
        ("iam", "DeleteLoginProfile", {"userName": "bob"}, 3001, 5),
        ("iam", "CreateAccessKey", None, 3001, 99),
        ("iam", "DeletePolicy", {"policyArn": "arn:aws:iam::111122223333:policy/p"}, 3004, 4),
        ("iam", "DeletePolicy", None, 6003, 4),
        ("iam", "AttachUserPolicy", None, 6003, 3),
        ("s3", "PutBucketPolicy", {"bucketName": "b"}, 3004, 3),
        ("cloudtrail", "StopLogging", {"name": "t"}, 3004, 9),
        ("sso", "CreateAccountAssignment", {"principalId": "p", "permissionSetArn": "arn"}, 3005, 1),
        ("ec2", "DescribeInstances", {}, 6003, 2),
        ("ec2", "TerminateInstances", {}, 6003, 4),
        ("ec2", "Frobnicate", {}, 6003, 99),
    ],
)
def test_calls_get_their_class(
    mapped: Mapped, source: str, name: str, params: Json, class_uid: int, activity: int
) -> None:
    """A call is what it is about; without parameters it is an API call and nothing more."""
    record = SAMPLES["CreateUser"] | {
        "eventSource": f"{source}.amazonaws.com",
        "eventName": name,
        "requestParameters": params,
        "responseElements": None,
    }
    event = one(mapped, record)
    assert (event["class_uid"], event["activity_id"]) == (class_uid, activity)
    assert event.get("activity_name") == (name if activity == 99 else None)


def test_secrets_do_not_pass(mapped: Mapped) -> None:
    """What parameters and answers hold is kept, but for passwords, keys and tokens at any depth."""
    record = SAMPLES["CreateUser"] | {
        "requestParameters": {"userName": "bob", "password": "hunter2", "masterUserPassword": "hunter2"},
        "responseElements": {
            "accessKey": {
                "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
                "secretAccessKey": "hunter2",
                "status": "Active",
            },
            "credentials": [{"sessionToken": "hunter2"}],
        },
    }
    event = one(mapped, record)
    assert "hunter2" not in json.dumps(event)
    assert event["unmapped"]["responseElements"]["accessKey"] == {
        "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
        "status": "Active",
    }


def test_unknown_fields_pass(mapped: Mapped) -> None:
    """A field that AWS adds tomorrow is kept as it came."""
    event = one(mapped, SAMPLES["CreateUser"] | {"quantumState": {"spin": "up"}, "vpcEndpointId": None})
    assert event["unmapped"]["quantumState"] == {"spin": "up"}
    assert "vpcEndpointId" not in event["unmapped"]


def test_a_correction_names_what_it_corrects(mapped: Mapped) -> None:
    """`UPDATED_DATA` is a new record about an older event."""
    addendum = {"reason": "UPDATED_DATA", "updatedFields": "readOnly", "originalEventID": "7da4a6c1"}
    assert (
        one(mapped, SAMPLES["CreateUser"] | {"addendum": addendum})["metadata"]["correlation_uid"]
        == "7da4a6c1"
    )


@pytest.mark.parametrize(
    "broken", [{}, {"eventID": "x"}, {"eventID": "x", "eventTime": "yesterday", "eventName": "y"}]
)
def test_what_is_no_record_is_refused(broken: Json) -> None:
    """Without id, time or name a record is a dead letter."""
    with pytest.raises(BadRecord, match="not a CloudTrail record"):
        list(trail_record(broken, HERE))


HOLES = st.dictionaries(
    st.sampled_from(
        [
            "userIdentity",
            "requestParameters",
            "responseElements",
            "additionalEventData",
            "resources",
            "sourceIPAddress",
            "userAgent",
            "errorCode",
            "errorMessage",
            "readOnly",
            "requestID",
        ]
    ),
    st.none(),
)


@given(st.sampled_from(sorted(SAMPLES)), HOLES)
def test_nulls_hurt_nobody(mapped: Mapped, name: str, holes: dict[str, None]) -> None:
    """Any part of a record may be null."""
    one(mapped, SAMPLES[name] | holes)


def test_mapping_is_cheap() -> None:
    """A record costs some 10 µs; the bound is wide, for a busy machine."""
    records = list(SAMPLES.values()) * 20
    best = 1.0
    for _ in range(5):
        began = perf_counter()
        for record in records:
            list(trail_record(record, HERE))
        best = min(best, (perf_counter() - began) / len(records))
    assert best < 60e-6

"""Which calls become which OCSF class, and what they are about; a call without a row is API activity.

A row counts only if the record names what the class is about: a refused call's parameters may be null.
Sources: IAM, STS, CloudTrail, S3 and IAM Identity Center API references; OCSF 1.8.0, activities.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

from ingest.provider import Json
from schemas.events import present

Attributes = dict[str, Json]


def classified(record: Json, source: str, name: str, actor: Attributes) -> tuple[int, int, Attributes]:
    """Tell a record's class and activity, and the attributes that are particular to the class."""
    if found := _CLASSES.get((source, name)):
        class_uid, activity, about = found
        attributes = about(record, actor)
        if attributes is not None:
            return class_uid, activity, attributes
    about_api: Attributes = {}
    if resources := record.get("resources"):
        about_api["resources"] = [
            present(uid=one.get("ARN") or one.get("ARNPrefix") or one.get("type"), type=one.get("type"))
            for one in resources
        ]
    return 6003, 2 if record.get("readOnly") is True else _crud(name), about_api


@lru_cache(maxsize=8192)
def _crud(name: str) -> int:
    return next((number for words, number in _VERBS if name.startswith(words)), 99)


_VERBS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("Get", "List", "Describe", "Head", "Lookup", "Search", "BatchGet", "Query", "Scan", "Select"), 2),
    (("Delete", "Remove", "Terminate", "Detach", "Disassociate", "Deregister", "Revoke", "Release",
      "Untag"), 4),
    (("Create", "Run", "Add", "Register", "Allocate", "Import", "Upload", "Copy", "Publish", "Send"), 1),
    (("Update", "Put", "Modify", "Set", "Attach", "Associate", "Enable", "Disable", "Tag", "Start", "Stop",
      "Change", "Restore", "Reset", "Rotate", "Authorize", "Reboot", "Cancel", "Rename"), 3),
)  # fmt: skip


def _params(record: Json) -> Json:
    params = record.get("requestParameters")
    return params if isinstance(params, dict) else {}


def _signed_in(record: Json, actor: Attributes) -> Attributes:
    more = record.get("additionalEventData")
    used = more.get("MFAUsed") if isinstance(more, dict) else None
    return {
        "user": actor["user"],
        "is_mfa": None if used is None else used == "Yes",
        "service": {"name": record.get("eventSource")},
    }


def _assumed(record: Json, actor: Attributes) -> Attributes:
    """The session that was given, if it was, else who asked; the role that was asked for is its group."""
    answer = record.get("responseElements")
    session = answer.get("assumedRoleUser") if isinstance(answer, dict) else None
    made: Attributes = {"service": {"name": record.get("eventSource")}, "user": actor["user"]}
    if session:
        uid, arn = str(session.get("assumedRoleId")), str(session.get("arn"))
        name = uid.partition(":")[2]
        made["user"] = {"uid": uid, "name": name, "uid_alt": arn, "type_id": 99, "type": "AssumedRole"}
    protocol = {"AssumeRoleWithSAML": 5, "AssumeRoleWithWebIdentity": 4}.get(record["eventName"])
    return made | ({"auth_protocol_id": protocol} if protocol else {})


def _target(record: Json, actor: Attributes) -> Attributes | None:
    """The person or role a call is about; without a name in it, an IAM user acts on itself."""
    params, answer = _params(record), record.get("responseElements")
    made = answer.get("user") if isinstance(answer, dict) else None
    made = made if isinstance(made, dict) else {}
    if role := params.get("roleName"):
        return {"name": role, "type_id": 99, "type": "Role"}
    found: Attributes = present(
        uid=made.get("userId") or params.get("userId") or params.get("principalId"),
        name=params.get("userName") or made.get("userName"), uid_alt=made.get("arn"),
    )  # fmt: skip
    if "uid" in found or "name" in found:
        return found
    return None if record.get("errorCode") else actor["user"]


def _person(record: Json, actor: Attributes) -> Attributes | None:
    user = _target(record, actor)
    return {"user": user} if user else None


def _policy(params: Json) -> list[str]:
    return [name for key in ("policyArn", "policyName", "permissionSetArn") if (name := params.get(key))]


def _granted(record: Json, actor: Attributes) -> Attributes | None:
    privileges, user = _policy(_params(record)), _target(record, actor)
    return {"user": user, "privileges": privileges} if privileges and user else None


def _group(record: Json, actor: Attributes) -> Attributes | None:
    del actor
    params, answer = _params(record), record.get("responseElements")
    made = answer.get("group") if isinstance(answer, dict) else None
    made = made if isinstance(made, dict) else {}
    group = present(
        name=params.get("groupName") or params.get("displayName"),
        uid=made.get("groupId") or params.get("groupId"), uid_alt=made.get("arn"),
    )  # fmt: skip
    member = params.get("memberId")
    user = present(
        name=params.get("userName"), uid=member.get("userId") if isinstance(member, dict) else None
    )
    return {"group": group, "user": user, "privileges": _policy(params)} if group else None


def _entity(kind: str, *names: str) -> Callable[[Json, Attributes], Attributes | None]:
    """Find a setting or policy by the parameter that names it; `<a name>` is the name itself."""

    def about(record: Json, actor: Attributes) -> Attributes | None:
        del actor
        params = _params(record)
        for name in names:
            found = name[1:-1] if name[0] == "<" else params.get(name)
            if isinstance(found, str) and found:
                policy = kind == "policy"
                return {
                    "entity": {"name": found, "type_id": 5 if policy else 99}
                    | ({} if policy else {"type": kind})
                }
        return None

    return about


_About = Callable[[Json, Attributes], Attributes | None]
_SERVICES: Mapping[str, str] = {
    "signin": "signin.amazonaws.com",
    "sso": "sso.amazonaws.com",
    "sts": "sts.amazonaws.com",
    "iam": "iam.amazonaws.com",
    "store": "identitystore.amazonaws.com",
    "trail": "cloudtrail.amazonaws.com",
    "s3": "s3.amazonaws.com",
}
_ROWS: tuple[tuple[int, _About, str], ...] = (
    (3002, _signed_in, "signin ConsoleLogin=1 UserAuthentication=1 SwitchRole=7 ExitRole=7"),
    (3002, _signed_in, "signin CheckMfa=6 CredentialChallenge=6 CredentialVerification=6"),
    (3002, _signed_in, "sso Authenticate=1 Federate=1 Logout=2"),
    (3002, _assumed, "sts AssumeRole=1 AssumeRoleWithSAML=1 AssumeRoleWithWebIdentity=1 AssumeRoot=1"),
    (3002, _assumed, "sts GetSessionToken=1 GetFederationToken=1"),
    (3001, _person, "iam CreateUser=1 CreateLoginProfile=2 ChangePassword=3 UpdateLoginProfile=4"),
    (3001, _person, "iam DeleteLoginProfile=5 DeleteUser=6 EnableMFADevice=10 DeactivateMFADevice=11"),
    (3001, _person, "iam UpdateUser=99 CreateAccessKey=99 UpdateAccessKey=99 DeleteAccessKey=99"),
    (3001, _person, "store CreateUser=1 DeleteUser=6 UpdateUser=99"),
    (3005, _granted, "iam AttachUserPolicy=1 PutUserPolicy=1 DetachUserPolicy=2 DeleteUserPolicy=2"),
    (3005, _granted, "iam AttachRolePolicy=1 PutRolePolicy=1 DetachRolePolicy=2 DeleteRolePolicy=2"),
    (3005, _granted, "sso CreateAccountAssignment=1 DeleteAccountAssignment=2"),
    (3006, _group, "iam AttachGroupPolicy=1 PutGroupPolicy=1 DetachGroupPolicy=2 DeleteGroupPolicy=2"),
    (3006, _group, "iam AddUserToGroup=3 RemoveUserFromGroup=4 DeleteGroup=5 CreateGroup=6 UpdateGroup=99"),
    (3006, _group, "store CreateGroupMembership=3 DeleteGroupMembership=4 DeleteGroup=5 CreateGroup=6"),
    (3004, _entity("policy", "policyArn", "policyName"), "iam CreatePolicy=1 DeletePolicy=4"),
    (3004, _entity("policy", "policyArn"), "iam CreatePolicyVersion=3 SetDefaultPolicyVersion=3"),
    (3004, _entity("policy", "policyArn"), "iam DeletePolicyVersion=3"),
    (3004, _entity("policy", "roleName"), "iam UpdateAssumeRolePolicy=3"),
    (3004, _entity("policy", "<passwords>"), "iam UpdateAccountPasswordPolicy=3"),
    (3004, _entity("policy", "<passwords>"), "iam DeleteAccountPasswordPolicy=4"),
    (3004, _entity("trail", "name", "trailName"), "trail CreateTrail=1 UpdateTrail=3 DeleteTrail=4"),
    (3004, _entity("trail", "name", "trailName"), "trail PutEventSelectors=3 StartLogging=8 StopLogging=9"),
    (3004, _entity("policy", "bucketName"), "s3 PutBucketPolicy=3 DeleteBucketPolicy=4 PutBucketAcl=3"),
    (3004, _entity("policy", "bucketName"), "s3 PutBucketPublicAccessBlock=3 PutBucketOwnershipControls=3"),
    (3004, _entity("policy", "bucketName"), "s3 DeleteBucketPublicAccessBlock=4"),
    (3004, _entity("policy", "<public access block>"), "s3 PutAccountPublicAccessBlock=3"),
    (3004, _entity("policy", "<public access block>"), "s3 DeleteAccountPublicAccessBlock=4"),
)


def _table() -> Mapping[tuple[str, str], tuple[int, int, _About]]:
    made = {}
    for class_uid, about, text in _ROWS:
        service, *calls = text.split()
        for call in calls:
            name, _, number = call.partition("=")
            made[_SERVICES[service], name] = class_uid, int(number), about
    return made


_CLASSES = _table()

"""CloudTrail records of what callers really do, so that they are seen in the event history as at AWS.

Recorded are changes in IAM and in buckets' settings; not what the root key does, with which an account is
seeded and driven, for the driver writes its own records.
"""

import secrets
from datetime import datetime
from random import Random
from typing import Any, TypeAlias

from sandbox.aws import operations
from sandbox.aws.call import Call
from sandbox.aws.records import Records

Json: TypeAlias = Any
_READS = ("Get", "List", "Head", "Describe", "Generate", "Simulate")
_DATA = ("Object", "Objects", "ObjectAcl", "ObjectTagging", "MultipartUpload", "Part", "PartCopy")
_chance = Random(secrets.randbits(64))


def recorded(call: Call, at: datetime) -> Json | None:
    """The record of a call that succeeded; None for reads, data events, and the root key's calls."""
    if call.service not in ("iam", "s3", "s3control") or call.operation.startswith(_READS) or not call.arn:
        return None
    if call.arn.endswith(":root") or (call.service == "s3" and call.operation.endswith(_DATA)):
        return None
    if call.service == "iam":
        given = operations.form(call.body)
        params = {k[:1].lower() + k[1:]: v for k, v in given.items() if k not in ("Action", "Version")}
    else:
        params = {"bucketName": call.path["Bucket"]} if "Bucket" in call.path else {"accountId": call.account}
        params["Host"] = "s3.amazonaws.com"
        params |= dict.fromkeys(call.query, "")
    record = Records(call.account, _chance, call.region).call(
        "s3" if call.service == "s3control" else call.service,
        _NAMES.get(call.operation, call.operation),
        _identity(call),
        params,
        at=at,
    )
    return record | {"userAgent": call.header("user-agent") or "-"}


_NAMES = {
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "DeleteBucketPublicAccessBlock",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
}


def _identity(call: Call) -> Json:
    """Who it was: a user, or a role's session with its issuer."""
    key = call.signed.key if call.signed else ""
    who = {
        "type": "IAMUser",
        "principalId": call.principal.removeprefix("AWS:"),
        "arn": call.arn,
        "accountId": call.account,
        "accessKeyId": key,
    }
    kind, _, name = call.arn.rpartition(":")[2].partition("/")
    if kind == "user":
        return who | {"userName": name.rpartition("/")[2]}
    role = name.partition("/")[0]
    issuer = {
        "type": "Role",
        "principalId": who["principalId"].partition(":")[0],
        "arn": f"arn:aws:iam::{call.account}:role/{role}",
        "accountId": call.account,
        "userName": role,
    }
    return who | {"type": "AssumedRole", "sessionContext": {"sessionIssuer": issuer}}

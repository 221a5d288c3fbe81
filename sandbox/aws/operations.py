"""Which operation a request is, and which permission it needs.

Source: Service Authorization Reference. For most services the permission is the operation's name; S3 differs.
"""

import json
from collections.abc import Mapping
from urllib.parse import parse_qs

_S3: dict[str, tuple[str, ...]] = {
    "ListBuckets": ("ListAllMyBuckets",),
    "ListObjects": ("ListBucket",),
    "ListObjectsV2": ("ListBucket",),
    "HeadBucket": ("ListBucket",),
    "ListObjectVersions": ("ListBucketVersions",),
    "HeadObject": ("GetObject",),
    "CopyObject": ("PutObject", "GetObject"),
    "UploadPartCopy": ("PutObject", "GetObject"),
    "CreateMultipartUpload": ("PutObject",),
    "UploadPart": ("PutObject",),
    "CompleteMultipartUpload": ("PutObject",),
    "DeleteObjects": ("DeleteObject",),
    "GetBucketNotificationConfiguration": ("GetBucketNotification",),
    "PutBucketNotificationConfiguration": ("PutBucketNotification",),
    "GetPublicAccessBlock": ("GetBucketPublicAccessBlock",),
    "PutPublicAccessBlock": ("PutBucketPublicAccessBlock",),
    "DeletePublicAccessBlock": ("PutBucketPublicAccessBlock",),
    "DeleteObjectTagging": ("DeleteObjectTagging",),
}
_ACCOUNT: dict[str, tuple[str, ...]] = {
    "GetPublicAccessBlock": ("GetAccountPublicAccessBlock",),
    "PutPublicAccessBlock": ("PutAccountPublicAccessBlock",),
    "DeletePublicAccessBlock": ("PutAccountPublicAccessBlock",),
}
_SQS: dict[str, tuple[str, ...]] = {
    "DeleteMessageBatch": ("DeleteMessage",),
    "ChangeMessageVisibilityBatch": ("ChangeMessageVisibility",),
}
_TABLES: dict[str, dict[str, tuple[str, ...]]] = {"s3": _S3, "s3control": _ACCOUNT, "sqs": _SQS}
_PREFIX = {"s3control": "s3"}


def actions(service: str, operation: str, query: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The permissions, as `service:Action`, that the call needs."""
    table = _TABLES.get(service, {})
    names = table.get(operation, (operation,))
    if service == "s3" and "versionId" in query:
        versioned = {"GetObject", "DeleteObject", "GetObjectAcl", "PutObjectAcl", "GetObjectTagging"}
        names = tuple(_versioned(name) if name in versioned else name for name in names)
    return tuple(f"{_PREFIX.get(service, service)}:{name}" for name in names)


def _versioned(name: str) -> str:
    for tail in ("Acl", "Tagging"):
        if name.endswith(tail):
            return name.removesuffix(tail) + "Version" + tail
    return name + "Version"


def named(target: str, body: bytes) -> str:
    """The operation of a JSON (X-Amz-Target) or query (Action=) request; empty for REST services."""
    if target:
        return target.rpartition(".")[2]
    if b"Action=" in body:
        return parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0]
    return ""


def form(body: bytes) -> dict[str, str]:
    """The parameters of a query-protocol call."""
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def parameters(body: bytes) -> dict[str, object]:
    """The parameters of a JSON call; raises ValueError on anything but an object."""
    found = json.loads(body or b"{}")
    if not isinstance(found, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004 - one error for every malformed body.
    return found

"""What S3 refuses or shows and moto does not.

Source: S3 user guide, "Controlling ownership of objects", "Blocking public access to your Amazon S3 storage";
API reference, CopyObject and ListBuckets. Since April 2023 a new bucket has its ACLs disabled and public
access blocked; moto's has neither.
"""

import re
from typing import Any, TypeAlias
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from moto.s3.models import PublicAccessBlock, s3_backends
from moto.s3.utils import bucket_policy_is_public
from moto.s3control.models import s3control_backends

from sandbox.aws.answers import Answer, Refused
from sandbox.aws.call import Call

Json: TypeAlias = Any
HOLLOW = "x-amz-meta-hollow-size"
_OPEN = ("public-read", "public-read-write", "authenticated-read")
_PUBLIC_GROUPS = ("groups/global/AllUsers", "groups/global/AuthenticatedUsers")


def bucket(name: str) -> Json | None:
    """The bucket of that name, whoever owns it; None when there is none."""
    if (owner := s3_backends.bucket_accounts.get(name)) is None:
        return None
    partition, account = owner
    return s3_backends[account][partition].buckets.get(name)


def blocked(found: Json, setting: str) -> bool:
    """Whether public access is blocked in that way, by the bucket's own setting or by its account's."""
    account = s3control_backends[found.account_id]["aws"].public_access_block
    return any(getattr(block, setting) for block in (found.public_access_block, account) if block is not None)


def check(call: Call) -> Answer | None:
    """Refuse what S3 refuses, answer what moto can't; None lets moto answer."""
    if call.operation == "ListBuckets":
        return _buckets(call)
    found = bucket(call.path.get("Bucket", ""))
    if found is None:
        return None
    if call.operation in ("PutObjectAcl", "PutBucketAcl", "PutObject"):
        _acl(call, found)
    elif call.operation == "PutBucketPolicy":
        if blocked(found, "block_public_policy") and bucket_policy_is_public(call.body):
            raise Refused(
                "AccessDenied", "Access Denied: the policy is public and BlockPublicPolicy is on", 403
            )
    elif call.operation == "CopyObject":
        _copy(call)
    return None


def created(call: Call) -> None:
    """Give a bucket that moto has just made the settings that new buckets have."""
    found = bucket(call.path.get("Bucket", ""))
    if found is None:
        return
    if found.ownership_rule is None:
        found.ownership_rule = "BucketOwnerEnforced"
    if found.public_access_block is None:
        found.public_access_block = PublicAccessBlock(*(["true"] * 4))


def effective(call: Call, body: bytes) -> bytes:
    """Hide public grants from `?acl` while IgnorePublicAcls is on; the stored grants stay."""
    found = bucket(call.path.get("Bucket", ""))
    if found is None or not blocked(found, "ignore_public_acls"):
        return body
    grant = re.compile(
        rb"<Grant>(?:(?!</Grant>).)*groups/global/(?:AllUsers|AuthenticatedUsers).*?</Grant>", re.DOTALL
    )
    return grant.sub(b"", body)


def _acl(call: Call, found: Json) -> None:
    canned = call.header("x-amz-acl")
    grants = [v for k, v in call.received.headers.items() if k.startswith("x-amz-grant-")]
    if (
        call.operation == "PutObject"
        and not grants
        and canned in ("", "private", "bucket-owner-full-control")
    ):
        return
    if found.ownership_rule in (None, "BucketOwnerEnforced") and canned != "bucket-owner-full-control":
        raise Refused("AccessControlListNotSupported", "The bucket does not allow ACLs")
    wide = call.body.decode("utf-8", "replace") if call.operation != "PutObject" else ""
    public = canned in _OPEN or any(group in text for group in _PUBLIC_GROUPS for text in (*grants, wide))
    if public and blocked(found, "block_public_acls"):
        raise Refused("AccessDenied", "Access Denied: the ACL is public and BlockPublicAcls is on", 403)


def _copy(call: Call) -> None:
    """Obey x-amz-copy-source-if-match, which moto ignores."""
    if not (wanted := call.header("x-amz-copy-source-if-match")):
        return
    path, _, version = call.header("x-amz-copy-source").partition("?versionId=")
    name, _, key = unquote(path).lstrip("/").partition("/")
    source = bucket(name)
    versions = source.keys.getlist(key, []) if source is not None else []
    held = next(
        (k for k in reversed(versions) if not version or str(getattr(k, "version_id", "")) == version), None
    )
    if held is not None and getattr(held, "etag", "").strip('"') != wanted.strip('"'):
        raise Refused(
            "PreconditionFailed", "At least one of the preconditions you specified did not hold.", 412
        )


def _buckets(call: Call) -> Answer:
    """ListBuckets with its paging and each bucket's region, which moto leaves out."""
    size = int(call.query.get("max-buckets", ["10000"])[0])
    if not 1 <= size <= 10000:
        raise Refused("InvalidArgument", "max-buckets must be between 1 and 10000")
    after = call.query.get("continuation-token", [""])[0]
    region = call.query.get("bucket-region", [""])[0]
    prefix = call.query.get("prefix", [""])[0]
    held = s3_backends[call.account]["aws"].buckets
    names = [n for n in sorted(held) if n.startswith(prefix) and region in ("", held[n].region_name)]
    names = [n for n in names if n > unquote(after)]
    rows = "".join(
        f"<Bucket><Name>{escape(n)}</Name><CreationDate>{held[n].creation_date_ISO8601}</CreationDate>"
        f"<BucketRegion>{held[n].region_name}</BucketRegion></Bucket>"
        for n in names[:size]
    )
    more = f"<ContinuationToken>{quote(names[size - 1])}</ContinuationToken>" if len(names) > size else ""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Buckets>{rows}</Buckets><Owner><ID>{call.account}</ID></Owner>{more}</ListAllMyBucketsResult>"
    )
    return Answer(200, body.encode(), {"Content-Type": "application/xml"})


def is_open(call: Call) -> str | None:
    """The account whose object an unsigned GET may read, or None: by its ACL or the bucket's policy."""
    found = bucket(call.path.get("Bucket", ""))
    if found is None or call.operation not in ("GetObject", "HeadObject"):
        return None
    held = found.keys.get(unquote(call.path.get("Key", "")))
    by_acl = held is not None and getattr(held, "acl", None) is not None and held.acl.public_read
    if by_acl and not blocked(found, "ignore_public_acls") and found.ownership_rule != "BucketOwnerEnforced":
        return str(found.account_id)
    by_policy = bool(found.policy) and bucket_policy_is_public(found.policy)
    if by_policy and not blocked(found, "restrict_public_buckets"):
        return str(found.account_id)
    return None


def hollow(call: Call) -> int | None:
    """The size that an object claims by its metadata `hollow-size`; None for all others."""
    found = bucket(call.path.get("Bucket", "")) if call.operation == "GetObject" else None
    held = found.keys.get(call.path.get("Key", "")) if found is not None else None
    size = (getattr(held, "metadata", None) or {}).get(HOLLOW)
    return int(size) if size else None

"""Where moto differs from AWS and can be put right inside its own process.

Corrected: S3 event records (names of who and where, sequencer, version, key encoding, events that S3 never
sends, delete markers that moto keeps silent about), the encoding of a list of versions, paging of three IAM
lists, ids of users and groups, the root's identity, UpdateLoginProfile without a password. Source: S3 user
guide, "Event message structure"; S3 and IAM API references.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import quote, quote_plus

from moto.core.responses import ActionResult
from moto.iam.exceptions import ValidationError
from moto.iam.models import Group, IAMBackend, User
from moto.iam.responses import IamResponse
from moto.s3 import notifications
from moto.s3.models import FakeDeleteMarker, FakeKey, S3Backend
from moto.s3.notifications import S3NotificationEvent
from moto.s3.responses import S3Response
from moto.sts.models import STSBackend

from sandbox.aws.call import CURRENT
from sandbox.aws.s3_rules import HOLLOW

Json: TypeAlias = Any
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_send = notifications.send_event
_delete = S3Backend.delete_object
_versions = S3Response.list_object_versions
_identity = STSBackend.get_caller_identity
_login = IAMBackend.update_login_profile
_user, _group = User.__init__, Group.__init__


def _identifier(prefix: str) -> str:
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(17))


def _record(event_name: str, bucket: Json, key: Json, notification_id: str) -> Json:
    """One S3 event as the user guide shows it."""
    call = CURRENT.get()
    kind = event_name.removeprefix("s3:")
    marker = isinstance(key, FakeDeleteMarker)
    held: Json = {"key": quote_plus(key.name, safe="/*-._")}
    if not marker and not kind.startswith("ObjectRemoved"):
        held |= {"size": key.size}
    if not kind.startswith("ObjectRemoved:Delete") or marker:
        held |= {"eTag": "" if marker else key.etag.replace('"', "")}
    if bucket.is_versioned and key.version_id:
        held["versionId"] = str(key.version_id)
    if kind.startswith(("ObjectCreated", "ObjectRemoved")):
        held["sequencer"] = f"{time.time_ns():016X}"
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": bucket.region_name,
        "eventTime": moment,
        "eventName": kind,
        "userIdentity": {"principalId": call.principal if call else "Amazon"},
        "requestParameters": {"sourceIPAddress": "203.0.113.10"},
        "responseElements": {
            "x-amz-request-id": secrets.token_hex(8).upper(),
            "x-amz-id-2": secrets.token_hex(24),
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": notification_id,
            "bucket": {
                "name": bucket.name,
                "ownerIdentity": {"principalId": bucket.account_id},
                "arn": bucket.arn,
            },
            "object": held,
        },
    }
    return {"Records": [record]}


def _sent(account_id: str, event_name: Json, bucket: Json, key: Json) -> None:
    """Send what S3 sends: tags and parts of a put are no events of their own."""
    call = CURRENT.get()
    if call is not None:
        if (
            event_name == S3NotificationEvent.OBJECT_TAGGING_PUT_EVENT
            and call.operation != "PutObjectTagging"
        ):
            return
        if event_name == S3NotificationEvent.OBJECT_CREATED_PUT_EVENT and call.operation != "PutObject":
            return
    _send(account_id, event_name, bucket, key)


def _removed(
    self: S3Backend, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
) -> Json:
    """Delete, and tell of delete markers and deleted versions too."""
    held = self.get_bucket(bucket_name)
    existed = list(held.keys.getlist(key_name, []))
    result = _delete(self, bucket_name, key_name, version_id, bypass)
    if not held.is_versioned or not result[0]:
        return result
    if version_id is None:
        marker = held.keys.get(key_name)
        _send(self.account_id, S3NotificationEvent.OBJECT_REMOVED_DELETE_MARKER_CREATED_EVENT, held, marker)
    elif held.keys.getlist(key_name, []):
        gone = next((key for key in existed if str(key.version_id) == str(version_id)), None)
        if gone is not None:
            _send(self.account_id, S3NotificationEvent.OBJECT_REMOVED_DELETE_EVENT, held, gone)
    return result


def _size(self: FakeKey) -> int:
    """The stored size, or the one that a hollow object claims."""
    metadata: Json = self.metadata or {}
    claimed = metadata.get(HOLLOW)
    return int(claimed) if claimed else int(self.contentsize)


def _page(self: IamResponse, items: list[Json]) -> tuple[list[Json], Json]:
    size, marker = int(self._get_param("MaxItems") or 100), self._get_param("Marker")
    if not 1 <= size <= 1000:
        raise ValidationError("MaxItems must be between 1 and 1000")
    if marker is not None and not (marker.isdecimal() and 0 < int(marker) < len(items)):
        raise ValidationError(f"Invalid Marker: {marker}")
    start = int(marker or 0)
    part = items[start : start + size]
    more = start + size < len(items)
    return part, {"IsTruncated": more} | ({"Marker": str(start + size)} if more else {})


def _users(self: IamResponse) -> ActionResult:
    part, rest = _page(self, list(self.backend.list_users(self._get_param("PathPrefix"), None, None)))
    return ActionResult({"Users": part} | rest)


def _groups(self: IamResponse) -> ActionResult:
    part, rest = _page(self, list(self.backend.list_groups()))
    return ActionResult({"Groups": part} | rest)


def _details(self: IamResponse) -> ActionResult:
    found = self.backend.get_account_authorization_details(self._get_param("Filter", []))
    kinds = {
        "UserDetailList": "users",
        "GroupDetailList": "groups",
        "RoleDetailList": "roles",
        "Policies": "managed_policies",
    }
    items = [(kind, item) for kind, name in kinds.items() for item in found[name] if _in_use(kind, item)]
    part, rest = _page(self, items)
    return ActionResult({kind: [item for k, item in part if k == kind] for kind in kinds} | rest)


def _versions_page(self: S3Response) -> Json:
    """Obey encoding-type=url in a list of versions; without it control characters have no XML."""
    if self.querystring.get("encoding-type", [""])[0] != "url":
        return _versions(self)
    plain = self.serialized

    def encoded(answer: ActionResult) -> Json:
        found: Json = answer.result
        for entry in (*found["Versions"], *found["DeleteMarkers"]):
            entry["Key"] = quote(entry["Key"])
        for entry in found.get("CommonPrefixes", ()):
            entry["Prefix"] = quote(entry["Prefix"])
        for name in ("Prefix", "Delimiter", "KeyMarker", "NextKeyMarker"):
            if found.get(name):
                found[name] = quote(found[name])
        return plain(ActionResult(found | {"EncodingType": "url"}))

    vars(self)["serialized"] = encoded
    return _versions(self)


def _in_use(kind: str, item: Json) -> bool:
    """Of AWS's own policies only those that somebody has."""
    return kind != "Policies" or ":aws:policy/" not in item.arn or item.attachment_count > 0


def _profile(self: IAMBackend, user_name: str, password: str | None, password_reset_required: bool) -> User:
    return _login(
        self, user_name, password or str(self.get_user(user_name).password or ""), password_reset_required
    )


def _caller(self: STSBackend, access_key_id: str, region: str) -> tuple[str, str, str]:
    """The root key is the account's root, whom moto does not know."""
    call = CURRENT.get()
    if call is not None and call.arn.endswith(":root"):
        return call.account, call.arn, call.account
    return _identity(self, access_key_id, region)


def _born(init: Callable[..., None], prefix: str) -> Callable[..., None]:
    def create(self: Json, *args: Json, **kwargs: Json) -> None:
        init(self, *args, **kwargs)
        self.id = _identifier(prefix)

    return create


def apply() -> None:
    """Put moto right, in this process."""
    table: list[tuple[Json, str, Json]] = [
        (notifications, "_get_s3_event", _record),
        (notifications, "send_event", _sent),
        (S3Backend, "delete_object", _removed),
        (S3Response, "list_object_versions", _versions_page),
        (STSBackend, "get_caller_identity", _caller),
        (FakeKey, "size", property(_size)),
        (IamResponse, "list_users", _users),
        (IamResponse, "list_groups", _groups),
        (IamResponse, "get_account_authorization_details", _details),
        (IAMBackend, "update_login_profile", _profile),
        (User, "__init__", _born(_user, "AIDA")),
        (Group, "__init__", _born(_group, "AGPA")),
    ]
    for owner, name, better in table:
        setattr(owner, name, better)

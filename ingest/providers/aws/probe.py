"""What the granted permissions allow: each capability's cheapest calls, and the IAM action each lacks."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from ingest.provider import Capability, Grant, Json, Missing, NotAllowed, Refused
from ingest.providers.aws.errors import Denied
from ingest.providers.aws.session import Settings

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

_Call = tuple[str, str, dict[str, Json]]
UNTRIED: Final = "changes are not tried out: grant what the README names"

_PEOPLE: Final[tuple[_Call, ...]] = (
    ("iam", "get_account_authorization_details", {"Filter": ["User"], "MaxItems": 1}),
)
_REPORT: Final[tuple[_Call, ...]] = (
    ("iam", "generate_credential_report", {}),
    ("iam", "get_credential_report", {}),
)
_LISTED: Final[tuple[_Call, ...]] = (("s3", "list_buckets", {"MaxBuckets": 1000}),)
_BUCKET: Final = (
    "get_bucket_acl", "get_bucket_policy", "get_bucket_policy_status", "get_public_access_block",
    "get_bucket_ownership_controls",
)  # fmt: skip


async def read_grants(p: "Aws") -> AsyncIterator[Grant]:
    """Say of each capability what is missing; a call that several need is made once."""
    tried = _Tried(p)
    for capability, calls, note in _rows(p.settings, await tried.bucket()):
        missing = [lack for call in calls if (lack := await tried.lack(call))]
        if capability == "dlp_realtime" and not p.settings.queue_url:
            missing.append("queue_url")
        yield Grant(capability, tuple(dict.fromkeys(missing)), note)


def _rows(s: Settings, bucket: dict[str, Json]) -> tuple[tuple[Capability, tuple[_Call, ...], str], ...]:
    """List what each capability calls; on a bucket, if there is one to try things on."""
    people = _PEOPLE + ((("organizations", "list_accounts", {}),) if s.organization else ())
    centre: tuple[_Call, ...] = (("sso-admin", "list_instances", {}),) if s.identity_center else ()
    logs = tuple(("cloudtrail", "lookup_events", {"MaxResults": 1, "region": region}) for region in s.regions)
    queue: tuple[_Call, ...] = ()
    if s.queue_url:
        asked = {"QueueUrl": s.queue_url, "AttributeNames": ["QueueArn"], "region": s.queue_region}
        queue = (("sqs", "get_queue_attributes", asked),)
    content = _LISTED + ((("s3", "list_objects_v2", bucket | {"MaxKeys": 1}),) if bucket else ())
    told = _LISTED + ((("s3", "get_bucket_notification_configuration", bucket),) if bucket else ())
    shown = _LISTED + (tuple(("s3", name, bucket) for name in _BUCKET) if bucket else ())
    return (
        ("accounts", (*people, *_REPORT, *centre), ""),
        ("groups", (*people, *centre), ""),
        ("privileges", people, ""),
        ("logons", (*logs, *queue), ""),
        ("admin_activity", (*logs, *queue), ""),
        ("user_governance", people, UNTRIED),
        ("dlp_backlog", content, ""),
        ("dlp_realtime", (*told, *queue), "" if queue else "set queue_url: S3 tells of changes through it"),
        ("sharing_control", shown, UNTRIED),
        ("file_governance", content, UNTRIED if s.quarantine_bucket else "set quarantine_bucket first"),
    )


class _Tried:
    """Calls that were made, by what they lack."""

    def __init__(self, p: "Aws") -> None:
        self._p = p
        self._lacks: dict[str, str] = {}

    async def lack(self, call: _Call) -> str:
        """Name the action that a call lacks; empty: it may be made."""
        service, operation, params = call
        if (name := f"{service}/{operation}/{params}") not in self._lacks:
            self._lacks[name] = ""
            try:
                await self._p.sessions.call(service, operation, **params)
            except Denied as error:
                self._lacks[name] = error.action
            except NotAllowed as error:
                self._lacks[name] = str(error)
            except (Missing, Refused):
                pass  # "no such policy" and the like are states: the call itself was allowed
        return self._lacks[name]

    async def bucket(self) -> dict[str, Json]:
        """Find a watched bucket to try things on."""
        if await self.lack(_LISTED[0]):
            return {}
        reply = await self._p.sessions.call("s3", "list_buckets", MaxBuckets=1000)
        for one in reply.get("Buckets") or []:
            if self._p.settings.watches(one["Name"]):
                return {"Bucket": one["Name"]} | (
                    {"region": one["BucketRegion"]} if one.get("BucketRegion") else {}
                )
        return {}

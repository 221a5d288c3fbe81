"""The simulated AWS organization, to act on; its changes come by a queue, so no address is called."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any, ClassVar
from uuid import uuid4

import orjson
from practice import Guarded, Happened, Sample, Trial, at, without
from tenants import AwsSite

from ingest.provider import Json, Ref

Find = Callable[["AwsPractice"], Awaitable[Sample]]
_READS = ("Get", "List", "Head", "Describe", "Assume", "Receive", "Lookup")


def _object(key: str = "report.txt", *, versioned: bool = False, gone: bool = False, **more: Any) -> Find:
    async def found(one: "AwsPractice") -> Sample:
        bucket = await one.bucket(versioned=versioned)
        await one.s3.put_object(Bucket=bucket, Key=key, Body=b"secret", **more)
        if gone:
            await one.s3.delete_object(Bucket=bucket, Key=key)
        return Ref("file", f"arn:aws:s3:::{bucket}/{key}"), None

    return found


async def _open(one: "AwsPractice") -> Sample:
    bucket = await one.bucket()
    statement = {
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*",
    }  # fmt: skip
    policy = orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode()
    await one.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    return Ref("space", f"arn:aws:s3:::{bucket}"), None


def _user(*, console: bool = False) -> Find:
    async def found(one: "AwsPractice") -> Sample:
        name = f"mallory-{uuid4().hex[:8]}"
        made = (await one.iam.create_user(UserName=name))["User"]
        await one.iam.create_access_key(UserName=name)
        if console:
            await one.iam.create_login_profile(UserName=name, Password="Old-Secret-1!")
        return Ref("user", made["UserId"], data={"name": name}), None

    return found


async def _by_name(one: "AwsPractice") -> Sample:
    target, _ = await _user()(one)
    return target._replace(id=target.data["name"]), None


def _content(state: Json) -> Json:
    """What comes back is another object with the same content: its time is its own."""
    return at(state["source"], "key", "size", "etag")


class AwsPractice:
    """The management account, connected by role, and plain clients with its root key."""

    guarded: ClassVar[Mapping[str, Guarded]] = MappingProxyType({})
    trials: ClassVar[Mapping[str, Trial]] = MappingProxyType(
        {
            "quarantine": Trial(_object(), _object(StorageClass="GLACIER"), _content),
            "restore": Trial(_object(versioned=True, gone=True), kept=lambda state: without(state, "marker")),
            "trash": Trial(_object(versioned=True), _object()),
            "delete": Trial(_object(versioned=True)),
            "remove-public-acl": Trial(_object(ACL="public-read")),
            "remove-public-policy": Trial(_open, _object()),
            "make-private": Trial(_open, _object()),
            "suspend-user": Trial(_user(), _by_name),
            "revoke-sessions": Trial(_user(), _by_name, lambda state: without(state, "at")),
            "force-password-reset": Trial(_user(console=True), _user()),
        }
    )

    def __init__(self, site: AwsSite, s3: Json, iam: Json) -> None:
        self.sites, self.s3, self.iam, self._tenant = {"": site}, s3, iam, site._tenant

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["AwsPractice"]:
        """Start and fill the tenant."""
        async with AsyncExitStack() as stack:
            site = await stack.enter_async_context(AwsSite.start())
            root = await site._tenant.root(site.settings.role_arn.split(":")[4])
            s3, iam = [
                await stack.enter_async_context(site._tenant.client(name, root)) for name in ("s3", "iam")
            ]
            yield cls(site, s3, iam)

    async def bucket(self, *, versioned: bool = False) -> str:
        """Make a bucket whose walls are down."""
        name = f"practice-{uuid4().hex[:12]}"
        await self.s3.create_bucket(Bucket=name)
        await self.s3.delete_public_access_block(Bucket=name)
        rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        await self.s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=rules)
        if versioned:
            status = {"Status": "Enabled"}
            await self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=status)
        return name

    async def changes(self) -> Json:
        """Count the calls that changed something."""
        rows = await self._tenant.log()
        writes = [row for row in rows if not row["operation"].startswith(_READS) and row["status"] < 400]
        return len(writes)

    async def happen(self) -> Happened:
        """Nothing is pushed to an address."""
        raise AssertionError("AWS has no hook that something could be pushed to")

    async def registrations(self) -> Mapping[str, str]:
        """List the notifications of all buckets."""
        found: dict[str, str] = {}
        for name in await self._buckets():
            said = await self.s3.get_bucket_notification_configuration(Bucket=name)
            found |= {f"{name}/{one['Id']}": "" for one in said.get("QueueConfigurations", [])}
        return found

    async def forget(self) -> None:
        """Drop ours; those of the trail's own stay."""
        for name in await self._buckets():
            said = await self.s3.get_bucket_notification_configuration(Bucket=name)
            left = [one for one in said.get("QueueConfigurations", []) if not one["Id"].startswith("sluice-")]
            left_over = {"QueueConfigurations": left} if left else {}
            await self.s3.put_bucket_notification_configuration(
                Bucket=name, NotificationConfiguration=left_over
            )

    async def _buckets(self) -> list[str]:
        return [one["Name"] for one in (await self.s3.list_buckets())["Buckets"]]

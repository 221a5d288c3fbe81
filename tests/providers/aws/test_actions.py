"""Governance actions: a dry run changes nothing, twice is as once, read back, undone."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import uuid4

import orjson
import pytest

from ingest.provider import Changed, Instance, Missing, Ref, Refused, Step
from ingest.providers.aws import Aws
from ingest.providers.aws.actions import ACTIONS
from ingest.providers.aws.exposure import FLAGS, acl_is_public
from ingest.providers.aws.object_actions import Quarantine
from sandbox.aws.tenant import AwsTenant

Json: TypeAlias = Any
BY_NAME = {one.name: one for one in ACTIONS}
PUBLIC = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}


@dataclass
class Site:
    """One account: the connector to it, and plain clients that share nothing with it."""

    p: Aws
    s3: Any
    iam: Any
    bucket: str
    vault: str

    def target(self, key: str) -> Ref:
        """Name an object, as an operator would."""
        return Ref("file", f"arn:aws:s3:::{self.bucket}/{key}")

    @property
    def space(self) -> Ref:
        """Name the bucket."""
        return Ref("space", f"arn:aws:s3:::{self.bucket}")

    async def open_up(self) -> None:
        """Let ACLs count and take down the bucket's walls."""
        await self.s3.delete_public_access_block(Bucket=self.bucket)
        rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        await self.s3.put_bucket_ownership_controls(Bucket=self.bucket, OwnershipControls=rules)

    async def version(self) -> None:
        """Switch versioning on."""
        await self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    async def put(self, key: str, body: bytes = b"secret", **more: Any) -> None:
        """Put an object."""
        await self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    async def keys(self, bucket: str) -> list[str]:
        """List a bucket's keys."""
        reply = await self.s3.list_objects_v2(Bucket=bucket)
        return [one["Key"] for one in reply.get("Contents", [])]

    async def body(self, key: str) -> bytes:
        """Read an object."""
        reply = await self.s3.get_object(Bucket=self.bucket, Key=key)
        whole: bytes = await reply["Body"].read()
        return whole

    async def user(self, name: str = "mallory") -> Ref:
        """Make a user."""
        made = await self.iam.create_user(UserName=name)
        return Ref("user", made["User"]["UserId"], data={"name": name})


@pytest.fixture
async def site(tenant: AwsTenant, connect: Any) -> AsyncIterator[Site]:
    """Give an account of the test's own with a bucket and a quarantine bucket, connected."""
    account = f"{uuid4().int % 10**12:012d}"
    async with AsyncExitStack() as stack:
        root = await tenant.root(account)
        s3, iam = [await stack.enter_async_context(tenant.client(name, root)) for name in ("s3", "iam")]
        bucket, vault = f"bucket-{account}", f"quarantine-{account}"
        for name in (bucket, vault):
            await s3.create_bucket(Bucket=name)
        yield Site(await connect(account, quarantine_bucket=vault), s3, iam, bucket, vault)


async def looked(action: Json, p: Aws, target: Ref) -> Json:
    """Look, and make sure that the state is small JSON."""
    state = await action.look(p, target, None)
    raw = orjson.dumps(state)
    assert len(raw) < 8192
    return orjson.loads(raw)


async def carried_out(action: Json, p: Aws, target: Ref, steps: list[Step]) -> dict[str, Json]:
    """Do the steps, each twice as after a crash, and give the first results."""
    done: dict[str, Json] = {}
    for step in steps:
        orjson.dumps(step.data)
        assert step.say
        done[step.do] = await action.do(p, target, step)
        assert await action.do(p, target, step) == done[step.do] or step.do == "delete-versions"
    return done


async def taken(action: Json, p: Aws, target: Ref) -> tuple[Json, dict[str, Json]]:
    """Run an action as governance does: an empty plan at the end is the proof."""
    before = await looked(action, p, target)
    steps = action.plan(before, None)
    assert steps
    assert await looked(action, p, target) == before or action.name == "revoke-sessions"
    done = await carried_out(action, p, target, steps)
    assert action.plan(await looked(action, p, target), None) == []
    return before, done


async def undone(action: Json, p: Aws, target: Ref, before: Json, done: dict[str, Json]) -> None:
    """Undo, and prove it by an empty plan of undoing."""
    steps = action.undo(before, await looked(action, p, target), done)
    assert steps
    await carried_out(action, p, target, steps)
    assert action.undo(before, await looked(action, p, target), done) == []


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("key", ["report.txt", "a b//../ü+%20?.txt"])
async def test_quarantine_and_undo(site: Site, versioned: bool, key: str) -> None:
    """The object moves to the quarantine bucket; undo brings back content, metadata, tags and ACL."""
    await site.open_up()
    if versioned:
        await site.version()
    await site.put(
        key, Metadata={"case": "7"}, ContentType="text/x-odd", Tagging="team=red", ACL="public-read"
    )
    grants = (await site.s3.get_object_acl(Bucket=site.bucket, Key=key))["Grants"]
    action, target = BY_NAME["quarantine"], site.target(key)

    before, done = await taken(action, site.p, target)
    assert await site.keys(site.bucket) == []
    (copy,) = await site.keys(site.vault)
    assert copy.startswith(f"{site.p.instance.id}/{site.bucket}/")
    tags = (await site.s3.get_object_tagging(Bucket=site.vault, Key=copy))["TagSet"]
    assert {"Key": "sluice", "Value": "quarantine"} in tags
    assert (await site.s3.head_object(Bucket=site.vault, Key=copy))["Metadata"] == {"case": "7"}

    await undone(action, site.p, target, before, done)
    assert await site.keys(site.vault) == []
    assert await site.body(key) == b"secret"
    head = await site.s3.head_object(Bucket=site.bucket, Key=key)
    assert (head["Metadata"], head["ContentType"]) == ({"case": "7"}, "text/x-odd")
    tags = (await site.s3.get_object_tagging(Bucket=site.bucket, Key=key))["TagSet"]
    assert tags == [{"Key": "team", "Value": "red"}]
    back = (await site.s3.get_object_acl(Bucket=site.bucket, Key=key))["Grants"]
    assert acl_is_public({"Grants": back})
    assert len(back) == len(grants)


async def test_undo_after_the_hidden_version_expired(site: Site) -> None:
    """A delete marker over nothing hides nothing: the quarantined copy, the last there is, comes back."""
    await site.version()
    await site.put("k")
    before, done = await taken(BY_NAME["quarantine"], site.p, site.target("k"))
    versions = (await site.s3.list_object_versions(Bucket=site.bucket))["Versions"]
    for one in versions:  # as a lifecycle rule for noncurrent versions does
        await site.s3.delete_object(Bucket=site.bucket, Key="k", VersionId=one["VersionId"])
    await undone(BY_NAME["quarantine"], site.p, site.target("k"), before, done)
    assert await site.body("k") == b"secret"
    assert await site.keys(site.vault) == []


async def test_a_copy_is_not_dropped_before_its_original_is_back(site: Site) -> None:
    """Whatever was planned, the last copy stays while there is nothing in its place."""
    await site.put("k")
    _, done = await taken(BY_NAME["quarantine"], site.p, site.target("k"))
    (copy,) = await site.keys(site.vault)
    with pytest.raises(Changed, match="stays"):
        await BY_NAME["restore"].do(site.p, site.target("k"), Step("drop", "", {"key": copy}))
    assert await site.keys(site.vault) == [copy]
    assert done


async def test_quarantine_of_a_large_object(site: Site) -> None:
    """Above the limit of one copy the object goes in parts, with its metadata and tags."""
    body = bytes(range(256)) * 45_000
    await site.put("big", body, Metadata={"case": "7"}, ContentType="text/x-odd", Tagging="team=red")
    action, target = Quarantine(largest=1024, part=5 * 1024**2), site.target("big")
    before, done = await taken(action, site.p, target)
    (copy,) = await site.keys(site.vault)
    head = await site.s3.head_object(Bucket=site.vault, Key=copy)
    assert (head["Metadata"], head["ContentType"], head["ContentLength"]) == (
        {"case": "7"}, "text/x-odd", len(body),
    )  # fmt: skip
    await undone(action, site.p, target, before, done)
    assert await site.body("big") == body
    assert (await site.s3.list_multipart_uploads(Bucket=site.vault)).get("Uploads", []) == []


async def test_quarantine_twice_keeps_both(site: Site) -> None:
    """A second object of the same name does not overwrite the first one's copy."""
    for body in (b"one", b"two!"):
        await site.put("k", body)
        await taken(BY_NAME["quarantine"], site.p, site.target("k"))
    assert len(await site.keys(site.vault)) == 2


async def test_quarantine_does_not_touch_a_newer_object(site: Site) -> None:
    """What was written after the plan is neither copied nor deleted."""
    await site.put("k", b"one")
    action = BY_NAME["quarantine"]
    copy, delete = action.plan(await looked(action, site.p, site.target("k")), None)
    await site.put("k", b"two!")
    for step in (copy, delete):
        with pytest.raises(Changed):
            await action.do(site.p, site.target("k"), step)
    assert await site.body("k") == b"two!"


async def test_undo_does_not_overwrite_another_object(site: Site) -> None:
    """If the name is taken by then, undoing is refused."""
    await site.put("k", b"one")
    action = BY_NAME["quarantine"]
    before, done = await taken(action, site.p, site.target("k"))
    await site.put("k", b"another")
    with pytest.raises(Refused, match="another object"):
        action.undo(before, await looked(action, site.p, site.target("k")), done)


async def test_archived_objects_are_not_quarantined(site: Site) -> None:
    """What S3 can't copy is refused, before anything is deleted."""
    await site.put("cold", StorageClass="GLACIER")
    action, target = BY_NAME["quarantine"], site.target("cold")
    with pytest.raises(Refused, match="archived"):
        action.plan(await looked(action, site.p, target), None)


async def test_restore_from_quarantine(site: Site) -> None:
    """Without the saved state it comes back with its own tags; undo quarantines it again."""
    await site.put("k", Tagging="team=red")
    await taken(BY_NAME["quarantine"], site.p, site.target("k"))
    before, done = await taken(BY_NAME["restore"], site.p, site.target("k"))
    assert await site.body("k") == b"secret"
    assert await site.keys(site.vault) == []
    tags = (await site.s3.get_object_tagging(Bucket=site.bucket, Key="k"))["TagSet"]
    assert tags == [{"Key": "team", "Value": "red"}]
    await undone(BY_NAME["restore"], site.p, site.target("k"), before, done)
    assert await site.keys(site.bucket) == []
    assert len(await site.keys(site.vault)) == 1


async def test_trash_and_restore(site: Site) -> None:
    """A delete marker hides the object; taking it away brings the same version back, either way."""
    await site.version()
    await site.put("k")
    version = (await site.s3.head_object(Bucket=site.bucket, Key="k"))["VersionId"]
    before, done = await taken(BY_NAME["trash"], site.p, site.target("k"))
    assert await site.keys(site.bucket) == []
    markers = (await site.s3.list_object_versions(Bucket=site.bucket))["DeleteMarkers"]
    assert [one["VersionId"] for one in markers] == [done["delete"]["marker"]]
    await undone(BY_NAME["trash"], site.p, site.target("k"), before, done)
    assert (await site.s3.head_object(Bucket=site.bucket, Key="k"))["VersionId"] == version
    await taken(BY_NAME["trash"], site.p, site.target("k"))
    before, done = await taken(BY_NAME["restore"], site.p, site.target("k"))
    assert (await site.s3.head_object(Bucket=site.bucket, Key="k"))["VersionId"] == version
    await undone(BY_NAME["restore"], site.p, site.target("k"), before, done)
    assert await site.keys(site.bucket) == []


async def test_trash_without_versions_is_refused(site: Site) -> None:
    """Where it would be for good it is not called trash."""
    await site.put("k")
    with pytest.raises(Refused, match="for good"):
        BY_NAME["trash"].plan(await looked(BY_NAME["trash"], site.p, site.target("k")), None)
    assert await site.keys(site.bucket) == ["k"]


async def test_delete_takes_every_version(site: Site) -> None:
    """All versions and markers of this very key are gone, those of keys that begin alike stay."""
    await site.version()
    for body in (b"1", b"2", b"3"):
        await site.put("k", body)
    await site.put("k2")
    await site.s3.delete_object(Bucket=site.bucket, Key="k")
    before, _ = await taken(BY_NAME["delete"], site.p, site.target("k"))
    assert before == {"versions": 4}
    left = await site.s3.list_object_versions(Bucket=site.bucket)
    assert [one["Key"] for one in left["Versions"]] == ["k2"]
    assert "DeleteMarkers" not in left


async def test_delete_under_object_lock_is_refused(site: Site) -> None:
    """What Object Lock holds stays, and the refusal says why."""
    name = f"locked-{site.p.instance.id}"
    await site.s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = datetime.now(UTC) + timedelta(days=1)
    await site.s3.put_object(
        Bucket=name, Key="k", Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until
    )
    target = Ref("file", f"arn:aws:s3:::{name}/k")
    (step,) = BY_NAME["delete"].plan(await looked(BY_NAME["delete"], site.p, target), None)
    with pytest.raises(Refused, match="Object Lock"):
        await BY_NAME["delete"].do(site.p, target, step)
    assert await site.keys(name) == ["k"]


@pytest.mark.parametrize("name", ["quarantine", "restore", "trash", "remove-public-acl"])
async def test_objects_that_do_not_exist(site: Site, name: str) -> None:
    """A target that never was is missing; so is one in an unknown bucket."""
    for target in (site.target("never"), Ref("file", "arn:aws:s3:::no-such-bucket-at-all/k")):
        with pytest.raises(Missing):
            await BY_NAME[name].look(site.p, target, None)


async def test_quarantine_needs_its_bucket(connect: Any) -> None:
    """Without a quarantine bucket the refusal says which setting is missing."""
    with pytest.raises(Refused, match="quarantine_bucket"):
        await BY_NAME["quarantine"].look(await connect(), Ref("file", "arn:aws:s3:::b/k"), None)


@pytest.mark.parametrize("whole_bucket", [False, True])
async def test_remove_public_acl(site: Site, whole_bucket: bool) -> None:
    """Public grants go, the others stay; undo grants again what was granted."""
    await site.open_up()
    await site.put("k", ACL="public-read-write")
    await site.s3.put_bucket_acl(Bucket=site.bucket, ACL="public-read")
    action, target = BY_NAME["remove-public-acl"], site.space if whole_bucket else site.target("k")

    async def grants() -> list[Json]:
        where = {} if whole_bucket else {"Key": "k"}
        read = site.s3.get_bucket_acl if whole_bucket else site.s3.get_object_acl
        found: list[Json] = (await read(Bucket=site.bucket, **where))["Grants"]
        return found

    stored = await grants()
    before, done = await taken(action, site.p, target)
    assert [one["Permission"] for one in await grants()] == ["FULL_CONTROL"]
    await undone(action, site.p, target, before, done)
    assert await grants() == stored


async def test_no_acl_where_ownership_is_enforced(site: Site) -> None:
    """With ACLs off there is nothing to remove, and a stale plan does no harm."""
    await site.put("k")
    action = BY_NAME["remove-public-acl"]
    state = await looked(action, site.p, site.target("k"))
    assert action.plan(state, None) == []
    await action.do(site.p, site.target("k"), Step("set-acl", "x", {"grants": state["grants"]}))


@pytest.mark.parametrize("others", [0, 1])
async def test_remove_public_policy(site: Site, others: int) -> None:
    """Only the public statements go; a policy without any left goes itself; undo writes it back."""
    await site.open_up()
    own = {
        "Sid": "own", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{site.p.instance.id}:root"},
        "Action": "s3:*", "Resource": f"arn:aws:s3:::{site.bucket}/*",
    }  # fmt: skip
    public = {**PUBLIC, "Resource": f"arn:aws:s3:::{site.bucket}/*"}
    policy = {"Version": "2012-10-17", "Statement": [public] + [own] * others}
    await site.s3.put_bucket_policy(Bucket=site.bucket, Policy=orjson.dumps(policy).decode())
    action = BY_NAME["remove-public-policy"]
    before, done = await taken(action, site.p, site.space)
    if others:
        left = orjson.loads((await site.s3.get_bucket_policy(Bucket=site.bucket))["Policy"])
        assert left["Statement"] == [own]
    else:
        with pytest.raises(site.s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
            await site.s3.get_bucket_policy(Bucket=site.bucket)
    await undone(action, site.p, site.space, before, done)
    assert orjson.loads((await site.s3.get_bucket_policy(Bucket=site.bucket))["Policy"]) == policy


@pytest.mark.parametrize("stored", [None, {**dict.fromkeys(FLAGS, False), "BlockPublicAcls": True}])
async def test_make_private(site: Site, stored: Json) -> None:
    """All four walls go up; undo leaves the ones that stood before, or none."""
    await site.s3.delete_public_access_block(Bucket=site.bucket)
    if stored:
        await site.s3.put_public_access_block(Bucket=site.bucket, PublicAccessBlockConfiguration=stored)
    before, done = await taken(BY_NAME["make-private"], site.p, site.space)
    reply = await site.s3.get_public_access_block(Bucket=site.bucket)
    assert reply["PublicAccessBlockConfiguration"] == dict.fromkeys(FLAGS, True)
    await undone(BY_NAME["make-private"], site.p, site.space, before, done)
    if stored:
        reply = await site.s3.get_public_access_block(Bucket=site.bucket)
        assert reply["PublicAccessBlockConfiguration"] == stored
    else:
        with pytest.raises(site.s3.exceptions.ClientError, match="NoSuchPublicAccessBlock"):
            await site.s3.get_public_access_block(Bucket=site.bucket)


@pytest.mark.parametrize("name", ["remove-public-policy", "make-private"])
async def test_a_bucket_is_not_meant_by_its_object(site: Site, name: str) -> None:
    """What acts on a whole bucket wants the bucket named."""
    with pytest.raises(Refused, match="whole bucket"):
        await BY_NAME[name].look(site.p, site.target("k"), None)


async def test_suspend_user(site: Site) -> None:
    """Everything is denied and every key off; undo switches on only the keys that were on."""
    target = await site.user()
    keys = [(await site.iam.create_access_key(UserName="mallory"))["AccessKey"]["AccessKeyId"] for _ in "12"]
    await site.iam.update_access_key(UserName="mallory", AccessKeyId=keys[1], Status="Inactive")

    async def states() -> dict[str, str]:
        found = (await site.iam.list_access_keys(UserName="mallory"))["AccessKeyMetadata"]
        return {one["AccessKeyId"]: one["Status"] for one in found}

    before, done = await taken(BY_NAME["suspend-user"], site.p, target)
    assert await states() == dict.fromkeys(keys, "Inactive")
    policy = await site.iam.get_user_policy(UserName="mallory", PolicyName="SluiceSuspended")
    assert policy["PolicyDocument"]["Statement"] == [{"Effect": "Deny", "Action": "*", "Resource": "*"}]
    await undone(BY_NAME["suspend-user"], site.p, target, before, done)
    assert await states() == {keys[0]: "Active", keys[1]: "Inactive"}
    assert (await site.iam.list_user_policies(UserName="mallory"))["PolicyNames"] == []


async def test_revoke_sessions(site: Site) -> None:
    """Temporary credentials issued until now are denied; undo puts back what was there before."""
    target = await site.user()
    before, done = await taken(BY_NAME["revoke-sessions"], site.p, target)
    found = await site.iam.get_user_policy(UserName="mallory", PolicyName="AWSRevokeOlderSessions")
    cutoff = found["PolicyDocument"]["Statement"][0]["Condition"]["DateLessThan"]["aws:TokenIssueTime"]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(cutoff)) < timedelta(minutes=1)
    await undone(BY_NAME["revoke-sessions"], site.p, target, before, done)
    assert (await site.iam.list_user_policies(UserName="mallory"))["PolicyNames"] == []


async def test_force_password_reset(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The password must be changed; what it is stands nowhere."""
    target = await site.user()
    await site.iam.create_login_profile(UserName="mallory", Password="Old-Secret-1!")
    before, done = await taken(BY_NAME["force-password-reset"], site.p, target)
    login = (await site.iam.get_login_profile(UserName="mallory"))["LoginProfile"]
    assert login["PasswordResetRequired"] is True
    assert done == {"reset": None}
    assert "assword=" not in caplog.text
    assert before == {"user": "mallory", "login": True, "reset": False}


async def test_no_password_to_reset(site: Site) -> None:
    """A user without console access is refused with what to do instead."""
    action = BY_NAME["force-password-reset"]
    with pytest.raises(Refused, match="no console password"):
        action.plan(await looked(action, site.p, await site.user()), None)


async def test_who_is_meant(site: Site) -> None:
    """A user is found by id alone; a reused name, another kind and ourselves are not acted on."""
    target = await site.user()
    look = BY_NAME["suspend-user"].look
    assert (await look(site.p, target._replace(data=None), None))["user"] == "mallory"
    await site.iam.delete_user(UserName="mallory")
    for gone in (target, target._replace(data=None)):
        with pytest.raises(Missing):
            await look(site.p, gone, None)
    namesake = await site.user()
    with pytest.raises(Missing, match="another user"):
        await look(site.p, target, None)
    for odd in (namesake._replace(kind="role"), Ref("user", "mallory"), Ref("user", "")):
        with pytest.raises(Refused, match="AIDA"):
            await look(site.p, odd, None)
    site.p.instance = Instance(site.p.instance.id, ourselves=frozenset({namesake.id}))
    with pytest.raises(Refused, match="itself"):
        await look(site.p, namesake, None)

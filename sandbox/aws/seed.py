"""Fills the tenant: an organization of two accounts, with people, buckets, documents, a trail and a queue.

Example:
    truth = await seed(tenant)
    truth.management.role_arn, truth.management.external_id, truth.collector  # sign in by role
    truth.member.key_pair  # or by key pair
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeAlias

from sandbox.aws import hostile as bad
from sandbox.aws.records import Records
from sandbox.aws.tenant import HOME, AwsTenant
from sandbox.aws.trail import Trail
from sandbox.aws.truth import Account, Buckets, Keys, Organization, User
from sandbox.documents import Document, document, holding
from sandbox.planted import EXAMPLE_IBANS, TEST_CARDS, Kind, Planted

Json: TypeAlias = Any
MANAGEMENT = "111122223333"
COLLECTOR = "999988887777"
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
READ = "arn:aws:iam::aws:policy/ReadOnlyAccess"
_SENSITIVE: tuple[tuple[str, str, tuple[Kind, ...]], ...] = (
    ("finance/customers", "csv", ("card", "ssn")),
    ("finance/transfers", "xlsx", ("iban",)),
    ("hr/offer letter", "docx", ("ssn", "iban")),
    ("engineering/deploy", "txt", ("aws_key", "aws_secret", "github_token")),
    ("engineering/keys", "zip", ("private_key",)),
    ("sales/refunds", "pdf", ("card",)),
    ("board/2026 outlook", "pptx", ("iban", "card")),
)
_CLEAN = (
    ("handbook", "docx"),
    ("stock", "csv"),
    ("plan", "xlsx"),
    ("menu", "txt"),
    ("flyer", "pdf"),
    ("tour", "pptx"),
)


@dataclass(slots=True)
class Clients:
    """The clients that seeding and driving an account needs."""

    iam: Json
    s3: Json
    sqs: Json
    cloudtrail: Json


@asynccontextmanager
async def clients(tenant: AwsTenant, keys: Keys, region: str = HOME) -> AsyncIterator[Clients]:
    """Open them for an account's root key."""
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(tenant.client(n, keys, region))
            for n in ("iam", "s3", "sqs", "cloudtrail")
        ]
        yield Clients(*made)


async def seed(
    tenant: AwsTenant, *, hostile: bool = False, history: int = 20, number: int = 1
) -> Organization:
    """Make the organization; `history` past events to an account, `number` seeds what is random."""
    collector = await _collector(tenant)
    root = await tenant.root(MANAGEMENT)
    async with tenant.client("organizations", root) as client:
        made = await client.create_organization(FeatureSet="ALL")
        member = await client.create_account(Email="member@example.com", AccountName="Example Member")
    other = member["CreateAccountStatus"]["AccountId"]
    management, second = await asyncio.gather(
        seed_account(tenant, MANAGEMENT, Random(number), hostile=hostile, history=history),
        seed_account(tenant, other, Random(number + 1), history=history),
    )
    return Organization(made["Organization"]["Id"], management, second, collector)


async def seed_account(
    tenant: AwsTenant, account: str, chance: Random, *, hostile: bool = False, history: int = 20
) -> Account:
    """Fill one account; the tenant needs no organization for that."""
    root = await tenant.root(account)
    async with clients(tenant, root) as use:
        truth = await _frame(use, account, root, chance)
        await _people(use, truth)
        await _documents(use, truth, chance)
        await _trail(tenant, use, truth, chance, history)
        if hostile:
            await bad.spoil(use, truth)
    return truth


async def _collector(tenant: AwsTenant) -> Keys:
    """The principal from outside that the roles trust."""
    async with tenant.client("iam", await tenant.root(COLLECTOR)) as iam:
        await iam.create_user(UserName="collector")
        made = (await iam.create_access_key(UserName="collector"))["AccessKey"]
    return {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}


async def _frame(use: Clients, account: str, root: Keys, chance: Random) -> Account:
    """Buckets, queue, and the two ways to connect."""
    buckets = Buckets(
        *(f"example-{n}-{account}" for n in ("documents", "shared", "website", "quarantine", "trail"))
    )
    for name in (
        buckets.documents,
        buckets.public_acl,
        buckets.public_policy,
        buckets.quarantine,
        buckets.trail,
    ):
        await use.s3.create_bucket(Bucket=name)
    await use.s3.put_bucket_versioning(
        Bucket=buckets.documents, VersioningConfiguration={"Status": "Enabled"}
    )
    await _open(use, buckets)
    queue_url, queue_arn, dead = await _queue(use, account, buckets)
    external = f"{chance.getrandbits(128):032x}"
    role = await _role(use, "ActivityCollector", external)
    own = (await use.iam.create_user(UserName="collector"))["User"]
    await use.iam.attach_user_policy(UserName="collector", PolicyArn=READ)
    made = (await use.iam.create_access_key(UserName="collector"))["AccessKey"]
    pair = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    truth = Account(account, HOME, root, role, external, pair, buckets, queue_url, queue_arn, dead)
    truth.roles["ActivityCollector"] = role
    keys = {made["AccessKeyId"]: "Active"}
    truth.users["collector"] = User(
        "collector", own["UserId"], own["Arn"], policies=("ReadOnlyAccess",), keys=keys
    )
    return truth


async def _open(use: Clients, buckets: Buckets) -> None:
    """One bucket that allows ACLs, one that everybody may read by its policy."""
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    await use.s3.put_bucket_ownership_controls(Bucket=buckets.public_acl, OwnershipControls=rules)
    for name in (buckets.public_acl, buckets.public_policy):
        await use.s3.delete_public_access_block(Bucket=name)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "PublicRead",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{buckets.public_policy}/*",
            }
        ],
    }
    await use.s3.put_bucket_policy(Bucket=buckets.public_policy, Policy=json.dumps(policy))


async def _queue(use: Clients, account: str, buckets: Buckets) -> tuple[str, str, str]:
    """One queue for trail files and object events, with a dead-letter queue; the trail's bucket tells it."""
    dead = (await use.sqs.create_queue(QueueName="security-events-dead"))["QueueUrl"]
    url = (await use.sqs.create_queue(QueueName="security-events"))["QueueUrl"]
    arn = f"arn:aws:sqs:{HOME}:{account}:security-events"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"StringEquals": {"aws:SourceAccount": account}},
            }
        ],
    }
    redrive = {"deadLetterTargetArn": f"{arn}-dead", "maxReceiveCount": "5"}
    attributes = {
        "Policy": json.dumps(policy),
        "RedrivePolicy": json.dumps(redrive),
        "VisibilityTimeout": "30",
    }
    await use.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    rule = {
        "Id": "trail",
        "QueueArn": arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "AWSLogs/"}]}},
    }
    await use.s3.put_bucket_notification_configuration(
        Bucket=buckets.trail, NotificationConfiguration={"QueueConfigurations": [rule]}
    )
    told = await use.sqs.receive_message(QueueUrl=url)
    for message in told.get("Messages", []):
        await use.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return url, arn, dead


async def _role(use: Clients, name: str, external: str | None) -> str:
    statement: Json = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{COLLECTOR}:root"},
        "Action": "sts:AssumeRole",
    }
    if external is not None:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = await use.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy, MaxSessionDuration=7200)
    await use.iam.attach_role_policy(RoleName=name, PolicyArn=ADMIN)
    return str(made["Role"]["Arn"])


async def _people(use: Clients, truth: Account) -> None:
    """Users with and without a password, a second factor, keys; groups; a policy of the account's own."""
    document_ = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
    }
    made = await use.iam.create_policy(PolicyName="FinanceRead", PolicyDocument=json.dumps(document_))
    truth.policies["FinanceRead"] = made["Policy"]["Arn"]
    await _group(use, truth, "admins", ADMIN)
    await _group(use, truth, "finance", truth.policies["FinanceRead"])
    await _user(use, truth, "alice", console=True, mfa=True, groups=("admins",))
    await _user(use, truth, "bob", console=True, groups=("finance",))
    await _user(use, truth, "carol", mfa=True, keys=("Active", "Inactive"))
    await _user(use, truth, "backup-job", keys=("Active",), inline="BackupWrite")
    truth.roles["BreakGlass"] = await _role(use, "BreakGlass", None)


async def _group(use: Clients, truth: Account, name: str, policy: str) -> None:
    await use.iam.create_group(GroupName=name)
    await use.iam.attach_group_policy(GroupName=name, PolicyArn=policy)
    truth.groups[name] = ()


async def _user(
    use: Clients,
    truth: Account,
    name: str,
    *,
    console: bool = False,
    mfa: bool = False,
    groups: tuple[str, ...] = (),
    keys: tuple[str, ...] = (),
    inline: str = "",
) -> None:
    made = (await use.iam.create_user(UserName=name))["User"]
    user = User(name, made["UserId"], made["Arn"], console, mfa, groups, (inline,) if inline else ())
    if console:
        await use.iam.create_login_profile(UserName=name, Password="Correct-Horse-7-Battery")
    if mfa:
        device = (await use.iam.create_virtual_mfa_device(VirtualMFADeviceName=name))["VirtualMFADevice"]
        codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "654321"}
        await use.iam.enable_mfa_device(UserName=name, SerialNumber=device["SerialNumber"], **codes)
    for group in groups:
        await use.iam.add_user_to_group(GroupName=group, UserName=name)
        truth.groups[group] += (name,)
    for status in keys:
        key = (await use.iam.create_access_key(UserName=name))["AccessKey"]["AccessKeyId"]
        if status == "Inactive":
            await use.iam.update_access_key(UserName=name, AccessKeyId=key, Status=status)
        user.keys[key] = status
    if inline:
        statement = {
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{truth.buckets.documents}/*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        await use.iam.put_user_policy(UserName=name, PolicyName=inline, PolicyDocument=policy)
    truth.users[name] = user


async def _documents(use: Clients, truth: Account, chance: Random) -> None:
    """Sensitive and clean ones; one shared by its ACL, one by the bucket's policy."""
    home = truth.buckets.documents
    known = (Planted("card", TEST_CARDS[0]), Planted("iban", EXAMPLE_IBANS[0]))
    made = [(home, document(stem, form, chance, kinds, each=2)) for stem, form, kinds in _SENSITIVE]
    made += [(home, document(f"clean/{stem}", form, chance)) for stem, form in _CLEAN]
    made += [
        (home, holding("finance/test values", "txt", chance, known)),
        (truth.buckets.public_acl, document("shared/price list", "csv", chance)),
        (truth.buckets.public_acl, document("shared/applicants", "csv", chance, ("ssn",), each=3)),
        (truth.buckets.public_policy, document("index", "txt", chance)),
    ]
    for bucket, item in made:
        await put(use, truth, bucket, item)
    shared = (truth.buckets.public_acl, "shared/applicants.csv")
    await use.s3.put_object_acl(Bucket=shared[0], Key=shared[1], ACL="public-read")
    truth.public_objects += [shared, (truth.buckets.public_policy, "index.txt")]


async def put(use: Clients, truth: Account, bucket: str, item: Document) -> Json:
    """Upload a document and note it; what S3 answered."""
    answer = await use.s3.put_object(Bucket=bucket, Key=item.name, Body=item.content, ContentType=item.media)
    truth.documents[(bucket, item.name)] = item
    return answer


async def _trail(tenant: AwsTenant, use: Clients, truth: Account, chance: Random, count: int) -> None:
    """A trail that logs, past events in the event history and in one file, and a digest file."""
    await use.cloudtrail.create_trail(
        Name="security", S3BucketName=truth.buckets.trail, IsMultiRegionTrail=True
    )
    await use.cloudtrail.start_logging(Name="security")
    records = past(truth, chance, count)
    if not records:
        return
    truth.events |= {r["eventID"]: r for r in records}
    await tenant.add_history(records)
    trail = Trail(
        use.s3,
        use.sqs,
        bucket=truth.buckets.trail,
        queue_url=truth.queue_url,
        account=truth.id,
        chance=chance,
    )
    truth.trail_keys.append(await trail.write(records))
    truth.digest_keys.append(await trail.digest(truth.trail_keys))


def past(truth: Account, chance: Random, count: int) -> list[Json]:
    """Management events of the last hours, oldest first, some of them in the same second."""
    made = Records(truth.id, chance, ids={user.name: user.id for user in truth.users.values()})
    names = [name for name in truth.users if name != "collector"]
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=60 * (count + 1))
    records = []
    for i in range(count):
        at, who = start + timedelta(seconds=60 * (i - i % 2)), chance.choice(names)
        choices = (
            lambda who=who, at=at: made.console_login(
                who, ok=chance.random() > 0.3, mfa=truth.users[who].mfa, at=at
            ),
            lambda who=who, at=at: made.assume_role(who, "BreakGlass", at=at),
            lambda who=who, at=at: made.switch_role(who, "BreakGlass", at=at),
            lambda who=who, at=at: made.check_mfa(who, at=at),
            lambda who=who, at=at, i=i: made.create_user("alice", f"{who}-{i}", at=at),
            lambda who=who, at=at: made.attach_user_policy("alice", who, READ, at=at),
            lambda who=who, at=at: made.add_user_to_group("alice", who, "finance", at=at),
            lambda at=at: made.put_bucket_policy(
                "alice", truth.buckets.public_policy, {"Version": "2012-10-17"}, at=at
            ),
        )
        records.append(choices[i % len(choices)]())
    return records

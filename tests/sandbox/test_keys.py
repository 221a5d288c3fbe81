"""Who may sign in, and who may do what."""

import json

import aiohttp
import boto3
import pytest
from botocore.exceptions import ClientError

from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization


def code(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    """The error's code and HTTP status."""
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


async def session(tenant: AwsTenant, truth: Organization) -> dict[str, str]:
    """Temporary credentials for the member account's role, as a client's arguments."""
    member = truth.member
    async with tenant.client("sts", truth.collector) as sts:
        made = await sts.assume_role(
            RoleArn=member.role_arn, RoleSessionName="collect", ExternalId=member.external_id
        )
    given = made["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


async def test_a_role_is_assumed_with_its_external_id(tenant: AwsTenant, truth: Organization) -> None:
    """The session acts in the role's account."""
    async with tenant.client("sts", await session(tenant, truth)) as sts:
        me = await sts.get_caller_identity()
    assert me["Account"] == truth.member.id
    assert me["Arn"].endswith("assumed-role/ActivityCollector/collect")


@pytest.mark.parametrize("given", [{}, {"ExternalId": "wrong"}, {"ExternalId": "0" * 32}])
async def test_no_role_without_the_exact_external_id(
    tenant: AwsTenant, truth: Organization, given: dict[str, str]
) -> None:
    """Missing and wrong alike are denied."""
    async with tenant.client("sts", truth.collector) as sts:
        with pytest.raises(ClientError) as error:
            await sts.assume_role(RoleArn=truth.management.role_arn, RoleSessionName="collect", **given)
    assert code(error) == ("AccessDenied", 403)


async def test_no_role_for_a_stranger(tenant: AwsTenant, truth: Organization) -> None:
    """A key of the account itself is not the principal that the role trusts."""
    own = truth.management
    async with tenant.client("sts", own.key_pair) as sts:
        with pytest.raises(ClientError) as error:
            await sts.assume_role(RoleArn=own.role_arn, RoleSessionName="collect", ExternalId=own.external_id)
    assert code(error) == ("AccessDenied", 403)


async def test_a_session_lasts_no_longer_than_the_role_allows(tenant: AwsTenant, truth: Organization) -> None:
    """MaxSessionDuration of the seeded role is two hours."""
    own = truth.management
    async with tenant.client("sts", truth.collector) as sts:
        with pytest.raises(ClientError) as error:
            await sts.assume_role(
                RoleArn=own.role_arn,
                RoleSessionName="collect",
                ExternalId=own.external_id,
                DurationSeconds=7201,
            )
    assert code(error) == ("ValidationError", 400)


@pytest.mark.parametrize(
    ("service", "call", "expected"),
    [
        ("iam", "list_users", ("InvalidClientTokenId", 403)),
        ("sts", "get_caller_identity", ("InvalidClientTokenId", 403)),
        ("s3", "list_buckets", ("InvalidAccessKeyId", 403)),
        ("cloudtrail", "lookup_events", ("UnrecognizedClientException", 400)),
    ],
)
async def test_an_unknown_key(tenant: AwsTenant, service: str, call: str, expected: tuple[str, int]) -> None:
    """Each service refuses it in its own words."""
    keys = {"aws_access_key_id": "AKIA" + "Q" * 16, "aws_secret_access_key": "x" * 40}
    async with tenant.client(service, keys) as client:
        with pytest.raises(ClientError) as error:
            await getattr(client, call)()
    assert code(error) == expected


async def test_a_wrong_secret(tenant: AwsTenant, truth: Organization) -> None:
    """The signature is checked, not just the key's name."""
    keys = truth.member.key_pair | {"aws_secret_access_key": "x" * 40}
    async with tenant.client("iam", keys) as iam:
        with pytest.raises(ClientError) as error:
            await iam.list_users()
    assert code(error) == ("SignatureDoesNotMatch", 403)


async def test_an_expired_session(tenant: AwsTenant, truth: Organization) -> None:
    """It is refused from the moment it expires, and a new one works."""
    keys = await session(tenant, truth)
    assert await tenant.expire_sessions() >= 1
    async with tenant.client("iam", keys) as iam:
        with pytest.raises(ClientError) as error:
            await iam.list_users()
    assert code(error) == ("ExpiredToken", 403)
    async with tenant.client("iam", await session(tenant, truth)) as iam:
        assert (await iam.list_users())["Users"]


async def test_a_role_that_does_not_exist(tenant: AwsTenant, truth: Organization) -> None:
    """It is denied as any other; the one Organizations makes in a member trusts the management account."""
    arn = f"arn:aws:iam::{truth.member.id}:role/"
    async with tenant.client("sts", truth.management.root) as sts:
        made = await sts.assume_role(RoleArn=f"{arn}OrganizationAccountAccessRole", RoleSessionName="admin")
        assert made["AssumedRoleUser"]["Arn"].endswith("OrganizationAccountAccessRole/admin")
        assert (await sts.get_caller_identity())["Arn"] == f"arn:aws:iam::{truth.management.id}:root"
        with pytest.raises(ClientError) as error:
            await sts.assume_role(RoleArn=f"{arn}Nobody", RoleSessionName="admin")
    assert code(error) == ("AccessDenied", 403)


async def test_an_inactive_key_is_no_key(tenant: AwsTenant, truth: Organization) -> None:
    """Governance that deactivates a key takes effect at once."""
    async with tenant.client("iam", truth.member.root) as iam:
        made = (await iam.create_access_key(UserName="bob"))["AccessKey"]
        keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
        async with tenant.client("sts", keys) as sts:
            assert (await sts.get_caller_identity())["Arn"].endswith("user/bob")
            await iam.update_access_key(UserName="bob", AccessKeyId=made["AccessKeyId"], Status="Inactive")
            with pytest.raises(ClientError) as error:
                await sts.get_caller_identity()
        await iam.delete_access_key(UserName="bob", AccessKeyId=made["AccessKeyId"])
    assert code(error) == ("InvalidClientTokenId", 403)


@pytest.mark.parametrize(
    ("action", "service", "call", "arguments", "expected"),
    [
        ("iam:ListUsers", "iam", "list_users", {}, ("AccessDenied", 403)),
        ("s3:ListAllMyBuckets", "s3", "list_buckets", {}, ("AccessDenied", 403)),
        ("s3:GetObject", "s3", "head_object", {"Bucket": "any", "Key": "any"}, ("403", 403)),
        ("cloudtrail:DescribeTrails", "cloudtrail", "describe_trails", {}, ("AccessDeniedException", 400)),
    ],
)
async def test_a_permission_taken_away(
    tenant: AwsTenant,
    truth: Organization,
    action: str,
    service: str,
    call: str,
    arguments: dict[str, str],
    expected: tuple[str, int],
) -> None:
    """The call that needs it is denied in the service's words until it is given back."""
    await tenant.deny(action)
    async with tenant.client(service, truth.member.key_pair) as client:
        with pytest.raises(ClientError) as error:
            await getattr(client, call)(**arguments)
        await tenant.allow(action)
        if not arguments:
            await getattr(client, call)()
    assert code(error) == expected


async def test_an_unsigned_call_is_refused(tenant: AwsTenant) -> None:
    """Neither LookupEvents nor the parent's own door opens without its credentials."""
    target = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents"
    async with aiohttp.ClientSession(tenant.endpoint) as http:
        async with http.post("/", json={}, headers={"X-Amz-Target": target}) as reply:
            assert reply.status in (400, 403)
        async with http.post("/_sandbox/log", json={}) as reply:
            assert reply.status == 403


async def test_boto3_works_unchanged(tenant: AwsTenant, truth: Organization) -> None:
    """The plain client, its own retries and addressing, against the one endpoint."""
    made = {"endpoint_url": tenant.endpoint, "region_name": "us-east-1", **truth.management.key_pair}
    organizations, iam = boto3.client("organizations", **made), boto3.client("iam", **made)
    accounts = [
        a["Id"] for page in organizations.get_paginator("list_accounts").paginate() for a in page["Accounts"]
    ]
    assert set(accounts) == {truth.management.id, truth.member.id}
    assert {u["UserName"] for u in iam.list_users()["Users"]} >= {"alice", "bob", "carol", "backup-job"}
    organizations.close()
    iam.close()


async def test_our_own_changes_are_in_the_history(tenant: AwsTenant, truth: Organization) -> None:
    """A change by a role's session is recorded with the session as its author; reads are not."""
    keys = await session(tenant, truth)
    async with tenant.client("iam", keys) as iam, tenant.client("cloudtrail", keys) as cloudtrail:
        await iam.list_users()
        statement = {"Effect": "Deny", "Action": "*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        await iam.put_user_policy(UserName="carol", PolicyName="Deny", PolicyDocument=policy)
        await iam.delete_user_policy(UserName="carol", PolicyName="Deny")
        asked = [{"AttributeKey": "AccessKeyId", "AttributeValue": keys["aws_access_key_id"]}]
        events = (await cloudtrail.lookup_events(LookupAttributes=asked))["Events"]
    records = [json.loads(event["CloudTrailEvent"]) for event in events]
    assert {r["eventName"] for r in records} == {"PutUserPolicy", "DeleteUserPolicy"}
    assert {r["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"] for r in records} == {
        "ActivityCollector"
    }
    assert {r["requestParameters"]["userName"] for r in records} == {"carol"}

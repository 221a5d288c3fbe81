"""Signing in by key and by role, settings, and what errors mean."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError
from pydantic import ValidationError

from ingest.provider import (
    Changed,
    Json,
    Misconfigured,
    Missing,
    NotAllowed,
    Refused,
    Retry,
    SignInAgain,
    Unscannable,
)
from ingest.providers.aws import Aws
from ingest.providers.aws.errors import Denied, translate
from ingest.providers.aws.session import Settings
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization

Connect = Callable[..., Awaitable[Aws]]
KEY = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG"}


def by_role(truth: Organization, **more: Json) -> dict[str, Json]:
    """Give the settings of a connection by role."""
    return {
        "role_arn": truth.management.role_arn,
        "external_id": truth.management.external_id,
        "access_key_id": truth.collector["aws_access_key_id"],
        "secret_access_key": truth.collector["aws_secret_access_key"],
    } | more


def failure(code: str, status: int = 400, message: str = "", operation: str = "ListUsers") -> ClientError:
    """Make what the SDK raises for an answer."""
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)  # type: ignore[arg-type,unused-ignore]  # the SDK has no types


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (failure("Throttling", 400, "Rate exceeded"), Retry, "patience"),
        (failure("ThrottlingException"), Retry, "patience"),
        (failure("TooManyRequestsException"), Retry, "patience"),
        (failure("RequestLimitExceeded", 503), Retry, "patience"),
        (failure("SlowDown", 503), Retry, "patience"),
        (failure("Anything", 429), Retry, "patience"),
        (failure("Anything", 509), Retry, "patience"),
        (failure("InternalFailure", 500), Retry, "fault"),
        (failure("ReportInProgress", 404), Retry, "fault"),
        (failure("ReportExpired", 410), Retry, "fault"),
        (failure("ExpiredToken", 403), SignInAgain, "expired"),
        (failure("ExpiredTokenException", 400), SignInAgain, "expired"),
        (failure("InvalidClientTokenId", 403), Misconfigured, "access key"),
        (failure("SignatureDoesNotMatch", 403), Misconfigured, "secret"),
        (failure("SignatureDoesNotMatch", 403, "Signature expired: 2026"), Misconfigured, "clock"),
        (failure("InvalidSignatureException", 400, "Signature not yet current"), Misconfigured, "clock"),
        (failure("RequestTimeTooSkewed", 403), Misconfigured, "clock"),
        (failure("RegionDisabledException", 403), Misconfigured, "region"),
        (failure("AWS.SimpleQueueService.NonExistentQueue"), Misconfigured, "queue_url"),
        (failure("NoSuchKey", 404), Missing, "exist"),
        (failure("NoSuchBucket", 404), Missing, "exist"),
        (failure("NoSuchEntity", 404), Missing, "exist"),
        (failure("PreconditionFailed", 412), Changed, "version"),
        (failure("InvalidObjectState", 403), Unscannable, "archived"),
        (failure("MalformedPolicy", 400), Refused, "declines"),
        (ResponseParserError(), Retry, "in part"),
        (EndpointConnectionError(endpoint_url="https://iam"), Retry, "reached"),
        (ConnectTimeoutError(endpoint_url="https://iam"), Retry, "reached"),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), Retry, "in part"),
        (aiohttp.ClientPayloadError(), Retry, "in part"),
        (TimeoutError(), Retry, "reached"),
        (NoCredentialsError(), Misconfigured, "access_key_id"),
    ],
)
def test_errors_mean_what_their_code_says(error: Exception, kind: type[Exception], says: str) -> None:
    """Throttling is mostly a 400: the code decides, and the message says what to do."""
    meant = translate(error)
    assert type(meant) is kind
    assert says in str(meant)


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (
            failure(
                "AccessDenied", 403, "User: x is not authorized to perform: iam:ListUsers on resource: arn"
            ),
            "iam:ListUsers",
        ),
        (
            failure(
                "AccessDeniedException",
                400,
                "User: x is not authorized to perform: cloudtrail:LookupEvents "
                "because no identity-based policy allows it",
            ),
            "cloudtrail:LookupEvents",
        ),
        (failure("AccessDenied", 403, "Access Denied", "ListObjectsV2"), "s3:ListBucket"),
        (failure("403", 403, "Forbidden", "HeadObject"), "s3:GetObject"),
    ],
)
def test_a_denial_names_the_action(error: Exception, action: str) -> None:
    """AWS names the missing action, but for S3, whose operations tell it."""
    meant = translate(error)
    assert isinstance(meant, Denied)
    assert meant.action == action
    assert action in str(meant)


def test_a_policy_of_the_organization_is_named() -> None:
    """A grant in IAM would not help against a service control policy."""
    text = "x is not authorized to perform: s3:GetObject with an explicit deny in a service control policy"
    assert "service control policy" in str(translate(failure("AccessDenied", 403, text)))


def test_what_is_not_awss_passes() -> None:
    """Our own errors, and everybody else's, are not touched."""
    assert translate(Retry("ours")) is None
    assert translate(ValueError("a bug")) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "set role_arn"),
        ({"access_key_id": "AKIA"}, "belong together"),
        ({"secret_access_key": "x"}, "belong together"),
        ({"role_arn": "ActivityCollector"}, "role_arn"),
        (KEY | {"organization": True}, "member_role"),
        (KEY | {"queue_url": "https://sqs.us-east-1.amazonaws.com/1/q.fifo"}, "FIFO"),
        (KEY | {"regions": []}, "regions"),
        (KEY | {"regions": ["Frankfurt"]}, "regions"),
        (KEY | {"rol_arn": "x"}, "rol_arn"),
    ],
)
def test_bad_settings_say_what_to_do(given: dict[str, Json], says: str) -> None:
    """A wrong setting is refused with its name and the remedy, and without its value."""
    with pytest.raises(ValidationError, match=says) as refused:
        Settings.model_validate(given)
    assert "wJalrXUtnFEMI" not in str(refused.value)


def test_settings_tell_places() -> None:
    """The first region is home, the queue's address names its region, and patterns pick buckets."""
    made = Settings.model_validate(
        KEY
        | {
            "regions": ["eu-central-1"],
            "queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q",
            "buckets": ["doc-*"],
            "exclude_buckets": ["*-logs"],
            "quarantine_bucket": "doc-quarantine",
        }
    )
    assert (made.home, made.queue_region) == ("eu-central-1", "eu-west-1")
    named = ["doc-a", "doc-logs", "doc-quarantine", "other"]
    assert [name for name in named if made.watches(name)] == ["doc-a"]
    assert "wJalrXUtnFEMI" not in repr(made)


async def test_a_key_signs_in(connect: Connect, truth: Organization) -> None:
    """STS says whom we are; CloudTrail and S3 will call us by these names."""
    pair = truth.management.key_pair
    keys = {"access_key_id": pair["aws_access_key_id"], "secret_access_key": pair["aws_secret_access_key"]}
    me = await (await connect(**keys)).identify()
    assert me.id == "111122223333"
    assert "arn:aws:iam::111122223333:user/collector" in me.ourselves


async def test_a_role_signs_in(connect: Connect, truth: Organization) -> None:
    """The session is named after us, so that its ARN stays the same over renewals."""
    aws = await connect(**by_role(truth))
    me = await aws.identify()
    arn = "arn:aws:sts::111122223333:assumed-role/ActivityCollector/sluice"
    assert arn in me.ourselves
    aws.instance = me
    assert aws.ours({"actor": {"user": {"uid_alt": arn}}})
    assert not aws.ours({"actor": {"user": {"uid_alt": arn + "-not"}}})
    assert not aws.ours({})


async def test_a_wrong_external_id_says_so(connect: Connect, truth: Organization) -> None:
    """The role exists but does not trust us: nothing works until someone corrects it."""
    aws = await connect(**by_role(truth, external_id="guessed-wrongly"))
    with pytest.raises(Misconfigured, match=r"trust policy.*external_id") as refused:
        await aws.identify()
    assert "guessed-wrongly" not in str(refused.value)


async def test_a_wrong_secret_says_so(connect: Connect, truth: Organization) -> None:
    """A key that AWS does not take is named, its secret is not."""
    aws = await connect(secret_access_key="not-the-secret")
    with pytest.raises(Misconfigured, match="secret is right") as refused:
        await aws.identify()
    assert "not-the-secret" not in str(refused.value)


async def test_a_role_is_assumed_once_for_all(
    connect: Connect, tenant: AwsTenant, truth: Organization
) -> None:
    """Many calls at the same time wait for one AssumeRole."""
    aws = await connect(**by_role(truth))
    before = len(await tenant.log())
    await asyncio.gather(*(aws.sessions.call("iam", "list_account_aliases") for _ in range(12)))
    assert (await tenant.calls(before))["sts:AssumeRole"] == 1


async def test_expired_credentials_are_renewed_once(
    connect: Connect, tenant: AwsTenant, truth: Organization
) -> None:
    """AWS may end a session early: the role is assumed again and the call repeated."""
    aws = await connect(**by_role(truth))
    await aws.sessions.call("iam", "list_account_aliases")
    await tenant.expire_sessions()
    before = len(await tenant.log())
    await aws.sessions.call("iam", "list_account_aliases")
    assert (await tenant.calls(before))["sts:AssumeRole"] == 1


async def test_credentials_that_stay_expired_end_the_call(
    connect: Connect, tenant: AwsTenant, truth: Organization
) -> None:
    """A second refusal is final, and says what to look at."""
    aws = await connect(**by_role(truth))
    await tenant.fault("iam", "ListAccountAliases", "expired", 2)
    with pytest.raises(Misconfigured, match="clock"):
        await aws.sessions.call("iam", "list_account_aliases")


async def test_a_member_is_reached_by_its_role(connect: Connect, truth: Organization) -> None:
    """The management account's principal assumes the member's role; one that does not exist is named."""
    aws = await connect(organization=True, member_role="OrganizationAccountAccessRole")
    reply = await aws.sessions.call("iam", "list_users", account=truth.member.id)
    assert {user["UserId"] for user in reply["Users"]} >= {user.id for user in truth.member.users.values()}
    other = await connect(organization=True, member_role="Nobody")
    with pytest.raises(NotAllowed, match=f"{truth.member.id}:role/Nobody"):
        await other.sessions.call("iam", "list_users", account=truth.member.id)


@pytest.mark.parametrize("kind", ["throttle", "error", "unavailable", "html", "truncated", "cut", "reset"])
async def test_a_bad_day_is_never_an_empty_success(
    connect: Connect, tenant: AwsTenant, truth: Organization, kind: Json
) -> None:
    """A web page, half an answer or a reset connection is a reason to wait, in every protocol."""
    aws = await connect()
    for service, operation, called in (
        ("iam", "ListUsers", "list_users"),
        ("cloudtrail", "LookupEvents", "lookup_events"),
        ("s3", "ListBuckets", "list_buckets"),
        ("organizations", "ListAccounts", "list_accounts"),
    ):
        if (service, kind) == ("s3", "reset"):
            continue  # the HTTP library repeats a GET once by itself
        await tenant.fault(service, operation, kind)
        with pytest.raises(Retry):
            await aws.sessions.call(service, called)
    await tenant.clear()


async def test_idle_clients_are_closed(connect: Connect, truth: Organization) -> None:
    """An organization has more accounts and regions than connections are worth keeping."""
    aws = await connect()
    for number in range(40):
        async with aws.sessions.client("sts", region=f"eu-test-{number}"):
            pass
    assert len(aws.sessions._clients) <= 33

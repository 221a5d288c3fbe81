"""Failures on request look like a provider's bad day."""

import asyncio
from collections.abc import Callable

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sandbox.aws.faults import Kind
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization


@pytest.mark.parametrize(
    ("service", "call", "kind", "expected"),
    [
        ("iam", "list_users", "throttle", ("Throttling", 400)),
        ("cloudtrail", "describe_trails", "throttle", ("ThrottlingException", 400)),
        ("organizations", "list_accounts", "throttle", ("TooManyRequestsException", 400)),
        ("s3", "list_buckets", "throttle", ("SlowDown", 503)),
        ("sqs", "list_queues", "error", ("InternalFailure", 500)),
        ("sts", "get_caller_identity", "unavailable", ("ServiceUnavailable", 503)),
        ("iam", "list_users", "denied", ("AccessDenied", 403)),
        ("cloudtrail", "describe_trails", "expired", ("ExpiredTokenException", 400)),
    ],
)
async def test_errors_in_each_dialect(
    tenant: AwsTenant, truth: Organization, service: str, call: str, kind: Kind, expected: tuple[str, int]
) -> None:
    """The fault strikes as often as asked, then the call works again."""
    await tenant.fault(service, "*", kind)
    async with tenant.client(service, truth.management.key_pair) as client:
        with pytest.raises(ClientError) as error:
            await getattr(client, call)()
        await getattr(client, call)()
    answer = error.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == expected


@pytest.mark.parametrize("kind", ["html", "html-ok", "truncated"])
async def test_answers_that_make_no_sense(tenant: AwsTenant, fresh: Callable[[], str], kind: Kind) -> None:
    """An HTML page, with an error status or 200, and half an answer: the SDK has no one error for them."""
    await tenant.fault("iam", "ListUsers", kind)
    async with tenant.client("iam", await tenant.root(fresh())) as iam:
        with pytest.raises((ResponseParserError, ClientError, KeyError)):
            await iam.list_users()


@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_connections_that_break(tenant: AwsTenant, fresh: Callable[[], str], kind: Kind) -> None:
    """A broken answer and a reset end in a connection error."""
    await tenant.fault("iam", "ListUsers", kind)
    async with tenant.client("iam", await tenant.root(fresh())) as iam:
        with pytest.raises((BotoCoreError, OSError)):
            await iam.list_users()
        assert (await iam.list_users())["Users"] == []


async def test_a_call_that_hangs(tenant: AwsTenant, fresh: Callable[[], str]) -> None:
    """No answer comes while the fault holds the call."""
    await tenant.fault("iam", "ListUsers", "timeout", seconds=1.0)
    async with tenant.client("iam", await tenant.root(fresh())) as iam:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(iam.list_users(), 0.2)


async def test_calls_are_counted_and_faults_skipped(tenant: AwsTenant, fresh: Callable[[], str]) -> None:
    """A fault may wait for the second call; the log has both, with status, account and region."""
    account = fresh()
    since = await tenant.mark()
    await tenant.fault("iam", "ListGroups", "throttle", skip=1)
    async with tenant.client("iam", await tenant.root(account)) as iam:
        await iam.list_groups()
        with pytest.raises(ClientError):
            await iam.list_groups()
    assert (await tenant.calls(since))["iam:ListGroups"] == 2
    rows = [r for r in await tenant.log(since) if r["account"] == account]
    assert [r["status"] for r in rows] == [200, 400]
    with pytest.raises(ValueError, match="no fault of kind"):
        await tenant.fault("iam", "*", "gremlins")  # type: ignore[arg-type]

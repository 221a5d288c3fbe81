"""Settings, and signed calls: credentials per account, SDK clients, and the one door to the core's pacing."""

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, cached_property, partial
from typing import Annotated, Self

import orjson
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import Loader, create_loader
from pydantic import Field, SecretStr, model_validator

from ingest.provider import Http, Json, Misconfigured, NotAllowed, Retry, SignInAgain
from ingest.provider import Settings as ProviderSettings

SESSION = "sluice"
"""The name of our role sessions: part of the ARN by which our own actions are recognised."""
BASE = "base"
"""Instead of an account: our own principal, the one that assumes roles."""
LIFE = 3600
"""Seconds that assumed credentials live: the most that role chaining allows."""
IDLE = 32
"""SDK clients kept open without a user; each is half a megabyte."""

_Key = tuple[str, str, str]
Region = Annotated[str, Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-\d+$")]


class Settings(ProviderSettings, frozen=True):
    """How to reach an AWS account or organization.

    Either `role_arn` (recommended; assumed with the access key if one is given, else with what AWS gives
    this machine) or an access key. `endpoints` takes "aws" for all services or a service's name ("s3").

    Attributes:
        role_arn: The role to assume in the account.
        external_id: What the role's trust policy asks for in sts:ExternalId.
        access_key_id: Of an IAM user, in the account or, with `role_arn`, of ours.
        secret_access_key: Its secret.
        session_token: Only for temporary keys, which can't be renewed.
        regions: Where CloudTrail is read; the first is home. Global services log to us-east-1.
        home_region: Where STS, IAM and the queue are asked, if that is not the first region.
        queue_url: The SQS queue with trail files and S3 events.
        organization: Read every member account of the organization too.
        identity_center: Read the people and groups of IAM Identity Center, if the account has it.
        changes_only: Leave reading calls (and AssumeRole) out of the event history, where 2 calls a second of
            50 events are too few for the account.
        member_role: The name of the role to assume in member accounts.
        buckets: Patterns (`*`, `?`) of the buckets whose files are looked at.
        exclude_buckets: Patterns of those that are not.
        quarantine_bucket: Where quarantined files go.
    """

    role_arn: str = Field("", pattern=r"^$|^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$")
    external_id: SecretStr = SecretStr("")
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    session_token: SecretStr = SecretStr("")
    regions: tuple[Region, ...] = Field(("us-east-1",), min_length=1)
    home_region: Region | None = None
    queue_url: str = Field("", pattern=r"^$|^https?://\S+/\S+$")
    organization: bool = False
    identity_center: bool = True
    changes_only: bool = False
    member_role: str = Field("", pattern=r"^[\w+=,.@/-]*$")
    buckets: tuple[str, ...] = ("*",)
    exclude_buckets: tuple[str, ...] = ()
    quarantine_bucket: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.access_key_id) != bool(self.secret_access_key.get_secret_value()):
            raise ValueError("access_key_id and secret_access_key belong together: set both or neither")
        if not self.role_arn and not self.access_key_id:
            raise ValueError("set role_arn (and external_id), or access_key_id and secret_access_key")
        if self.organization and not self.member_role:
            raise ValueError("organization needs member_role: the name of the role in the member accounts")
        if (length := len(self.external_id.get_secret_value())) == 1 or length > 1224:
            raise ValueError("external_id has 2 to 1224 characters: copy it from the role's trust policy")
        if self.queue_url.endswith(".fifo"):
            raise ValueError("queue_url names a FIFO queue, S3 can only send to a standard queue")
        return self

    @cached_property
    def home(self) -> str:
        """The region where accounts, roles and the queue are asked."""
        return self.home_region or self.regions[0]

    @cached_property
    def queue_region(self) -> str:
        """The queue's region: its address says it."""
        part = self.queue_url.partition("://sqs.")[2].partition(".")[0]
        return part if "-" in part else self.home

    def endpoint(self, service: str) -> str | None:
        """Tell the address that overrides a service's own."""
        return self.endpoints.get(service) or self.endpoints.get("aws")

    def watches(self, bucket: str) -> bool:
        """Tell whether a bucket's files are looked at."""
        return (
            bucket != self.quarantine_bucket
            and any(fnmatchcase(bucket, pattern) for pattern in self.buckets)
            and not any(fnmatchcase(bucket, pattern) for pattern in self.exclude_buckets)
        )


class Assumed(AioCredentials):  # type: ignore[misc] # the SDK has no types
    """A role's temporary credentials: renewed at 80 % of their life, by one caller at a time.

    The SDK's own (AioDeferredRefreshableCredentials) log each failure with its traceback, though the caller
    is told, and can't be told to forget. This is also what the SDK asks for credentials instead of looking
    around on this machine.
    """

    def __init__(self, assume: Callable[[], Awaitable[ReadOnlyCredentials]]) -> None:
        super().__init__("", "", method="assume-role")
        self._assume, self._lock = assume, asyncio.Lock()
        self.forget()

    def forget(self) -> None:
        """Assume the role anew before the next call: AWS says the credentials have expired."""
        self._stale = self._ends = -math.inf

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Give credentials that are still good for a while."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now > self._stale:
                try:
                    self._current = await self._assume()
                    self._stale, self._ends = now + LIFE * 0.8, now + LIFE * 0.95
                except Retry:
                    if now > self._ends:
                        raise
        return self._current

    async def load_credentials(self) -> Self:
        """Give the SDK these."""
        return self


@dataclass
class Sessions:
    """Signed calls to any service, region and account; `own` is the account that needs no further role."""

    settings: Settings
    http: Http = field(repr=False)
    own: str = ""
    _sessions: dict[str, AioSession] = field(default_factory=dict, repr=False)
    _assumed: dict[str, Assumed] = field(default_factory=dict, repr=False)
    _clients: OrderedDict[_Key, Json] = field(default_factory=OrderedDict, repr=False)
    _lent: Counter[_Key] = field(default_factory=Counter, repr=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def call(self, service: str, operation: str, **asked: Json) -> Json:
        """Make one paced call (`list_users`) and give its answer; `asked` as for `stream`.

        Raises:
            SourceError: What AWS's error means, see `errors.translate`.
        """
        async with self.stream(service, operation, **asked) as reply:
            return reply

    @asynccontextmanager
    async def stream(
        self, service: str, operation: str, *, account: str = "", region: str | None = None, **params: Json
    ) -> AsyncIterator[Json]:
        """Make one paced call whose body is read inside, where what goes wrong is translated too.

        Credentials that AWS calls expired are renewed, and the call made once more.
        """
        asked = (service, operation, account, region or self.settings.home, params)
        try:
            held, reply = await self._opened(*asked)
        except SignInAgain:
            self._expired(account)
            try:
                held, reply = await self._opened(*asked)
            except SignInAgain:
                raise Misconfigured(
                    "AWS calls credentials expired that it has just given: set this machine's clock (NTP)"
                ) from None
        async with held:
            yield reply

    async def _opened(
        self, service: str, operation: str, account: str, region: str, params: dict[str, Json]
    ) -> tuple[AsyncExitStack, Json]:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(self.client(service, region=region, account=account))
            if (assumed := self._assumed.get(self._of(account))) is not None:
                await assumed.get_frozen_credentials()  # not inside another call's pacing
            axis = f"{account or self.own}/{region}"
            await stack.enter_async_context(self.http.paced(service, axis=axis, operation=operation))
            reply = await getattr(client, operation)(**params)
            return stack.pop_all(), reply

    @asynccontextmanager
    async def client(
        self, service: str, *, region: str | None = None, account: str = ""
    ) -> AsyncIterator[Json]:
        """Lend an SDK client; it stays open while it is lent. Its calls must be paced by the caller."""
        key = (service, region or self.settings.home, self._of(account))
        async with self._lock:
            if key not in self._clients:
                self._clients[key] = await self._made(*key)
            self._clients.move_to_end(key)
            self._lent[key] += 1
        try:
            yield self._clients[key]
        finally:
            self._lent[key] -= 1
            await self._close(most=IDLE)

    async def close(self) -> None:
        """Close every client."""
        self._lent.clear()
        await self._close(most=0)

    async def _close(self, most: int) -> None:
        """Close those that were idle longest."""
        idle = [key for key in self._clients if not self._lent[key]]
        for client in [self._clients.pop(key) for key in idle[: max(len(self._clients) - most, 0)]]:
            await client.close()

    def _of(self, account: str) -> str:
        return "" if account == self.own else account

    def _expired(self, account: str) -> None:
        if (assumed := self._assumed.get(self._of(account))) is not None:
            assumed.forget()
        elif self.settings.session_token.get_secret_value():
            raise Misconfigured("the session_token has expired: connect with a role or a lasting access key")

    async def _made(self, service: str, region: str, account: str) -> Json:
        url = self.settings.endpoint(service)
        config = AioConfig(
            connect_timeout=10,
            read_timeout=60,  # longer than the queue's long poll of 20 s
            max_pool_connections=64,
            retries={"total_max_attempts": 1},  # the core paces and retries
            tcp_keepalive=True,
            inject_host_prefix=url is None,
            s3={"addressing_style": "path"} if url else None,
        )
        session = self._session(account)
        return await session.create_client(
            service, region_name=region, endpoint_url=url, config=config
        ).__aenter__()

    def _session(self, account: str) -> AioSession:
        if account in self._sessions:
            return self._sessions[account]
        s, made = self.settings, AioSession()
        made.register_component("data_loader", _loader())
        made.register("before-parse", _refuse_partial)
        if account != BASE and (account or s.role_arn):
            self._assumed[account] = Assumed(partial(self._assume, account))
            made.register_component("credential_provider", self._assumed[account])
        elif s.access_key_id:
            secret, token = s.secret_access_key.get_secret_value(), s.session_token.get_secret_value()
            made.set_credentials(s.access_key_id, secret, token or None)
        self._sessions[account] = made
        return made

    async def _assume(self, account: str) -> ReadOnlyCredentials:
        s = self.settings
        partition = (s.role_arn or "arn:aws").split(":")[1]
        role = f"arn:{partition}:iam::{account}:role/{s.member_role}" if account else s.role_arn
        asked: dict[str, Json] = {"RoleArn": role, "RoleSessionName": SESSION, "DurationSeconds": LIFE}
        if secret := s.external_id.get_secret_value():
            asked["ExternalId"] = secret
        try:
            reply = await self.call("sts", "assume_role", account="" if account else BASE, **asked)
        except NotAllowed as error:
            if account:
                raise NotAllowed(f"{role} can't be assumed: create it, trusting us") from error
            raise Misconfigured(
                f"{role} can't be assumed: its trust policy must name our principal, and external_id must "
                "equal the sts:ExternalId it asks for"
            ) from error
        keys = reply["Credentials"]
        return ReadOnlyCredentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], None)


async def pages(
    sessions: Sessions, service: str, operation: str, *, mark: str = "NextToken", **asked: Json
) -> AsyncIterator[Json]:
    """Page through a listing by its `mark`; a page with nothing but a mark is legal, and is not the last."""
    while True:
        reply = await sessions.call(service, operation, **asked)
        yield reply
        if not (following := reply.get(mark)):
            return
        asked[mark] = following


@cache
def _loader() -> Loader:
    """One for all connectors: the service models it keeps are the SDK's largest part."""
    return create_loader()


def _refuse_partial(operation_model: Json, response_dict: Json, **_: Json) -> None:
    """Refuse what the SDK would take for an empty success: a web page, JSON that was cut short."""
    if response_dict["status_code"] >= 300 or operation_model.has_streaming_output:
        return
    body = bytes(response_dict["body"] or b"").lstrip()
    if body[:5].lower() in (b"<html", b"<!doc"):
        raise Retry(f"a web page answered {operation_model.name}")
    if body and operation_model.service_model.resolved_protocol == "json":
        try:
            orjson.loads(body)
        except ValueError:
            raise Retry(f"the answer to {operation_model.name} was cut short") from None

"""What the AWS tests share: a simulated tenant, a connector to it, and two judges of events."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeAlias

import jsonschema_rs
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from ingest.provider import At, Axis, Instance, Json, Page, Provider
from ingest.providers.aws import Aws
from ingest.providers.aws.session import Settings
from sandbox.aws.seed import seed
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Organization
from schemas.events import Event, Origin, stamp
from schemas.validation import encode, validate

ACCOUNT = "111122223333"
Judge: TypeAlias = Callable[[Event], Event]
Connect: TypeAlias = Callable[..., Awaitable[Aws]]
Lookback: TypeAlias = Callable[..., At]


class PacedHttp:
    """The core's pacing without its budgets: it counts calls and lets the provider translate errors."""

    def __init__(self) -> None:
        self.provider: Provider[Any] | None = None
        self.calls: list[tuple[str, str, str]] = []

    @asynccontextmanager
    async def paced(self, api: str, *, axis: str = "", operation: str = "", **_: Json) -> AsyncIterator[str]:
        """Count one call."""
        self.calls.append((api, axis, operation))
        try:
            yield ""
        except Exception as error:
            translated = self.provider.raised(error) if self.provider else None
            if translated is None:
                raise
            raise translated from error


@pytest.fixture(scope="session")
async def tenant() -> AsyncIterator[AwsTenant]:
    """Run one simulated tenant for all tests of AWS."""
    async with AwsTenant() as running:
        yield running


@pytest.fixture(scope="session")
async def truth(tenant: AwsTenant) -> Organization:
    """Fill the tenant with an organization of two accounts; tests leave what is in it as it is."""
    return await seed(tenant, hostile=True)


@pytest.fixture
async def connect(tenant: AwsTenant) -> AsyncIterator[Connect]:
    """Give what connects to an account: by its root key unless the settings say otherwise."""
    made: list[Aws] = []

    async def connected(
        account: str = ACCOUNT, elsewhere: Callable[[], frozenset[str]] = frozenset, **settings: Json
    ) -> Aws:
        key = await tenant.root(account)
        sign_in = {
            "access_key_id": key["aws_access_key_id"],
            "secret_access_key": key["aws_secret_access_key"],
        }
        given = Settings.model_validate({"endpoints": {"aws": tenant.endpoint}} | sign_in | settings)
        http = PacedHttp()
        provider = Aws(given, http, Instance(account), elsewhere)  # type: ignore[arg-type]  # no HTTP calls
        http.provider = provider
        made.append(provider)
        return provider

    yield connected
    for provider in made:
        await provider.close()


@pytest.fixture
def at() -> Lookback:
    """Make the place where a feed reads: on an axis, after a cursor, the last hour."""

    def made(axis: Axis | None = None, cursor: Json = None, **more: Json) -> At:
        now = datetime.now(UTC)
        begin, end = now - timedelta(hours=1), now + timedelta(seconds=5)
        return At(axis or Axis(ACCOUNT, data={"account": ""}), cursor, begin, end, **more)

    return made


@pytest.fixture(scope="session")
def judge() -> Judge:
    """Stamp an event, hold it against the official OCSF schema and ours, and give it back."""
    official = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
    origin = Origin(
        "acme", "aws", ACCOUNT, {"name": "Amazon Web Services", "vendor_name": "Amazon"}, account_type_id=10
    )

    @cache
    def validator(class_uid: int) -> jsonschema_rs.Draft202012Validator:
        name = official.lookup_class_name_from_uid(class_uid)
        return jsonschema_rs.Draft202012Validator(official.get_class_schema(name, ["cloud", "host"]))

    def judged(event: Event) -> Event:
        stamp(event, origin, 1_772_359_201_000)
        complaints = [
            f"{'.'.join(map(str, error.instance_path))}: {error.message}"
            for error in validator(event["class_uid"]).iter_errors(event)
        ]
        assert not complaints, complaints
        encode(validate(event))
        return event

    return judged


@pytest.fixture
def drain() -> Callable[[AsyncIterator[Page]], Awaitable[list[Page]]]:
    """Read a feed to its end."""

    async def drained(pages: AsyncIterator[Page]) -> list[Page]:
        return [page async for page in pages]

    return drained


@pytest.fixture(scope="session")
def mapped(judge: Judge) -> Callable[..., list[Event]]:
    """Map records with a mapper and judge every event."""

    def all_of(
        mapper: Callable[[Json, Instance], Iterable[Any]], records: Iterable[Mapping[str, Json]]
    ) -> list[Event]:
        instance = Instance(ACCOUNT)
        return [judge(event) for record in records for event in mapper(record, instance)]

    return all_of

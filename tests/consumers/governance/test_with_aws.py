"""A policy meets AWS: the provider's own events and actions, against a simulated account."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from consumers.governance.asking import undo
from consumers.governance.job import GovernanceJob
from consumers.governance.means import Means
from ingest.provider import Instance, Provider
from ingest.providers.aws import Aws
from ingest.providers.aws.files import describe, object_changed
from ingest.providers.aws.session import Settings
from sandbox.aws.tenant import AwsTenant
from schemas.control import Wish

ACCOUNT = "444455556666"


class Unpaced:
    """Lets calls through and has the provider translate what they raise."""

    provider: Provider[Any]

    @asynccontextmanager
    async def paced(self, api: str, **_: Any) -> AsyncIterator[str]:
        """Make one call."""
        del api
        try:
            yield ""
        except Exception as error:
            translated = self.provider.raised(error)
            if translated is None:
                raise
            raise translated from error


@pytest.fixture
async def site() -> AsyncIterator[tuple[Aws, Any]]:
    """Give a connected account with a public bucket `data` and a quarantine bucket, and a plain client."""
    async with AsyncExitStack() as stack:
        tenant = await stack.enter_async_context(AwsTenant())
        root = await tenant.root(ACCOUNT)
        s3 = await stack.enter_async_context(tenant.client("s3", root))
        for name in ("data-4444", "vault-4444"):
            await s3.create_bucket(Bucket=name)
        await s3.delete_public_access_block(Bucket="data-4444")
        rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        await s3.put_bucket_ownership_controls(Bucket="data-4444", OwnershipControls=rules)
        http = Unpaced()
        settings = Settings.model_validate(
            {"endpoints": {"aws": tenant.endpoint}, "access_key_id": root["aws_access_key_id"],
             "secret_access_key": root["aws_secret_access_key"], "quarantine_bucket": "vault-4444"}
        )  # fmt: skip
        http.provider = provider = Aws(settings, http, Instance(ACCOUNT))  # type: ignore[arg-type]
        yield provider, s3
        await provider.close()


async def keys(s3: Any, bucket: str) -> list[str]:
    """List a bucket's keys."""
    return [one["Key"] for one in (await s3.list_objects_v2(Bucket=bucket)).get("Contents", [])]


async def test_a_public_object_is_put_away_and_brought_back(line: Any, world: Any, site: Any) -> None:
    """What the provider says of an object is enough to put it away; the undo's echo is left alone."""
    provider, s3 = site
    await s3.put_object(Bucket="data-4444", Key="a b/ü.csv", Body=b"secret", ACL="public-read")
    wish = Wish(name="prod", provider="aws", instance=ACCOUNT, partition=0, incarnation="1")
    world.wishes = {"prod": wish}
    world.rule(dry_run=True)

    @asynccontextmanager
    async def use(name: str) -> AsyncIterator[Aws]:
        assert name == "prod"
        yield provider

    world.use = use
    line.job = GovernanceJob(0, Means(world, world, world, {"aws": Aws}, world.clock.tempo))
    line.job.ready(line._intent)

    async def seen() -> Any:
        made = list(object_changed(await describe(provider, "data-4444", "a b/ü.csv"), provider.instance))
        return await line.see(made[0], "files", source=("aws", ACCOUNT))

    (dry,) = await seen()
    assert (await line.send(dry)).state == "planned"
    assert await keys(s3, "data-4444") == ["a b/ü.csv"]

    world.rule()
    (command,) = await seen()
    assert command.target.id == "arn:aws:s3:::data-4444/a b/ü.csv"
    assert (await line.send(command)).state == "done"
    assert await keys(s3, "data-4444") == []
    assert len(await keys(s3, "vault-4444")) == 1

    assert (await line.send(undo("prod", command.id))).state == "undone"
    assert await keys(s3, "data-4444") == ["a b/ü.csv"]
    assert await keys(s3, "vault-4444") == []
    (echo,) = await seen()
    assert (await line.send(echo)).state == "skipped"

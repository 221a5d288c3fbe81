"""The AWS of the demo: an organization of two accounts, connected one by one, with documents in buckets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from sandbox.aws.driver import Driver
from sandbox.aws.seed import seed
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.truth import Account, Organization
from sandbox.stage import Visible

_LAG = 15.0
"""Seconds until the tenant's event history shows what its trail files have told by then."""


class AwsStage:
    """Both accounts, each with a driver."""

    title: ClassVar[str] = "an AWS organization"

    def __init__(self, tenant: AwsTenant) -> None:
        self._tenant = tenant
        self._truth: Organization | None = None
        self._drivers: list[Driver] = []

    async def prepare(self) -> None:
        """Fill it, some history included."""
        self._truth = await seed(self._tenant, history=20)

    def _known(self) -> Organization:
        if self._truth is None:
            raise RuntimeError("prepare the tenant first")
        return self._truth

    def connections(self) -> Mapping[str, Mapping[str, Any]]:
        """The first account is connected by role, the second by key."""
        truth = self._known()
        management, member = truth.accounts

        def shared(account: Account) -> dict[str, Any]:
            return {
                "regions": [account.region], "queue_url": account.queue_url,
                "quarantine_bucket": account.buckets.quarantine,
                "exclude_buckets": [account.buckets.trail],
                "endpoints": {"aws": self._tenant.endpoint},
            }  # fmt: skip

        by_role = {
            **shared(management), "role_arn": management.role_arn, "external_id": management.external_id,
            "access_key_id": truth.collector["aws_access_key_id"],
            "secret_access_key": truth.collector["aws_secret_access_key"],
        }  # fmt: skip
        by_key = {
            **shared(member), "access_key_id": member.key_pair["aws_access_key_id"],
            "secret_access_key": member.key_pair["aws_secret_access_key"],
        }  # fmt: skip
        return {"aws-production": by_role, "aws-research": by_key}

    async def drive(self) -> None:
        """Act in both."""
        async with asyncio.TaskGroup() as group:
            for number, account in enumerate(self._known().accounts):
                group.create_task(self._drive(account, number))

    async def _drive(self, account: Account, number: int) -> None:
        async with Driver(self._tenant, account, number=number, lag=_LAG, trail_every=1) as driver:
            self._drivers.append(driver)
            await driver.run(per_second=1.0)

    def happened(self) -> list[Visible]:
        """Tell objects by their ARN and version, calls by the id of their record."""
        found = [one for driver in self._drivers for one in driver.happened]
        return [
            Visible(f"arn:aws:s3:::{one.id}", one.visible, "announced_over_sqs")
            if "key" in one.detail
            else Visible(one.id, one.visible - _LAG, "trail_files")
            for one in found
        ]


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[AwsStage]:
    """Run the tenant."""
    async with AwsTenant(log=folder / "aws.log") as tenant:
        yield AwsStage(tenant)

"""Keeps acting in an account, as its people would, and writes down what happened.

Example:
    driver = Driver(tenant, truth.management, number=7, journal=Path("truth.jsonl"))
    await driver.run(per_second=2.0)  # until cancelled
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeAlias

from sandbox.aws.records import Records
from sandbox.aws.seed import READ, Clients, clients, put
from sandbox.aws.tenant import AwsTenant
from sandbox.aws.trail import SHAPES, Trail
from sandbox.aws.truth import Account
from sandbox.documents import FORMATS, document
from sandbox.planted import KINDS

Json: TypeAlias = Any
WEIGHTS: Mapping[str, int] = {
    "logon": 5,
    "failed logon": 2,
    "assume role": 2,
    "clean upload": 3,
    "sensitive upload": 3,
    "make public": 1,
    "new user": 1,
    "join group": 1,
    "leave group": 1,
    "grant policy": 1,
}


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that was done; `visible` is the wall-clock second from which the provider shows it.

    `id` is a CloudTrail eventID, or `bucket/key@version` for an object.
    """

    visible: float
    kind: str
    id: str
    account: str
    detail: dict[str, Json]


class Driver:
    """Acts with a seeded chance.

    Records reach LookupEvents `lag` seconds late, and a trail file every `trail_every` records (0: never).
    """

    def __init__(
        self,
        tenant: AwsTenant,
        truth: Account,
        *,
        number: int = 1,
        lag: float = 0.0,
        weights: Mapping[str, int] = WEIGHTS,
        journal: Path | None = None,
        trail_every: int = 0,
    ) -> None:
        if unknown := set(weights) - set(WEIGHTS):
            raise ValueError(f"no such action: {', '.join(sorted(unknown))}")
        self.happened: list[Happened] = []
        self._tenant, self._truth, self._lag, self._journal = tenant, truth, lag, journal
        self._weights, self._trail_every = dict(weights), trail_every
        self._chance = Random(number)
        self._records = Records(
            truth.id, self._chance, ids={user.name: user.id for user in truth.users.values()}
        )
        self._pending: list[Json] = []
        self._count = 0
        self._stack = AsyncExitStack()
        self._use: Clients | None = None

    async def __aenter__(self) -> Self:
        """Open the clients."""
        self._use = await self._stack.enter_async_context(clients(self._tenant, self._truth.root))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the clients."""
        await self._stack.aclose()
        self._use = None

    async def run(self, *, per_second: float = 1.0, seconds: float | None = None) -> None:
        """Act at that rate on average, until cancelled or for so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        async with AsyncExitStack() as stack:
            if self._use is None:
                await stack.enter_async_context(self)
            while end is None or time.monotonic() < end:
                await self.step()
                await asyncio.sleep(self._chance.expovariate(per_second))
            await self.flush()

    async def step(self, kind: str | None = None) -> Happened:
        """Do one thing, of a kind or by chance."""
        kind = kind or self._chance.choices(list(self._weights), list(self._weights.values()))[0]
        self._count += 1
        done = await self._acts()[kind](kind)
        if self._trail_every and len(self._pending) >= self._trail_every:
            await self.flush()
        return done

    async def flush(self) -> str | None:
        """Write what happened since into a trail file, announced in any of the four ways; its key."""
        if not self._pending or not self._trail_every:
            return None
        use, records, self._pending = self._clients(), self._pending, []
        trail = Trail(
            use.s3,
            use.sqs,
            bucket=self._truth.buckets.trail,
            queue_url=self._truth.queue_url,
            account=self._truth.id,
            chance=self._chance,
        )
        key = await trail.write(records, self._chance.choice(SHAPES))
        self._truth.trail_keys.append(key)
        return key

    def _clients(self) -> Clients:
        if self._use is None:
            raise RuntimeError("enter the driver first: async with Driver(...)")
        return self._use

    def _acts(self) -> dict[str, Callable[[str], Awaitable[Happened]]]:
        return {
            "logon": self._logon,
            "failed logon": self._logon,
            "assume role": self._assume,
            "clean upload": self._upload,
            "sensitive upload": self._upload,
            "make public": self._publish,
            "new user": self._hire,
            "join group": self._group,
            "leave group": self._group,
            "grant policy": self._grant,
        }

    async def _logon(self, kind: str) -> Happened:
        name = self._chance.choice([user.name for user in self._truth.users.values() if user.console])
        record = self._records.console_login(name, ok=kind == "logon", mfa=self._truth.users[name].mfa)
        if kind == "logon":
            await self._tenant.log_in(self._truth.id, name)
        return await self._recorded(kind, record, {"user": name})

    async def _assume(self, kind: str) -> Happened:
        name = self._someone()
        return await self._recorded(kind, self._records.assume_role(name, "BreakGlass"), {"user": name})

    async def _upload(self, kind: str) -> Happened:
        kinds = self._chance.sample(KINDS, self._chance.randint(1, 3)) if kind == "sensitive upload" else []
        item = document(f"uploads/{self._count:06d}", self._chance.choice(list(FORMATS)), self._chance, kinds)
        bucket = self._truth.buckets.documents
        answer = await put(self._clients(), self._truth, bucket, item)
        found = {"bucket": bucket, "key": item.name, "size": len(item.content), "kinds": sorted(set(kinds))}
        return self._note(
            kind, f"{bucket}/{item.name}@{answer.get('VersionId') or answer['ETag'].strip(chr(34))}", found
        )

    async def _publish(self, kind: str) -> Happened:
        bucket = self._truth.buckets.public_acl
        item = document(f"shared/{self._count:06d}", "csv", self._chance, ["ssn"])
        answer = await put(self._clients(), self._truth, bucket, item)
        await self._clients().s3.put_object_acl(Bucket=bucket, Key=item.name, ACL="public-read")
        self._truth.public_objects.append((bucket, item.name))
        return self._note(
            kind,
            f"{bucket}/{item.name}@{answer['ETag'].strip(chr(34))}",
            {"bucket": bucket, "key": item.name},
        )

    async def _hire(self, kind: str) -> Happened:
        name = f"new-{self._count:06d}"
        made = (await self._clients().iam.create_user(UserName=name))["User"]
        record = self._records.create_user("alice", name)
        record["responseElements"]["user"]["userId"] = made["UserId"]
        return await self._recorded(kind, record, {"user": name, "user_id": made["UserId"]})

    async def _group(self, kind: str) -> Happened:
        name, group = self._someone(), "finance"
        iam = self._clients().iam
        if kind == "join group":
            await iam.add_user_to_group(GroupName=group, UserName=name)
            record = self._records.add_user_to_group("alice", name, group)
        else:
            members = {u["UserName"] for u in (await iam.get_group(GroupName=group))["Users"]}
            if name in members:
                await iam.remove_user_from_group(GroupName=group, UserName=name)
            record = self._records.remove_user_from_group("alice", name, group)
        return await self._recorded(kind, record, {"user": name, "group": group})

    async def _grant(self, kind: str) -> Happened:
        name = self._someone()
        await self._clients().iam.attach_user_policy(UserName=name, PolicyArn=READ)
        return await self._recorded(
            kind, self._records.attach_user_policy("alice", name, READ), {"user": name}
        )

    async def _recorded(self, kind: str, record: Json, detail: dict[str, Json]) -> Happened:
        await self._tenant.add_history([record], after=self._lag)
        self._truth.events[record["eventID"]] = record
        self._pending.append(record)
        return self._note(kind, record["eventID"], detail, after=self._lag)

    def _note(self, kind: str, key: str, detail: dict[str, Json], *, after: float = 0.0) -> Happened:
        """Write it down after it can be seen, so that what the journal says is true even if we are killed."""
        done = Happened(time.time() + after, kind, key, self._truth.id, detail)
        self.happened.append(done)
        if self._journal is not None:
            with self._journal.open("a", encoding="utf-8") as out:
                out.write(json.dumps(asdict(done)) + "\n")
        return done

    def _someone(self) -> str:
        return self._chance.choice(sorted(set(self._truth.users) - {"collector"}))

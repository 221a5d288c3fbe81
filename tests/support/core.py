"""The real core around a provider and its simulated tenant, on the real Kafka: one `Process` is one life."""

import asyncio
import base64
import contextlib
import os
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson
import rig
from pydantic import BaseModel

from consumers.connections import Connections
from consumers.governance.asking import addressed
from consumers.governance.job import governance
from ingest.cluster import Cluster
from ingest.connectors import Services, WallClock
from ingest.consuming import Follower
from ingest.credentials import Keyring, split
from ingest.custody import TOKENS, BorrowedTokens
from ingest.directory import Directory
from ingest.links import Links
from ingest.producing import Outgoing
from ingest.provider import Provider
from ingest.tenure import ingest
from ingest.windows import now_ms
from schemas.control import Command, Inbox, Status, Wish

Kinds = Mapping[str, type[Provider[Any]]]


class Core:
    """One deployment: what an operator asks for, what providers push, what can be read."""

    def __init__(self, cluster: Cluster, kinds: Kinds, public_url: str = "") -> None:
        self.cluster, self.kinds, self.public_url = cluster, kinds, public_url
        self.keyring = Keyring([os.urandom(32)])
        self.links = Links(self.keyring, kinds)

    async def connect(
        self, name: str, provider: str, settings: BaseModel, tokens: Any = None, **more: Any
    ) -> Wish:
        """Ask for a connector, as `connect` does after its trial sign-in."""
        plain, secret = split(settings)
        incarnation = uuid4().hex
        if tokens is not None:
            secret[TOKENS] = tokens
        wish = Wish(
            name=name, provider=provider, settings=plain, partition=more.pop("partition", 0),
            incarnation=incarnation, sealed=self.keyring.seal(secret, f"{name}/{incarnation}"), **more,
        )  # fmt: skip
        return await self.change(wish)

    async def change(self, wish: Wish, **changes: Any) -> Wish:
        """Ask for something else of it: another revision."""
        made = wish.model_copy(update={"revision": wish.revision + bool(changes), **changes})
        await rig.store(self.cluster, Outgoing("connectors", made.partition, made.name.encode(), made.dump()))
        return made

    async def nudge(self, wish: Wish, *feeds: str, restart: bool = False) -> None:
        """Have feeds read now."""
        for feed in feeds:
            await self._tell(wish, Inbox(kind="nudge", connector=wish.name, feed=feed, restart=restart))

    async def deliver(
        self, wish: Wish, hook: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Put a delivery where the receiver puts it once it is verified."""
        record = Inbox(
            kind="delivery", connector=wish.name, incarnation=wish.incarnation, at=now_ms(), hook=hook,
            method="POST", headers=dict(headers or {}), body=base64.b64encode(body).decode(),
        )  # fmt: skip
        await self._tell(wish, record)

    async def _tell(self, wish: Wish, record: Inbox) -> None:
        await rig.store(self.cluster, Outgoing("inbox", wish.partition, wish.name.encode(), record.dump()))

    async def command(self, wish: Wish, command: Command) -> None:
        """Ask governance for something."""
        await rig.store(self.cluster, addressed(command, wish))

    # ---- what can be read

    async def values(self, topic: str, key: bytes | None = None) -> list[bytes]:
        """Read what is in a topic's records, of one key or all; committed ones only, deletions left out."""
        found = await rig.read(self.cluster, topic)
        return [value for one in found if (value := one.value()) and (key is None or one.key() == key)]

    async def statuses(self, name: str) -> list[Status]:
        """Read all that was ever reported of a connector, in order."""
        return [Status.load(one) for one in await self.values("cursors", f"{name}/@status".encode())]

    async def reached(self, wish: Wish, *states: str) -> Status:
        """Wait for a state of this revision."""
        last: list[Status] = []

        async def met() -> bool:
            last[:] = (await self.statuses(wish.name))[-1:]
            return bool(last) and last[0].state in states and last[0].revision == wish.revision

        await rig.until(met, every=0.1)
        return last[0]

    async def events(self, topic: str) -> list[Any]:
        """Read a topic's events."""
        return [orjson.loads(one) for one in await self.values(topic)]

    async def table(self, topic: str) -> set[str]:
        """Read an inventory's entities."""
        return {name.split("/", 3)[3] for name in rig.latest(await rig.read(self.cluster, topic))}

    async def published(self, count: int, *topics: str) -> Counter[str]:
        """Wait until so many events are on topics, and count them by their source's id."""
        found: Counter[str] = Counter()

        async def met() -> bool:
            found.clear()
            for topic in topics:
                found.update(one["metadata"]["original_event_uid"] for one in await self.events(topic))
            return found.total() >= count

        await rig.until(met, every=0.1)
        return found

    async def settled(self, wish: Wish) -> None:
        """Wait until the owner has worked off what is in the inbox, by a nudge to nowhere behind it."""
        await self._tell(wish, Inbox(kind="nudge", connector=wish.name, feed="none"))
        end = len([one for one in await rig.read(self.cluster, "inbox") if one.partition() == wish.partition])

        async def met() -> bool:
            found = await self.values("cursors", f"@inbox/{wish.partition}".encode())
            return bool(found) and orjson.loads(found[-1])["offset"] >= end

        await rig.until(met, every=0.1)


class Process:
    """One life of `sluice run ingest`, with governance beside it where that is wanted."""

    def __init__(self, core: Core, *, governing: bool = False) -> None:
        self._core, self._governing = core, governing
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        core = self._core
        self._follower = Follower(core.cluster)
        await self._follower.start()
        services = Services(core.cluster, core.links, core.keyring, WallClock(), uuid4().hex, core.public_url)
        self.ownership = ingest(services, self._follower)
        self._tasks = [asyncio.create_task(self.ownership.run())]
        if self._governing:
            directory = Directory(core.cluster, self._follower)
            await directory.start()
            self._connections = Connections(
                core.links, directory, lambda wish: BorrowedTokens(core.cluster, core.keyring, wish)
            )
            owner = await governance(core.cluster, self._follower, directory, self._connections, core.kinds)
            self._tasks.append(asyncio.create_task(owner.run()))
        return self

    async def crash(self) -> None:
        """End as a crash would, as far as one process can show it: nothing is committed or handed over."""
        for tenure, _ in self.ownership._tenures.values():
            tenure.pause()
        await self.__aexit__(None, None, None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if tasks:
            if self._governing:
                await self._connections.close()
            await self._follower.stop()

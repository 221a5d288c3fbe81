"""A connector's life: checking, first users, running, degraded (why), disabled, removed.

First connection, visibly in this order: permissions are checked and saved; the users are read; activities
show as soon as that begins to bear fruit; then groups, files and the rest; from then on all periodically.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from ingest import metrics
from ingest.cluster import Cluster
from ingest.credentials import Keyring
from ingest.custody import OwnedTokens
from ingest.errors import Misconfigured, SourceError
from ingest.feeds import AxisFeed, Clock, Owner, Progress
from ingest.links import Link, Links
from ingest.log import redact
from ingest.mapping import Preparation, Prepared
from ingest.provider import Provider
from ingest.publish import Committer, StoppedError, Unit
from ingest.push import Delivery, Hooked
from ingest.reads import Axis, Feed, Nudge
from ingest.reporting import health_record, summed
from ingest.state import STATUS, ConnectorState, PartitionState, key
from ingest.subscriptions import Keeper, keepers
from ingest.tasks import ended
from ingest.windows import now_ms, remembered
from schemas.control import Status, Wish
from schemas.events import Origin

_OCCURRENCES = frozenset({"logons", "user_activity", "admin_activity", "dlp_realtime"})
_AXES_SECONDS = 300.0
_STATUS_SECONDS = 60.0
_GATE_SECONDS = 10.0
_PROBE_SECONDS = 3600.0


class WallClock:
    """The real time."""

    def now(self) -> int:
        """Tell the time, ms since 1970."""
        return now_ms()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class Services:
    """What all connectors of a process share."""

    cluster: Cluster
    links: Links
    keyring: Keyring
    clock: Clock
    worker: str
    public_url: str = ""


def stage(feed: Feed) -> int:
    """Tell in which wave of a first connection a feed begins: users, activities, everything else."""
    if "accounts" in feed.covers:
        return 1
    return 2 if not _OCCURRENCES.isdisjoint(feed.covers) and not feed.reads_all else 3


class Connector:
    """Runs one connector while its partition is ours."""

    def __init__(
        self, services: Services, wish: Wish, partition: PartitionState, committer: Committer
    ) -> None:
        self.wish = wish
        self.kind: type[Provider[Any]] = services.links.kind(wish.provider)
        self.owner: Owner | None = None
        self._services, self._partition, self._committer = services, partition, committer
        self._state: ConnectorState = partition.of(wish)
        self._axes: dict[str, dict[str, tuple[AxisFeed, asyncio.Task[None]]]] = {}
        self._keepers: list[Keeper] = []
        self._grants: dict[str, tuple[str, ...]] = {}
        self._condition = ("new", "")
        self._dirty = asyncio.Event()
        self.connected = asyncio.Event()
        self._listed: dict[str, asyncio.Event] = {}
        self._rescan: dict[str, asyncio.Event] = {}
        self._instance = self._state.status.instance if self._state.status else ""
        self._instance_name = ""
        self._log = structlog.get_logger(part="connector", connector=wish.name, provider=wish.provider)

    # ---- what others ask of it

    def owned(self) -> Owner:
        """Give what the feeds share, once it is connected."""
        if self.owner is None:
            raise StoppedError(f"{self.wish.name} is not connected yet")
        return self.owner

    def nudge(self, nudge: Nudge) -> None:
        """Make feeds read soon; an axis nobody knows yet makes the axes be listed again."""
        running = self._axes.get(nudge.feed, {})
        hit = [
            runner
            for name, (runner, _) in running.items()
            if nudge.axis is None or nudge.axis == name or nudge.axis in runner.axis.tags
        ]
        for runner in hit:
            runner.nudge(nudge)
        if not hit and nudge.feed in self._rescan:
            self._rescan[nudge.feed].set()

    def deliver(self, hook: str, delivery: Delivery) -> Iterable[Hooked]:
        """Run a hook on a delivery."""
        if hook not in self.kind.hooks() or self.owner is None:
            return []
        found: Iterable[Hooked] = getattr(self._link.provider, hook)(delivery)
        return found

    def keepers(self) -> list[Keeper]:
        """Give who keeps its registrations."""
        return self._keepers

    def _found(self, feed: str, axis: str, prepared: Prepared) -> None:
        for keeper in self._keepers:
            keeper.found(feed, axis, prepared)

    def any_axis(self, feed: str, axis: str) -> AxisFeed:
        """Find the runner of a feed on an axis, or make one that only commits."""
        running = self._axes.get(feed, {}).get(axis)
        if running is not None:
            return running[0]
        return AxisFeed(self.owned(), self.kind.feeds()[feed], getattr(self._link.provider, feed), Axis(axis))

    # ---- life

    async def run(self) -> None:
        """Connect, check, and run until cancelled.

        Raises:
            StoppedError: The partition was handed over.
        """
        reporter = asyncio.create_task(self._report_status())
        try:
            if not self.wish.enabled:
                await self._enter("disabled")
                await self._unregister()
                await asyncio.Event().wait()
            while True:
                try:
                    await self._live()
                except (SourceError, OSError, TimeoutError) as error:
                    await self._enter("degraded", redact(str(error))[:500] or type(error).__name__)
                    # An operator's to mend; or the provider is out while we sign in, and soon back.
                    await self._services.clock.sleep(60.0 if isinstance(error, Misconfigured) else 5.0)
        finally:
            await ended(reporter, 2.0)
            metrics.connectors.labels(self.wish.provider, self._condition[0]).dec()

    async def remove(self) -> None:
        """Take our registrations away at the provider; what can't be reached is left with a warning."""
        try:
            async with self._services.links.open(self.wish, custody=self._custody()) as link:
                self._connect(link)
                for keeper in self._keepers:
                    await keeper.remove_all()
        except (SourceError, OSError, TimeoutError) as error:
            self._log.warning("registrations may remain at the provider", why=redact(str(error))[:200])

    async def _unregister(self) -> None:
        """Have the provider stop pushing to a disabled connector, however long it takes to reach it."""
        pause = _GATE_SECONDS
        while not all(one.manual for one in self._state.registrations.values()):
            await self.remove()
            await self._services.clock.sleep(pause)
            pause = min(pause * 2, _PROBE_SECONDS)

    async def _live(self) -> None:
        if not (ran := self._ran()):
            await self._enter("checking")
        async with self._services.links.open(self.wish, custody=self._custody()) as link:
            self._connect(link)
            await self._identify()
            if ran:
                self._grants = ran.grants
                await self._enter(ran.state, ran.why)
            else:
                await self._probe()
                await self._enter("first users")
            feeds = [
                replace(feed, lookback=link.provider.lookback(feed))
                for feed in self.kind.feeds().values()
                if not feed.component or not self.wish.components or feed.component in self.wish.components
            ]
            try:
                async with asyncio.TaskGroup() as group:
                    for feed in feeds:
                        group.create_task(self._feed(feed, [] if ran else feeds, group))
                    for keeper in self._keepers:
                        group.create_task(keeper.run())
                    group.create_task(self._watch(feeds))
                    group.create_task(self._probe_again(0.0 if ran else _PROBE_SECONDS))
                    group.create_task(self._expire_seen())
            except* Misconfigured as errors:
                raise errors.exceptions[0] from None
            except* StoppedError:
                raise StoppedError("handed over") from None
            finally:
                self._axes.clear()

    def _ran(self) -> Status | None:
        """Give the last report of a connector that ran as it is wished now: it goes on at once."""
        told = self._state.status
        ran = told and told.grants and told.revision == self.wish.revision
        return told if ran and told and told.state in {"running", "degraded"} else None

    def _custody(self) -> OwnedTokens:
        services = self._services
        return OwnedTokens(self.wish, self._partition, self._committer, services.keyring, services.clock)

    def _connect(self, link: Link) -> None:
        self._link = link
        kind, wish, services = self.kind, self.wish, self._services
        origin = Origin(
            tenant=wish.tenant, provider=wish.provider, instance=link.instance.id,
            instance_name=link.instance.name, account_type_id=kind.account_type_id,
            account_type=kind.account_type,
            product={"name": kind.title or kind.name, "vendor_name": kind.vendor or kind.title or kind.name},
        )  # fmt: skip
        now = services.clock.now
        preparation = Preparation(services.cluster, wish, origin, link.instance, self._state, now)
        repeats = max((remembered(feed) for feed in kind.feeds().values()), default=0)
        self.owner = Owner(
            wish, self._partition, self._state, self._committer, preparation, services.clock, wish.provider,
            repeats=repeats, nudge=self.nudge, changed=self._dirty.set, report=self.report,
            full_reads=self._full_reads, found=self._found,
        )  # fmt: skip
        self.connected.set()
        self._keepers = keepers(self.owner, link.provider, services.keyring, services.public_url)

    def _full_reads(self) -> list[tuple[str, str]] | None:
        """List the feeds and axes that read all there is; None while some are not known yet."""
        feeds = [feed.name for feed in self.kind.feeds().values() if feed.reads_all]
        if not all(name in self._listed and self._listed[name].is_set() for name in feeds):
            return None
        return [(name, axis) for name in feeds for axis in self._axes.get(name, {})]

    async def _identify(self) -> None:
        instance = self._link.instance
        if self.wish.instance and instance.id != self.wish.instance:
            raise Misconfigured(
                f"these settings lead to {instance.id}, but {self.wish.name} was connected to "
                f"{self.wish.instance}: connect the other one under a name of its own"
            )
        self._instance, self._instance_name = instance.id, instance.name

    async def _probe(self) -> None:
        found: dict[str, dict[str, None]] = {}
        async for grant in self._link.provider.probe():
            found.setdefault(grant.capability, {}).update(dict.fromkeys(grant.missing))
        self._grants = {name: tuple(missing) for name, missing in found.items()}
        missing = {name: list(what) for name, what in self._grants.items() if what}
        self._log.info("permissions checked", missing=missing)
        await self._save_status()

    async def _probe_again(self, pause: float) -> None:
        while True:
            await self._services.clock.sleep(pause)
            pause = _PROBE_SECONDS
            try:
                await self._probe()
            except Misconfigured:
                raise
            except (SourceError, OSError, TimeoutError) as error:
                self._log.warning("probe failed", why=redact(str(error))[:200])

    # ---- feeds

    async def _feed(self, feed: Feed, feeds: list[Feed], group: asyncio.TaskGroup) -> None:
        """Start the feed on each of its axes, once its wave has come, and keep up with the axes."""
        self._axes[feed.name] = {}
        self._listed.setdefault(feed.name, asyncio.Event())
        rescan = self._rescan.setdefault(feed.name, asyncio.Event())
        await self._gate(feed, feeds)
        read = getattr(self._link.provider, feed.name)
        while True:
            try:
                axes = await self._list_axes(feed)
            except Misconfigured:
                raise
            except (SourceError, OSError, TimeoutError) as error:
                self._log.warning("axes can't be listed", feed=feed.name, why=redact(str(error))[:200])
                self._listed[feed.name].set()
                await self._wait(rescan, 30.0)
                continue
            self._keep(feed, axes, read, group)
            self._listed[feed.name].set()
            if feed.per is None:
                return
            await self._wait(rescan, _AXES_SECONDS)

    async def _list_axes(self, feed: Feed) -> dict[str, Axis]:
        if feed.per is None:
            return {"": Axis()}
        return {axis.key: axis async for axis in feed.per(self._link.provider)}

    async def _wait(self, sign: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await sign.wait()
        sign.clear()

    def _keep(
        self,
        feed: Feed,
        axes: dict[str, Axis],
        read: Callable[..., AsyncIterator[Any]],
        group: asyncio.TaskGroup,
    ) -> None:
        running = self._axes[feed.name]
        for name, axis in axes.items():
            if name not in running:
                runner = AxisFeed(self.owned(), feed, read, axis)
                running[name] = (runner, group.create_task(runner.run()))
            else:
                running[name][0].axis = axis
        for name in set(running) - set(axes):
            running.pop(name)[1].cancel()
        if feed.reads_all:
            known = {axis for name, axis in self._state.cursors if name == feed.name}
            for name in known - set(axes):
                runner = AxisFeed(self.owned(), feed, read, Axis(name))
                group.create_task(runner.retire())

    async def _gate(self, feed: Feed, feeds: list[Feed]) -> None:
        """Hold a feed back until the waves before it have borne fruit, or could not."""
        wave = stage(feed)
        for each in feeds:
            before = stage(each)
            if before >= wave or each.every is None:
                continue
            await self._wait_for(each, whole=before == 1 and wave == 3)

    async def _wait_for(self, feed: Feed, *, whole: bool) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if whole else _GATE_SECONDS):
                await self._listed.setdefault(feed.name, asyncio.Event()).wait()
                for runner, _ in list(self._axes.get(feed.name, {}).values()):
                    progress = runner.progress
                    await _either(progress.first_pass, None if whole else progress.first_page)

    async def _expire_seen(self) -> None:
        while True:
            await self._services.clock.sleep(_STATUS_SECONDS)
            owner = self.owned()
            windowed = [feed.name for feed in self.kind.feeds().values() if feed.late]
            if not all(name in self._listed and self._listed[name].is_set() for name in windowed):
                continue
            # By what is committed: after a crash a window begins there again.
            cursors = owner.state.cursors
            floors = [
                (cursors[name, axis].until or 0) if (name, axis) in cursors else 0
                for name in windowed
                for axis in self._axes.get(name, {})
            ]
            lates = [feed.late.total_seconds() for feed in self.kind.feeds().values() if feed.late]
            floor = min(floors) - int(max(lates, default=0) * 1000) if floors else None
            old = owner.state.seen.expired(self._services.clock.now(), floor)
            if old:
                records = [owner.record("seen", key(self.wish.name, str(number)), None) for number in old]
                await self._committer.commit(Unit(records, [partial(owner.state.seen.drop, old)]))

    # ---- status

    async def _watch(self, feeds: list[Feed]) -> None:
        """Enter `running` once the users are read, `degraded` while a feed can't go on."""
        for feed in feeds:
            if stage(feed) == 1:
                await self._wait_for(feed, whole=True)
        while True:
            bad = sorted(
                f"{name}: {progress.why}"
                for name, progress in self._progress()
                if progress.state in {"not allowed", "failing", "missing"}
            )
            problems = [f"{keeper}: {why}" for one in self._keepers for keeper, why in one.problems.items()]
            why = "; ".join(dict.fromkeys([*bad, *problems]))[:500]
            await self._enter("degraded" if why else "running", why)
            await self._dirty.wait()
            await asyncio.sleep(0.2)

    def _progress(self) -> list[tuple[str, Progress]]:
        return [(name, runner.progress) for name, axes in self._axes.items() for runner, _ in axes.values()]

    async def _enter(self, state: str, why: str = "") -> None:
        if self._condition == (state, why):
            return
        before, self._condition = self._condition[0], (state, why)
        if before != state:
            if before != "new":
                metrics.connectors.labels(self.wish.provider, before).dec()
            metrics.connectors.labels(self.wish.provider, state).inc()
        (self._log.warning if why else self._log.info)("connector is " + state, why=why)
        await self._save_status()
        await self.report(state, why)

    async def _report_status(self) -> None:
        while True:
            await self._wait(self._dirty, _STATUS_SECONDS)
            await self._save_status()
            await asyncio.sleep(1.0)

    async def _save_status(self) -> None:
        status = Status(
            connector=self.wish.name, state=self._condition[0], why=self._condition[1],
            revision=self.wish.revision, incarnation=self.wish.incarnation, owner=self._services.worker,
            instance=self._instance, instance_name=self._instance_name, grants=self._grants,
            feeds=summed(self._progress()),
            subscriptions={
                f"{kind}/{axis}": one.state for (kind, axis), one in self._state.registrations.items()
            },
            at=self._services.clock.now(),
        )  # fmt: skip
        if self._state.status is not None and status == self._state.status.model_copy(
            update={"at": status.at}
        ):
            return
        raw = key(self.wish.name, STATUS)
        record = self._partition.record("cursors", self._state, raw, status)
        await self._committer.commit(Unit([record], [lambda: setattr(self._state, "status", status)]))

    async def report(self, state: str, why: str) -> None:
        """Publish a change of state as a health event."""
        record = health_record(self.wish, self.kind, self._instance, (state, why), self._services.clock.now())
        await self._committer.commit(Unit([record]))


async def _either(*signs: asyncio.Event | None) -> None:
    waiting = [asyncio.ensure_future(sign.wait()) for sign in signs if sign is not None]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()

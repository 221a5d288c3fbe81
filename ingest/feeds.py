"""The loop of a feed on one axis: resume at the cursor, read, map, commit; then sleep or be nudged."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import structlog

from ingest import metrics
from ingest.apis import Json
from ingest.errors import CursorLost, Misconfigured, Missing, NotAllowed, Retry
from ingest.finishing import Finisher
from ingest.inventory import LIVE, members
from ingest.log import redact
from ingest.mapping import Preparation, Prepared, Source
from ingest.producing import Outgoing
from ingest.publish import Committer, StoppedError, Unit
from ingest.reads import At, Axis, Feed, Nudge, Page
from ingest.state import ConnectorState, PartitionState, key
from ingest.windows import millis, moment, windows
from schemas.control import Cursor, FeedStatus, Wish

PART = 1000
"""Records of a page that are committed together; a larger page takes several transactions."""
_IDLE_CURSOR_MS = 60_000
_BACKOFF = (1.0, 300.0)
_REST = 600.0
_AGAIN = timedelta(seconds=1)
_WELL = {"reading", "sleeping", "following"}
_MOST_DONE = 1_000


class Clock(Protocol):
    """Where the time comes from; tests bring their own."""

    def now(self) -> int:
        """Tell the time, ms since 1970."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(slots=True)
class Owner:
    """What a connector's feeds share."""

    wish: Wish
    partition: PartitionState
    state: ConnectorState
    committer: Committer
    preparation: Preparation
    clock: Clock
    provider: str
    repeats: int = 0
    nudge: Callable[[Nudge], None] = lambda _: None
    changed: Callable[[], None] = lambda: None
    report: Callable[[str, str], Awaitable[None]] | None = None
    full_reads: Callable[[], list[tuple[str, str]] | None] = lambda: None
    found: Callable[[str, str, Prepared], None] = lambda _feed, _axis, _prepared: None

    def record(self, topic: str, raw: bytes, value: Any) -> Outgoing:
        """Make a state record."""
        return self.partition.record(topic, self.state, raw, value)


@dataclass(slots=True)
class Progress:
    """How a feed on an axis is doing."""

    state: str = "waiting"
    why: str = ""
    published: int = 0
    last_success: int = 0
    last_event: int = 0
    first_pass: asyncio.Event = field(default_factory=asyncio.Event)
    first_page: asyncio.Event = field(default_factory=asyncio.Event)

    def status(self) -> FeedStatus:
        """Give what the owner reports."""
        return FeedStatus(
            state=self.state, why=self.why, axes=1, published=self.published,
            last_success=self.last_success, last_event=self.last_event,
        )  # fmt: skip


class AxisFeed:
    """Runs one feed on one axis."""

    def __init__(
        self, owner: Owner, feed: Feed, read: Callable[[At], AsyncIterator[Page]], axis: Axis
    ) -> None:
        self.owner, self.feed, self.axis = owner, feed, axis
        self.progress = Progress()
        self._read = read
        self._key = key(owner.wish.name, feed.name, axis.key)
        self._labels = (owner.provider, feed.name)
        self._nudged = asyncio.Event()
        self._hints: list[Json] = []
        self._unsaved: Cursor | None = None
        self._saved_at = 0
        self._restart = False
        self._finisher = Finisher(owner, feed.name, axis.key)
        self._log = structlog.get_logger(
            part="feeds", connector=owner.wish.name, feed=feed.name, axis=axis.key
        )

    # ---- life

    async def run(self) -> None:
        """Poll for ever, or follow the stream.

        Raises:
            Misconfigured: The connector must stop.
            StoppedError: The partition was handed over.
        """
        try:
            await self._run()
        finally:
            metrics.oldest_success.forget(self._labels, self._key)
            metrics.worst_cursor_age.forget(self._labels, self._key)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                self._set("reading")
                await self.read_once()
            except (StoppedError, Misconfigured):
                raise
            except Exception as error:  # noqa: BLE001 whatever a provider throws ends in a pause, never a crash
                failures += 1
                await self._failed(error, failures)
                continue
            failures = 0
            self._succeeded()
            self._set("following" if self.feed.every is None else "sleeping")
            self.progress.first_pass.set()
            await self._pause(self.feed.every)

    def nudge(self, nudge: Nudge) -> None:
        """Read again soon."""
        if nudge.hint is not None:
            self._hints.append(nudge.hint)
        self._restart = self._restart or nudge.restart
        self._nudged.set()

    def _succeeded(self) -> None:
        self.progress.last_success = self.owner.clock.now()
        metrics.oldest_success.note(self._labels, self._key, self.progress.last_success / 1000)

    async def retire(self) -> None:
        """End an axis that is no more: everything in it is gone."""
        cursor = self.cursor()
        if cursor.finished_at or cursor.snapshot:
            cursor = cursor.model_copy(
                update={
                    "snapshot": cursor.snapshot + 1,
                    "started_at": self.owner.clock.now(),
                    "position": None,
                }
            )
            self.owner.state.inventory.begin(self.feed.name, self.axis.key)
            await self._finisher.finish(cursor)
        if self.cursor().held:
            return
        place = (self.feed.name, self.axis.key)

        def note() -> None:
            self.owner.state.cursors.pop(place, None)
            self.owner.state.inventory.scopes.pop(place, None)

        await self.owner.committer.commit(Unit([self.owner.record("cursors", self._key, None)], [note]))

    async def _pause(self, every: timedelta | None) -> None:
        if every is None:
            # A stream that ended by itself begins again.
            every = _AGAIN
        seconds = every.total_seconds() * random.uniform(0.95, 1.05)  # noqa: S311 spreads polls, not secret
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        self._nudged.clear()

    async def _failed(self, error: Exception, failures: int) -> None:
        pause = min(_BACKOFF[0] * 2 ** min(failures - 1, 10), _BACKOFF[1]) * random.uniform(0.5, 1.0)  # noqa: S311
        match error:
            case CursorLost():
                await self._lost(error)
                if failures == 1:
                    return
            case Retry():
                self._set("retrying", str(error))
                pause = error.after if error.after is not None else pause
            case NotAllowed():
                self._set("not allowed", str(error))
                self.progress.first_pass.set()
                pause = _REST
            case Missing():
                self._set("missing", str(error))
                self.progress.first_pass.set()
            case _:
                # Its text may quote a record: it goes to the log alone.
                self._set("failing", f"unexpected {type(error).__name__}, see the log")
                self._log.error("feed failed", error=redact(str(error))[:500], exc_info=error)
        if failures == 1 or not isinstance(error, Retry | NotAllowed | Missing):
            self._log.warning("feed pauses", why=self.progress.why, seconds=round(pause, 1))
        await self._pause(timedelta(seconds=pause))

    async def _lost(self, error: CursorLost) -> None:
        now = self.owner.clock.now()
        since = error.since
        if isinstance(since, timedelta):
            since = moment(now - millis(since))
        until = int(since.timestamp() * 1000) if since else None
        cursor = self.cursor()
        fresh = cursor.model_copy(update={"position": error.cursor, "until": until, "started_at": 0})
        self._log.warning("cursor lost", why=str(error), gap=error.gap)
        await self._commit(Unit([]), fresh, force=True)
        if error.gap and self.owner.report is not None:
            await self.owner.report("gap", f"{self.feed.name}: {error}")

    def _set(self, state: str, why: str = "") -> None:
        before, self.progress.state = self.progress.state, state
        was, self.progress.why = self.progress.why, why
        # A poll that goes well is no news: its time is reported with the minute's status.
        if why != was or (before != state and not {before, state} <= _WELL):
            self.owner.changed()

    # ---- reading

    def cursor(self) -> Cursor:
        """Give where this axis stands."""
        if self._unsaved is not None:
            return self._unsaved
        cursor = self.owner.state.cursors.get((self.feed.name, self.axis.key))
        return cursor or Cursor(incarnation=self.owner.wish.incarnation)

    async def read_once(self) -> None:
        """Read from the cursor to the end of what there is."""
        if self._restart:
            self._restart = False
            self._unsaved = self.cursor().model_copy(
                update={"position": None, "until": None, "started_at": 0}
            )
        if self.feed.late is not None:
            await self._windows()
            return
        cursor = self.cursor()
        if cursor.finishing:
            await self._finisher.finish(cursor)
            return
        now = self.owner.clock.now()
        full = self.feed.reads_all and (cursor.position is None or cursor.started_at > cursor.finished_at)
        if full and cursor.position is None:
            cursor = cursor.model_copy(
                update={
                    "snapshot": cursor.snapshot + 1,
                    "page": 0,
                    "started_at": max(now, cursor.finished_at + 1),
                }
            )
            self.owner.state.inventory.begin(self.feed.name, self.axis.key)
        since = moment(now - millis(self.feed.lookback))
        await self._pages(
            At(self.axis, cursor.position, since, moment(now), self._take_hints(), self._fresh), cursor
        )

    async def _windows(self) -> None:
        for window in windows(self.feed, self.cursor().until, self.owner.clock.now()):
            at = At(self.axis, self.cursor().position, moment(window.since), moment(window.until),
                    self._take_hints(), self._fresh)  # fmt: skip
            await self._pages(at, self.cursor())
            until = max(window.until, self.cursor().until or 0)
            done = self.cursor().model_copy(update={"until": until, "position": None})
            await self._commit(Unit([]), done)
            behind = max(0.0, (self.owner.clock.now() - window.until) / 1000)
            metrics.worst_cursor_age.note(self._labels, self._key, behind)

    def _take_hints(self) -> Sequence[Json]:
        hints, self._hints = self._hints, []
        return hints

    def _fresh(self, names: Iterable[str]) -> list[str]:
        done = set(self.cursor().done)
        return [name for name in names if name not in done]

    async def _pages(self, at: At, cursor: Cursor) -> None:
        pages = self._read(at)
        commit: asyncio.Task[None] | None = None
        last: Json = at.cursor
        try:
            while True:
                page = await self._next(pages)
                if commit is not None:
                    await commit
                    commit = None
                if page is None:
                    return
                if page.cursor is not None and page.cursor == last and page.records and not page.complete:
                    raise Retry("the provider gives the same cursor again and again")
                last = page.cursor if page.cursor is not None else last
                cursor = self._advance(cursor, page)
                # One page is read ahead while this one is committed.
                commit = asyncio.create_task(self._page(page, cursor))
                if page.complete:
                    await commit
                    commit = None
                    cursor = self.cursor()
        finally:
            try:
                if commit is not None:
                    with contextlib.suppress(Exception):
                        await commit
            finally:
                with contextlib.suppress(Exception):
                    await pages.aclose()  # type: ignore[attr-defined]  # feeds are generators

    async def _next(self, pages: AsyncIterator[Page]) -> Page | None:
        silence = self.feed.silence.total_seconds() if self.feed.silence else None
        try:
            async with asyncio.timeout(silence):
                return await anext(pages)
        except StopAsyncIteration:
            return None
        except TimeoutError:
            raise Retry("the stream fell silent", after=0.0) from None

    def _advance(self, cursor: Cursor, page: Page) -> Cursor:
        changes: dict[str, Any] = {"page": cursor.page + 1}
        if self.feed.late is None and (page.cursor is not None or page.complete):
            # A broken window is read again whole: a page's token belongs to the window it was asked for.
            changes["position"] = page.cursor
        if page.complete:
            changes["finishing"] = True
        if page.done:
            changes["done"] = (*cursor.done, *page.done)[-_MOST_DONE:]
        return cursor.model_copy(update=changes)

    # ---- committing

    async def _page(self, page: Page, cursor: Cursor) -> None:
        """Commit a page in parts; only the last part moves the cursor."""
        full = self.feed.reads_all and cursor.started_at > cursor.finished_at
        mapper = self.feed.to[page.mapper] if page.records else next(iter(self.feed.to.values()))
        source = Source(
            self.feed.name, self.axis.key, mapper, page.mapper,
            (cursor.snapshot, cursor.started_at) if full else None, live=not full,
        )  # fmt: skip
        starts = range(0, max(len(page.records), 1), PART)
        for start in starts:
            prepared = self.owner.preparation.prepare(page.records[start : start + PART], source)
            unit = self.unit(prepared, source, (cursor.page, start))
            last = start == starts[-1]
            await self._commit(unit, cursor if last else None, force=page.complete)
            self._count(prepared)
            for nudge in prepared.nudges:
                self.owner.nudge(nudge)
            await asyncio.sleep(0)
        self.progress.first_page.set()
        if self.feed.every is None:
            self._succeeded()
        if page.complete:
            await self._finisher.finish(self.cursor())
            self._unsaved = None
        if page.ack is not None:
            await page.ack()

    def unit(self, prepared: Prepared, source: Source, number: tuple[int, int]) -> Unit:
        """Add the state that goes with a part of a page."""
        owner, wish = self.owner, self.owner.wish
        unit = Unit(prepared.records, replace=owner.preparation.refused)
        if prepared.seen:
            expires = owner.clock.now() + owner.repeats
            page, seen = owner.state.seen.page(prepared.seen, wish.incarnation, expires)
            unit.records.append(owner.record("seen", key(wish.name, str(page)), seen))
            unit.committed.append(lambda: owner.state.seen.add(page, seen))
        for topic, entries in prepared.entries.items():
            self._members(unit, source, topic, entries, number)
        return unit

    def _members(
        self, unit: Unit, source: Source, topic: str, entries: list[tuple[str, int]], number: tuple[int, int]
    ) -> None:
        owner, wish, inventory = self.owner, self.owner.wish, self.owner.state.inventory
        now = owner.clock.now()
        if source.snapshot is None:
            place = (0, inventory.live_number())
            feed, axis, live = LIVE, topic, True
        else:
            place = (source.snapshot[0], number[0] * 1000 + number[1] // PART)
            feed, axis, live = source.feed, source.axis, False
        page = members(wish.incarnation, place[0], topic, entries, now, live=live)
        raw = key(wish.name, feed, axis, str(place[0]), str(place[1]))
        unit.records.append(owner.record("members", raw, page))
        running = -1 if live else place[0]
        unit.committed.append(lambda: inventory.take(feed, axis, place, page, running))

    async def _commit(self, unit: Unit, cursor: Cursor | None, *, force: bool = False) -> None:
        now = self.owner.clock.now()
        if cursor is not None:
            idle = not unit.records and not force and now - self._saved_at < _IDLE_CURSOR_MS
            if idle or cursor == self.owner.state.cursors.get((self.feed.name, self.axis.key)):
                self._unsaved = cursor
            else:
                unit.records.append(self.owner.record("cursors", self._key, cursor))
                unit.committed.append(lambda: self._saved(cursor, now))
        await self.owner.committer.commit(unit)

    def _saved(self, cursor: Cursor, now: int) -> None:
        self.owner.state.cursors[self.feed.name, self.axis.key] = cursor
        self._unsaved, self._saved_at = None, now

    def _count(self, prepared: Prepared) -> None:
        provider, feed, now = self.owner.provider, self.feed.name, self.owner.clock.now()
        topics = prepared.topics()
        for topic, count in topics.items():
            metrics.events_published.labels(provider, feed, topic).inc(count)
            self.progress.published += count
        if prepared.duplicates:
            metrics.events_duplicate.labels(provider, feed).inc(prepared.duplicates)
        if prepared.times:
            oldest, newest = min(prepared.times), max(prepared.times)
            delay = metrics.event_delay.labels(provider, feed)
            for time in {oldest, newest}:
                delay.observe(max(0.0, (now - time) / 1000))
            self.progress.last_event = max(self.progress.last_event, newest)
        if prepared.seen:
            self.owner.found(feed, self.axis.key, prepared)
        if topics:
            self.owner.changed()

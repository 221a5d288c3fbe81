"""The end of a full read: what it did not see is deleted, unless so much vanished that it is held back."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import structlog

from ingest.consuming import Incoming, Place, read_to_end
from ingest.inventory import GONE, LIVE, entity_hash, members
from ingest.producing import Outgoing
from ingest.publish import Unit
from ingest.state import key, parts_of
from schemas.control import Cursor, Members, UnreadableRecordError

if TYPE_CHECKING:
    from ingest.feeds import Owner

_PART = 2000
_BURIALS = 1_000_000_000
_log = structlog.get_logger(part="finishing")


class Finisher:
    """Ends the full reads of one feed on one axis; every step can be repeated after a crash."""

    def __init__(self, owner: "Owner", feed: str, axis: str) -> None:
        self._owner, self._feed, self._axis = owner, feed, axis

    async def finish(self, cursor: Cursor) -> None:
        """Delete what vanished, drop the pages of older snapshots, and note that the read is whole."""
        owner, inventory = self._owner, self._owner.state.inventory
        gone = inventory.vanished(self._feed, self._axis, cursor.started_at)
        if inventory.suspicious(self._feed, self._axis, len(gone)) and not cursor.held:
            await self._hold(cursor, len(gone))
            return
        if gone:
            await self._delete(set(gone), cursor)
        old = inventory.older(self._feed, self._axis, cursor.snapshot)
        records = [
            owner.record("members", key(owner.wish.name, self._feed, self._axis, str(n), str(p)), None)
            for n, p in old
        ]
        for start in range(0, len(records), _PART):
            await owner.committer.commit(Unit(records[start : start + _PART]))
        done = {"finishing": False, "held": 0, "page": 0}
        done["finished_at"] = max(owner.clock.now(), cursor.started_at)
        done["finished_began"] = cursor.started_at
        whole = partial(inventory.finish, self._feed, self._axis, cursor.snapshot, cursor.started_at)
        await self._save(cursor.model_copy(update=done), whole)
        await self._settle(inventory.scope(self._feed, self._axis).topic)

    async def _settle(self, topic: str) -> None:
        """Drop what live feeds noted before every scope was read anew; delete what came and went unseen."""
        owner, inventory = self._owner, self._owner.state.inventory
        reads = owner.full_reads()
        if reads is None:
            return
        pages, orphans = inventory.settled(topic, reads)
        records = [owner.preparation.tombstone(topic, one) for one in orphans]
        records += [
            owner.record("members", key(owner.wish.name, LIVE, topic, "0", str(n)), None) for n in pages
        ]

        def note() -> None:
            for one in orphans:
                inventory.set(topic, entity_hash(one), GONE)
            inventory.drop_live(topic, pages)

        if records:
            await owner.committer.commit(Unit(records, [note]))

    async def _hold(self, cursor: Cursor, gone: int) -> None:
        """Keep everything, and let the next full read say whether it is true.

        A lost permission lists nothing with 200 OK.
        """
        owner, inventory = self._owner, self._owner.state.inventory
        _log.warning("deletions held back", connector=owner.wish.name, feed=self._feed, gone=gone)
        if owner.report is not None:
            await owner.report(
                "deletions held", f"{self._feed}: {gone} vanished at once; the next full read decides"
            )
        held = {"finishing": False, "held": gone, "page": 0, "finished_at": cursor.started_at}
        # Its pages join the members, so that nothing is forgotten if the next read is whole again.
        await self._save(cursor.model_copy(update=held), partial(inventory.begin, self._feed, self._axis))

    async def _save(self, cursor: Cursor, then: Callable[[], None]) -> None:
        owner = self._owner
        place = (self._feed, self._axis)

        def note() -> None:
            owner.state.cursors[place] = cursor
            then()

        record = owner.record("cursors", key(owner.wish.name, *place), cursor)
        await owner.committer.commit(Unit([record], [note]))

    async def _delete(self, gone: set[int], cursor: Cursor) -> None:
        """Publish the tombstones; ids are read back from the member pages, memory holds only their hashes."""
        owner = self._owner
        topic = owner.state.inventory.scope(self._feed, self._axis).topic
        ids = await self._ids(gone)
        for start in range(0, len(ids), _PART):
            await self._bury(topic, ids[start : start + _PART], cursor)
        _log.info("deleted", connector=owner.wish.name, feed=self._feed, count=len(ids))

    async def _bury(self, topic: str, ids: Sequence[str], cursor: Cursor) -> None:
        """Publish deletions with a page that says so: found after a crash, they are not published again."""
        owner, inventory = self._owner, self._owner.state.inventory
        pages = inventory.scope(self._feed, self._axis).pages
        number = (cursor.snapshot, max([_BURIALS - 1, *(n[1] for n in pages if n[0] == cursor.snapshot)]) + 1)
        entries = [(one, GONE) for one in ids]
        page = members(owner.wish.incarnation, cursor.snapshot, topic, entries, owner.clock.now(), live=False)
        raw = key(owner.wish.name, self._feed, self._axis, str(number[0]), str(number[1]))
        records: list[Outgoing] = [owner.preparation.tombstone(topic, one) for one in ids]
        records.append(owner.record("members", raw, page))

        def note() -> None:
            inventory.take(self._feed, self._axis, number, page, cursor.snapshot)

        await owner.committer.commit(Unit(records, [note]))

    async def _ids(self, gone: set[int]) -> list[str]:
        owner = self._owner
        found: dict[str, None] = {}
        mine = [owner.wish.name, self._feed, self._axis]

        def take(record: Incoming) -> None:
            if record.value is None or parts_of(record.key)[:3] != mine:
                return
            try:
                page = Members.load(record.value)
            except UnreadableRecordError:
                return
            for one in page.ids:
                if entity_hash(one) in gone:
                    found[one] = None

        await read_to_end(owner.preparation.cluster, [Place("members", owner.wish.partition)], take)
        return list(found)

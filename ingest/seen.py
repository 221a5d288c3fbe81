"""What was published lately, so that an occurrence goes out once whichever way and however often it comes.

An occurrence is looked up among those of its own ten minutes: the same record always has the same time.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ingest.hashes import HashSet, pack, unpack
from schemas.control import Seen

_BUCKET_MS = 600_000


class _PageMark(NamedTuple):
    newest_time: int
    expires: int
    oldest: int


class SeenWindow:
    """The hashes of one connector, kept in memory and, page by page, on the topic `seen`."""

    def __init__(self) -> None:
        self._buckets: dict[int, HashSet] = {}
        self._pages: dict[int, _PageMark] = {}
        self._pending: set[int] = set()
        self._next = 0

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def has(self, key: int, time: int) -> bool:
        """Tell whether an occurrence (hash of its uid, its time in ms) was published or is about to be."""
        if key in self._pending:
            return True
        bucket = self._buckets.get(time // _BUCKET_MS)
        return bucket is not None and key in bucket

    def page(self, found: Sequence[tuple[int, int]], incarnation: str, expires: int) -> tuple[int, Seen]:
        """Make the record for a page of (hash, time), which from now on count as on their way.

        `add` is called after the commit. A failed commit drops the whole window: it is read back from Kafka.
        """
        number = self._next
        self._next += 1
        buckets: dict[int, list[int]] = {}
        for key, time in found:
            buckets.setdefault(time // _BUCKET_MS, []).append(key)
        hashes = [key for keys in buckets.values() for key in keys]
        self._pending.update(hashes)
        record = Seen(
            incarnation=incarnation,
            newest_time=max([time for _, time in found]),
            expires=expires,
            hashes=base64.b64encode(pack(hashes)).decode(),
            times=",".join(f"{bucket}:{len(keys)}" for bucket, keys in buckets.items()),
        )
        return number, record

    def add(self, number: int, record: Seen) -> None:
        """Take in a page that was committed, or read back at take-over."""
        hashes = unpack(base64.b64decode(record.hashes))
        self._pending.difference_update(hashes)
        start = 0
        oldest: int | None = None
        for part in record.times.split(","):
            bucket, _, count = part.partition(":")
            end = start + int(count)
            into = self._buckets.get(int(bucket))
            if into is None:
                if (last := next(reversed(self._buckets.values()), None)) is not None:
                    last.settle()
                into = self._buckets[int(bucket)] = HashSet()
            into.update(hashes[start:end])
            oldest = min(int(bucket), int(bucket) if oldest is None else oldest)
            start = end
        self._pages[number] = _PageMark(record.newest_time, record.expires, oldest or 0)
        self._next = max(self._next, number + 1)

    def expired(self, now: int, floor: int | None) -> list[int]:
        """List pages that can't come again: past their time to repeat, and older than every open window.

        `floor` is the oldest start (ms) of a window still to be read, None without windowed feeds.
        """
        return [
            number
            for number, mark in self._pages.items()
            if mark.expires < now and (floor is None or mark.newest_time < floor)
        ]

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget pages whose tombstones were committed, and buckets that only they had."""
        for number in numbers:
            self._pages.pop(number, None)
        oldest = min((mark.oldest for mark in self._pages.values()), default=None)
        for bucket in [b for b in self._buckets if oldest is None or b < oldest]:
            del self._buckets[bucket]

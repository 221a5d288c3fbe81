"""Millions of 8-byte hashes in memory: sorted arrays with a small set of newcomers, 8 bytes an entry.

A set would take 80 bytes an entry, a dict 100.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

_SHARDS = 256
_NEW = 512
_FEW = 32
_LARGE = 65_536


def from_hex(uid: str) -> int:
    """Take the first 8 bytes of an event's uid."""
    return int(uid[:16], 16)


def pack(hashes: Iterable[int]) -> bytes:
    """Write hashes as 8 bytes each, little-endian."""
    packed = array("Q", hashes)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack(raw: bytes) -> "array[int]":
    """Read what `pack` wrote.

    Raises:
        ValueError: Not a multiple of 8 bytes.
    """
    hashes = array("Q")
    hashes.frombytes(raw)
    if sys.byteorder == "big":
        hashes.byteswap()
    return hashes


class _Run:
    """Sorted hashes with a small set of newcomers."""

    __slots__ = ("most", "new", "sorted")

    def __init__(self, hashes: Iterable[int] = (), most: int = _NEW) -> None:
        self.sorted = array("Q", sorted(set(hashes)))
        self.new: set[int] = set()
        self.most = most

    def merge(self) -> None:
        if self.new:
            self.sorted = array("Q", sorted([*self.sorted, *self.new]))
            self.new = set()


class HashSet:
    """A set of 8-byte hashes; a large one is split by their first byte, so that no merge takes long."""

    __slots__ = ("_runs", "_shift", "_size")

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._runs, self._shift = [_Run()], 64
        self._size = 0
        self.update(hashes)

    def __contains__(self, key: int) -> bool:
        run = self._runs[key >> self._shift]
        if key in run.new:
            return True
        known = run.sorted
        place = bisect_left(known, key)
        return place < len(known) and known[place] == key

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        for run in self._runs:
            run.merge()
            yield from run.sorted

    def add(self, key: int) -> None:
        """Add one hash."""
        self.update((key,))

    def settle(self) -> None:
        """Sort in the newcomers, which take ten times the memory: few are to come from now on."""
        for run in self._runs:
            run.merge()

    def update(self, keys: Iterable[int]) -> None:
        """Add many; all in one place, as this is done for each event."""
        runs, shift = self._runs, self._shift
        for key in keys:
            run = runs[key >> shift]
            new, known = run.new, run.sorted
            if key in new:
                continue
            place = bisect_left(known, key)
            if place < len(known) and known[place] == key:
                continue
            new.add(key)
            self._size += 1
            if len(new) > run.most and len(new) > len(known) >> 3:
                run.merge()
                if self._size > _LARGE and len(runs) == 1:
                    self._split()
                    runs, shift = self._runs, self._shift

    def _split(self) -> None:
        parts: list[list[int]] = [[] for _ in range(_SHARDS)]
        for key in self:
            parts[key >> 56].append(key)
        self._runs, self._shift = [_Run(part, _FEW) for part in parts], 56


class HashMap:
    """A mapping from 8-byte hashes to 8-byte values, 16 bytes an entry, in shards by the key's first byte."""

    __slots__ = ("_shards",)

    def __init__(self) -> None:
        self._shards: list[_Shard | None] = [None] * _SHARDS

    def get(self, key: int) -> int | None:
        """Look a value up."""
        shard = self._shards[key >> 56]
        return None if shard is None else shard.get(key)

    def put(self, key: int, value: int | None) -> None:
        """Set a value; None removes the key."""
        shard = self._shards[key >> 56]
        if shard is None:
            shard = self._shards[key >> 56] = _Shard()
        shard.put(key, value)

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards if shard is not None)


class _Shard:
    __slots__ = ("_keys", "_new", "_values")

    def __init__(self) -> None:
        self._keys, self._values = array("Q"), array("Q")
        self._new: dict[int, int | None] = {}

    def get(self, key: int) -> int | None:
        if key in self._new:
            return self._new[key]
        place = bisect_left(self._keys, key)
        if place < len(self._keys) and self._keys[place] == key:
            return self._values[place]
        return None

    def put(self, key: int, value: int | None) -> None:
        place = bisect_left(self._keys, key)
        if value is not None and place < len(self._keys) and self._keys[place] == key:
            self._values[place] = value
            self._new.pop(key, None)
            return
        self._new[key] = value
        if len(self._new) > max(32, len(self._keys) >> 3):
            self._merge()

    def __len__(self) -> int:
        self._merge()
        return len(self._keys)

    def _merge(self) -> None:
        if not self._new:
            return
        kept = [pair for pair in zip(self._keys, self._values, strict=True) if pair[0] not in self._new]
        merged = sorted(kept + [(key, value) for key, value in self._new.items() if value is not None])
        self._keys = array("Q", [key for key, _ in merged])
        self._values = array("Q", [value for _, value in merged])
        self._new = {}

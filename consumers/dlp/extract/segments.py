"""What extractors hand to the detectors: pieces of text that know where they come from."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, NamedTuple, TypeAlias

CHUNK = 256 << 10
MARGIN = 8192  # longer than the longest value and its context, on both sides


class Part(StrEnum):
    """What a piece of text is within its document."""

    TEXT = "text"
    TABLE = "table"
    JSON = "json"
    NAME = "name"  # of a member or a sheet
    PROPERTY = "property"


@dataclass(slots=True)
class Cells:
    """Where the cells of a sheet's segment start, and which they are: row in the upper bits, column in 14."""

    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    refs: "array[int]" = field(default_factory=lambda: array("Q"))

    def add(self, start: int, row: int, column: int) -> None:
        """Remember a cell; rows and columns count from 0."""
        self.starts.append(start)
        self.refs.append(row << 14 | column)

    def at(self, offset: int) -> tuple[int, int]:
        """The row and column of the cell that holds the offset."""
        ref = self.refs[self._index(offset)]
        return ref >> 14, ref & 0x3FFF

    def start(self, offset: int) -> int:
        """Where the cell that holds the offset starts."""
        return self.starts[self._index(offset)]

    def _index(self, offset: int) -> int:
        return max(bisect_right(self.starts, offset) - 1, 0)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of UTF-8 text of one place.

    Long texts come in overlapping pieces: `base` is the offset of the piece in its place, and the piece owns
    the values that start from `low` on and before `high`, so that each is seen once and with all its context.
    `columns` names the columns of a table, by `delimiter` or by `cells`.
    """

    kind: Part
    text: bytes
    place: str = ""
    base: int = 0
    low: int = 0
    high: int | None = None
    columns: tuple[str, ...] = ()
    delimiter: bytes = b""
    cells: Cells | None = None


class Inside(NamedTuple):
    """Where in the top-level file we are, and how many containers deep."""

    place: str = ""
    depth: int = 0

    def join(self, inner: str) -> str:
        """The place of something inside this one."""
        return f"{self.place}/{inner}" if self.place else inner


# Extracts what lies in a container: the content, its name and its place.
Nested: TypeAlias = Callable[[BinaryIO, str, str], Iterator[Segment]]


class Windows:
    """Cuts a stream of text into segments that overlap by `MARGIN` on either side of what they own."""

    def __init__(
        self,
        kind: Part,
        place: str,
        *,
        columns: tuple[str, ...] = (),
        delimiter: bytes = b"",
        chunk: int = CHUNK,
        margin: int = MARGIN,
    ) -> None:
        self._kind, self._place, self._columns, self._delimiter = kind, place, columns, delimiter
        self._chunk, self._margin = chunk, margin
        self._buffer = bytearray()
        self._base = 0
        self._low = 0
        self.total = 0

    def feed(self, text: bytes) -> Iterator[Segment]:
        """Take text and yield the segments that it completes."""
        self.total += len(text)
        self._buffer += text
        while len(self._buffer) >= self._low + self._chunk + self._margin:
            high = self._low + self._chunk
            yield self._cut(high, high + self._margin)
            drop = max(high - self._margin, 0)
            del self._buffer[:drop]
            self._base += drop
            self._low = high - drop

    def close(self) -> Iterator[Segment]:
        """Yield what is left."""
        if len(self._buffer) > self._low:
            yield self._cut(None, len(self._buffer))

    def _cut(self, high: int | None, end: int) -> Segment:
        text = bytes(memoryview(self._buffer)[:end])
        return Segment(
            self._kind, text, self._place, self._base, self._low, high, self._columns, self._delimiter
        )

"""Worksheets by an own walk: the declared dimension is never read, so a cell at XFD1048576 costs one cell."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from consumers.dlp.budget import Budget
from consumers.dlp.extract.segments import CHUNK, Cells, Part, Segment
from consumers.dlp.extract.xml import SPOKEN, local, parse, parser

LAST_COLUMN = 0x3FFF
BLANKS = str.maketrans("\t\r\n", "   ")


class SharedStrings:
    """The workbook's string table; cells refer to it by number."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._used = bytearray()
        self._held: list[str] | None = None

    def read(self, pieces: Iterable[bytes]) -> None:
        """Read the table's part; the runs of one string are joined."""
        made = parser()
        made.StartElementHandler = self._start
        made.EndElementHandler = self._end
        made.CharacterDataHandler = self._data
        for _ in parse(made, pieces):
            continue
        self._used = bytearray(len(self._texts))

    def get(self, number: str) -> str:
        """The string of that number, empty when there is none."""
        try:
            index = int(number)
            self._used[index] = 1
            return self._texts[index]
        except (ValueError, IndexError):
            return ""

    def unused(self, place: str) -> Iterator[Segment]:
        """Yield the strings that no cell refers to: deleted cells stay in the file."""
        left = [text for text, used in zip(self._texts, self._used, strict=False) if not used]
        for start in range(0, len(left), 4096):
            yield Segment(Part.TEXT, "\n".join(left[start : start + 4096]).encode("utf-8", "replace"), place)

    def _start(self, name: str, _attributes: list[str]) -> None:
        if local(name) == "si":
            self._held = []

    def _end(self, name: str) -> None:
        if local(name) == "si" and self._held is not None:
            self._texts.append("".join(self._held))
            self._held = None

    def _data(self, data: str) -> None:
        if self._held is not None:
            self._held.append(data)


class _Sheet:
    """Turns a worksheet into lines of cells; the first line with words in it names the columns."""

    def __init__(self, strings: SharedStrings, place: str, budget: Budget) -> None:
        self.parser = parser()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self._strings, self._place, self._budget = strings, place, budget
        self._rows = -1
        self._column = -1
        self._count = 0
        self._type = ""
        self._value: list[str] = []
        self._out = bytearray()
        self._cells = Cells()
        self._loose: list[str] = []
        self._columns: dict[int, str] | None = None
        self._first: dict[int, str] = {}
        self._in_cell = False

    def take(self, least: int) -> Iterator[Segment]:
        """Yield what was gathered once it is `least` bytes; it always ends with a row."""
        if len(self._out) > least and not self._in_cell:
            yield Segment(Part.TABLE, bytes(self._out), self._place, columns=self._names(), cells=self._cells)
            self._out = bytearray()
            self._cells = Cells()
        if self._loose and least == 0:
            yield Segment(Part.TEXT, "\n".join(self._loose).encode("utf-8", "replace"), self._place)

    def _names(self) -> tuple[str, ...]:
        named = self._columns if self._columns is not None else self._first
        if not named or not any(any(c.isalpha() for c in name) for name in named.values()):
            return ()
        return tuple(named.get(column, "") for column in range(min(max(named), 1023) + 1))

    def _start(self, name: str, attributes: list[str]) -> None:
        name = local(name)
        if name == "c":
            self._open_cell(attributes)
        elif name == "row":
            self._rows += 1
            self._column = -1
            for key, value in zip(attributes[::2], attributes[1::2], strict=True):
                if key == "r" and value.isdecimal() and len(value) < 9:
                    self._rows = int(value) - 1
        elif name in ("v", "t", "f"):
            self._value.clear()
        elif name in SPOKEN:
            pairs = zip(attributes[::2], attributes[1::2], strict=True)
            self._loose += [value for key, value in pairs if local(key) in SPOKEN[name]]

    def _open_cell(self, attributes: list[str]) -> None:
        self._in_cell = True
        self._type = "n"
        self._column += 1
        self._count += 1
        for at in range(0, len(attributes), 2):
            if attributes[at] == "t":
                self._type = attributes[at + 1]
            elif attributes[at] == "r":
                self._column = min(column_number(attributes[at + 1].rstrip("0123456789")), LAST_COLUMN)
        if self._out and self._out[-1] != 10:
            self._out += b"\t"
        self._cells.add(len(self._out), max(self._rows, 0), self._column)

    def _data(self, data: str) -> None:
        self._value.append(data)

    def _end(self, name: str) -> None:
        name = local(name)
        if name in ("v", "t"):
            self._emit("".join(self._value))
            self._value.clear()
        elif name == "f":
            self._loose.append("".join(self._value))
            self._value.clear()
        elif name == "c":
            self._in_cell = False
        elif name == "row":
            self._out += b"\n"
            if self._columns is None and self._first:
                self._columns = self._first
            self._budget.row(self._count)
            self._count = 0
        elif self._value:
            self._loose += filter(str.strip, self._value)
            self._value.clear()

    def _emit(self, value: str) -> None:
        if not self._in_cell:
            self._loose.append(value)
            return
        if self._type == "s":
            value = self._strings.get(value)
        elif self._type == "n":
            value = plain_number(value)
        text = value.translate(BLANKS)
        self._out += text.encode("utf-8", "replace")
        if self._columns is None:
            self._first[self._column] = text[:64]


def extract_sheet(
    pieces: Iterable[bytes], strings: SharedStrings, place: str, budget: Budget
) -> Iterator[Segment]:
    """Yield a worksheet, hidden or not, as tables of about a mebibyte, and its other words as text."""
    sheet = _Sheet(strings, place, budget)
    for _ in parse(sheet.parser, pieces):
        yield from sheet.take(CHUNK)
    yield from sheet.take(0)


@lru_cache(maxsize=1024)
def column_number(letters: str) -> int:
    """Count columns from 0: A is 0, XFD is 16383; what is no column is 0."""
    number = 0
    if not letters.isascii() or not letters.isupper() or len(letters) > 3:
        return 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def column_letters(number: int) -> str:
    """The letters of a column: 0 is A."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def plain_number(value: str) -> str:
    """Undo the exponent that a spreadsheet stores for a long whole number."""
    if "E" not in value and "e" not in value:
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return str(int(number)) if number.is_integer() and abs(number) < 1e20 else value

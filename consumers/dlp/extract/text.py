"""Plain text, CSV and JSON: decoded to UTF-8, otherwise scanned as they are."""

import codecs
import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from consumers.dlp.budget import Budget
from consumers.dlp.extract.segments import CHUNK, Part, Segment, Windows
from consumers.dlp.sniff import HEAD, Kind, encoding_of

JSON_WHOLE = 16 << 20  # up to here the path of a value is known; above, only its offset
DELIMITERS = ",;\t|"
BOM = b"\xef\xbb\xbf"


def extract_text(source: BinaryIO, kind: Kind, place: str, budget: Budget) -> Iterator[Segment]:
    """Yield the segments of a text file; bytes that are no valid text are kept, never dropped."""
    pieces = _utf8(source, budget)
    first = next(pieces, b"")
    if kind is Kind.JSON:
        yield from _json(first, pieces, place)
        return
    columns, delimiter = header(first) if kind is Kind.CSV else ((), b"")
    windows = Windows(Part.TABLE if columns else Part.TEXT, place, columns=columns, delimiter=delimiter)
    yield from windows.feed(first)
    for piece in pieces:
        yield from windows.feed(piece)
    yield from windows.close()


def header(text: bytes) -> tuple[tuple[str, ...], bytes]:
    """The column names and the delimiter of a CSV file, or nothing if its first line names no columns."""
    line = text[:HEAD].removeprefix(BOM).split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    delimiter = max(DELIMITERS, key=line.count)
    if delimiter not in line:
        delimiter = ","
    try:
        names = next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    except csv.Error:
        return (), b""
    if not any(names) or any(any(c.isdigit() for c in n) and not any(c.isalpha() for c in n) for n in names):
        return (), b""
    return tuple(names), delimiter.encode()


def _utf8(source: BinaryIO, budget: Budget) -> Iterator[bytes]:
    source.seek(0)
    encoding = encoding_of(source.read(HEAD))
    source.seek(0)
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)("replace")
    while piece := source.read(CHUNK):
        budget.tick()
        yield decoder.decode(piece).encode("utf-8", "replace") if decoder else piece
    if decoder:
        yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _json(first: bytes, rest: Iterator[bytes], place: str) -> Iterator[Segment]:
    held = bytearray(first)
    for piece in rest:
        held += piece
        if len(held) > JSON_WHOLE:
            break
    else:
        yield Segment(Part.JSON, bytes(held), place)
        return
    windows = Windows(Part.JSON, place)
    yield from windows.feed(bytes(held))
    for piece in rest:
        yield from windows.feed(piece)
    yield from windows.close()

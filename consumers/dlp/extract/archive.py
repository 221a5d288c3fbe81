"""Zip and gzip, streamed against the budget: nothing is written to disk, and no declared size is believed."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from consumers.dlp.budget import Budget, UnreadableError
from consumers.dlp.extract.segments import Inside, Nested, Part, Segment
from consumers.dlp.sniff import BROKEN_ZIP, ENCRYPTED_FLAG, clean_name
from consumers.dlp.status import Reason

PIECE = 64 << 10
BROKEN = (
    *BROKEN_ZIP,
    zlib.error,
    lzma.LZMAError,
    EOFError,
)


def open_zip(source: BinaryIO) -> zipfile.ZipFile:
    """Open an archive.

    Raises:
        UnreadableError: Its directory can't be read, as in a truncated file.
    """
    source.seek(0)
    try:
        return zipfile.ZipFile(source)
    except BROKEN:
        raise UnreadableError(Reason.MALFORMED) from None


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> Iterator[bytes]:
    """Yield a member's bytes, each piece spent from the budget.

    A member that is longer than it declares ends in a checksum error: what hides behind is not called clean.

    Raises:
        UnreadableError: The member is encrypted or damaged.
    """
    if info.flag_bits & ENCRYPTED_FLAG:
        raise UnreadableError(Reason.ENCRYPTED)
    try:
        with archive.open(info) as member:
            while piece := member.read(PIECE):
                budget.inflate(len(piece))
                yield piece
    except BROKEN:
        raise UnreadableError(Reason.MALFORMED) from None


def extract_zip(source: BinaryIO, inside: Inside, budget: Budget, nested: Nested) -> Iterator[Segment]:
    """Yield the segments of each member and of its name; `..` and the like in names are only text here."""
    with open_zip(source) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            budget.member(inside.depth)
            name = clean_name(info.filename) or "member"
            where = inside.join(name)
            yield Segment(Part.NAME, name.encode("utf-8", "replace"), where)
            held = BytesIO()
            try:
                for piece in read_member(archive, info, budget):
                    held.write(piece)
            except UnreadableError as problem:
                budget.note(problem.reason)
            yield from nested(held, name, where)


def extract_gzip(
    source: BinaryIO, name: str, inside: Inside, budget: Budget, nested: Nested
) -> Iterator[Segment]:
    """Yield the segments of what was compressed; all members of a multi-member file count."""
    budget.member(inside.depth)
    inner = name.rsplit("/", 1)[-1].removesuffix(".gz")
    held = BytesIO()
    try:
        for piece in _gunzip(source):
            budget.inflate(len(piece))
            held.write(piece)
    except zlib.error:
        budget.note(Reason.MALFORMED)
    yield from nested(held, inner, inside.join(inner))


def _gunzip(source: BinaryIO) -> Iterator[bytes]:
    source.seek(0)
    unzip = zlib.decompressobj(wbits=31)
    rest = b""
    while rest or (rest := source.read(PIECE)):
        yield unzip.decompress(rest, PIECE)
        rest = unzip.unconsumed_tail
        if unzip.eof:
            rest = unzip.unused_data.lstrip(b"\0") or source.read(PIECE)
            if not rest:
                return
            unzip = zlib.decompressobj(wbits=31)
    if not unzip.eof:
        raise zlib.error  # cut short

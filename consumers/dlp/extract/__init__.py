"""From a file's bytes to typed pieces of text."""

from collections.abc import Iterator
from typing import BinaryIO

from consumers.dlp.budget import Budget, UnreadableError
from consumers.dlp.extract.archive import extract_gzip, extract_zip
from consumers.dlp.extract.ooxml import extract_ooxml
from consumers.dlp.extract.pdf import extract_pdf
from consumers.dlp.extract.segments import Inside, Segment
from consumers.dlp.extract.text import extract_text
from consumers.dlp.sniff import OFFICE, Kind, Sniffed, sniff
from consumers.dlp.status import Reason

EXTRACTOR_VERSION = "1"  # to be raised with each change of what comes out; it is part of the rules hash


TOP = Inside()
TEXTS = (Kind.TEXT, Kind.CSV, Kind.JSON)


def extract(
    source: BinaryIO, name: str, sniffed: Sniffed, budget: Budget, inside: Inside = TOP
) -> Iterator[Segment]:
    """Yield the segments of a file of any known kind, and of all that is nested in it.

    Raises:
        UnreadableError: Nothing of the file can be read, for the reason given.
        ExhaustedError: The budget ended; segments yielded before are good.
    """

    def nested(inner: BinaryIO, inner_name: str, where: str) -> Iterator[Segment]:
        found = sniff(inner, inner_name)
        try:
            yield from extract(inner, inner_name, found, budget, Inside(where, inside.depth + 1))
        except UnreadableError as problem:
            budget.note(problem.reason)

    if sniffed.kind in TEXTS:
        yield from extract_text(source, sniffed.kind, inside.place, budget)
    elif sniffed.kind in OFFICE.values():
        yield from extract_ooxml(source, inside, budget, nested)
    elif sniffed.kind is Kind.ZIP:
        yield from extract_zip(source, inside, budget, nested)
    elif sniffed.kind is Kind.GZIP:
        yield from extract_gzip(source, name, inside, budget, nested)
    elif sniffed.kind is Kind.PDF:
        yield from extract_pdf(source, inside, budget, nested)
    elif sniffed.kind is not Kind.EMPTY and not (sniffed.kind is Kind.IMAGE and inside.depth):
        raise UnreadableError(Reason.ENCRYPTED if sniffed.encrypted else Reason.UNSUPPORTED)

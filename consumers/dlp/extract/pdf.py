"""PDF through PDFium: text by page, properties and attachments. Only for a process that may die."""

from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import pypdfium2

from consumers.dlp.budget import Budget, UnreadableError
from consumers.dlp.extract.segments import Inside, Nested, Part, Segment
from consumers.dlp.status import Reason


def extract_pdf(source: BinaryIO, inside: Inside, budget: Budget, nested: Nested) -> Iterator[Segment]:
    """Yield a segment per page, one of the properties, and those of the attachments.

    PDFium is not safe in threads and aborts on some hostile files. A page that draws something and gives no
    text (scanned paper) makes the result partial.

    Raises:
        UnreadableError: The file needs a password, or is no PDF.
    """
    source.seek(0)
    try:
        document = pypdfium2.PdfDocument(source.read())
    except pypdfium2.PdfiumError as problem:
        locked = "password" in str(problem).lower() or "security" in str(problem).lower()
        raise UnreadableError(Reason.ENCRYPTED if locked else Reason.MALFORMED) from None
    try:
        properties = "\n".join(value for value in document.get_metadata_dict().values() if value)
        if properties:
            yield Segment(Part.PROPERTY, _clean(properties), inside.join("properties"))
        for number in range(len(document)):
            yield from _page(document, number, inside, budget)
        for index in range(document.count_attachments()):
            yield from _attachment(document.get_attachment(index), inside, budget, nested)
    finally:
        document.close()


def _page(document: pypdfium2.PdfDocument, number: int, inside: Inside, budget: Budget) -> Iterator[Segment]:
    budget.page()
    try:
        page = document[number]
        words = page.get_textpage()
        text = _clean(words.get_text_range())
        drawn = bool(text.strip()) or next(page.get_objects(max_depth=1), None) is not None
        words.close()
        page.close()
    except pypdfium2.PdfiumError:
        budget.note(Reason.MALFORMED)
        return
    budget.inflate(len(text))
    if text.strip():
        yield Segment(Part.TEXT, text, inside.join(f"page {number + 1}"))
    elif drawn:
        budget.note(Reason.NO_TEXT)


def _attachment(
    attachment: pypdfium2.PdfAttachment, inside: Inside, budget: Budget, nested: Nested
) -> Iterator[Segment]:
    try:
        name = attachment.get_name()
        content = bytes(attachment.get_data())
    except pypdfium2.PdfiumError:
        budget.note(Reason.MALFORMED)
        return
    budget.inflate(len(content))
    where = inside.join(name)
    yield Segment(Part.NAME, _clean(name), where)
    yield from nested(BytesIO(content), name, where)


def _clean(text: str) -> bytes:
    """PDFium marks a hyphen at a line's end with U+FFFE or U+0002."""
    joined = (
        text.replace("\ufffe\r\n", "-").replace("\x02\r\n", "-").replace("\ufffe", "-").replace("\x02", "-")
    )
    return joined.encode("utf-8", "replace")

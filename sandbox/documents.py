"""Documents as people have them, in the formats they use, with known sensitive values in them or none."""

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import docx
import openpyxl
import pptx
from fpdf import FPDF

from sandbox import compound
from sandbox.planted import Kind, Planted, plant, sentence

_PROSE = (
    "The quarterly review took place on Tuesday with all team leads present.",
    "Open points from last month were closed, apart from the new office lease.",
    "Travel requests for the spring fair are due at the end of the month.",
    "The cafeteria will be closed for maintenance next Thursday and Friday.",
    "Order number 20261 arrived with two boxes missing; the supplier was told.",
    "Build 4.12.7 passed the smoke test and goes out with the next train.",
)


@dataclass(frozen=True, slots=True)
class Document:
    """A file and the truth about what is in it."""

    name: str
    content: bytes
    media: str
    planted: tuple[Planted, ...] = ()

    @property
    def sensitive(self) -> bool:
        """Whether a scan should find anything."""
        return bool(self.planted)


def text(lines: Sequence[str]) -> bytes:
    """Plain UTF-8 text."""
    return "\n".join(lines).encode() + b"\n"


def table(lines: Sequence[str]) -> bytes:
    """A CSV with a heading, one line to a row."""
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["id", "date", "note"])
    rows.writerows([i, f"2026-03-{i % 28 + 1:02d}", line] for i, line in enumerate(lines))
    return out.getvalue().encode()


def word(lines: Sequence[str]) -> bytes:
    """A docx: a title, paragraphs, and the last line in a table."""
    made = docx.Document()
    made.add_heading("Notes", 1)
    for line in lines[:-1]:
        made.add_paragraph(line)
    grid = made.add_table(rows=1, cols=2)
    grid.cell(0, 0).text, grid.cell(0, 1).text = "Remark", lines[-1]
    return _saved(made.save)


def sheet(lines: Sequence[str]) -> bytes:
    """An xlsx with a summary sheet and the lines on a second one."""
    book = openpyxl.Workbook()
    summary = book.active
    if summary is not None:
        summary.title = "Summary"
    rows = book.create_sheet("Rows")
    for i, line in enumerate(lines):
        rows.append([i, line])
    return _saved(book.save)


def slides(lines: Sequence[str]) -> bytes:
    """A pptx, two lines to a slide, the last line in a speaker's note."""
    deck = pptx.Presentation()
    for i in range(0, len(lines), 2):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = f"Part {i // 2 + 1}"
        slide.placeholders[1].text = "\n".join(lines[i : i + 2])
    slide.notes_slide.notes_text_frame.text = lines[-1]
    return _saved(deck.save)


def pdf(lines: Sequence[str]) -> bytes:
    """A PDF with a text layer."""
    made = FPDF()
    made.add_page()
    made.set_font("Helvetica", size=9)
    for line in lines:
        made.multi_cell(0, 5, line, new_x="LMARGIN", new_y="NEXT")
    return bytes(made.output())


def archive(lines: Sequence[str]) -> bytes:
    """A zip with a text file, and a docx in a folder that holds the same lines."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("readme.txt", "Monthly export\n")
        made.writestr("export/notes.txt", text(lines))
    return out.getvalue()


FORMATS: dict[str, tuple[Callable[[Sequence[str]], bytes], str]] = {
    "txt": (text, "text/plain"),
    "csv": (table, "text/csv"),
    "docx": (word, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    "xlsx": (sheet, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "pptx": (slides, "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    "pdf": (pdf, "application/pdf"),
    "zip": (archive, "application/zip"),
}


def document(stem: str, form: str, chance: Random, kinds: Sequence[Kind] = (), *, each: int = 1) -> Document:
    """A document of a format, with `each` fresh values of every kind; clean when no kind is named."""
    make, media = FORMATS[form]
    planted = tuple(plant(kind, chance) for kind in kinds for _ in range(each))
    return Document(f"{stem}.{form}", make(_lines(chance, planted)), media, planted)


def holding(stem: str, form: str, chance: Random, planted: Sequence[Planted]) -> Document:
    """A document of a format that holds exactly these values."""
    make, media = FORMATS[form]
    return Document(f"{stem}.{form}", make(_lines(chance, planted)), media, tuple(planted))


def encrypted_word() -> bytes:
    """A docx behind a password: a compound file with EncryptionInfo and EncryptedPackage."""
    info = (
        b"\x04\x00\x04\x00\x40\x00\x00\x00"
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><encryption '
        b'xmlns="http://schemas.microsoft.com/office/2006/encryption"><keyData saltSize="16" blockSize="16" '
        b'keyBits="256" hashSize="64" cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" '
        b'hashAlgorithm="SHA512" '
        b'saltValue="cXNBUEFfZG9jdW1lbnQhIQ=="/></encryption>'
    )
    package = Random(7).randbytes(8192)
    return compound.write({"EncryptionInfo": info, "EncryptedPackage": package})


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """A zip of about 100 KB that unpacks to more than a gigabyte, one level down."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros.txt", bytes(16 << 20))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for i in range(72):
            made.writestr(f"part-{i:02d}.zip", inner.getvalue())
    return out.getvalue()


def _lines(chance: Random, planted: Sequence[Planted]) -> list[str]:
    lines = [chance.choice(_PROSE) for _ in range(6)]
    for item in planted:
        lines.insert(chance.randint(0, len(lines)), sentence(item))
    return lines


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    save(out)
    return out.getvalue()

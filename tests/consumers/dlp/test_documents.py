"""Documents written by others' libraries: each hiding place is looked into."""

import gzip
import io
import warnings
from collections.abc import Callable

import docx
import openpyxl
import pytest
from fpdf import FPDF
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.comments import Comment
from pptx import Presentation
from pptx.util import Inches

from consumers.dlp.engine import Engine
from consumers.dlp.status import Status, Verdict

Counts = Callable[[Verdict], dict[str, int]]
Packed = Callable[[dict[str, bytes]], bytes]
CARD = "4539148803436467"


def address(place: str) -> str:
    """A canary for a hiding place."""
    return f"{place}.canary@acme.io"


def masked(verdict: Verdict) -> str:
    """All that a verdict shows."""
    return verdict.to_json().decode()


def word() -> bytes:
    """A docx with a canary in each place that python-docx can write."""
    document = docx.Document()
    paragraph = document.add_paragraph("card ")
    for run in ("4539", "1488", "0343", "6467"):
        paragraph.add_run(run).bold = run == "0343"
    document.add_paragraph(address("body"))
    document.add_table(rows=1, cols=2).cell(0, 1).text = address("cell")
    document.sections[0].header.paragraphs[0].text = address("header")
    document.sections[0].footer.paragraphs[0].text = address("footer")
    document.add_comment(paragraph.runs[0], text=address("note"), author=address("author"))
    document.core_properties.title = address("title")
    document.core_properties.keywords = address("keywords")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def excel() -> bytes:
    """An xlsx with canaries in cells, a comment, a hidden sheet, a sheet's name and the title."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "q1@acme.io"
    sheet.append(["id", "SSN", address("cell")])
    for number in range(1, 40):
        sheet.append([number, 536228000 + number, "x"])
    sheet["C9"] = f"card {CARD}"
    sheet["C10"] = 378282246310005
    sheet["A1"].comment = Comment(address("note"), "me")
    assert sheet.oddHeader is not None
    sheet.oddHeader.center.text = address("header")
    hidden = book.create_sheet("other")
    hidden.sheet_state = "hidden"
    hidden["XFD1048576"] = address("hidden")
    book.properties.title = address("title")
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def slides() -> bytes:
    """A pptx with canaries in a text box, a table, the notes and the title."""
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    box = slide.shapes.add_textbox(Inches(1), Inches(1), Inches(4), Inches(1))
    box.text_frame.text = address("box")
    table = slide.shapes.add_table(1, 1, Inches(1), Inches(3), Inches(4), Inches(1))
    table.table.cell(0, 0).text = address("cell")
    slide.notes_slide.notes_text_frame.text = address("notes")
    deck.core_properties.title = address("title")
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def pdf(password: str = "", text: str = "") -> bytes:
    """A PDF of two pages with a title and an attachment."""
    document = FPDF()
    document.set_title(address("title"))
    document.set_font("Helvetica", size=12)
    document.add_page()
    document.multi_cell(0, text=text or address("first"))
    document.add_page()
    document.multi_cell(0, text=address("second"))
    document.embed_file(bytes=address("attached").encode(), basename="a.txt")
    if password:
        document.set_encryption(owner_password="owner", user_password=password)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bytes(document.output())


def test_word(engine: Engine, counts: Counts) -> None:
    """Body, table, header, footer, comment, author and properties; a number split over runs is one."""
    verdict = engine.scan(word(), "a.docx")

    assert (verdict.status, verdict.kind) == (Status.COMPLETE, "docx")
    assert counts(verdict) == {"email_address": 8, "credit_card": 1}


def test_excel(engine: Engine, counts: Counts) -> None:
    """Cells, comment, page header, hidden sheet, sheet name, title; the column's name; the cell is named."""
    verdict = engine.scan(excel(), "a.xlsx")
    by_type = {(f.detector, f.test): f for f in verdict.findings}

    assert (verdict.status, verdict.kind) == (Status.COMPLETE, "xlsx")
    assert counts(verdict) == {
        "email_address": 6,
        "us_ssn": 39,
        "credit_card": 1,
        "credit_card:test": 1,
    }
    assert by_type["us_ssn", False].places[0].where == "q***@acme.io!B2"
    card = by_type["credit_card", False].places[0]
    assert (card.where.rpartition("!")[2], card.offset) == ("C9", 5)


def test_slides(engine: Engine, counts: Counts) -> None:
    """Text box, table, notes and title."""
    verdict = engine.scan(slides(), "a.pptx")

    assert (verdict.status, verdict.kind) == (Status.COMPLETE, "pptx")
    assert counts(verdict)["email_address"] == 4


def test_pdf(engine: Engine, counts: Counts) -> None:
    """All pages, the title and what is attached; the page is named."""
    verdict = engine.scan(pdf(), "a.pdf")

    assert (verdict.status, verdict.kind) == (Status.COMPLETE, "pdf")
    assert counts(verdict) == {"email_address": 4}
    assert {place.where for place in verdict.findings[0].places} >= {"page 1", "page 2", "properties"}


def test_scanned_page(engine: Engine) -> None:
    """A page that draws and says nothing is not called clean."""
    document = FPDF()
    document.add_page()
    document.rect(10, 10, 50, 50)
    verdict = engine.scan(bytes(document.output()), "a.pdf")

    assert (verdict.status, verdict.reason) == (Status.UNSCANNABLE, "no text")


def test_nested(engine: Engine, packed: Packed, counts: Counts) -> None:
    """A docx in a zip in a gzip in a zip is read, and its place says how to get there."""
    inner = packed({"b/report.docx": word()})
    verdict = engine.scan(packed({"inner.zip.gz": gzip.compress(inner)}), "a.zip")

    assert verdict.status is Status.COMPLETE
    assert counts(verdict)["email_address"] == 8
    assert all(
        p.where.startswith("inner.zip.gz/inner.zip/b/report.docx/") for p in verdict.findings[0].places
    )


def test_embedded(engine: Engine, packed: Packed, counts: Counts) -> None:
    """A workbook embedded in a document is looked into."""
    members = {
        "[Content_Types].xml": b"<Types/>",
        "word/document.xml": b"<d><p><t>hello</t></p></d>",
        "word/embeddings/sheet.xlsx": excel(),
    }

    assert counts(engine.scan(packed(members), "a.docx"))["us_ssn"] == 39


def test_names_of_members(engine: Engine, packed: Packed) -> None:
    """A value in a member's name is found, and masked where the name is shown."""
    verdict = engine.scan(packed({f"{CARD} jane.doe@acme.io.txt": b"ssn 536-22-8726"}), "a.zip")

    assert {f.detector for f in verdict.findings} == {"credit_card", "us_ssn", "email_address"}
    assert CARD not in masked(verdict)
    assert "jane.doe@" not in masked(verdict)


@pytest.mark.parametrize("make", [word, excel, slides, pdf])
def test_no_value_is_shown(engine: Engine, make: Callable[[], bytes]) -> None:
    """No canary is in the verdict as it was in the file."""
    shown = masked(engine.scan(make(), "a"))

    assert ".canary@" not in shown
    assert CARD not in shown
    assert "53622800" not in shown


@pytest.mark.parametrize("make", [word, excel, slides, pdf])
def test_cut_short(engine: Engine, make: Callable[[], bytes]) -> None:
    """A truncated document is never complete."""
    whole = make()

    for share in (0.3, 0.6, 0.9):
        verdict = engine.scan(whole[: int(len(whole) * share)], "a")
        assert verdict.status in (Status.PARTIAL, Status.UNSCANNABLE)
        assert verdict.reasons


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([excel(), slides(), gzip.compress(b"ssn 536-22-8726" * 50)]),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_damaged(engine: Engine, content: bytes, damage: list[tuple[int, int]]) -> None:
    """Whatever bytes are changed, there is a verdict."""
    changed = bytearray(content)
    for place, byte in damage:
        changed[place % len(changed)] = byte

    assert Verdict.from_json(engine.scan(bytes(changed), "a").to_json()).size == len(content)


def test_encrypted_pdf(engine: Engine) -> None:
    """A PDF that needs a password says so."""
    verdict = engine.scan(pdf(password="open sesame"), "a.pdf")

    assert (verdict.status, verdict.reason) == (Status.UNSCANNABLE, "encrypted")


def test_encrypted_word(engine: Engine, encrypted_docx: bytes) -> None:
    """An encrypted docx is an OLE file, and says so."""
    verdict = engine.scan(encrypted_docx, "a.docx")

    assert (verdict.status, verdict.reason, verdict.kind) == (Status.UNSCANNABLE, "encrypted", "ole")

"""What a file is, by its bytes."""

import gzip
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.dlp.sniff import Kind, Sniffed, clean_name, encoding_of, sniff

Packed = Callable[[dict[str, bytes]], bytes]


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"", "a.docx", Kind.EMPTY),
        (b"hello", "a.pdf", Kind.TEXT),
        (b"a,b\n1,2\n", "A.CSV", Kind.CSV),
        (b"a\tb\n", "x.tsv", Kind.CSV),
        (b' {"a": 1}', "", Kind.JSON),
        (b"[not json", "", Kind.TEXT),
        (b"%PDF-1.7\n", "a.txt", Kind.PDF),
        (b"\n\n%PDF-1.7\n", "", Kind.PDF),
        (gzip.compress(b"x"), "", Kind.GZIP),
        (b"\x89PNG\r\n\x1a\n", "", Kind.IMAGE),
        (b"PK\x03\x04 cut short", "a.docx", Kind.ZIP),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 cut short", "", Kind.OLE),
        (bytes(range(256)) * 4, "", Kind.BINARY),
        (b"\x7fELF" + b"\x00\x01\x02\x03" * 64, "", Kind.BINARY),
        ("hello there".encode("utf-16-le"), "", Kind.TEXT),
    ],
)
def test_kinds(content: bytes, name: str, kind: Kind) -> None:
    """Magic bytes decide; the name only tells kinds of text apart."""
    assert sniff(io.BytesIO(content), name) == Sniffed(kind)


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        ("word/document.xml", Kind.DOCX),
        ("xl/workbook.xml", Kind.XLSX),
        ("ppt/presentation.xml", Kind.PPTX),
        ("/word//document.xml", Kind.DOCX),
        ("..\\xl\\workbook.xml", Kind.XLSX),
        ("readme.txt", Kind.ZIP),
    ],
)
def test_office(packed: Packed, member: str, kind: Kind) -> None:
    """Office files are told by their members, also when the names are bent."""
    assert sniff(io.BytesIO(packed({"[Content_Types].xml": b"", member: b""})), "a.zip").kind is kind


def test_encrypted_office(encrypted_docx: bytes) -> None:
    """Word's encryption is an OLE file with two streams that say so."""
    assert sniff(io.BytesIO(encrypted_docx), "a.docx") == Sniffed(Kind.OLE, encrypted=True)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (b"\xff\xfea\0", "utf-16-le"),
        (b"\xfe\xff\0a", "utf-16-be"),
        (b"a\0b\0", "utf-16-le"),
        ("prüfen".encode(), "utf-8"),
        ("ü".encode() * 100 + b"\xc3", "utf-8"),
        ("prüfen".encode("latin-1"), "cp1252"),
    ],
)
def test_encodings(text: bytes, encoding: str) -> None:
    """Marks first, then zero bytes, then whether it is UTF-8; a character cut at the end is no fault."""
    assert encoding_of(text) == encoding


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    """No content is an error, and the position is at the start again."""
    source = io.BytesIO(content)
    sniff(source, "a")

    assert source.tell() == 0


@given(st.text(max_size=40))
def test_clean_name(name: str) -> None:
    """A cleaned name has no way up and no empty part, and cleaning it again changes nothing."""
    clean = clean_name(name)

    assert clean == clean_name(clean)
    assert not {"", ".", ".."} & set(clean.split("/")) or clean == ""

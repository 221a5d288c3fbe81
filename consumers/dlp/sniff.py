"""What a file is, by its bytes and not by its name, and whether it is encrypted."""

import io
import struct
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import BinaryIO

import olefile

HEAD = 4096
ENCRYPTED_FLAG = 0x1
# What zipfile raises at damage, in its directory as in its members.
BROKEN_ZIP = (zipfile.BadZipFile, OSError, ValueError, RuntimeError, OverflowError, struct.error)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
IMAGES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"\xd7\xcd\xc6\x9a",
    b"\x01\0\0\0l\0\0\0",
)
PDF_SEARCH = 1024  # readers accept the header anywhere in the first kilobyte
CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\x1b\b"))


class Kind(StrEnum):
    """The kinds of content that have a route of their own."""

    EMPTY = "empty"
    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    DOCX = "docx"
    XLSX = "xlsx"
    PPTX = "pptx"
    ZIP = "zip"
    GZIP = "gzip"
    PDF = "pdf"
    OLE = "ole"
    IMAGE = "image"
    BINARY = "binary"


OFFICE = {"word": Kind.DOCX, "xl": Kind.XLSX, "ppt": Kind.PPTX}


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the first look said; `encrypted` is about the file as a whole, as far as its container tells."""

    kind: Kind
    encrypted: bool = False


def sniff(source: BinaryIO, name: str = "") -> Sniffed:
    """Look at a seekable file; the name only tells apart the kinds of text.

    Whether a PDF is encrypted is known only by opening it, which is left to the extractor.
    """
    source.seek(0)
    head = source.read(HEAD)
    source.seek(0)
    if not head:
        return Sniffed(Kind.EMPTY)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _zip(source)
    if head.startswith(OLE):
        return Sniffed(Kind.OLE, encrypted=_ole_encrypted(source))
    return Sniffed(_plain_kind(head, name))


def _plain_kind(head: bytes, name: str) -> Kind:
    """The kind of a file that is no container of parts."""
    if head.startswith(b"\x1f\x8b"):
        return Kind.GZIP
    if b"%PDF-" in head[:PDF_SEARCH]:
        return Kind.PDF
    if head.startswith(IMAGES) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return Kind.IMAGE
    return _text(head, name)


def clean_name(name: str) -> str:
    """Normalise a member's name for recognition: no backslashes, no empty parts, no way up."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts)


def _zip(source: BinaryIO) -> Sniffed:
    try:
        with zipfile.ZipFile(source) as archive:
            infos = archive.infolist()
    except BROKEN_ZIP:
        return Sniffed(Kind.ZIP)
    finally:
        source.seek(0)
    encrypted = bool(infos) and all(info.flag_bits & ENCRYPTED_FLAG for info in infos if not info.is_dir())
    names = [clean_name(info.filename).lower() for info in infos]
    if "[content_types].xml" in names:
        for name in names:
            kind = OFFICE.get(name.split("/", 1)[0])
            if kind and "/" in name:
                return Sniffed(kind, encrypted)
    return Sniffed(Kind.ZIP, encrypted)


def _ole_encrypted(source: BinaryIO) -> bool:
    """An encrypted docx, xlsx or pptx is an OLE file with these streams, and so is a rights-managed one."""
    try:
        with olefile.OleFileIO(io.BytesIO(source.read())) as ole:
            return any(
                ole.exists(stream) for stream in ("EncryptedPackage", "EncryptionInfo", "\x06DataSpaces")
            )
    except (OSError, ValueError, IndexError, TypeError):
        return False
    finally:
        source.seek(0)


def encoding_of(head: bytes) -> str:
    """The encoding of a text from its first bytes: a byte order mark, or where the zero bytes are.

    What is neither UTF-16 nor valid UTF-8 is taken as Windows-1252, which gives nearly every byte a meaning.
    """
    if head.startswith(b"\xff\xfe"):
        return "utf-16-le"
    if head.startswith(b"\xfe\xff"):
        return "utf-16-be"
    zeros = head.count(0)
    if zeros > len(head) // 5:
        odd = head[1::2].count(0)
        return "utf-16-le" if odd * 2 > zeros else "utf-16-be"
    try:
        head[: max(len(head) - 3, 0)].decode()
    except UnicodeDecodeError as problem:
        if problem.reason != "unexpected end of data":
            return "cp1252"
    return "utf-8"


def _text(head: bytes, name: str) -> Kind:
    encoding = encoding_of(head)
    if encoding.startswith("utf-16"):
        text = head.decode(encoding, "replace").encode("utf-8", "replace")
        if text.count(b"\xef\xbf\xbd") > len(text) // 30:
            return Kind.BINARY
    else:
        text = head
    if len(text) - len(text.translate(None, CONTROL)) > len(text) // 20:
        return Kind.BINARY
    suffix = PurePosixPath(clean_name(name)).suffix.lower()
    if suffix in (".csv", ".tsv"):
        return Kind.CSV
    stripped = text.lstrip(b"\xef\xbb\xbf \t\r\n")
    if suffix in (".json", ".jsonl", ".ndjson") or _opens_json(stripped):
        return Kind.JSON
    return Kind.TEXT


def _opens_json(text: bytes) -> bool:
    rest = text[1:64].lstrip()
    if text.startswith(b"{"):
        return rest.startswith((b'"', b"}"))
    return text.startswith(b"[") and rest.startswith((b"{", b'"', b"[", b"]"))

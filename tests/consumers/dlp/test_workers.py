"""The pool: hostile files end in a verdict, in time, and the next file is scanned as if nothing had been."""

import asyncio
import gzip
import io
import os
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consumers.dlp.budget import Limits
from consumers.dlp.detectors import Rules
from consumers.dlp.status import Status, Verdict
from consumers.dlp.workers import Scanners, WorkerError

pytestmark = pytest.mark.slow

Packed = Callable[[dict[str, bytes]], bytes]
TEXT = b"my ssn is 536-22-8726\n"
DOC = b'<?xml version="1.0"?>%s<w:document xmlns:w="w"><w:p><w:r><w:t>%s</w:t></w:r></w:p></w:document>'
LOL = (
    b'<!DOCTYPE lolz [<!ENTITY a "lollollol">'
    + b"".join(b'<!ENTITY %c "%s">' % (letter, b"&%c;" % (letter - 1) * 10) for letter in b"bcdefghij")
    + b"]>"
)
OUTSIDE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
SHEET = b'<worksheet><dimension ref="A1:XFD1048576"/><sheetData>%s</sheetData></worksheet>'
CORNERS = (
    b'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576" t="inlineStr">'
    b"<is><t>ssn 536-22-8726</t></is></c></row>"
)


def zeros(size: int) -> bytes:
    """A gzip of so many zeros, without ever holding them."""
    squeeze = zlib.compressobj(9, wbits=31)
    return b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(size >> 20)) + squeeze.flush()


def bomb(size: int) -> bytes:
    """A zip whose one member inflates to so many spaces."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.txt", "w") as member:
        for _ in range(size >> 20):
            member.write(b" " * (1 << 20))
    return out.getvalue()


def pdf_bomb() -> bytes:
    """A PDF of a few kilobytes whose page content is deflated twice and is 500 MB."""
    squeeze = zlib.compressobj(9)
    inner = b"".join(squeeze.compress(b" " * (1 << 20)) for _ in range(500)) + squeeze.flush()
    content = zlib.compress(inner, 9)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
        b"<</Filter[/FlateDecode/FlateDecode]/Length %d>>stream\n%s\nendstream" % (len(content), content),
    ]
    return (
        b"%PDF-1.4\n"
        + b"".join(b"%d 0 obj%s\nendobj\n" % pair for pair in enumerate(parts, 1))
        + b"trailer<</Root 1 0 R>>"
    )


def hostile(packed: Packed) -> dict[str, tuple[bytes, str]]:
    """Files made to harm, with the reason that their verdict must give."""
    word = {"[Content_Types].xml": b"<Types/>"}
    inner = bomb(8 << 20)
    deep = b"deep"
    for _ in range(8):
        deep = packed({"a.zip": deep})
    return {
        "zip bomb": (bomb(128 << 20), "ratio"),
        "gzip bomb": (zeros(128 << 20), "ratio"),
        "nested bombs": (packed(dict.fromkeys((f"{n}.zip" for n in range(20)), inner)), "ratio"),
        "too deep": (deep, "depth"),
        "many members": (packed({f"{n}.txt": b"x" for n in range(10_001)}), "members"),
        "entity bomb": (packed({**word, "word/document.xml": DOC % (LOL, b"&j;")}), "doctype"),
        "outside entity": (packed({**word, "word/document.xml": DOC % (OUTSIDE, b"&a;")}), "doctype"),
        "broken xml": (packed({**word, "word/document.xml": (DOC % (b"", b"x"))[:-20]}), "malformed"),
        "pdf bomb": (pdf_bomb(), ""),
        "not a pdf": (b"%PDF-1.7 nothing", "malformed"),
        "cut gzip": (gzip.compress(os.urandom(9000))[:5000], "malformed"),
        "image": (b"\x89PNG\r\n\x1a\n" + bytes(100), "unsupported"),
    }


async def test_hostile_files(scanners: Scanners, packed: Packed) -> None:
    """Each ends within five seconds, is never complete, and the next file is scanned."""
    for name, (content, reason) in hostile(packed).items():
        started = time.monotonic()
        verdict = await scanners.scan(content, "a")
        took = time.monotonic() - started

        assert verdict.status is not Status.COMPLETE, name
        assert not reason or reason in verdict.reason, (name, verdict)
        assert took < 5, name
        assert (await scanners.scan(TEXT, "a.txt")).findings, name


async def test_corner_cells(scanners: Scanners, packed: Packed) -> None:
    """A sheet that says it is as large as can be, with a cell in either corner, costs two cells."""
    members = {"[Content_Types].xml": b"<Types/>", "xl/worksheets/sheet1.xml": SHEET % CORNERS}
    verdict = await scanners.scan(packed(members), "a.xlsx")

    assert (verdict.status, verdict.seconds < 1) == (Status.COMPLETE, True)
    assert verdict.findings[0].places[0].where == "xl/worksheets/sheet1.xml!XFD1048576"


async def test_encrypted_zip(scanners: Scanners, packed: Packed) -> None:
    """Members with flag bit 0 are not read; what else is in the archive is."""
    plain = bytearray(packed({"a.txt": TEXT, "b.txt": TEXT}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        plain[plain.index(mark) + offset] |= 1
    some = await scanners.scan(bytes(plain), "a.zip")
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        plain[plain.rindex(mark) + offset] |= 1
    all_of_it = await scanners.scan(bytes(plain), "a.zip")

    assert (some.status, some.reason, some.findings[0].count) == (Status.PARTIAL, "encrypted", 1)
    assert (all_of_it.status, all_of_it.reason) == (Status.UNSCANNABLE, "encrypted")


async def test_bent_names(scanners: Scanners, packed: Packed) -> None:
    """Members called `..` or `//` are read, named without the way up, and written nowhere."""
    names = ["../../etc/a.txt", "//b.txt", "c/../../d.txt", "..", "\\\\host\\e.txt"]
    verdict = await scanners.scan(packed(dict.fromkeys(names, TEXT)), "a.zip")

    assert (verdict.status, verdict.findings[0].count) == (Status.COMPLETE, 5)
    assert not any(".." in place.where for place in verdict.findings[0].places)


async def test_lying_size(scanners: Scanners, packed: Packed) -> None:
    """A member that is longer than it declares is not called complete."""
    content = packed({"a.txt": b"x" * 5000 + TEXT})
    lying = content.replace((5022).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    verdict = await scanners.scan(lying, "a.zip")

    assert lying != content
    assert (verdict.status, verdict.reason) == (Status.UNSCANNABLE, "malformed")


async def test_empty(scanners: Scanners) -> None:
    """A file of no bytes is complete: there is nothing in it."""
    verdict = await scanners.scan(b"", "a.docx")

    assert (verdict.status, verdict.kind, verdict.findings) == (Status.COMPLETE, "empty", ())


async def test_by_path(scanners: Scanners, tmp_path: Path) -> None:
    """A path is opened by the process; one that can't be is a verdict."""
    (tmp_path / "a.txt").write_bytes(TEXT)
    found = await scanners.scan(tmp_path / "a.txt", "a.txt")
    missing = await scanners.scan(tmp_path / "b.txt", "b.txt")

    assert found.findings[0].count == 1
    assert (missing.status, missing.reason) == (Status.UNSCANNABLE, "unreadable")


async def test_limits_of_the_process(rules: Rules, packed: Packed) -> None:
    """Memory, processor time and wall time end the process and not the pool."""
    memory = Limits(memory=180 << 20, inflated=1 << 30, ratio=100_000)
    async with Scanners(1, memory, rules) as scanners:
        verdict = await scanners.scan(bomb(300 << 20), "a.zip")
        assert (verdict.status, verdict.reason) == (Status.UNSCANNABLE, "memory")
        assert (await scanners.scan(TEXT, "a.txt")).findings
    rows = b"<a>" + b"<row><c><v>1</v></c></row>" * 900_000
    book = packed({"[Content_Types].xml": b"", "xl/worksheets/sheet1.xml": rows})
    endless = Limits(inflated=1 << 40, ratio=1 << 30, seconds=60, wall=0.5, cells=1 << 40)
    async with Scanners(1, endless, rules) as scanners:
        verdict = await scanners.scan(book, "a.xlsx")
        assert (verdict.status, verdict.reason) == (Status.UNSCANNABLE, "timeout")
        assert (await scanners.scan(TEXT, "a.txt")).findings

    async with Scanners(1, replace(endless, wall=20, cpu=0), rules) as scanners:
        verdict = await scanners.scan(book, "a.xlsx")
        assert (verdict.status, verdict.reason) == (Status.UNSCANNABLE, "cpu")


async def test_no_start(tmp_path: Path) -> None:
    """A rule that Vectorscan can't take stops the pool with an error, and is no verdict on a file."""
    rule = (Path(__file__).parents[3] / "consumers" / "dlp" / "detectors" / "iban.yaml").read_text()
    (tmp_path / "iban.yaml").write_text(rule.replace(r"trigger: '\b", r"trigger: '(?<=x)"))

    with pytest.raises(WorkerError, match="does not start"):
        async with Scanners(1, Limits(), Rules.load(b"k", folder=tmp_path)):
            pass


async def test_killed_from_outside(rules: Rules) -> None:
    """A process that something kills is replaced, and the file that it was given then is scanned."""
    async with Scanners(1, Limits(), rules) as scanners:
        await scanners.scan(TEXT, "a.txt")
        for pid in scanners.pids:
            os.kill(pid, 11)
        verdict = await scanners.scan(TEXT, "a.txt")

    assert (verdict.status, verdict.findings[0].count) == (Status.COMPLETE, 1)


async def test_loop_is_free(rules: Rules) -> None:
    """While megabytes are scanned the loop goes round, and two processes give the answers of one."""
    text = b"lorem ipsum dolor sit amet, ssn 536-22-8726\n" * 100_000
    worst = 0.0
    async with Scanners(2, Limits(), rules) as scanners:
        pending = [asyncio.ensure_future(scanners.scan(text, "a.txt")) for _ in range(4)]
        while not all(task.done() for task in pending):
            before = time.monotonic()
            await asyncio.wait(pending, timeout=0.005)
            worst = max(worst, time.monotonic() - before)
        verdicts: list[Verdict] = await asyncio.gather(*pending)

    assert worst < 0.25
    assert {v.findings[0].count for v in verdicts} == {100_000}


async def test_given_up(scanners: Scanners) -> None:
    """A scan that its caller gives up ends its process; the next one is served."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await scanners.scan(b"4539148803436467 " * 4_000_000, "a.txt")

    assert (await scanners.scan(TEXT, "a.txt")).findings

"""Word, PowerPoint and Excel files: every part of the package, not only the body."""

import contextlib
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from consumers.dlp.budget import Budget, UnreadableError
from consumers.dlp.extract.archive import open_zip, read_member
from consumers.dlp.extract.segments import Inside, Nested, Part, Segment, Windows
from consumers.dlp.extract.sheets import SharedStrings, extract_sheet
from consumers.dlp.extract.xml import Words, local, parse, parser
from consumers.dlp.sniff import clean_name
from consumers.dlp.status import Reason

MARKUP = (".xml", ".rels", ".vml")
WORDLESS = re.compile(
    r"\.(png|jpe?g|gif|bmp|tiff?|emf|wmf|webp|ico|wdp|mp[34]|m4[av]|wav|fntdata|odttf)$|printersettings\d*\.bin$"
)
SHEET = re.compile(r"^xl/(?:work|macro|dialog)sheets/[^/]+\.xml$")
MAIN = re.compile(r"^(?:word/document|ppt/slides/slide\d+)\.xml$")
MUTE = re.compile(r"^[a-z]+/(?:theme/[^/]+|styles|styleswitheffects|fonttable|numbering|websettings)\.xml$")
LOOSE = ("docprops/", "customxml/")
LONGEST_NAME = 64
EMPTY_BODY = 64 << 10  # a main part above this that holds no text was not understood


def extract_ooxml(source: BinaryIO, inside: Inside, budget: Budget, nested: Nested) -> Iterator[Segment]:
    """Yield the text of all parts: body, headers, footers, comments, notes, hidden sheets, names, properties.

    Embedded files are extracted like members of an archive; pictures hold no text and are passed over. The
    shared strings of a workbook are read first wherever they lie, and take their place in the cells.
    """
    with open_zip(source) as package:
        infos = [(clean_name(info.filename), info) for info in package.infolist() if not info.is_dir()]
        strings = _strings(package, infos, budget)
        sheets = _sheet_names(package, infos, budget)
        for name, info in infos:
            budget.member(inside.depth)
            where = inside.join(name)
            try:
                if SHEET.match(name.lower()):
                    where = inside.join(sheets.get(name, name))
                    yield from extract_sheet(read_member(package, info, budget), strings, where, budget)
                elif name.lower().endswith(MARKUP):
                    if not _is_strings(name):
                        yield from _words(package, info, name.lower(), where, budget)
                elif not WORDLESS.search(name.lower()):
                    yield from nested(BytesIO(b"".join(read_member(package, info, budget))), name, where)
            except UnreadableError as problem:
                budget.note(problem.reason)
        yield from strings.unused(inside.join("shared strings"))


def _is_strings(name: str) -> bool:
    return name.lower().startswith("xl/") and name.lower().endswith("sharedstrings.xml")


def _strings(
    package: zipfile.ZipFile, infos: list[tuple[str, zipfile.ZipInfo]], budget: Budget
) -> SharedStrings:
    strings = SharedStrings()
    for name, info in infos:
        if _is_strings(name):
            try:
                strings.read(read_member(package, info, budget))
            except UnreadableError as problem:
                budget.note(problem.reason)
    return strings


def _sheet_names(
    package: zipfile.ZipFile, infos: list[tuple[str, zipfile.ZipInfo]], budget: Budget
) -> dict[str, str]:
    """What the workbook calls its worksheets, by the part that holds them; for naming places only."""
    found: dict[str, list[dict[str, str]]] = {"sheet": [], "Relationship": []}

    def start(element: str, attributes: list[str]) -> None:
        if local(element) in found:
            pairs = zip(attributes[::2], attributes[1::2], strict=True)
            found[local(element)].append({local(key): value for key, value in pairs})

    for name, info in infos:
        if name.lower() in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
            made = parser()
            made.StartElementHandler = start
            with contextlib.suppress(UnreadableError):  # noted when the part's words are read
                for _ in parse(made, read_member(package, info, budget)):
                    continue
    names = {sheet.get("id"): sheet.get("name", "")[:LONGEST_NAME] for sheet in found["sheet"]}
    targets = {link.get("Id"): clean_name(link.get("Target", "")) for link in found["Relationship"]}
    return {
        target if target.startswith("xl/") else f"xl/{target}": names[key]
        for key, target in targets.items()
        if names.get(key)
    }


def _words(
    package: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, where: str, budget: Budget
) -> Iterator[Segment]:
    words = Words(loose=name.startswith(LOOSE), mute=bool(MUTE.search(name)))
    windows = Windows(Part.PROPERTY if name.startswith(LOOSE) else Part.TEXT, where)
    before = budget.inflated
    for _ in parse(words.parser, read_member(package, info, budget)):
        yield from windows.feed(words.take())
    seen = windows.total
    yield from windows.feed(words.aside())
    yield from windows.close()
    if MAIN.match(name) and budget.inflated - before > EMPTY_BODY and not seen:
        budget.note(Reason.NO_TEXT)

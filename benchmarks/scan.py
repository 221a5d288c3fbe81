"""How fast files are scanned: megabytes a second against named alternatives, in one run on the same data.

Matching: the engine against the same seven types with `re` one by one, with the same validators. Extraction:
the engine's walks against python-docx and openpyxl, which read less of a document.
Run: ``python benchmarks/scan.py``; ``--json`` prints one JSON document.
"""

import argparse
import csv
import io
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import docx
import openpyxl
from fpdf import FPDF

from consumers.dlp.budget import Budget, Limits
from consumers.dlp.checks import luhn, mod97
from consumers.dlp.detectors import Rules
from consumers.dlp.engine import Engine
from consumers.dlp.extract import extract
from consumers.dlp.matching import Kind
from consumers.dlp.sniff import sniff

WORDS = tuple(
    re.split(
        r"\s+",
        """the quarterly report shows that delivery times fell while orders rose, and the team in Leeds asked
        for two more people until March; invoices are due in 30 days, version 2.14.3 fixes issue 48213 and the
        meeting moves to room 4 on 2026-11-21 at 14:30 because the projector was sent for repair by courier
        with number 00340434161""",
    )
)
ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One measurement."""

    what: str
    by: str
    mb_per_s: float
    ratio: float
    found: int


class Corpus:
    """Text, CSV and JSON with planted values; the seed is fixed, so each run sees the same bytes."""

    def __init__(self, megabytes: float) -> None:
        self._random = random.Random(20261121)
        size = int(megabytes * 1e6)
        self.files = {
            "letters.txt": self._text(size),
            "people.csv": self._csv(size),
            "orders.json": self._json(size),
        }

    def card(self) -> str:
        """A card number of no issuer's test list."""
        body = "4" + "".join(self._random.choices("0123456789", k=14))
        return next(body + digit for digit in "0123456789" if luhn((body + digit).encode()))

    def iban(self) -> str:
        """A German account number."""
        body = "".join(self._random.choices("0123456789", k=18))
        return next(iban for n in range(2, 99) if mod97((iban := f"DE{n:02}{body}").encode()))

    def value(self) -> str:
        """A value with a word before it."""
        number = self._random.randrange
        key = "".join(self._random.choices("ABCDEFGHIJKLMNOP234567", k=16))
        return self._random.choice(
            (
                f"card {self.card()}",
                f"IBAN {self.iban()}",
                f"SSN {number(100, 660)}-{number(10, 99)}-{number(1000, 9999)}",
                f"mail j.doe{number(99999)}@acme.io",
                f"key AKIA{key}",
            )
        )

    def _text(self, size: int) -> bytes:
        out: list[str] = []
        length = 0
        while length < size:
            words = self._random.choices(WORDS, k=100)
            if self._random.random() < 0.2:
                words.insert(50, self.value())
            line = " ".join(words)
            out.append(line)
            length += len(line) + 1
        return "\n".join(out).encode()

    def _csv(self, size: int) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["id", "when", "amount", "note"])
        row = 0
        while out.tell() < size:
            row += 1
            note = self.value() if row % 40 == 0 else " ".join(self._random.choices(WORDS, k=8))
            writer.writerow([row, "2026-11-21T10:00:00Z", f"{self._random.random() * 1000:.2f}", note])
        return out.getvalue().encode()

    def _json(self, size: int) -> bytes:
        rows: list[dict[str, object]] = []
        length = 0
        while length < size:
            note = self.value() if len(rows) % 40 == 0 else " ".join(self._random.choices(WORDS, k=8))
            rows.append(
                {"id": len(rows), "note": note, "amount": self._random.randrange(10**6), "open": True}
            )
            length += len(note) + 50
        return json.dumps(rows).encode()


def one_by_one(rules: Rules) -> Callable[[bytes], int]:
    """The same types with `re`, each expression over the whole text, then the same validators."""
    kinds = [Kind(detector) for detector in rules.detectors]
    loose = re.IGNORECASE
    words = [re.compile(b"|".join(kind.keywords), loose) if kind.keywords else None for kind in kinds]

    def scan(text: bytes) -> int:
        found = 0
        for kind, keyword in zip(kinds, words, strict=True):
            for form, expression, _ in kind.forms:
                for match in expression.finditer(text):
                    low, high = max(match.start() - 300, 0), match.end() + 300
                    needs = form.confidence.alone is None and keyword
                    if not needs or needs.search(text, low, high):
                        found += kind.validate(match[0]) is not None
        return found

    return scan


def best(work: Callable[[], int], size: int, rounds: int = ROUNDS) -> tuple[float, int]:
    """The best rate of some rounds, and what the work gave."""
    fastest, gave = float("inf"), 0
    for _ in range(rounds):
        started = time.perf_counter()
        gave = work()
        fastest = min(fastest, time.perf_counter() - started)
    return size / fastest / 1e6, gave


def matching(corpus: Corpus, rules: Rules) -> Iterator[Row]:
    """The scan path, from bytes to findings."""
    engine, plain = Engine(rules), one_by_one(rules)
    for name, content in corpus.files.items():

        def ours(content: bytes = content, name: str = name) -> int:
            return sum(finding.count for finding in engine.scan(content, name).findings)

        sample = content[:1_000_000]
        rate, found = best(ours, len(content))
        slow, seen = best(lambda sample=sample: plain(sample), len(sample), 1)  # type: ignore[misc]
        yield Row(name, "sluice", rate, rate / slow, found)
        yield Row(name, "re one by one (first MB)", slow, 1.0, seen)
    text = corpus.files["letters.txt"]
    whole, _ = best(lambda: text.find(b"\x01absent"), len(text))
    yield Row("letters.txt", "bytes.find, one absent literal", whole, whole / slow, 0)
    dense = "\n".join(corpus.card() for _ in range(60_000)).encode()
    rate, found = best(lambda: sum(f.count for f in engine.scan(dense, "a.txt").findings), len(dense))
    slow, seen = best(lambda: plain(dense), len(dense), 1)
    yield Row("only valid cards", "sluice", rate, rate / slow, found)
    yield Row("only valid cards", "re one by one", slow, 1.0, seen)


def text_of(content: bytes) -> int:
    """The bytes of text that the extractors bring."""
    source = io.BytesIO(content)
    budget = Budget(Limits(), len(content))
    return sum(len(segment.text) for segment in extract(source, "", sniff(source), budget))


def documents(corpus: Corpus) -> dict[str, bytes]:
    """A report of 800 paragraphs of five runs, a workbook of 30,000 cells, a PDF of 40 pages."""
    lines = corpus.files["letters.txt"].decode().split("\n")
    word = docx.Document()
    for line in lines[:800]:
        paragraph = word.add_paragraph()
        for start in range(0, 200, 40):
            paragraph.add_run(line[start : start + 40])
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for number in range(5000):
        sheet.append([number, number * 1.5, *lines[number % 500].split()[:4]])
    paper = FPDF()
    paper.set_font("Helvetica", size=10)
    for number in range(40):
        paper.add_page()
        paper.multi_cell(0, text="\n".join(lines[number * 4 : number * 4 + 4]))
    made: dict[str, bytes] = {"pdf": bytes(paper.output())}
    for kind, document in (("docx", word), ("xlsx", book)):
        out = io.BytesIO()
        document.save(out)
        made[kind] = out.getvalue()
    return made


def by_docx(content: bytes) -> int:
    """The body's text by python-docx."""
    return sum(len(paragraph.text) for paragraph in docx.Document(io.BytesIO(content)).paragraphs)


def by_openpyxl(content: bytes) -> int:
    """The cells' text by openpyxl, read-only."""
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True)
    rows = (row for sheet in book for row in sheet.iter_rows(values_only=True))
    return sum(len(str(cell)) for row in rows for cell in row if cell is not None)


def extraction(corpus: Corpus) -> Iterator[Row]:
    """Extraction, in megabytes of text a second."""
    made = documents(corpus)
    peers = {"docx": ("python-docx", by_docx), "xlsx": ("openpyxl read-only", by_openpyxl)}
    for kind, content in made.items():
        text = text_of(content)
        rate, _ = best(lambda content=content: text_of(content), text)  # type: ignore[misc]
        if kind not in peers:
            yield Row(kind, "sluice (pypdfium2)", rate, 1.0, text)
            continue
        peer, work = peers[kind]
        seen = work(content)
        slow, _ = best(lambda work=work, content=content: work(content), seen, 1)  # type: ignore[misc]
        yield Row(kind, "sluice", rate, rate / slow, text)
        yield Row(kind, peer, slow, 1.0, seen)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON document")
    options.add_argument("--megabytes", type=float, default=4.0, help="of each kind of text")
    chosen = options.parse_args()
    corpus = Corpus(chosen.megabytes)
    rows = [*matching(corpus, Rules.load(b"benchmark")), *extraction(corpus)]
    if chosen.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print(f"{'what':<18}{'by':<32}{'MB/s':>9}{'ratio':>9}{'found / text':>14}")
    for row in rows:
        print(f"{row.what:<18}{row.by:<32}{row.mb_per_s:>9.2f}{row.ratio:>9.1f}{row.found:>14}")


if __name__ == "__main__":
    main()

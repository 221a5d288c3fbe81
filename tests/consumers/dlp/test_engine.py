"""What is found in texts: confidence, context, overlaps, counts; and what must not be."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.dlp.engine import Engine
from consumers.dlp.extract.segments import Part, Segment, Windows
from consumers.dlp.status import Finding, Verdict

Counts = Callable[[Verdict], dict[str, int]]
# Not from any list of test numbers: prefixes of the brands, completed by Luhn.
CARD = "4539148803436467"
SECRET = "kq8Zr2/TnvW4+pLx7Bd9YcJm3HfGs6AoEiUtVN1R"
BODY = "".join(
    random.Random(7).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=640)
)
PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(BODY[i : i + 64] for i in range(0, 640, 64))


def only(engine: Engine, text: str, name: str = "a.txt") -> Finding:
    """The one finding of a text."""
    (finding,) = engine.scan(text.encode(), name).findings
    return finding


@pytest.mark.parametrize(
    ("text", "detector", "confidence", "masked"),
    [
        (CARD, "credit_card", 65, "453914******6467"),
        ("4539-1488-0343-6467", "credit_card", 75, "453914******6467"),
        (f"visa {CARD}", "credit_card", 85, "453914******6467"),
        (f"Kartennummer: {CARD}", "credit_card", 85, "453914******6467"),
        ("536-22-8726", "us_ssn", 65, "***-**-8726"),
        ("SSN: 536-22-8726", "us_ssn", 85, "***-**-8726"),
        ("social_security_number=536228726", "us_ssn", 75, "***-**-8726"),
        (
            "FR14 2004 1010 0505 0001 3M02 606 and more",
            "iban",
            85,
            "FR" + "*" * 21 + "2606",
        ),
        ("j.doe@acme.io", "email_address", 75, "j***@acme.io"),
        ("AKIAQ3EGRWX5ZTB7ABCD", "aws_key_pair", 65, "AKIA***"),
        ("aws AKIAQ3EGRWX5ZTB7ABCD", "aws_key_pair", 75, "AKIA***"),
        (f"AKIAQ3EGRWX5ZTB7ABCD {SECRET}", "aws_key_pair", 85, "AKIA***"),
        ("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", "github_token", 85, "ghp_***"),
        (PEM, "private_key", 85, "***"),
        (PEM.replace("\n", "\\n"), "private_key", 85, "***"),
    ],
)
def test_found(engine: Engine, text: str, detector: str, confidence: int, masked: str) -> None:
    """Each type by itself and with evidence, at its confidence and in its masked form."""
    finding = only(engine, text)

    assert (finding.detector, finding.confidence, finding.test) == (detector, confidence, False)
    assert (finding.count, finding.distinct, finding.estimated) == (1, 1, False)
    assert finding.places[0].masked == masked
    assert len(finding.reasons) == len(set(finding.reasons)) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "4539148803436468",  # Luhn
        f"id9{CARD}",  # joined to letters
        f"{CARD}9999999",  # a longer run
        f"0.{CARD}",  # a fraction
        f"4539 1488 0343 6467 {1234} 5678",  # a row of numbers
        "550e8400-e29b-41d4-a716-446655440000",  # a UUID
        "536228726",  # nine digits without a word
        "12-536-22-8726",
        "2026-11-21 23:10:50,123456789012",
        "DE00 3704 0044 0532 0130 00",
        "user@host",
        "@decorator.name",
        "ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18",
        "-----BEGIN PUBLIC KEY-----\n" + BODY,
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        SECRET,
    ],
)
def test_not_found(engine: Engine, text: str) -> None:
    """Look-alikes are no findings."""
    assert engine.scan(text.encode(), "a.txt").findings == ()


@pytest.mark.parametrize(
    ("text", "detector"),
    [
        ("4111 1111 1111 1111", "credit_card"),
        ("378282246310005", "credit_card"),
        ("AKIAIOSFODNN7EXAMPLE", "aws_key_pair"),
        ("gho_16C7e42F292c6912E7710c838347Ae178B4a", "github_token"),
        ("ssn 078-05-1120", "us_ssn"),
        ("jane@example.com", "email_address"),
    ],
)
def test_published_examples(engine: Engine, text: str, detector: str) -> None:
    """Values from processors' and providers' documentation are reported as test values, not dropped."""
    finding = only(engine, text)

    assert (finding.detector, finding.test) == (detector, True)


def test_far_keyword(engine: Engine) -> None:
    """A keyword counts within 300 bytes and not beyond."""
    assert only(engine, f"visa {'x ' * 140}{CARD}").confidence == 85
    assert only(engine, f"visa {'x ' * 160}{CARD}").confidence == 65


@pytest.mark.parametrize("separator", ["\u00a0", "\u2007", "\u2011", "\u2013", "\u202f", "-\u200b"])
def test_odd_separators(engine: Engine, separator: str) -> None:
    """Typographic spaces and hyphens separate like plain ones, and offsets stay those of the file."""
    finding = only(engine, "é\u00a0" + separator.join(["4539", "1488", "0343", "6467"]))

    assert finding.confidence == 75
    assert finding.places[0].offset == 4


def test_full_width_digits(engine: Engine) -> None:
    """Full-width digits are digits."""
    assert only(engine, "".join(chr(ord(digit) + 0xFEE0) for digit in CARD)).detector == "credit_card"


def test_overlaps(engine: Engine, counts: Counts) -> None:
    """The most specific type wins where two overlap, as a token does over the address around it."""
    token = "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"

    assert counts(engine.scan(f"https://{token}@github.com/a/b".encode(), "a")) == {"github_token": 1}


def test_csv_columns(engine: Engine) -> None:
    """A column's name counts for the whole column, also behind quoted delimiters; another's doesn't."""
    rows = "\n".join(f'{n},"Doe, Jane {n}",{536228000 + n},{636228000 + n}' for n in range(1, 400))
    finding = only(engine, f"id,name,employeeSSN,order\n{rows}\n", "a.csv")

    assert (finding.confidence, finding.count) == (75, 399)
    assert "column name" in finding.reasons
    assert finding.places[0].where == "column employeeSSN"


def test_json_paths(engine: Engine) -> None:
    """A key counts for all elements of its array; places are paths; escapes are undone."""
    ids = ",".join(f'"{536228000 + n}"' for n in range(1, 400))
    text = f'{{"a":[{{"ssn":[{ids}]}}],"note":"x\\n\\u0034539148803436467\\t"}}'
    ssn, card = sorted(engine.scan(text.encode(), "a").findings, key=lambda f: f.detector, reverse=True)

    assert (ssn.confidence, ssn.count, ssn.places[1].where) == (75, 399, "$.a[0].ssn[1]")
    assert (card.detector, card.places[0].where) == ("credit_card", "$.note")
    assert card.places[0].offset == text.index("\\u0034")


def test_json_lines(engine: Engine) -> None:
    """A line of JSON lines is named by its number."""
    finding = only(engine, f'{{"a": 1}}\n{{"b": {{"card": "{CARD}"}}}}\n', "a.jsonl")

    assert finding.places[0].where == "line 2 $.b.card"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252", "latin-1"])
def test_encodings(engine: Engine, encoding: str) -> None:
    """UTF-16 with and without a mark and the Western code pages are read, keywords included."""
    assert only(engine, f"Prüfnummer für {CARD} ü\n" * 20, "a.txt").confidence == 85

    finding = engine.scan((f"Prüfnummer für {CARD} ü\n" * 20).encode(encoding), "a.txt").findings[0]

    assert (finding.detector, finding.confidence, finding.count) == ("credit_card", 85, 20)


def test_invalid_utf8(engine: Engine) -> None:
    """Bytes that are no valid text don't hide what stands beside them."""
    text = b"good text " * 1000 + b"\xff\xfe\xc3\x28 ssn 536-22-8726 \xf0\x9f"

    assert engine.scan(text, "a.txt").findings[0].detector == "us_ssn"


def test_estimate(engine: Engine, counts: Counts) -> None:
    """After a thousand distinct values of a type the rest is counted unchecked, and marked so."""
    numbers = [f"{100 + n // 90:03}-{10 + n % 90:02}-{1000 + n}" for n in range(8000)]
    filler = "lorem ipsum dolor sit amet " * 10
    finding = only(engine, "\n".join(f"{number} {filler}" for number in numbers))

    assert finding.estimated
    assert finding.distinct >= 1000
    assert 7900 <= finding.count <= 8000


def test_digests(engine: Engine) -> None:
    """Equal values have equal digests however they are written, other values others."""
    first, second, other = (
        only(engine, text).places[0].digest for text in (CARD, "4539 1488 0343 6467", "4485275742308327")
    )

    assert first == second != other
    assert len(first) == 64


def test_names_are_masked(engine: Engine) -> None:
    """A path or a column that quotes a value is masked too."""
    verdict = engine.scan(f'{{"jane@acme.io": {{"x": "{CARD}"}}}}'.encode(), "a.json")

    assert b"jane@acme" not in verdict.to_json()
    assert verdict.findings[-1].places[0].where == "$.j***@acme.io.x"


def test_round_trip(engine: Engine) -> None:
    """A verdict survives its JSON."""
    verdict = engine.scan(f"visa {CARD}".encode(), "a.txt")

    assert Verdict.from_json(verdict.to_json()) == verdict


@given(st.lists(st.binary(max_size=90), max_size=30), st.integers(1, 60), st.integers(0, 40))
def test_windows_own_each_byte_once(pieces: list[bytes], chunk: int, margin: int) -> None:
    """However a text is fed, the owned parts put together are the text, and each has its margins."""
    windows = Windows(Part.TEXT, "", chunk=chunk, margin=margin)
    cut: list[Segment] = [s for piece in pieces for s in windows.feed(piece)] + list(windows.close())
    whole = b"".join(pieces)

    assert b"".join(s.text[s.low : s.high] for s in cut) == whole
    for segment in cut:
        end = segment.base + len(segment.text)
        assert whole[segment.base : end] == segment.text
        assert segment.low >= min(margin, segment.base + segment.low)
        assert segment.high is None or len(segment.text) - segment.high >= margin


@settings(max_examples=12, deadline=None)
@given(st.integers(-400, 40))
def test_chunk_borders(engine: Engine, shift: int) -> None:
    """A value at the border of two chunks is found once, with its context, at its offset."""
    at = (1 << 20) + shift
    text = (b"lorem ips\n" * (at // 10 + 1))[: at - 9] + b"my ssn : 536-22-8726 " + b"dolor sit\n" * 20_000
    (finding,) = engine.scan(text, "a.txt").findings

    assert (finding.count, finding.confidence, finding.places[0].offset) == (1, 85, at)

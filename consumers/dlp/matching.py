"""One Vectorscan pass over all triggers and keywords, and a closer look only where something fired."""

import hmac
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import hyperscan

from consumers.dlp.checks import VALIDATORS
from consumers.dlp.detectors import Detector, Form, Rules
from consumers.dlp.extract.segments import Part, Segment
from consumers.dlp.masks import MASKS
from consumers.dlp.plain import ODD, Plain

CONTEXT = 300
SLACK = 16  # what a confirming expression may look at behind the value
NEVER = 1 << 62
PLENTY = 1 << 30
LONG_LINE = 64 << 10  # in a longer line the column is not looked for


@dataclass(slots=True)
class Value:
    """A confirmed value; `start` and `end` are offsets in the text that was scanned."""

    start: int
    end: int
    raw_start: int
    kind: "Kind"
    normal: bytes
    confidence: int
    reasons: tuple[str, ...]
    test: bool

    @property
    def masked(self) -> str:
        """The form that may be shown."""
        return self.kind.mask(self.normal)

    def digest(self, key: bytes) -> bytes:
        """HMAC-SHA256 of the normal form, apart by detector."""
        return hmac.digest(key, self.kind.salt + self.normal, "sha256")


class Kind:
    """A detector made ready: compiled expressions and functions in place of names."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.id = detector.id
        self.salt = detector.id.encode() + b"\0"
        self.specific = detector.specific
        self.validate = VALIDATORS[detector.validator]
        self.mask = MASKS[detector.mask]
        self.forms = tuple(
            (form, re.compile(form.confirm.encode()), re.compile(form.after.encode()))
            for form in detector.forms
        )
        self.keywords = [
            expression for words in detector.keywords.values() for expression in map(_keyword, words)
        ]
        self.column = (
            re.compile("|".join(_column(w) for ws in detector.keywords.values() for w in ws), re.IGNORECASE)
            if self.keywords
            else None
        )
        companion = detector.companion
        self.companion = companion and (
            bytes(byte if byte in companion.alphabet.encode() else 32 for byte in range(256)),
            VALIDATORS[companion.validator],
            companion,
        )
        self._test = re.compile(detector.test_pattern.encode()) if detector.test_pattern else None
        self._test_values = frozenset(value.encode() for value in detector.test_values)

    def is_test(self, normal: bytes) -> bool:
        """Whether the value is one that was published as an example."""
        return normal in self._test_values or bool(self._test and self._test.search(normal))

    @lru_cache(maxsize=512)  # noqa: B019 - a kind lives as long as its process.
    def names(self, column: str) -> bool:
        """Whether a column of this name says that it holds such values."""
        return bool(self.column and self.column.search(_spaced(column)))


@dataclass(slots=True)
class Candidates:
    """What one pass brought: the ends of triggers by form, the ends of keywords by detector."""

    triggers: list[list[int]]
    keywords: list[list[int]]
    odd: bool


class Matcher:
    """A rule set compiled for one process; not to be shared between threads."""

    def __init__(self, rules: Rules) -> None:
        self.key = rules.key.get_secret_value()
        self.kinds = tuple(Kind(detector) for detector in rules.detectors)
        self.forms = tuple((index, *form) for index, kind in enumerate(self.kinds) for form in kind.forms)
        expressions: list[bytes] = [ODD]
        ids, flags = [0], [hyperscan.HS_FLAG_SINGLEMATCH]
        for number, (_, form, _, _) in enumerate(self.forms, start=1):
            expressions.append(form.trigger.encode())
            ids.append(number)
            flags.append(hyperscan.HS_FLAG_DOTALL)
        for index, kind in enumerate(self.kinds):
            for keyword in kind.keywords:
                expressions.append(keyword)
                ids.append(1 + len(self.forms) + index)
                flags.append(hyperscan.HS_FLAG_CASELESS)
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(expressions=expressions, ids=ids, flags=flags)

    def candidates(self, text: bytes) -> Candidates:
        """Scan the text once."""
        found: list[list[int]] = [[] for _ in range(1 + len(self.forms) + len(self.kinds))]
        sinks: list[Callable[[int], None]] = [ends.append for ends in found]

        def fired(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            sinks[number](end)

        self._database.scan(text, match_event_handler=fired)
        after = 1 + len(self.forms)
        return Candidates(found[1:after], found[after:], bool(found[0]))

    def values(self, segment: Segment, room: Mapping[str, int]) -> tuple[list[Value], dict[str, int]]:
        """Find the values that the segment owns.

        `room` says how many more distinct values of a detector are wanted; from then on its candidates are
        only counted, which is the second thing returned.
        """
        text, plain = segment.text, None
        candidates = self.candidates(text)
        escaped = segment.kind is Part.JSON and b"\\" in text
        if candidates.odd or escaped:
            plain = Plain(text, json=escaped)
            text = plain.text
            candidates = self.candidates(text)
        look = _Look(self, segment, text, plain, candidates)
        found: list[Value] = []
        unchecked: dict[str, int] = {}
        for number, ends in enumerate(candidates.triggers):
            if not ends:
                continue
            index, form, _, _ = self.forms[number]
            name = self.kinds[index].id
            done = (
                look.confirm(number, ends, found, room.get(name, PLENTY)) if room.get(name, PLENTY) > 0 else 0
            )
            if done < len(ends):
                left = look.owned(ends[done:], form.back)
                unchecked[name] = unchecked.get(name, 0) + left
        return (_resolve(found) if len(found) > 1 else found), unchecked

    def redact(self, label: str) -> str:
        """Replace the values in a label (a member's name, a column, a path) by their masked forms."""
        if not label:
            return label
        text = label.encode("utf-8", "replace")
        values, _ = self.values(Segment(Part.NAME, text), {})
        for value in reversed(values):
            if value.end <= len(text):
                text = text[: value.start] + value.masked.encode() + text[value.end :]
        return text.decode("utf-8", "replace")


class _Look:
    """The closer look at one segment."""

    def __init__(
        self, matcher: Matcher, segment: Segment, text: bytes, plain: Plain | None, candidates: Candidates
    ) -> None:
        self._matcher, self._segment, self._text, self._plain = matcher, segment, text, plain
        self._keywords = candidates.keywords
        self._low = segment.low
        self._high = NEVER if segment.high is None else segment.high
        self._rows = segment.kind is Part.TABLE
        self._key = 0, -1

    def owned(self, ends: list[int], back: int) -> int:
        """How many of the triggers belong to values that start in the part that this segment owns."""
        if self._plain:
            ends = [self._plain.raw_offset(end) for end in ends]
        return bisect_left(ends, self._high + back) - bisect_left(ends, self._low + back)

    def confirm(self, number: int, ends: list[int], found: list[Value], room: int) -> int:
        """Check the candidates of one form, add what holds, and say how many were looked at."""
        index, form, expression, after = self._matcher.forms[number]
        kind, text, last = self._matcher.kinds[index], self._text, -1
        search, validate, back, ahead = expression.search, kind.validate, form.back, form.ahead + SLACK
        needs = form.confidence.alone is None
        distinct: set[bytes] = set()
        for done, end in enumerate(ends):
            if end <= last or not after.match(text, end):
                continue
            low = max(end - back, 0)
            match = search(text, low, end + ahead)
            while match and match.end() < end:
                match = search(text, match.start() + 1, end + ahead)
            if match is None or match.start() >= end:
                continue
            start = match.start()
            if needs and not self._evidence(index, start, match.end()):
                continue
            checked = validate(match[0])
            if checked is None:
                continue
            last = start + checked[0]
            raw_start = self._plain.raw_offset(start) if self._plain else start
            if self._low <= raw_start < self._high:
                found.append(self._value(index, form, (start, last, raw_start), checked[1]))
                distinct.add(checked[1])
                if len(distinct) >= room:
                    return done + 1
        return len(ends)

    def _value(self, index: int, form: Form, span: tuple[int, int, int], normal: bytes) -> Value:
        start, end, raw_start = span
        kind = self._matcher.kinds[index]
        evidence = self._evidence(index, start, end)
        confidence: int = form.confidence.keyword if evidence else form.confidence.alone or 0
        reasons = (kind.detector.proof, evidence) if evidence else (kind.detector.proof,)
        if kind.companion:
            alphabet, validate, companion = kind.companion
            around = self._text[max(start - companion.within, 0) : end + companion.within]
            words = around.translate(alphabet).split()
            longest = max(map(len, words), default=0)
            if longest >= companion.length and any(
                len(word) == companion.length and validate(word) for word in words
            ):
                confidence = companion.confidence
                reasons = (*reasons, companion.reason)
        return Value(start, end, raw_start, kind, normal, confidence, reasons, kind.is_test(normal))

    def _evidence(self, index: int, start: int, end: int) -> str:
        """Why the surroundings speak for the value, or nothing."""
        kind, text = self._matcher.kinds[index], self._text
        if not kind.column:
            return ""
        low, high = start - CONTEXT, end + CONTEXT
        if self._rows:
            low = max(low, text.rfind(b"\n", max(low, 0), start))
            line_end = text.find(b"\n", end, high)
            high = line_end if line_end >= 0 else high
        ends = self._keywords[index]
        at = bisect_left(ends, low + 1)
        while at < len(ends) and start < ends[at] <= end:
            at += 1
        if at < len(ends) and ends[at] <= high:
            return "keyword near"
        if self._rows:
            column = column_at(self._segment, text, start, self._plain)
            return "column name" if column and kind.names(column) else ""
        if self._segment.kind is Part.JSON and kind.names(self._key_before(start)):
            return "key name"
        return ""

    def _key_before(self, start: int) -> str:
        """The nearest key before the offset: an array's elements belong to the array's key."""
        text, (since, colon) = self._text, self._key
        if start < since:
            since, colon = 0, -1
        later = text.rfind(b'":', since, start)
        colon = later if later >= 0 else colon
        self._key = start, colon
        opening = text.rfind(b'"', max(colon - 128, 0), max(colon, 0))
        return text[opening + 1 : colon].decode("utf-8", "replace") if opening >= 0 else ""


def column_at(segment: Segment, text: bytes, start: int, plain: Plain | None) -> str:
    """The name of the column at an offset of the scanned text, empty when the table names none."""
    if segment.cells:
        number = segment.cells.at(plain.raw_offset(start) if plain else start)[1]
    elif segment.delimiter:
        line = text.rfind(b"\n", max(start - LONG_LINE, 0), start) + 1
        if not line and (segment.base or start > LONG_LINE):
            return ""
        before = text[line:start]
        if b'"' in before:
            before = re.sub(rb'"[^"]*(?:"|$)', b"", before)
        number = before.count(segment.delimiter)
    else:
        return ""
    return segment.columns[number] if number < len(segment.columns) else ""


def _resolve(found: list[Value]) -> list[Value]:
    """Of values that overlap, keep the most specific, then the longest; the rest in order of place."""
    found.sort(key=lambda value: (value.start, -value.end))
    kept: list[Value] = []
    for value in found:
        while kept and value.start < kept[-1].end and _rank(value) > _rank(kept[-1]):
            kept.pop()
        if not kept or value.start >= kept[-1].end:
            kept.append(value)
    return kept


def _rank(value: Value) -> tuple[int, int, int]:
    return value.kind.specific, value.end - value.start, value.confidence


def _keyword(word: str) -> bytes:
    """A keyword as an expression: whole words, a plural, and spaces that may be none, `_` or `-`."""
    body = "[ _-]?".join(re.escape(part) for part in re.split(r"[ -]", word))
    before = r"(?:\b|_)" if word[0].isascii() and word[0].isalnum() else ""
    after = r"s?(?:\b|[_0-9])" if word[-1].isascii() and word[-1].isalnum() else ""
    return (before + body + after).encode()


def _column(word: str) -> str:
    return r"(?<![a-z])" + r"[ _-]?".join(map(re.escape, re.split(r"[ -]", word))) + r"s?(?![a-z])"


def _spaced(name: str) -> str:
    """`customerSsn` is two words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)

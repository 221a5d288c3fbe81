"""The result of a scan: how much of the file was covered, and what was found, never the values themselves."""

from dataclasses import dataclass
from enum import StrEnum

import orjson
from pydantic import TypeAdapter


class Status(StrEnum):
    """How much of a file was looked at; a policy can act on each."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    UNSCANNABLE = "unscannable"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a file was not covered completely."""

    BYTES = "bytes"  # more came out of it than the budget of inflated bytes
    RATIO = "ratio"  # inflates far beyond its own size: a bomb
    MEMBERS = "members"
    DEPTH = "depth"
    PAGES = "pages"
    CELLS = "cells"
    SECONDS = "seconds"  # the extractor stopped itself
    TIMEOUT = "timeout"  # the process was stopped
    CPU = "cpu"
    MEMORY = "memory"
    CRASH = "crash"
    SIZE = "size"
    ENCRYPTED = "encrypted"
    MALFORMED = "malformed"
    DOCTYPE = "doctype"  # a document type in Office XML: entity bombs and outside references start there
    NO_TEXT = "no text"  # pages or parts that are there but give no text, as scanned paper does
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"  # the file itself could not be opened


@dataclass(frozen=True, slots=True)
class Place:
    """One occurrence: where it is, and its masked form.

    ``offset`` counts bytes of the extracted UTF-8 text of ``where``. ``digest`` is the HMAC-SHA256 of the
    normalised value under the tenant's key: equal values have equal digests, and none can be read back.
    """

    where: str
    offset: int
    masked: str
    digest: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one detector found at one level of confidence (65, 75 or 85).

    ``test`` marks published example values (test cards, documentation keys), which are reported apart and not
    dropped. ``estimated`` says that counting went on without checks once enough distinct values were known.
    """

    detector: str
    title: str
    category: str
    confidence: int
    reasons: tuple[str, ...]
    count: int
    distinct: int
    estimated: bool
    test: bool
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of scanning one file.

    ``kind`` is what the bytes are, whatever the name says. ``rules_hash`` changes with the detectors and the
    extractors: the same content under the same hash need not be scanned again.
    """

    status: Status
    reasons: tuple[Reason, ...]
    kind: str
    size: int
    text_bytes: int
    seconds: float
    rules_hash: str
    findings: tuple[Finding, ...] = ()

    @property
    def reason(self) -> str:
        """The reasons as one text, empty when the file was covered completely."""
        return ", ".join(self.reasons)

    @property
    def confidence(self) -> int:
        """The highest confidence of a finding that is no test value, 0 when there is none."""
        return max((found.confidence for found in self.findings if not found.test), default=0)

    def to_json(self) -> bytes:
        """Serialise to JSON; `from_json` reads it back."""
        return orjson.dumps(self)

    @staticmethod
    def from_json(raw: bytes) -> "Verdict":
        """Read what `to_json` wrote.

        Raises:
            ValueError: The document is not a verdict.
        """
        return _VERDICT.validate_json(raw)


_VERDICT = TypeAdapter(Verdict)

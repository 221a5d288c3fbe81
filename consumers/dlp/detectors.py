"""The detectors as data: what triggers them, what confirms them, and how sure each form makes us.

The files beside this module (`detectors/*.yaml`) are the built-in set. A trigger is a short expression for
Vectorscan: fixed in length where it can be, so that it fires once a value. Everything dear happens only
near a trigger.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal, Self

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, ValidationError, field_validator

from consumers.dlp.checks import VALIDATORS
from consumers.dlp.extract import EXTRACTOR_VERSION
from consumers.dlp.masks import MASKS

BUILT_IN = Path(__file__).with_name("detectors")
Level = Literal[65, 75, 85]


class RulesError(ValueError):
    """A detector file is wrong; the text says which and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Confidence(_Strict):
    """How sure a validated value is by itself and with a keyword near; without `alone` it needs one."""

    alone: Level | None = None
    keyword: Level


class Form(_Strict):
    """One way a value is written.

    `back` and `ahead` are how many bytes before and after a trigger's end the value may reach. The confirming
    expression is a Python one over bytes, as is `after`: it must match where the trigger ends, and turns away
    cheaply what a hostile text repeats.
    """

    trigger: str
    after: str = ""
    confirm: str
    back: Annotated[int, Field(ge=1, le=512)]
    ahead: Annotated[int, Field(ge=0, le=7000)]
    confidence: Confidence

    @field_validator("confirm", "after")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value.encode())
        except re.error as problem:
            raise ValueError(f"not a regular expression: {problem}") from None
        return value


class Companion(_Strict):
    """A word of a fixed length whose presence near a value makes it surer; it is never reported itself."""

    alphabet: str
    length: int
    validator: str
    within: int = 300
    confidence: Level
    reason: str


class Detector(_Strict):
    """One type of sensitive data; `specific` decides which detector wins where two overlap."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    category: Literal["financial", "personal", "credential"]
    specific: int
    forms: tuple[Form, ...]
    validator: str
    proof: str
    keywords: dict[str, tuple[str, ...]] = {}
    mask: str
    companion: Companion | None = None
    test_values: tuple[str, ...] = ()
    test_pattern: str | None = None

    @field_validator("validator")
    @classmethod
    def _known_validator(cls, value: str) -> str:
        if value not in VALIDATORS:
            raise ValueError(f"no such validator: {value}; there are {', '.join(VALIDATORS)}")
        return value

    @field_validator("mask")
    @classmethod
    def _known_mask(cls, value: str) -> str:
        if value not in MASKS:
            raise ValueError(f"no such mask: {value}; there are {', '.join(MASKS)}")
        return value


class Rules(_Strict):
    """A set of detectors, and the tenant's key under which values are digested."""

    detectors: tuple[Detector, ...]
    key: SecretBytes = Field(repr=False)

    @property
    def hash(self) -> str:
        """Names the detectors and the extractors: it changes when a file's result could."""
        body = orjson.dumps([detector.model_dump(mode="json") for detector in self.detectors])
        return hashlib.sha256(EXTRACTOR_VERSION.encode() + b"\0" + body).hexdigest()[:32]

    @classmethod
    def load(cls, key: bytes, *, only: frozenset[str] | None = None, folder: Path = BUILT_IN) -> Self:
        """Read the detector files of a folder, all of them or `only` those ids.

        Raises:
            RulesError: A file is not right, an id is there twice, or one asked for is not there.
        """
        found: dict[str, Detector] = {}
        for path in sorted(folder.glob("*.yaml")):
            try:
                detector = Detector.model_validate(yaml.safe_load(path.read_bytes()))
            except (yaml.YAMLError, ValidationError) as problem:
                raise RulesError(f"{path.name}: {problem}") from None
            if detector.id in found:
                raise RulesError(f"{path.name}: the id {detector.id} is taken")
            found[detector.id] = detector
        missing = sorted((only or frozenset()) - found.keys())
        if missing or not found:
            raise RulesError(
                f"no such detector: {', '.join(missing)}" if missing else f"no detectors in {folder}"
            )
        wanted = found.keys() if only is None else only
        return cls(detectors=tuple(found[name] for name in sorted(wanted)), key=SecretBytes(key))

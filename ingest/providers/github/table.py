"""What each action of the audit log means: an OCSF class and activity, by the rules of `events.toml`.

`kinds.toml` has rules of the same form for webhooks. The files are checked when they are read.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, model_validator

from schemas.ocsf import NAMES

OTHER: Final = 99
"""An activity that OCSF has no number for; the event then says the action's name."""
_ONLY_ENTITIES: Final = frozenset({5, 8, 9, 12, 13})
"""Activities of Entity Management; elsewhere the same is an update."""
_OF_A_KIND: Final = frozenset({3004, 3005, 6001})


class Rule(NamedTuple):
    """What an action means; `known` is False for what no rule names."""

    class_uid: int
    activity: int
    kind: str
    known: bool = True


class Row(BaseModel, extra="forbid", frozen=True):
    """A rule as a file has it."""

    class_uid: int = Field(alias="class")
    activity: int | Literal["other", "by-verb"]
    kind: str = ""
    names: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_.*]+$")], ...]

    @model_validator(mode="after")
    def _exists(self) -> Self:
        if self.class_uid not in NAMES:
            raise ValueError(f"{self.class_uid} is no class that we emit")
        if isinstance(self.activity, int) and self.activity not in NAMES[self.class_uid][1]:
            raise ValueError(f"class {self.class_uid} has no activity {self.activity}")
        if bool(self.kind) != (self.class_uid in _OF_A_KIND):
            raise ValueError(f"class {self.class_uid} {'has no' if self.kind else 'needs a'} kind")
        return self


class Rules(BaseModel, extra="forbid", frozen=True):
    """What both files have."""

    rule: tuple[Row, ...]

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [name for row in self.rule for name in row.names]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"named twice: {', '.join(sorted(twice))}")
        return self


class Events(Rules, frozen=True):
    """What `events.toml` has, where it is explained."""

    mapped: frozenset[str]
    things: tuple[tuple[str, str], ...]
    people: tuple[str, ...]
    privileges: tuple[str, ...]
    apps: tuple[tuple[str, str, str], ...]
    failed: tuple[str, ...]
    verbs: Mapping[int, tuple[str, ...]]


def read(name: str) -> dict[str, Any]:
    """Read a file of this folder."""
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


EVENTS: Final = Events.model_validate(read("events.toml"))
_VERBS: Final = {word: activity for activity, words in EVENTS.verbs.items() for word in words}


def activity_of(class_uid: int, name: str) -> int:
    """Derive the activity from an action's words: its first, its last, any; else it is an update."""
    words = re.split(r"[_.]", name.partition(".")[2] or name)
    last = name.rpartition(".")[2].split("_")
    for word in (last[0], last[-1], *last, *words):
        if number := _VERBS.get(word):
            return 3 if class_uid != 3004 and number in _ONLY_ENTITIES else number
    return 3


def fitting(word: str) -> re.Pattern[str]:
    """Compile a name in which `*` stands for anything."""
    return re.compile(re.escape(word).replace(r"\*", ".*"))


class Table:
    """Rules, looked up by the longest name that fits."""

    def __init__(self, rows: tuple[Row, ...]) -> None:
        named = [(word, row) for row in rows for word in row.names]
        self._exact = {word: row for word, row in named if "*" not in word}
        patterns = sorted(((word, row) for word, row in named if "*" in word), key=lambda one: -len(one[0]))
        self._patterns = [(fitting(word), row) for word, row in patterns]
        self.rule = lru_cache(maxsize=4096)(self._rule)

    def _rule(self, name: str) -> Rule:
        row = self._exact.get(name) or next(
            (row for fits, row in self._patterns if fits.fullmatch(name)), None
        )
        if row is None:
            number = activity_of(6003, name)
            return Rule(6003, number if number <= 4 else OTHER, "", known=False)
        activity = activity_of(row.class_uid, name) if row.activity == "by-verb" else row.activity
        return Rule(row.class_uid, OTHER if activity == "other" else activity, row.kind)


AUDIT: Final = Table(EVENTS.rule)
FAILED: Final = re.compile(rf"(^|[_.])({'|'.join(map(re.escape, EVENTS.failed))})([_.]|$)")

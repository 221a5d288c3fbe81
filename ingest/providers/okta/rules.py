"""What the types of System Log events are: the tables of `events.toml`, read once and checked.

Sources: Okta event types catalogue; OCSF 1.8.0, classes 3001 to 3006, 6003.
"""

import tomllib
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal, NamedTuple, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


class Tables(BaseModel, extra="forbid", frozen=True):
    """The tables, as the comments of the file describe them."""

    rules: dict[int, dict[int | Literal["*"], list[str]]]
    words: dict[int, list[str]]
    hooks: dict[Literal["always", "eligible"], list[str]]
    status: dict[str, int]
    severity: dict[str, int]
    protocol: dict[str, dict[str, int | str]]
    factor: dict[str, int]
    entity: dict[str, list[str]]
    kind: dict[str, int]


class Rule(NamedTuple):
    """What a type of event is; without `prefix` nobody thought of it."""

    class_uid: int
    activity_id: int
    prefix: str = ""


def turned(rows: Iterable[tuple[T, Iterable[str]]]) -> dict[str, T]:
    """Find a row by each of its names.

    Raises:
        ValueError: A name stands in two rows, or twice in one.
    """
    found: dict[str, T] = {}
    for row, names in rows:
        for name in names:
            if name in found:
                raise ValueError(f"events.toml says twice what {name} is")
            found[name] = row
    return found


TABLES: Final = Tables.model_validate(
    tomllib.loads(files(__package__).joinpath("events.toml").read_text("utf-8"))
)
RULES: Final = turned(
    ((class_uid, activity), prefixes)
    for class_uid, activities in TABLES.rules.items()
    for activity, prefixes in activities.items()
)
_BY_WORD: Final = turned(TABLES.words.items())


@lru_cache(maxsize=4096)
def rule(event_type: str) -> Rule:
    """Find the rule of a type."""
    for end in range(len(event_type), 0, -1):
        if found := RULES.get(event_type[:end]):
            class_uid, activity = found
            number = _by_word(class_uid, event_type) if activity == "*" else activity
            return Rule(class_uid, number, event_type[:end])
    return Rule(6003, 99)


def _by_word(class_uid: int, event_type: str) -> int:
    last = event_type.rpartition(".")[2]
    number = _BY_WORD.get(last) or _BY_WORD.get(last.partition("_")[0], 99)
    if class_uid == 6003 and 4 < number < 99:
        return 1 if number == 6 else 3
    return number

"""The `phrase` of an audit-log search.

Source: "Reviewing the audit log for your organization" (qualifiers action, actor, user, operation, repo,
created, country; a leading - turns one round; words without a qualifier cannot be searched for).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sandbox.github.answers import Json, Refused

_FIELDS = {
    "actor": ("actor",),
    "user": ("user",),
    "operation": ("operation_type",),
    "repo": ("repo", "repository"),
    "org": ("org",),
    "hashed_token": ("hashed_token",),
}
_WORD = re.compile(r'(-?)(\w+):("[^"]*"|\S+)$')
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d))?")


@dataclass(slots=True)
class Search:
    """A parsed phrase: the bounds in milliseconds (both included) and the other conditions."""

    start: int | None = None
    end: int | None = None
    tests: list[Callable[[Json], bool]] = field(default_factory=list)

    def matches(self, record: Json) -> bool:
        """Whether a record meets every condition but the bounds."""
        return all(test(record) for test in self.tests)

    def narrow(self, start: int | None, end: int | None) -> None:
        """Take in another pair of bounds."""
        if start is not None:
            self.start = start if self.start is None else max(self.start, start)
        if end is not None:
            self.end = end if self.end is None else min(self.end, end)


def search(phrase: str) -> Search:
    """Parse a phrase; 422 for what the documentation does not know."""
    found = Search()
    for word in re.findall(r'\S+:"[^"]*"|\S+', phrase):
        match = _WORD.match(word)
        if match is None:
            raise Refused(422, f"Search text is not supported: {word}. Use qualifiers.")
        negated, name, value = match[1] == "-", match[2], match[3].strip('"')
        if name == "created":
            found.narrow(*_bounds(value))
            continue
        found.tests.append(_turned(_test(name, value)) if negated else _test(name, value))
    return found


def _turned(test: Callable[[Json], bool]) -> Callable[[Json], bool]:
    return lambda record: not test(record)


def _test(name: str, value: str) -> Callable[[Json], bool]:
    match name:
        case "action":
            return lambda r: (
                r["action"] == value or ("." not in value and r["action"].startswith(value + "."))
            )
        case "country":
            return lambda r: r.get("actor_location", {}).get("country_code") == value
        case _ if name in _FIELDS:
            return lambda r: any(str(r.get(one, "")).lower() == value.lower() for one in _FIELDS[name])
        case _:
            raise Refused(422, f"Unknown qualifier: {name}.")


def _bounds(value: str) -> tuple[int | None, int | None]:
    if ".." in value:
        left, right = value.split("..", 1)
        start = None if left == "*" else _moment(left)[0]
        return start, None if right == "*" else _moment(right)[1]
    for sign, given in ((">=", 0), ("<=", 1), (">", 2), ("<", 3)):
        if value.startswith(sign):
            first, last = _moment(value[len(sign) :])
            return ((first, None), (None, last), (last + 1, None), (None, first - 1))[given]
    return _moment(value)


def _moment(text: str) -> tuple[int, int]:
    """First and last millisecond of a date; a time is that very millisecond, as whole seconds have it."""
    if not _MOMENT.fullmatch(text):
        raise Refused(422, f"Invalid date in created: {text}.")
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(422, f"Invalid date in created: {text}.") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    first = round(when.timestamp() * 1000)
    return (
        (first, first)
        if "T" in text
        else (first, first + round(timedelta(days=1) / timedelta(milliseconds=1)) - 1)
    )

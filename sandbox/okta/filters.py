"""SCIM filter expressions as the management API takes them (core-okta-api, section Filter).

Example:
    wanted = parse('status eq "ACTIVE" and lastUpdated gt "2026-01-01T00:00:00.000Z"', USER_SEARCH)
    wanted.test(lambda path: reach(user, path))
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from sandbox.okta.ids import moment, stamp

Json: TypeAlias = Any
Reach: TypeAlias = Callable[[str], list[Json]]
_TOKEN = re.compile(r'\s*(?:([()])|("(?:[^"\\]|\\.)*")|([^\s()"]+))')
_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda left, right: left == right,
    "co": lambda left, right: right in left,
    "sw": lambda left, right: left.startswith(right),
    "ew": lambda left, right: left.endswith(right),
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
}
_ORDER = {"gt", "ge", "lt", "le"}
OPERATORS = ("eq", "ne", "co", "sw", "ew", "pr", *sorted(_ORDER))


class Malformed(ValueError):
    """The expression can't be read; the text says where and why."""


class Dialect(NamedTuple):
    """Fields (a trailing `*`: any below) with the operators of each; `dates` are compared as times."""

    fields: Mapping[str, frozenset[str]]
    dates: frozenset[str] = frozenset()

    def operators(self, path: str) -> frozenset[str] | None:
        """The operators of a field, None when there is no such field."""
        if path in self.fields:
            return self.fields[path]
        for name, operators in self.fields.items():
            if name.endswith("*") and path.startswith(name[:-1]):
                return operators
        return None


@dataclass(frozen=True, slots=True)
class Compare:
    """One comparison."""

    path: str
    operator: str
    value: Json

    def test(self, reach: Reach) -> bool:
        """Whether one of the field's values fits; `ne` wants none to be equal."""
        values = [one for one in reach(self.path) if one is not None]
        if self.operator == "ne":
            return all(not _fits("eq", one, self.value) for one in values)
        if self.operator == "pr":
            return bool(values)
        return any(_fits(self.operator, one, self.value) for one in values)


@dataclass(frozen=True, slots=True)
class Combined:
    """Two expressions with `and` or `or`, or one with `not`."""

    kind: Literal["and", "or", "not"]
    parts: tuple["Node", ...]

    def test(self, reach: Reach) -> bool:
        """Whether it holds."""
        if self.kind == "not":
            return not self.parts[0].test(reach)
        return (all if self.kind == "and" else any)(part.test(reach) for part in self.parts)


Node: TypeAlias = Compare | Combined


def _fits(operator: str, have: Json, want: Json) -> bool:
    if isinstance(have, bool) or isinstance(want, bool) or not isinstance(have, str):
        return operator == "eq" and str(have).lower() == str(want).lower()
    return _TESTS[operator](have.lower(), str(want).lower())


def reach(thing: Json, path: str) -> list[Json]:
    """All values at a dotted path; lists on the way are gone through."""
    found = [thing]
    for part in path.split("."):
        found = [one[part] for one in _flat(found) if isinstance(one, dict) and part in one]
    return list(_flat(found))


def _flat(things: list[Json]) -> Iterator[Json]:
    for one in things:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield one


class _Reader:
    def __init__(self, text: str, dialect: Dialect) -> None:
        self.text, self.dialect, self.at = text, dialect, 0
        self.tokens: list[tuple[str, int]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise Malformed(f"Invalid filter '{text}': unexpected character at position {place}")
            self.tokens.append(
                (found.group(1) or found.group(2) or found.group(3), found.start(found.lastindex or 0))
            )
            place = found.end()

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self) -> tuple[str, int]:
        if self.at >= len(self.tokens):
            raise Malformed(f"Invalid filter '{self.text}': unexpected end of filter string")
        self.at += 1
        return self.tokens[self.at - 1]

    def either(self) -> Node:
        parts = [self.both()]
        while self.peek().lower() == "or":
            self.take()
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Combined("or", tuple(parts))

    def both(self) -> Node:
        parts = [self.one()]
        while self.peek().lower() == "and":
            self.take()
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else Combined("and", tuple(parts))

    def one(self) -> Node:
        word, place = self.take()
        if word.lower() == "not" and self.peek() == "(":
            return Combined("not", (self.one(),))
        if word == "(":
            inside = self.either()
            if self.take()[0] != ")":
                raise Malformed(f"Invalid filter '{self.text}': expected ')'")
            return inside
        if word == ")" or word.startswith('"'):
            raise Malformed(f"Invalid filter '{self.text}': expected an attribute at position {place}")
        return self.compare(word)

    def compare(self, path: str) -> Compare:
        word, place = self.take()
        operator = word.lower()
        if operator not in OPERATORS:
            raise Malformed(
                f"Invalid filter '{self.text}': Unrecognized attribute operator '{word}' at position "
                f"{place}. Expected: eq,co,sw,pr,gt,ge,lt,le"
            )
        allowed = self.dialect.operators(path)
        if allowed is None:
            raise Malformed(f"field is not valid: {path}")
        if operator not in allowed:
            raise Unsupported(
                "The supplied combination of operator and field is not currently supported. "
                f"Operator: {operator}, Field: {path}"
            )
        return Compare(path, operator, None if operator == "pr" else self.value(path))

    def value(self, path: str) -> Json:
        word, place = self.take()
        try:
            read = json.loads(word)
        except ValueError as error:
            raise Malformed(f"Invalid filter '{self.text}': expected a value at position {place}") from error
        if path in self.dialect.dates:
            try:
                return stamp(moment(str(read)))
            except ValueError as error:
                raise Malformed(f"Invalid date in '{self.text}': {read}") from error
        return read


class Unsupported(Malformed):
    """A field and an operator that do not go together."""


def parse(text: str, dialect: Dialect) -> Node:
    """Read an expression; Malformed when it is none, or not one of this dialect."""
    reader = _Reader(text, dialect)
    node = reader.either()
    if reader.at < len(reader.tokens):
        word, place = reader.take()
        raise Malformed(f"Invalid filter '{text}': unexpected '{word}' at position {place}")
    return node


def _dialect(dates: str, **fields: str) -> Dialect:
    named = {name.replace("__", "."): frozenset(operators.split()) for name, operators in fields.items()}
    return Dialect(named, frozenset(dates.split()))


_SEARCH, _ORDERED = "eq sw co pr", "eq gt ge lt le pr"
USER_SEARCH = Dialect(
    {
        "id": frozenset(_SEARCH.split()),
        "status": frozenset(_SEARCH.split()),
        "type.id": frozenset(_SEARCH.split()),
        **{
            name: frozenset(_ORDERED.split())
            for name in (
                "created",
                "activated",
                "statusChanged",
                "lastUpdated",
                "lastLogin",
                "passwordChanged",
            )
        },
        "profile.*": frozenset(["eq", "sw", "co", "pr", "gt", "ge", "lt", "le"]),
    },
    frozenset({"created", "activated", "statusChanged", "lastUpdated", "lastLogin", "passwordChanged"}),
)
USER_FILTER = _dialect(
    "lastUpdated",
    id="eq",
    status="eq",
    lastUpdated="eq gt ge lt le",
    profile__login="eq",
    profile__email="eq",
    profile__firstName="eq",
    profile__lastName="eq",
)
GROUP_SEARCH = Dialect(
    {
        "id": frozenset({"eq"}),
        "type": frozenset({"eq"}),
        "source.id": frozenset({"eq"}),
        **{n: frozenset(_ORDERED.split()) for n in ("created", "lastUpdated", "lastMembershipUpdated")},
        "profile.*": frozenset({"eq", "sw", "co", "pr"}),
    },
    frozenset({"created", "lastUpdated", "lastMembershipUpdated"}),
)
_LOG = frozenset(["eq", "ne", "sw", "co", "ew", "pr", "gt", "ge", "lt", "le"])
_LOG_FIELDS = (
    "uuid eventType displayMessage severity version legacyEventType actor.* client.* outcome.* target.* "
    "transaction.* authenticationContext.* securityContext.* request.* debugContext.*"
)
LOG_FILTER = Dialect(
    {
        "debugContext.debugData.url": _LOG - {"co"},
        "debugContext.debugData.requestUri": _LOG - {"co"},
        **dict.fromkeys(_LOG_FIELDS.split(), _LOG),
    }
)

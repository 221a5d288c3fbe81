"""Reads GraphQL documents: operations, fragments, variables, aliases.

Source: the GraphQL specification, section 2 (Language); directives and mutations are not part of this.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.github.answers import Json

_TOKEN = re.compile(
    r'\s+|,|#[^\n]*|(\.\.\.|[!$(){}:=@\[\]|&])|("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?)|([A-Za-z_]\w*)'
)


class Unreadable(Exception):
    """A document that is not GraphQL, or not of the part that is known here."""


@dataclass(slots=True)
class Field:
    """A selected field; `on` is the type that a fragment asked for, "" without."""

    name: str
    alias: str
    arguments: dict[str, Json]
    fields: list["Field"]
    on: str = ""


@dataclass(slots=True)
class _Reader:
    tokens: list[str]
    variables: Mapping[str, Json]
    defaults: dict[str, Json] = field(default_factory=dict)
    fragments: dict[str, tuple[str, int]] = field(default_factory=dict)
    at: int = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise Unreadable(f'Parse error on "{token}", expected {wanted or "more"}')
        self.at += 1
        return token


def read(text: str, variables: Mapping[str, Json]) -> list[Field]:
    """The fields that a query selects at its top."""
    reader = _Reader(_tokens(text), variables)
    start = -1
    while reader.peek():
        if reader.peek() == "fragment":
            reader.take()
            name = reader.take()
            reader.take("on")
            reader.fragments[name] = (reader.take(), reader.at)
        elif reader.peek() == "query":
            reader.take()
            if reader.peek() not in {"(", "{"}:
                reader.take()
            if reader.peek() == "(":
                _definitions(reader)
            start = reader.at
        elif reader.peek() == "{":
            start = reader.at
        else:
            raise Unreadable(f'Parse error on "{reader.peek()}"')
        _skip(reader)
    if start < 0:
        raise Unreadable("No query was given")
    reader.at = start
    return _selection(reader, 0)


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f'Parse error on "{text[at]}"')
        found += [one for one in match.groups() if one]
        at = match.end()
    return found


def _definitions(reader: _Reader) -> None:
    reader.take("(")
    while reader.peek() != ")":
        reader.take("$")
        name = reader.take()
        reader.take(":")
        required = False
        while reader.peek() not in {"$", ")", "="}:
            required = reader.take() == "!"
        if reader.peek() == "=":
            reader.take()
            reader.defaults[name] = _value(reader)
        elif not required:
            reader.defaults[name] = None
        if required and reader.variables.get(name) is None:
            raise Unreadable(f"Variable ${name} was provided invalid value")
    reader.take(")")


def _skip(reader: _Reader) -> None:
    """Go past a selection without reading it."""
    depth = 0
    reader.take("{")
    depth += 1
    while depth:
        token = reader.take()
        depth += {"{": 1, "}": -1}.get(token, 0)


def _selection(reader: _Reader, depth: int) -> list[Field]:
    if depth > 20:
        raise Unreadable("The query is nested too deeply")
    reader.take("{")
    fields: list[Field] = []
    while reader.peek() != "}":
        if reader.peek() == "...":
            fields += _spread(reader, depth)
            continue
        name = reader.take()
        alias = name
        if reader.peek() == ":":
            reader.take()
            name = reader.take()
        arguments = _arguments(reader) if reader.peek() == "(" else {}
        inner = _selection(reader, depth + 1) if reader.peek() == "{" else []
        fields.append(Field(name, alias, arguments, inner))
    reader.take("}")
    return fields


def _spread(reader: _Reader, depth: int) -> list[Field]:
    reader.take("...")
    if reader.peek() == "on":
        reader.take()
        kind = reader.take()
        fields = _selection(reader, depth + 1)
    else:
        name = reader.take()
        if name not in reader.fragments:
            raise Unreadable(f"Fragment {name} was used, but not defined")
        kind, where = reader.fragments[name]
        back, reader.at = reader.at, where
        fields = _selection(reader, depth + 1)
        reader.at = back
    for one in fields:
        one.on = one.on or kind
    return fields


def _arguments(reader: _Reader) -> dict[str, Json]:
    found: dict[str, Json] = {}
    reader.take("(")
    while reader.peek() != ")":
        name = reader.take()
        reader.take(":")
        found[name] = _value(reader)
    reader.take(")")
    return found


def _value(reader: _Reader) -> Json:
    token = reader.take()
    if token == "$":
        name = reader.take()
        if name not in reader.variables and name not in reader.defaults:
            raise Unreadable(f"Variable ${name} is used but not declared")
        return reader.variables.get(name, reader.defaults.get(name))
    if token.startswith('"'):
        return token[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if re.fullmatch(r"-?\d+", token):
        return int(token)
    return {"true": True, "false": False, "null": None}.get(token, token)

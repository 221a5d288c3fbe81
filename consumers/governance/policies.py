"""Policies as people write them (YAML or JSON), read strictly: what is misspelt is an error, not ignored."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ingest.catalog import providers
from ingest.provider import Provider
from schemas.control import Policy, PolicyMatch

Kinds = Mapping[str, type[Provider[Any]]]

_LARGEST: Final = 1024 * 1024
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_STRICT: Final = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Loader(yaml.SafeLoader):
    """YAML as people expect it: `on` is a word, not true, and nothing is repeated by reference."""

    yaml_implicit_resolvers = {  # noqa: RUF012 PyYAML's own form of a class attribute
        start: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"]
        for start, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases: a few lines of them grow to gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # so say the stubs
            raise yaml.composer.ComposerError(None, None, "aliases are not taken", mark)
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


class PolicyError(ValueError):
    """A policy file that can't be used; the message names the policy, the field and the rule."""


class _Match(BaseModel):
    """The `match` section."""

    model_config = _STRICT

    on: Literal["finding", "file"]
    detectors: tuple[str, ...] = ()
    min_confidence: Literal[65, 75, 85] = 65
    min_count: int = Field(1, ge=1)
    exposure: Literal["", "private", "internal", "external", "public"] = ""
    connectors: tuple[str, ...] = ()
    name: str = Field("", max_length=500)
    types: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "_Match":
        """Refuse filters that belong to the other kind of event."""
        other = (
            ("exposure", "types") if self.on == "finding" else ("detectors", "min_confidence", "min_count")
        )
        for name in other:
            if name in self.model_fields_set:
                raise ValueError(f"{name} can't be used with on: {self.on}")
        if self.on == "file" and not self.exposure:
            raise ValueError("on: file needs exposure (private, internal, external or public, at least)")
        return self


class _Written(BaseModel):
    """One policy as written."""

    model_config = _STRICT

    name: str = Field(pattern=_NAME)
    match: _Match
    action: str = Field(min_length=1)
    options: dict[str, Any] = {}
    dry_run: bool = True
    cap: int = Field(25, ge=1, le=100_000)

    @field_validator("options")
    @classmethod
    def _reversible(cls, options: dict[str, Any]) -> dict[str, Any]:
        if "irreversible" in options:
            raise ValueError("a policy can't do what can't be undone: run that by hand")
        return options


class _Document(BaseModel):
    """The file: a list of policies; connectors may stand beside them and are read elsewhere."""

    model_config = _STRICT

    policies: tuple[_Written, ...] = ()
    connectors: Any = None


def document(text: str) -> Any:
    """Read YAML or JSON, with `on`, `off`, `yes` and `no` as the words they are.

    Raises:
        PolicyError: It is neither, or it is too large.
    """
    if len(text) > _LARGEST:
        raise PolicyError("the file is larger than 1 MiB")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 a safe loader, stricter
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise PolicyError(f"neither YAML nor JSON{where}") from None


def parse_policies(text: str, kinds: Kinds | None = None) -> list[Policy]:
    """Read policies and check them against what the providers can do.

    Args:
        text: YAML or JSON: a list of policies, or a mapping with `policies`.
        kinds: The providers by name; by default those there are.

    Raises:
        PolicyError: With every complaint, one a line.
    """
    raw = document(text)
    if isinstance(raw, list):
        raw = {"policies": raw}
    if not isinstance(raw, dict):
        raise PolicyError("write a list of policies, or a mapping with `policies:`")
    try:
        found = _Document.model_validate(raw).policies
    except ValidationError as error:
        raise PolicyError("\n".join(_complaints(raw, error))) from None
    wrong = [*_doubled(found), *_impossible(found, providers() if kinds is None else kinds)]
    if wrong:
        raise PolicyError("\n".join(wrong))
    return [
        Policy(**{**one.model_dump(exclude={"match"}), "match": PolicyMatch(**one.match.model_dump())})
        for one in found
    ]


def actions_named(kinds: Kinds, name: str) -> dict[str, Any]:
    """Find the action of a name in the providers that have it."""
    return {
        provider: action for provider, kind in kinds.items() for action in kind.actions if action.name == name
    }


def _complaints(raw: Mapping[str, Any], error: ValidationError) -> Iterable[str]:
    for one in error.errors(include_input=False, include_url=False):
        section, *rest = one["loc"]
        label, path = str(section), rest
        if section == "policies" and rest and isinstance(rest[0], int):
            written = raw["policies"][rest[0]]
            name = written.get("name") if isinstance(written, dict) else None
            label, path = f"policy {name!r}" if isinstance(name, str) else f"policy {rest[0] + 1}", rest[1:]
        where = ".".join(str(part) for part in path)
        said = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            said = "there is no such field"
        yield f"{label}: {where}: {said}" if where else f"{label}: {said}"


def _doubled(found: Iterable[_Written]) -> Iterable[str]:
    seen: set[str] = set()
    for one in found:
        if one.name in seen:
            yield f"policy {one.name!r}: the name is used twice"
        seen.add(one.name)


def _impossible(found: Iterable[_Written], kinds: Kinds) -> Iterable[str]:
    for one in found:
        having = actions_named(kinds, one.action)
        if not having:
            known = sorted({action.name for kind in kinds.values() for action in kind.actions})
            yield f"policy {one.name!r}: action: there is no {one.action!r}; there are: {', '.join(known)}"
        elif any(action.irreversible for action in having.values()):
            yield f"policy {one.name!r}: action: {one.action} can't be undone, so no policy may do it"
        elif not any(action.on in {"file", "space"} for action in having.values()):
            yield f"policy {one.name!r}: action: {one.action} acts on no file"

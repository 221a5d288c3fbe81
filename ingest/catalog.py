"""The providers there are: folders under `ingest/providers`, found, never registered."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, get_args

import ingest.providers
from ingest.errors import Misconfigured
from ingest.provider import Capability, Provider

CAPABILITIES: tuple[Capability, ...] = get_args(Capability)


@cache
def providers(extra: tuple[str, ...] = ()) -> Mapping[str, type[Provider[Any]]]:
    """Import every provider package and return its class by name; `extra` names packages elsewhere."""
    packages = [
        f"ingest.providers.{found.name}"
        for found in pkgutil.iter_modules(ingest.providers.__path__)
        if found.ispkg
    ]
    found: dict[str, type[Provider[Any]]] = {}
    for package in [*packages, *extra]:
        kind = _class(importlib.import_module(package))
        found[kind.name] = kind
    return found


def _class(module: Any) -> type[Provider[Any]]:
    kinds = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Provider) and one is not Provider
        and one.__module__ == module.__name__
    ]  # fmt: skip
    if len(kinds) != 1:
        raise TypeError(f"{module.__name__} must define exactly one Provider, not {len(kinds)}")
    return kinds[0]


def provider(name: str) -> type[Provider[Any]]:
    """Get a provider's class.

    Raises:
        Misconfigured: There is no such provider; the message lists those there are.
    """
    known = providers()
    if name not in known:
        raise Misconfigured(f"there is no provider {name!r}; known are: {', '.join(sorted(known))}")
    return known[name]


def covers(kind: type[Provider[Any]]) -> dict[Capability, str]:
    """Read from the class what a provider covers: must be there, partial, or via another connector."""
    found: set[str] = set()
    for feed in kind.feeds().values():
        found.update(feed.covers)
    found.update(action.capability for action in kind.actions)
    table: dict[Capability, str] = {}
    for capability in CAPABILITIES:
        if capability in kind.via:
            table[capability] = f"via {kind.via[capability]}"
        elif capability in kind.partly:
            table[capability] = f"partly: {kind.partly[capability]}"
        elif capability in found:
            table[capability] = "yes"
    return table


def table(kinds: Iterable[type[Provider[Any]]] = ()) -> list[dict[str, Any]]:
    """Make the capability table, a row a provider, as `sluice providers --json` prints it."""
    return [_row(kind) for kind in sorted(kinds or providers().values(), key=lambda one: one.name)]


def _row(kind: type[Provider[Any]]) -> dict[str, Any]:
    return {
        "provider": kind.name,
        "title": kind.title or kind.name,
        "capabilities": covers(kind),
        "feeds": {
            feed.name: {
                "covers": list(feed.covers),
                "every_seconds": feed.every.total_seconds() if feed.every else None,
                "component": feed.component,
            }
            for feed in kind.feeds().values()
        },
        "hooks": sorted(kind.hooks()),
        "actions": {one.name: {"on": one.on, "irreversible": one.irreversible} for one in kind.actions},
        "many": kind.many,
        "can_disable": kind.can_disable,
        "components": sorted(kind.components),
    }

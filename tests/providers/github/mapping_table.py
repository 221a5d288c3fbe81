"""Writes docs/mappings/github.md from the rules and the catalogues: `python mapping_table.py > …`."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest.providers.github.kinds import EVENTS, WEBHOOKS, logged
from ingest.providers.github.table import AUDIT, Table
from schemas.ocsf import NAMES

HERE = Path(__file__).parent
HEAD = """# GitHub: what becomes of audit actions and webhooks

Written by `tests/providers/github/mapping_table.py` from the rules in `events.toml` and `kinds.toml` of
`ingest/providers/github` over GitHub's published catalogues; a test holds this page against them, and walks
the same lists, so that nothing falls to unknown by accident. An action or kind that is in none of them is
API Activity (6003) by its verb, and passes through whole.

Catalogues: github/docs `src/audit-logs/data/shared/entries.json` (organization, enterprise and user actions);
npm `@octokit/openapi-webhooks` 12.1.0 (ghec) and `@octokit/webhooks-examples` 7.6.1.

| Catalogue | Names | Mapped by a rule | Activity 99 (other), on purpose |
| --- | --- | --- | --- |"""
_Key = tuple[int, int, str]


def page() -> str:
    """Write the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    actions, kinds = ((HERE / name).read_text().split() for name in ("actions.txt", "webhooks.txt"))
    yield HEAD
    for title, names, table in (("audit actions", actions, AUDIT), ("webhook kinds", kinds, WEBHOOKS)):
        known = sum(table.rule(one).known for one in names)
        other = sum(table.rule(one).activity == 99 for one in names)
        yield f"| {title} | {len(names)} | {known} | {other} |"
    yield "\n*Kind* is the type of the resource (6001) or of the entity (3004), or the privilege (3005)."
    yield "\n## Audit actions\n\n| Class / activity | Kind | Actions |\n| --- | --- | --- |"
    for key, names in sorted(_grouped(actions, AUDIT).items()):
        yield f"| {_head(key)} | {key[2]} | {', '.join(_squeezed(names))} |"
    yield "\n`repo.access` to public is 6001 / 8 share; `api.request` takes its activity from the method."
    yield "\n## Webhooks\n"
    yield "Kinds marked + are in the audit log too: where there is one, they only make it be read. Asked for:"
    yield ", ".join(f"`{one}`" for one in EVENTS) + ".\n"
    yield "| Class / activity | Kind | Event and action |\n| --- | --- | --- |"
    for key, names in sorted(_grouped(kinds, WEBHOOKS).items()):
        marked = (f"`{one}`{'+' if logged(one) else ''}" for one in names)
        yield f"| {_head(key)} | {key[2]} | {', '.join(marked)} |"


def _grouped(names: Iterable[str], table: Table) -> dict[_Key, list[str]]:
    found: dict[_Key, list[str]] = defaultdict(list)
    for one in names:
        found[table.rule(one)[:3]].append(one)
    return found


def _head(key: _Key) -> str:
    name, words = NAMES[key[0]]
    return f"{key[0]} {name} / {key[1]} {words.get(key[1], 'other')}"


def _squeezed(names: Iterable[str]) -> Iterator[str]:
    found: dict[str, list[str]] = defaultdict(list)
    for one in names:
        prefix, _, rest = one.partition(".")
        found[prefix].append(rest)
    for prefix, many in found.items():
        yield f"`{prefix}.{many[0]}`" if len(many) == 1 else f"`{prefix}.`{{{', '.join(many)}}}"


if __name__ == "__main__":
    sys.stdout.write(page())

"""What each webhook kind means, which are subscribed to, and which of them the audit log tells of too.

All of it is in `kinds.toml`. Deliveries and the audit log share no id, so a kind that the log has is only a
sign to read it.
"""

import re
from typing import Final

from ingest.provider import Json
from ingest.providers.github.table import Rules, Table, fitting, read


class Kinds(Rules, frozen=True):
    """What `kinds.toml` has, where it is explained."""

    subscribed: tuple[str, ...]
    logged: tuple[str, ...]
    announced: frozenset[str]
    people: tuple[str, ...]
    things: tuple[str, ...]
    names: tuple[str, ...]
    telling: tuple[tuple[str, ...], ...]


KINDS: Final = Kinds.model_validate(read("kinds.toml"))
_LOGGED: Final = re.compile("|".join(fitting(one).pattern for one in KINDS.logged))
_TELLING: Final = tuple(
    (event, {one for one in signs if one[0] != "!"}, {one[1:] for one in signs if one[0] == "!"})
    for event, *signs in KINDS.telling
)
WEBHOOKS: Final = Table(KINDS.rule)
EVENTS: Final = KINDS.subscribed
ANNOUNCED: Final = KINDS.announced


def logged(kind: str) -> bool:
    """Tell whether the audit log has what a delivery of this kind tells."""
    return _LOGGED.fullmatch(kind) is not None


def guessed(payload: Json) -> str:
    """Tell a payload's event by its members; empty: none fits."""
    names = {*payload, f"={payload.get('action')}"}
    return next((event for event, signs, bars in _TELLING if signs <= names and names.isdisjoint(bars)), "")

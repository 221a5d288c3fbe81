"""What permissions allow: the calls of each capability (`probe.toml`), and the IAM action each lacks."""

import tomllib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.provider import Grant, Json, Missing, NotAllowed, Refused
from ingest.providers.aws.buckets import listed
from ingest.providers.aws.errors import Denied

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

_TABLE: Final[Json] = tomllib.loads(Path(__file__).with_name("probe.toml").read_text())


async def read_grants(p: "Aws") -> AsyncIterator[Grant]:
    """Say of each capability what is missing; a call that several need is made once."""
    settings, lacks = p.settings, await _lacks(p)
    for name, one in _TABLE["capabilities"].items():
        missing = [lack for call in one["calls"] for lack in lacks[call]]
        note = one.get("note", "")
        if (setting := one.get("setting")) and not getattr(settings, setting):
            note = one["unset"]
            missing += [setting] if one.get("required") else []
        yield Grant(name, tuple(dict.fromkeys(missing)), note)


async def _lacks(p: "Aws") -> dict[str, list[str]]:
    """Make every call everywhere it counts, and name the actions that each lacks."""
    s = p.settings
    places: dict[str, list[dict[str, Json]]] = {
        "": [{}],
        "organization": [{}] * s.organization,
        "identity_center": [{}] * s.identity_center,
        "region": [{"region": region} for region in s.regions],
        "queue": [{"QueueUrl": s.queue_url, "region": s.queue_region}] if s.queue_url else [],
        "bucket": await _bucket(p),
    }
    return {
        name: [
            lack
            for place in places[one.get("on", "")]
            if (lack := await _lack(p, one["call"], one.get("params", {}) | place))
        ]
        for name, one in _TABLE["calls"].items()
    }


async def _lack(p: "Aws", call: tuple[str, str], params: dict[str, Json]) -> str:
    """Name the action that a call lacks; empty: it may be made."""
    try:
        await p.sessions.call(*call, **params)
    except Denied as error:
        return error.action
    except NotAllowed as error:
        return str(error)
    except (Missing, Refused):  # "no such policy" and the like are states: the call itself was allowed
        pass
    return ""


async def _bucket(p: "Aws") -> list[dict[str, Json]]:
    """Find a watched bucket to try things on."""
    with suppress(NotAllowed, Refused):
        async for place in listed(p, ""):
            if p.settings.watches(place.name):
                return [{"Bucket": place.name, "region": place.region}]
    return []

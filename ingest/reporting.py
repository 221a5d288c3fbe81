"""What a connector's owner tells: the sum of its feeds, and changes of state as health events."""

from collections.abc import Iterable
from typing import Any

from ingest.feeds import Progress
from ingest.producing import Outgoing
from ingest.provider import Provider
from schemas.control import FeedStatus, Wish
from schemas.envelope import headers
from schemas.events import Origin, event, stamp
from schemas.validation import encode, validate

_LIFECYCLE = {"running": 3, "removed": 4, "checking": 6, "disabled": 7}
"""OCSF's Application Lifecycle: start, stop, enable, disable; everything else is "other" in our own word."""
_OURS = "Sluice"


def summed(progress: Iterable[tuple[str, Progress]]) -> dict[str, FeedStatus]:
    """Sum the axes up to a status a feed: the worst state, the oldest success."""
    found: dict[str, FeedStatus] = {}
    for name, each in progress:
        one, have = each.status(), found.get(name)
        if have is None:
            found[name] = one
            continue
        worse = one if one.why and not have.why else have
        found[name] = FeedStatus(
            state=worse.state,
            why=worse.why,
            axes=have.axes + 1,
            published=have.published + one.published,
            last_success=min(have.last_success, one.last_success),
            last_event=max(have.last_event, one.last_event),
        )
    return found


def health_record(
    wish: Wish, kind: type[Provider[Any]], instance: str, condition: tuple[str, str], now: int
) -> Outgoing:
    """Make the health event of a connector that entered a condition (state, why)."""
    state, why = condition
    origin = Origin(
        tenant=wish.tenant, provider=wish.provider, instance=instance or wish.name,
        account_type_id=kind.account_type_id, account_type=kind.account_type,
        product={"name": _OURS, "vendor_name": _OURS},
    )  # fmt: skip
    activity = _LIFECYCLE.get(state, 99)
    made = event(
        6002, activity, now, log_name="health", source_id=f"{wish.name}/{state}/{now}",
        severity_id=3 if why else 1, status_id=2 if why else 1, message=f"{wish.name}: {state}",
        status_detail=why[:500], app={"name": wish.name, "vendor_name": _OURS},
        activity_name=state if activity == 99 else "",
    )  # fmt: skip
    validate(stamp(made, origin, now))
    head = headers(made, origin, topic="health", entity=wish.name)
    return Outgoing("health", 0, f"{wish.tenant}/{wish.name}".encode(), encode(made), head)

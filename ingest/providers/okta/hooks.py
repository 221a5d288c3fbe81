"""Event hooks: which types they bring, how they are registered, checked, repaired and taken away.

A hook speeds the log up, no more: Okta delivers at least once, in any order, gives up after one repetition,
and stops at 400,000 events a day. Sources: Okta docs, "Event hooks"; Okta Management API, Event Hooks.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from ingest.paging import linked
from ingest.provider import Axis, Event, Json, Refused, Registered, Subscription, Wanted
from ingest.providers.okta.rules import TABLES
from ingest.providers.okta.settings import Org

MOST_TYPES: Final = 300
ELIGIBLE: Final = tuple(TABLES.hooks["eligible"])
ALWAYS: Final = frozenset(TABLES.hooks["always"])
_ROUNDS: Final = 4
_NAME: Final = "Sluice "
_PATH: Final = "/api/v1/eventHooks"


def chunks(types: Sequence[str]) -> dict[str, Sequence[str]]:
    """Split types over as many hooks as they need, what matters most first; the first one's key is empty."""
    ordered = sorted(types, key=lambda one: (one not in ALWAYS, one))
    cut = [ordered[start : start + MOST_TYPES] for start in range(0, len(ordered), MOST_TYPES)]
    return {str(number or ""): each for number, each in enumerate(cut)}


CHUNKS: Final[Mapping[str, Sequence[str]]] = chunks(ELIGIBLE)


async def hook_axes(p: Org) -> AsyncIterator[Axis]:
    """List the hooks that are needed."""
    del p
    for key in CHUNKS:
        yield Axis(key)


class EventHooks(Subscription[Org]):
    """The org's event hooks of ours, known by the registration's id in their names."""

    brings = "events"
    speeds_up = ("log",)
    per: ClassVar[Any] = hook_axes

    def expects(self, event: Event) -> bool:
        """Tell whether a hook should have brought it, whatever else the org let it have."""
        return event["metadata"].get("event_code") in ALWAYS

    async def create(self, p: Org, w: Wanted) -> Registered:
        """Register or repair the hook of this id, then let Okta look whether the address is ours.

        Raises:
            Refused: Okta got no good answer from the address, or the org has 25 hooks already.
        """
        hook = await _written(p, await _find(p, w.id), w)
        if hook.get("status") == "INACTIVE":
            await p.http.call("okta", "POST", f"{_PATH}/{hook['id']}/lifecycle/activate")
        try:
            await p.http.call("okta", "POST", f"{_PATH}/{hook['id']}/lifecycle/verify")
        except Refused as error:
            raise Refused(
                f"Okta could not verify the event hook's address: can it reach the receiver by TLS? ({error})"
            ) from error
        return Registered(w.id, data={"hook": hook["id"]})

    async def remove(self, p: Org, it: Registered) -> None:
        """Switch the hook off, which deleting it demands, and delete it."""
        uid = (it.data or {}).get("hook") or (await _find(p, it.id) or {}).get("id")
        if not uid:
            return
        off = await p.http.call("okta", "POST", f"{_PATH}/{uid}/lifecycle/deactivate", ok=(404,))
        if off.status != 404:
            await p.http.call("okta", "DELETE", f"{_PATH}/{uid}", ok=(404,))

    async def listed(self, p: Org) -> AsyncIterator[Registered]:
        """List our hooks; one that is off, unverified or lost its types is not healthy."""
        async for one in _ours(p):
            items = set((one.get("events") or {}).get("items") or ())
            whole = items >= ALWAYS or (items and items.isdisjoint(ALWAYS))
            well = one.get("status") == "ACTIVE" and one.get("verificationStatus") == "VERIFIED" and whole
            address = ((one.get("channel") or {}).get("config") or {}).get("uri") or ""
            data = {"hook": one["id"], "address": address}
            yield Registered(one["name"].removeprefix(_NAME), healthy=bool(well), data=data)


async def _written(p: Org, hook: Json, w: Wanted) -> Json:
    """Make the hook or change it, with all the types that this org knows.

    An org refuses types of features that it lacks, and names them or not: what it names is left out, and if
    that does not end, all but those that every org knows.
    """
    method, path = ("POST", _PATH) if hook is None else ("PUT", f"{_PATH}/{hook['id']}")
    types = list(CHUNKS[w.axis.key])
    for left in range(_ROUNDS, -1, -1):
        reply = await p.http.call("okta", method, path, json=_body(w, types), ok=(400,))
        if reply.status != 400:
            return reply.json
        told = " ".join(str(one.get("errorSummary")) for one in reply.json.get("errorCauses") or ())
        unknown = {one for one in types if f"'{one}'" in told or f" {one}" in f" {told} "}
        known = [one for one in types if one not in unknown]
        types = known if left > 1 else sorted(ALWAYS.intersection(types))
        if not unknown or not types:
            break
    raise Refused(f"Okta refuses the event hook: {reply.json.get('errorSummary')} {told}"[:300])


def _body(w: Wanted, types: Sequence[str]) -> Json:
    guard = {"type": "HEADER", "key": "Authorization", "value": w.secret}
    config = {"uri": w.address, "method": "POST", "headers": [], "authScheme": guard}
    return {
        "name": _NAME + w.id, "events": {"type": "EVENT_TYPE", "items": list(types)},
        "channel": {"type": "HTTP", "version": "1.0.0", "config": config},
    }  # fmt: skip


async def _ours(p: Org) -> AsyncIterator[Json]:
    async for reply in linked(p.http, "okta", _PATH):
        for one in reply.json:
            if str(one.get("name") or "").startswith(_NAME):
                yield one


async def _find(p: Org, uid: str) -> Json:
    return next(iter([one async for one in _ours(p) if one["name"] == _NAME + uid]), None)

"""The organization's webhook: registered, repaired, its secret rotated, and what it failed to bring.

GitHub sends each event once: what we did not answer with success within ten seconds is only found in the
list of deliveries, kept three days. That list's filter for failures leaves out broken connections, so the
status of each is looked at. Source: REST API reference, "Organization webhooks"; "Handling failed webhook
deliveries".
"""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Final

import orjson

from ingest.provider import (
    At,
    BadRecord,
    Broken,
    Delivery,
    Event,
    Hooked,
    Json,
    Missing,
    Nudge,
    Page,
    Pushed,
    Registered,
    Subscription,
    Wanted,
)
from ingest.providers.github.calls import change, everything, get, pages
from ingest.providers.github.kinds import ANNOUNCED, EVENTS, logged
from ingest.providers.github.webhooks import LOG, opened

if TYPE_CHECKING:
    from ingest.providers.github import GitHub

ADDRESS: Final = "/github/changed/"
"""Part of every address that a receiver of ours gives to this hook."""
SUCCESS: Final = range(200, 300)


class OrganizationHook(Subscription["GitHub"]):
    """One webhook of the organization, for people, access, settings and content."""

    brings: ClassVar[str] = "changed"
    speeds_up: ClassVar[tuple[str, ...]] = ("audit", "webhooks")

    @staticmethod
    def expects(event: Event) -> bool:
        """Tell whether a delivery should have come with what a poll found: of this organization, and sure."""
        if event["metadata"]["log_name"] == LOG:
            return True
        cloud = event["cloud"]
        here = (cloud.get("org") or {}).get("uid") == cloud["account"]["uid"]
        return here and event["metadata"].get("event_code") in ANNOUNCED

    async def create(self, p: "GitHub", w: Wanted) -> Registered:
        """Make it, or lead the one there is to this address, with this secret.

        Two side by side would give one event two GUIDs, which is what tells a redelivery.
        """
        receiver = w.address.rpartition("/")[0]
        for one in await everything(p, _path(p)):
            if (one["config"].get("url") or "").rpartition("/")[0] == receiver:
                return await _set(p, "PATCH", f"/{one['id']}", w)
        return await _set(p, "POST", "", w)

    async def remove(self, p: "GitHub", it: Registered) -> None:
        """Take it away; one that was never made has no number."""
        if it.id.isdecimal():
            await change(p, "DELETE", f"{_path(p)}/{it.id}", ok=(404,))

    async def renew(self, p: "GitHub", it: Registered, w: Wanted, how: Json) -> Registered | None:
        """Set address, secret and events anew: how a secret is rotated. None: it is gone."""
        del how
        try:
            return await _set(p, "PATCH", f"/{it.id}", w)
        except Missing:
            return None

    async def listed(self, p: "GitHub") -> AsyncIterator[Registered]:
        """List ours; one that is switched off or lacks events has to be repaired."""
        for one in await everything(p, _path(p)):
            config = one["config"]
            if ADDRESS in (address := config.get("url") or ""):
                heard = set(EVENTS) <= set(one["events"]) or "*" in one["events"]
                safe = config.get("content_type") == "json" and bool(config.get("secret"))
                healthy = bool(one["active"] and heard and safe)
                yield Registered(str(one["id"]), healthy=healthy, data={"address": address})


def _path(p: "GitHub") -> str:
    return f"{p.settings.org}/hooks"


async def _set(p: "GitHub", method: str, place: str, w: Wanted) -> Registered:
    config = {"url": w.address, "content_type": "json", "secret": w.secret, "insecure_ssl": "0"}
    body = {"name": "web", "active": True, "events": list(EVENTS), "config": config}
    made = (await change(p, method, f"{_path(p)}{place}", body)).json
    return Registered(str(made["id"]), data={"address": w.address})


def changed(p: "GitHub", delivery: Delivery) -> Iterable[Hooked]:
    """Say what a delivery means: a kind that the audit log has makes it be read, others are published.

    Raises:
        BadRecord: It is no delivery of GitHub's.
    """
    try:
        payload = orjson.loads(delivery.body)
    except orjson.JSONDecodeError as error:
        raise BadRecord("not a webhook delivery: not JSON") from error
    event = delivery.headers.get("x-github-event", "")
    guid = delivery.headers.get("x-github-delivery", "")
    record = {"guid": guid, "event": event, "request": {"payload": payload}}
    kind = opened(record).kind
    found: list[Hooked] = []
    if kind == "meta.deleted":
        found.append(Broken(str(payload.get("hook_id"))))
    if _in_log(p, kind):
        return [*found, Nudge("audit")]
    return found if event == "ping" else [*found, Pushed("webhooks", [record])]


async def webhooks(p: "GitHub", at: At) -> AsyncIterator[Page]:
    """Read what failed to arrive, newest first, and was not sent again with success since."""
    for hook in await everything(p, _path(p)):
        if ADDRESS in (hook["config"].get("url") or ""):
            async for page in _failed(p, f"{_path(p)}/{hook['id']}/deliveries", at):
                yield page


async def _failed(p: "GitHub", path: str, at: At) -> AsyncIterator[Page]:
    arrived: set[str] = set()
    async for found, _ in pages(p, path, grows=True):
        wanted, when = [], at.until
        for one in found:
            when = datetime.fromisoformat(one["delivered_at"])
            kind = f"{one['event']}.{one['action']}" if one.get("action") else str(one["event"])
            ours = kind != "ping" and not _in_log(p, kind) and at.since <= when < at.until
            if one["status_code"] in SUCCESS:
                arrived.add(one["guid"])
            elif ours and one["guid"] not in arrived:
                wanted.append(one)
                arrived.add(one["guid"])
        yield Page([(await get(p, f"{path}/{one['id']}")).json for one in wanted])
        if when < at.since:
            return


def _in_log(p: "GitHub", kind: str) -> bool:
    return p.audited and logged(kind)

"""Event hooks: their registration, and which events are theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from sandbox.okta import ids
from sandbox.okta.catalogue import KINDS
from sandbox.okta.eligible import ELIGIBLE
from sandbox.okta.errors import Refused, invalid

Json: TypeAlias = Any
MOST, MOST_TYPES = 25, 300
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_KEYS = {"name", "description", "events", "channel"}
_READ_ONLY = {"id", "status", "verificationStatus", "created", "createdBy", "lastUpdated", "_links"}


@dataclass(slots=True)
class Hook:
    """A registration; `secret` is the value that the API never shows again, `ready` when delivery begins."""

    shown: Json
    secret: str
    ready: float

    @property
    def live(self) -> bool:
        """Whether it is ACTIVE and VERIFIED."""
        return bool(self.shown["status"] == "ACTIVE" and self.shown["verificationStatus"] == "VERIFIED")

    def headers(self) -> dict[str, str]:
        """What each request to its address carries."""
        config = self.shown["channel"]["config"]
        own = {one["key"]: one["value"] for one in config["headers"]}
        scheme = {config["authScheme"]["key"]: self.secret} if config.get("authScheme") else {}
        return {"Accept": "application/json", **own, **scheme}


class Hooks:
    """All of them; `settle` is after how many seconds a created or changed hook begins to deliver."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._numbers = now, count(1)
        self.settle = 0.0
        self.all: dict[str, Hook] = {}

    def get(self, key: str) -> Hook:
        """A hook by id; Refused when there is none."""
        if key not in self.all:
            raise Refused("E0000007", f"Resource not found: {key} (EventHook)")
        return self.all[key]

    def create(self, body: Json, owner: str) -> Hook:
        """Register: ACTIVE and UNVERIFIED."""
        asked, secret = _checked(body, "")
        if any(one.shown["name"] == asked["name"] for one in self.all.values()):
            raise invalid("name", "An event hook with this name already exists")
        key, at = ids.make("who", next(self._numbers)), ids.stamp(self._now())
        shown = {
            "id": key, "status": "ACTIVE", "verificationStatus": "UNVERIFIED", "created": at,
            "createdBy": owner,
            "lastUpdated": at, **asked,
        }  # fmt: skip
        made = self.all[key] = Hook(shown, secret, self._now() + self.settle)
        return made

    def replace(self, key: str, body: Json) -> Hook:
        """Change all; another address has to be verified again."""
        hook = self.get(key)
        asked, secret = _checked(body, hook.secret)
        before = hook.shown["channel"]["config"]["uri"]
        hook.shown = {**hook.shown, "description": None, **asked, "lastUpdated": ids.stamp(self._now())}
        if asked["channel"]["config"]["uri"] != before:
            hook.shown["verificationStatus"] = "UNVERIFIED"
        hook.secret, hook.ready = secret, self._now() + self.settle
        return hook

    def verified(self, hook: Hook) -> None:
        """The address answered the challenge."""
        if sum(one.live for one in self.all.values()) >= MOST:
            raise invalid("eventHook", f"Maximum of {MOST} active and verified event hooks reached")
        hook.shown["verificationStatus"] = "VERIFIED"
        hook.shown["lastUpdated"] = ids.stamp(self._now())

    def switch(self, key: str, status: str) -> Hook:
        """Set ACTIVE or INACTIVE."""
        hook = self.get(key)
        hook.shown["status"] = status
        hook.shown["lastUpdated"] = ids.stamp(self._now())
        return hook

    def delete(self, key: str) -> Hook:
        """Remove a hook, which has to be inactive for it."""
        hook = self.get(key)
        if hook.shown["status"] == "ACTIVE":
            raise invalid("eventHook", "Cannot delete an active event hook. Deactivate it first")
        return self.all.pop(key)

    def of(self, event: Json) -> list[Hook]:
        """The live hooks that an event is for."""
        now = self._now()
        return [
            hook for hook in self.all.values()
            if hook.live and hook.ready <= now and event["eventType"] in hook.shown["events"]["items"]
        ]  # fmt: skip


def _checked(body: Json, secret: str) -> tuple[Json, str]:
    """What may be stored, without the secret; Refused when something is missing or wrong."""
    if not isinstance(body, dict):
        raise Refused("E0000003")
    if odd := set(body) - _KEYS - _READ_ONLY:
        raise invalid(min(odd), "unknown property")
    name, events, channel = body.get("name"), body.get("events"), body.get("channel")
    if not isinstance(name, str) or not 0 < len(name) <= 255:
        raise invalid("name", "The field cannot be left blank")
    chosen = _events(events)
    if not isinstance(channel, dict) or channel.get("type") != "HTTP" or channel.get("version") != "1.0.0":
        raise invalid("channel", "type must be HTTP and version 1.0.0")
    config, secret = _config(channel.get("config"), secret)
    shown = {
        "name": name,
        "events": chosen,
        "channel": {"type": "HTTP", "version": "1.0.0", "config": config},
    }
    return ({**shown, "description": body["description"]} if body.get("description") else shown), secret


def _events(events: Json) -> Json:
    if not isinstance(events, dict) or events.get("type") != "EVENT_TYPE":
        raise invalid("events.type", "must be EVENT_TYPE")
    if events.get("filter"):
        raise invalid("events.filter", "this org does not evaluate filters of event hooks")
    items = events.get("items")
    if not isinstance(items, list) or not 0 < len(items) <= MOST_TYPES:
        raise invalid("events.items", f"between 1 and {MOST_TYPES} event types")
    for one in items:
        if one not in ELIGIBLE and one not in KINDS:
            raise invalid("events.items", f"Unknown event type '{one}'")
        if one not in ELIGIBLE:
            raise invalid("events.items", f"Event type '{one}' is not eligible for event hooks")
    return {"type": "EVENT_TYPE", "items": list(dict.fromkeys(items)), "filter": None}


def _config(config: Json, secret: str) -> tuple[Json, str]:
    if not isinstance(config, dict):
        raise invalid("channel.config", "The field cannot be left blank")
    uri = config.get("uri")
    where = urlsplit(uri if isinstance(uri, str) else "")
    if not where.hostname or where.scheme not in {"https", "http"}:
        raise invalid("channel.config.uri", "must be a valid URL")
    if where.scheme == "http" and where.hostname not in _LOOPBACK:
        raise invalid("channel.config.uri", "must be an HTTPS URL")
    headers, scheme = config.get("headers") or [], config.get("authScheme")
    if any(not isinstance(one, dict) or set(one) != {"key", "value"} for one in headers):
        raise invalid("channel.config.headers", "each header has a key and a value")
    shown = {"uri": uri, "headers": headers, "method": config.get("method") or "POST", "authScheme": None}
    if shown["method"] != "POST":
        raise invalid("channel.config.method", "must be POST")
    if scheme is not None:
        if not isinstance(scheme, dict) or scheme.get("type") != "HEADER" or not scheme.get("key"):
            raise invalid("channel.config.authScheme", "type must be HEADER, with a key")
        secret = scheme.get("value") or secret
        if not secret:
            raise invalid("channel.config.authScheme.value", "The field cannot be left blank")
        shown["authScheme"] = {"type": "HEADER", "key": scheme["key"]}
    return shown, secret

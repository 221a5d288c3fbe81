"""Webhooks as GitHub sends them: signed, once, never retried by itself.

Source: "Webhook events and payloads", "Validating webhook deliveries", "Handling failed webhook deliveries".
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from urllib.parse import urlencode

import aiohttp

from sandbox.github.answers import Json

LONGEST, KEPT, LARGEST = 10.0, 3 * 86_400.0, 25_000_000
NO_CONNECTION, TIMED_OUT = "failed to connect to host", "timed out"
_GREGORIAN = 0x01B21DD213814000
"""Ticks of 100 ns from 1582, where such UUIDs begin to count, to 1970."""
TROUBLES = ("lost", "silent", "timeout", "twice", "forged")
_NAMES = (
    "branch_protection_configuration branch_protection_rule check_run check_suite code_scanning_alert "
    "commit_comment create custom_property custom_property_values delete dependabot_alert deploy_key "
    "deployment deployment_protection_rule deployment_review deployment_status discussion "
    "discussion_comment fork gollum issue_comment issues label member membership merge_group meta "
    "milestone org_block organization package page_build personal_access_token_request project "
    "project_card project_column projects_v2 projects_v2_item public pull_request pull_request_review "
    "pull_request_review_comment pull_request_review_thread push registry_package release repository "
    "repository_advisory repository_import repository_ruleset repository_vulnerability_alert "
    "secret_scanning_alert secret_scanning_alert_location security_and_analysis star status sub_issues "
    "team team_add watch workflow_dispatch workflow_job workflow_run "
)
EVENTS: frozenset[str] = frozenset(_NAMES.split())


@dataclass(slots=True)
class Hook:
    """A registration; of the organisation, or the App's one."""

    id: int
    kind: str
    url: str
    created: float
    events: list[str]
    content_type: str = "form"
    secret: str = ""
    insecure: str = "0"
    active: bool = True
    updated: float = 0.0

    def config(self) -> Json:
        """The configuration as it is shown: the secret as stars."""
        shown = {"url": self.url, "content_type": self.content_type, "insecure_ssl": self.insecure}
        return {**shown, "secret": "********"} if self.secret else shown


@dataclass(slots=True)
class Delivery:
    """One attempt to deliver: the guid stays the same when it is sent again, the id does not."""

    id: int
    guid: str
    at: float
    url: str
    event: str
    action: str | None
    headers: dict[str, str]
    body: bytes
    payload: Json
    redelivery: bool = False
    duration: float = 0.0
    status: str = "pending"
    code: int = 0
    answered: tuple[dict[str, str], str] = field(default_factory=lambda: ({}, ""))


class Webhooks:
    """The registrations and their deliveries; `order` makes the next ones go wrong."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.hooks: OrderedDict[int, Hook] = OrderedDict()
        self.deliveries: dict[int, OrderedDict[int, Delivery]] = {}
        self.session: aiohttp.ClientSession | None = None
        self.sent: list[Delivery] = []
        self._now, self._troubles = now, list[str]()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids, self._numbers = count(471_000_001), count(12_345_678_901)

    def order(self, *troubles: str) -> None:
        """Order what befalls the next deliveries, one each.

        lost: never arrives, listed as a failed connection. silent: never arrives and is not listed.
        timeout: arrives, but is listed as timed out. twice: arrives twice. forged: a wrong signature.
        """
        for one in troubles:
            if one not in TROUBLES:
                raise ValueError(f"no trouble {one!r}, choose one of: {', '.join(TROUBLES)}")
        self._troubles += troubles

    def add(self, hook: Hook) -> Hook:
        """Register; the hook gets its id."""
        hook.id = next(self._ids)
        self.hooks[hook.id], self.deliveries[hook.id] = hook, OrderedDict()
        return hook

    def emit(self, hook: Hook, event: str, payload: Json, target: int, *, guid: str = "") -> str:
        """Send an event to a hook soon; the GUID of the delivery."""
        guid = guid or _guid(self._now())
        body = json.dumps(payload, separators=(",", ":")).encode()
        if len(body) > LARGEST:
            return guid
        if hook.content_type == "form":
            body = urlencode({"payload": body.decode()}).encode()
        delivery = Delivery(
            next(self._numbers),
            guid,
            self._now(),
            hook.url,
            event,
            payload.get("action"),
            self._headers(hook, event, guid, body, target),
            body,
            payload,
        )
        self._begin(hook, delivery)
        return guid

    def again(self, hook: Hook, old: Delivery) -> Delivery:
        """Send a delivery once more: same GUID, same bytes, signed with the present secret."""
        headers = {**old.headers, **signed(hook.secret, old.body)}
        delivery = replace(
            old, id=next(self._numbers), at=self._now(), url=hook.url, headers=headers, redelivery=True,
            duration=0.0, status="pending", code=0, answered=({}, ""),
        )  # fmt: skip
        self._begin(hook, delivery)
        return delivery

    def recent(self, hook: int) -> list[Delivery]:
        """What can still be asked for, newest first: three days."""
        oldest = self._now() - KEPT
        return [
            one
            for one in reversed(self.deliveries[hook].values())
            if one.at >= oldest and one.status != "pending"
        ]

    async def drained(self) -> None:
        """Wait until nothing is on its way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Give up what is still on its way after two seconds; no more is sent."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
        for task in self._tasks:
            task.cancel()
        self.session = None

    def _begin(self, hook: Hook, delivery: Delivery) -> None:
        trouble = self._troubles.pop(0) if self._troubles else ""
        if trouble == "silent":
            return
        self.deliveries[hook.id][delivery.id] = delivery
        self.sent.append(delivery)
        if trouble == "lost" or self.session is None:
            delivery.status = NO_CONNECTION
            return
        task = asyncio.get_running_loop().create_task(self._send(self.session, delivery, trouble))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, session: aiohttp.ClientSession, delivery: Delivery, trouble: str) -> None:
        headers, start = dict(delivery.headers), self._now()
        if trouble == "forged":
            headers["X-Hub-Signature-256"] = "sha256=" + "0" * 64
            headers["X-Hub-Signature"] = "sha1=" + "0" * 40
        for _ in range(2 if trouble == "twice" else 1):
            try:
                async with session.post(
                    delivery.url,
                    data=delivery.body,
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=LONGEST),
                ) as answer:
                    delivery.code = answer.status
                    text = (await answer.content.read(20_000)).decode("utf-8", "replace")
                    delivery.answered = (dict(answer.headers), text)
                    good = 200 <= answer.status < 300
                    delivery.status = "OK" if good else f"Invalid HTTP Response: {answer.status}"
            except TimeoutError:
                delivery.status = TIMED_OUT
            except (aiohttp.ClientError, OSError):
                delivery.status = NO_CONNECTION
        if trouble == "timeout":
            delivery.status, delivery.code, delivery.answered = TIMED_OUT, 0, ({}, "")
        delivery.duration = round(self._now() - start, 2)

    def _headers(self, hook: Hook, event: str, guid: str, body: bytes, target: int) -> dict[str, str]:
        media = "application/json" if hook.content_type == "json" else "application/x-www-form-urlencoded"
        headers = {
            "Accept": "*/*",
            "Content-Type": media,
            "User-Agent": "GitHub-Hookshot/5f3c2a1",
            "X-GitHub-Delivery": guid,
            "X-GitHub-Event": event,
            "X-GitHub-Hook-ID": str(hook.id),
            "X-GitHub-Hook-Installation-Target-ID": str(target),
            "X-GitHub-Hook-Installation-Target-Type": "integration" if hook.kind == "App" else "organization",
        }
        return {**headers, **signed(hook.secret, body)}


def signed(secret: str, body: bytes) -> dict[str, str]:
    """The signature headers over exactly those bytes; none without a secret."""
    if not secret:
        return {}
    key = secret.encode()
    return {
        "X-Hub-Signature": "sha1=" + hmac.new(key, body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
    }


def _guid(now: float) -> str:
    """Make a delivery's GUID as GitHub does: a version 1 UUID, which holds the time."""
    ticks = int(now * 10_000_000) + _GREGORIAN
    fields = (
        ticks & 0xFFFFFFFF, (ticks >> 32) & 0xFFFF, (ticks >> 48) & 0x0FFF,
        secrets.randbits(6), secrets.randbits(8), secrets.randbits(48),
    )  # fmt: skip
    return str(uuid.UUID(fields=fields, version=1))

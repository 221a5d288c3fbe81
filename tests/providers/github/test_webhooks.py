"""Deliveries: signed by GitHub's own library, accepted, mapped, published or taken for a nudge.

The payloads are those that @octokit/webhooks-examples publishes, the signatures those that
@octokit/webhooks-methods makes of them.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from ingest.provider import BadRecord, Broken, Delivery, Instance, Json, Nudge, Pushed
from ingest.providers.github import GitHub
from ingest.providers.github.kinds import guessed
from ingest.providers.github.settings import Settings
from ingest.providers.github.webhooks import COMMITS, webhook_record
from schemas.events import Event

Mapped = Callable[..., list[Event]]
Payloads = dict[str, list[Json]]
SIGNATURES: dict[str, list[str]] = json.loads((Path(__file__).parent / "signatures.json").read_text())
SECRET = "sluice-test-secret"
GUID = "0b989ba4-242f-11e5-81e1-c7b6966d2516"
"""The example of GitHub's reference; a version 1 UUID of 2015-07-06T22:33:38.128Z."""
GUID_TIME = 1_436_222_018_128
SCHEME = GitHub.hooks()["changed"].scheme


def delivery(event: str, payload: Json, signature: str = "") -> Delivery:
    """Make a delivery as the receiver stores it."""
    body = payload if isinstance(payload, bytes) else json.dumps(
        payload, separators=(",", ":"), ensure_ascii=False).encode()  # fmt: skip
    headers = {"x-github-event": event, "x-github-delivery": GUID, "x-hub-signature-256": signature}
    return Delivery("POST", headers, {}, body)


def provider(*, audited: bool) -> GitHub:
    """Make a provider that needs no connection."""
    settings = Settings.model_validate({"organization": "acme", "token": "t", "audit_log": audited})
    http: Any = None
    return GitHub(settings, http, Instance("1", "acme"))


def verified(one: Delivery, *secrets: str) -> bool:
    """Ask the scheme."""
    return SCHEME.verify(one, secrets, lambda _: b"", datetime.now(UTC))


def test_the_documented_signature() -> None:
    """The vector of "Validating webhook deliveries"."""
    known = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    good = delivery("ping", b"Hello, World!", known)
    assert verified(good, "It's a Secret to Everybody")
    assert verified(good, "the next one", "It's a Secret to Everybody")
    assert not verified(good, "another")
    assert not verified(good._replace(body=b"Hello, World"), "It's a Secret to Everybody")
    assert not verified(delivery("ping", b"Hello, World!"), "It's a Secret to Everybody")
    assert not verified(good)
    assert SCHEME.delivery_id(good) == GUID


def test_all_published_payloads_are_accepted_and_mapped(payloads: Payloads, mapped: Mapped) -> None:
    """Signed by octokit, each of the 329 verifies, is published without a log, and is one valid event."""
    hook, count = provider(audited=False), 0
    for event, examples in payloads.items():
        for payload, signature in zip(examples, SIGNATURES[event], strict=True):
            one = delivery(event, payload, signature)
            assert verified(one, SECRET)
            found = [each for each in hook.changed(one) if isinstance(each, Pushed)]
            if event != "ping":
                (pushed,) = found
                (made,) = mapped(webhook_record, pushed.records)
                assert made["metadata"]["original_event_uid"] == GUID
                assert made["time"] == GUID_TIME
                assert made["metadata"]["event_code"].startswith(event)
                assert made["class_uid"] != 6003
                sender = payload.get("sender")
                assert sender is None or made["actor"]["user"]["uid"] == str(sender["id"])
            count += 1
    assert count == 329


def test_a_bare_payload_tells_its_event(payloads: Payloads, mapped: Mapped) -> None:
    """What `normalize` is given without headers is known by its members."""
    odd = [
        (event, one.get("action"))
        for event, many in payloads.items()
        for one in many
        if guessed(one) != event
    ]
    assert odd == []
    for examples in payloads.values():
        mapped(webhook_record, examples)


def test_a_bare_payload_has_an_id_of_its_own(payloads: Payloads) -> None:
    """Equal payloads have equal ids, different ones different."""
    ids = {event["metadata"]["original_event_uid"] for many in payloads.values() for one in many
           for event in webhook_record(one, Instance("1"))}  # fmt: skip
    whole = {json.dumps(one, sort_keys=True) for many in payloads.values() for one in many}
    assert len(ids) == len(whole)


@pytest.mark.parametrize(
    ("event", "payload", "with_log"),
    [
        ("member", {"action": "added"}, [Nudge("audit")]),
        ("push", {"ref": "refs/heads/main"}, [Nudge("audit")]),
        ("issues", {"action": "opened"}, "pushed"),
        ("fork", {}, "pushed"),
        ("ping", {"zen": "…"}, []),
        ("meta", {"action": "deleted", "hook_id": 7}, [Broken("7"), Nudge("audit")]),
    ],
)
def test_a_kind_that_the_log_has_is_a_nudge(event: str, payload: Json, with_log: Json) -> None:
    """With an audit log only what it lacks is published; without one, all."""
    found = list(provider(audited=True).changed(delivery(event, payload)))
    alone = list(provider(audited=False).changed(delivery(event, payload)))
    pushed = [Pushed("webhooks", [{"guid": GUID, "event": event, "request": {"payload": payload}}])]
    assert found == (pushed if with_log == "pushed" else with_log)
    assert alone == ([] if event == "ping" else [Broken("7"), *pushed] if event == "meta" else pushed)


def test_a_secret_that_was_found_is_not_told(mapped: Mapped) -> None:
    """An alert's literal secret is left out, its type kept."""
    alert = {"number": 3, "secret": "AKIA-very-secret", "secret_type": "aws_key", "html_url": "https://x"}
    record = {
        "guid": GUID,
        "event": "secret_scanning_alert",
        "request": {"payload": {"action": "created", "alert": alert}},
    }
    (event,) = mapped(webhook_record, [record])
    assert "AKIA" not in orjson.dumps(event).decode()
    assert event["unmapped"]["alert"] == {"number": 3, "secret_type": "aws_key"}


def test_a_large_push_is_shortened(mapped: Mapped, payloads: Payloads) -> None:
    """Of thousands of commits the first are kept, and how many were left out."""
    push = dict(payloads["push"][0])
    push["commits"] = [{"id": f"{number:040x}", "message": "x" * 200} for number in range(2048)]
    (event,) = mapped(webhook_record, [{"guid": GUID, "event": "push", "request": {"payload": push}}])
    assert len(event["unmapped"]["commits"]) == COMMITS
    assert event["unmapped"]["commits_left_out"] == 2048 - COMMITS


def test_a_random_guid_leaves_the_time_to_the_delivery() -> None:
    """Where the GUID says no time, the list of deliveries does, then the payload."""
    payload = {"action": "opened", "issue": {"number": 1, "created_at": "2026-01-02T03:04:05Z"}}
    record = {
        "guid": "5f3f6d3c-7d2b-4a55-9f0a-0d7f6a1b2c3d",
        "event": "issues",
        "request": {"payload": payload},
    }
    (event,) = webhook_record(record, Instance("1"))
    assert event["time"] == 1_767_323_045_000
    (event,) = webhook_record(record | {"delivered_at": "2026-01-02T03:04:06Z"}, Instance("1"))
    assert event["time"] == 1_767_323_046_000


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b'"text"'])
def test_a_hostile_body_is_refused(body: bytes) -> None:
    """What is no object is a dead letter, never an event."""
    with pytest.raises(BadRecord):
        list(provider(audited=False).changed(delivery("issues", body)))

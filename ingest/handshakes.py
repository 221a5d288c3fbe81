"""How providers ask whether an address is ours, before they send anything: parts for `signatures.Guard`.

Each takes a request and the registration's secrets and gives the answer, or None: not this handshake. What a
stranger sends is echoed only as plain text or JSON, never as a page.
"""

import hmac
from collections.abc import Sequence
from typing import Final

import orjson

from ingest.push import Answer, Delivery
from ingest.signatures import Handshake, json_of

_LONGEST: Final = 4096
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
_JSON: Final = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}


def header_challenge(header: str, field: str, method: str = "GET") -> Handshake:
    """Return a header's text in a JSON field (Okta's event hooks ask so, by GET)."""
    name = header.lower()

    def answer(delivery: Delivery, secrets: Sequence[str]) -> Answer | None:
        del secrets
        text = delivery.headers.get(name, "") if delivery.method == method else ""
        return Answer(200, _dumped({field: text}), _JSON) if 0 < len(text) <= _LONGEST else None

    return answer


def query_echo(name: str, *methods: str) -> Handshake:
    """Return a parameter of the address, decoded, as plain text.

    Dropbox asks by GET with `challenge`, Graph by POST with `validationToken`, SharePoint with
    `validationtoken`.
    """

    def answer(delivery: Delivery, secrets: Sequence[str]) -> Answer | None:
        del secrets
        text = delivery.query.get(name, "") if delivery.method in methods else ""
        return Answer(200, _bytes(text), _TEXT) if 0 < len(text) <= _LONGEST else None

    return answer


def grid_code(delivery: Delivery, secrets: Sequence[str]) -> Answer | None:
    """Return the code of an Event Grid validation event; only 200 is taken for a yes."""
    del secrets
    if delivery.method != "POST" or delivery.headers.get("aeg-event-type") != "SubscriptionValidation":
        return None
    for event in json_of(delivery, list)[:1]:
        data = event.get("data") if isinstance(event, dict) else None
        code = data.get("validationCode") if isinstance(data, dict) else None
        if isinstance(code, str) and 0 < len(code) <= _LONGEST:
            return Answer(200, _dumped({"validationResponse": code}), _JSON)
    return None


def origin_consent(*origins: str, rate: str = "*") -> Handshake:
    """Allow a sender of CloudEvents, which asks by OPTIONS ("HTTP 1.1 Web Hooks for Event Delivery")."""
    allowed = frozenset(origins)

    def answer(delivery: Delivery, secrets: Sequence[str]) -> Answer | None:
        del secrets
        origin = delivery.headers.get("webhook-request-origin", "")
        if delivery.method != "OPTIONS" or origin not in allowed:
            return None
        headers = {"WebHook-Allowed-Origin": origin, "Allow": "POST"}
        if "webhook-request-rate" in delivery.headers:
            headers["WebHook-Allowed-Rate"] = rate
        return Answer(200, b"", headers)

    return answer


def known_code(header: str, secret_header: str) -> Handshake:
    """Answer 200 to a validation code that comes with our secret (Office 365 Management Activity API)."""
    name, guarded = header.lower(), secret_header.lower()

    def answer(delivery: Delivery, secrets: Sequence[str]) -> Answer | None:
        if delivery.method != "POST" or name not in delivery.headers:
            return None
        given, good = _bytes(delivery.headers.get(guarded, "")), False
        for secret in secrets:
            good |= bool(secret) and hmac.compare_digest(secret.encode(), given)
        return Answer() if good else None

    return answer


def reachable(*methods: str) -> Handshake:
    """Answer 200 to a bare look at the address, by HEAD or GET."""

    def answer(delivery: Delivery, secrets: Sequence[str]) -> Answer | None:
        del secrets
        return Answer() if delivery.method in methods and not delivery.body else None

    return answer


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _dumped(value: dict[str, str]) -> bytes:
    # Header bytes that are no UTF-8 come as lone surrogates, which JSON can't have.
    return orjson.dumps({name: _bytes(text).decode("utf-8", "replace") for name, text in value.items()})

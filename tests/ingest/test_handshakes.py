"""Handshakes: each provider's way of asking gets its answer, everything else is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.handshakes import grid_code, header_challenge, known_code, origin_consent, query_echo, reachable
from ingest.push import Answer, Delivery
from ingest.signatures import Handshake

PARTS: dict[str, Handshake] = {
    "okta": header_challenge("X-Okta-Verification-Challenge", "verification"),
    "dropbox": query_echo("challenge", "GET"),
    "graph": query_echo("validationToken", "POST"),
    "grid": grid_code,
    "cloudevents": origin_consent("eventgrid.azure.net", rate="120"),
    "management": known_code("Webhook-ValidationCode", "Webhook-AuthID"),
    "look": reachable("HEAD", "GET"),
}
GRID = (
    b'[{"id":"2d1781af-3a4c-4d7c-bd0c-e34b19da4e66","topic":"/subscriptions/x","subject":"","data":'
    b'{"validationCode":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6","validationUrl":"https://rp.example:553/"},'
    b'"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2018-01-25T22:12:19Z"}]'
)


def ask(
    name: str,
    method: str,
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    body: bytes = b"",
) -> Answer | None:
    """Ask one of them."""
    return PARTS[name](Delivery(method, headers or {}, query or {}, body), ["s"])


def test_okta_verification() -> None:
    """The challenge comes back as JSON (Okta: "Event hooks", one-time verification request)."""
    made = ask("okta", "GET", {"x-okta-verification-challenge": 'my"challenge'})
    assert made is not None
    assert (made.status, made.body) == (200, b'{"verification":"my\\"challenge"}')
    assert made.headers["Content-Type"] == "application/json"
    assert ask("okta", "POST", {"x-okta-verification-challenge": "x"}) is None
    assert ask("okta", "GET") is None


@pytest.mark.parametrize(
    ("name", "method", "field"), [("dropbox", "GET", "challenge"), ("graph", "POST", "validationToken")]
)
def test_an_echo_is_plain_text(name: str, method: str, field: str) -> None:
    """What comes back can't be taken for a page (Dropbox: "Webhooks"; Graph: validation of the address)."""
    text = "Validation: Testing client application <script>"
    made = ask(name, method, query={field: text})
    assert made is not None
    assert (made.status, made.body) == (200, text.encode())
    assert made.headers["Content-Type"].startswith("text/plain")
    assert made.headers["X-Content-Type-Options"] == "nosniff"
    assert ask(name, "PUT", query={field: text}) is None
    assert ask(name, method, query={field: ""}) is None
    assert ask(name, method, query={field: "x" * 5000}) is None


def test_event_grid_code() -> None:
    """The example of "Endpoint validation with Event Grid event schema" gets its code back."""
    made = ask("grid", "POST", {"aeg-event-type": "SubscriptionValidation"}, body=GRID)
    assert made is not None
    assert (made.status, made.body) == (200, b'{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}')
    assert ask("grid", "POST", {"aeg-event-type": "Notification"}, body=GRID) is None
    for body in (b"", b"[]", b"{}", b"[1]", b'[{"data":1}]', b'[{"data":{"validationCode":1}}]'):
        assert ask("grid", "POST", {"aeg-event-type": "SubscriptionValidation"}, body=body) is None


def test_cloudevents_consent() -> None:
    """The origin is allowed by name, with a rate if one is asked (CloudEvents' HTTP web hooks)."""
    origin = {"webhook-request-origin": "eventgrid.azure.net"}
    made = ask("cloudevents", "OPTIONS", {**origin, "webhook-request-rate": "120"})
    assert made is not None
    assert made.status == 200
    assert made.headers == {
        "WebHook-Allowed-Origin": "eventgrid.azure.net",
        "Allow": "POST",
        "WebHook-Allowed-Rate": "120",
    }
    assert ask("cloudevents", "OPTIONS", {"webhook-request-origin": "evil.example"}) is None
    assert ask("cloudevents", "POST", {"webhook-request-origin": "eventgrid.azure.net"}) is None


def test_management_code() -> None:
    """A validation counts only with the secret that we gave (Office 365 Management Activity API)."""
    assert ask("management", "POST", {"webhook-validationcode": "1", "webhook-authid": "s"}) == Answer()
    assert ask("management", "POST", {"webhook-validationcode": "1", "webhook-authid": "t"}) is None
    assert ask("management", "POST", {"webhook-authid": "s"}) is None


def test_a_bare_look() -> None:
    """A look without a body is answered; a delivery is not taken for one."""
    assert ask("look", "HEAD") == Answer()
    assert ask("look", "POST") is None
    assert ask("look", "GET", body=b"x") is None


TEXTS = st.text(st.characters(codec=None), max_size=30)


@given(
    st.sampled_from(["GET", "POST", "OPTIONS", "HEAD"]),
    st.dictionaries(st.sampled_from(["x-okta-verification-challenge", "aeg-event-type",
                                     "webhook-request-origin",
                                     "webhook-validationcode", "webhook-authid"]), TEXTS),
    st.dictionaries(st.sampled_from(["challenge", "validationToken"]), TEXTS),
    st.binary(max_size=60),
)  # fmt: skip
def test_nothing_makes_them_fail(
    method: str, headers: dict[str, str], query: dict[str, str], body: bytes
) -> None:
    """Whatever comes gets an answer that can be written, or none."""

    # What the server reads has lone surrogates where bytes are no UTF-8, and no others.
    def read(text: str) -> str:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")

    delivery = Delivery(
        method,
        {name: read(text) for name, text in headers.items()},
        {name: read(text) for name, text in query.items()},
        body,
    )
    for part in PARTS.values():
        made = part(delivery, ["s"])
        assert made is None or isinstance(made.body, bytes)

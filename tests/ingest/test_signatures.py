"""Signatures: the providers' own examples pass, everything else does not."""

import base64
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.push import Answer, Delivery, Scheme
from ingest.signatures import Basic, BodySecret, ClientCertificate, Guard, Hmac, SharedSecret

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def check(
    scheme: Scheme,
    headers: dict[str, str],
    body: bytes = b"",
    secrets: Sequence[str] = ("s",),
    now: datetime = NOW,
) -> bool:
    """Verify a delivery of these headers and this body."""
    return scheme.verify(Delivery("POST", headers, {}, body), secrets, lambda _: b"", now)


def test_github_documented_example() -> None:
    """The example of GitHub's "Validating webhook deliveries" is accepted, in either letter case."""
    scheme = Hmac("X-Hub-Signature-256", prefix="sha256=", id="X-GitHub-Delivery")
    signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secrets = ["newer", "It's a Secret to Everybody"]

    assert check(scheme, {"x-hub-signature-256": "sha256=" + signature}, b"Hello, World!", secrets)
    assert check(scheme, {"x-hub-signature-256": "sha256=" + signature.upper()}, b"Hello, World!", secrets)
    assert not check(scheme, {"x-hub-signature-256": signature}, b"Hello, World!", secrets)
    assert not check(scheme, {"x-hub-signature-256": "sha256=" + signature}, b"Hello, World", secrets)
    assert not check(scheme, {"x-hub-signature-256": "sha256=" + signature}, b"Hello, World!", ["other"])
    assert not check(scheme, {}, b"Hello, World!", secrets)


def test_rfc_vectors() -> None:
    """The HMAC vectors of RFC 2202 and RFC 4231 (second test case of each) are accepted."""
    data, secrets = b"what do ya want for nothing?", ["Jefe"]
    sha1 = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
    sha512 = (
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    )

    assert check(Hmac("S", "sha1"), {"s": sha1}, data, secrets)
    assert check(Hmac("S", "sha512"), {"s": sha512}, data, secrets)
    assert check(
        Hmac("S", "sha1", "base64"), {"s": base64.b64encode(bytes.fromhex(sha1)).decode()}, data, secrets
    )


@pytest.mark.parametrize("ago", [-301, -299, 0, 299, 301])
@pytest.mark.parametrize("form", ["seconds", "millis", "iso"])
def test_timestamp_is_signed_and_bounded(ago: int, form: str) -> None:
    """A signed time within five minutes passes; an older, a future and an unsigned one do not."""
    scheme = Hmac("Sig", "sha256", "base64", timestamp="Sent", signed="{body}{time}")
    at = NOW - timedelta(seconds=ago)
    sent = {
        "seconds": f"{at.timestamp():.0f}",
        "millis": f"{at.timestamp() * 1000:.0f}",
        "iso": at.isoformat(),
    }[form]
    signature = base64.b64encode(hmac.digest(b"s", b"body" + sent.encode(), "sha256")).decode()

    assert check(scheme, {"sig": signature, "sent": sent}, b"body") == (abs(ago) <= 300)
    assert not check(scheme, {"sig": signature, "sent": ""}, b"body")
    assert not check(scheme, {"sig": signature, "sent": sent[:-1] + "x"}, b"body")


def test_shared_secret() -> None:
    """A secret in a header is accepted from any that is valid now, and never when empty."""
    scheme = SharedSecret("Authorization", id="X-Id")

    assert check(scheme, {"authorization": "old"}, secrets=["new", "old"])
    assert not check(scheme, {"authorization": "older"}, secrets=["new", "old"])
    assert not check(scheme, {"authorization": ""}, secrets=[""])
    assert not check(scheme, {}, secrets=[])
    assert scheme.delivery_id(Delivery("POST", {"x-id": "7"}, {}, b"")) == "7"
    assert scheme.delivery_id(Delivery("POST", {}, {}, b"")) is None


def test_webex_documented_example() -> None:
    """The example of Webex's "Webhooks" guide is accepted (SHA-1)."""
    scheme = Hmac("X-Spark-Signature", "sha1")
    headers = {"x-spark-signature": "01e0cb6a53731b9615b483335d77d97023410c72"}

    assert check(scheme, headers, b'{"a":1,"b":2,"c":{"d":3}}', ["myBongoSecret"])
    assert not check(scheme, headers, b'{"a":1,"b":2,"c":{"d":4}}', ["myBongoSecret"])


def test_basic_rfc_example() -> None:
    """The example of RFC 7617 is accepted, and no other user or password."""
    headers = {"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}

    assert check(Basic("Aladdin"), headers, secrets=["newer", "open sesame"])
    assert not check(Basic("Sindbad"), headers, secrets=["open sesame"])
    assert not check(Basic("Aladdin"), headers, secrets=["open"])
    assert not check(Basic("Aladdin"), {"authorization": "Basic QWxhZGRpbjo="}, secrets=[""])


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (b'{"value":[{"clientState":"s"},{"clientState":"s"}]}', True),
        (b'{"value":[{"clientState":"s"},{"clientState":"t"}]}', False),
        (b'{"value":[{"clientState":"s"},{}]}', False),
        (b'{"value":[{"clientState":["s"]}]}', False),
        (b'{"value":["s"]}', False),
        (b'{"value":[]}', False),
        (b'{"value":{"clientState":"s"}}', False),
        (b"[]", False),
        (b"{", False),
    ],
)
def test_a_secret_in_every_item(body: bytes, good: bool) -> None:
    """One item without the secret refuses them all."""
    assert check(BodySecret("clientState", "value"), {}, body) == good


def test_client_certificate() -> None:
    """A name in the certificate that the server has checked lets in; none does not."""
    scheme = ClientCertificate("manage.office.com")
    with_name = Delivery("POST", {}, {}, b"", peer=("other.example", "manage.office.com"))

    assert scheme.verify(with_name, [], lambda _: b"", NOW)
    assert not scheme.verify(with_name._replace(peer=("evil.example",)), [], lambda _: b"", NOW)
    assert not check(scheme, {})


def test_a_guard_puts_parts_together() -> None:
    """All schemes must hold, or one of them; the answers come from the parts."""
    primary, secondary = Hmac("P", id="Id"), SharedSecret("Q")
    headers = {"p": hmac.digest(b"s", b"b", "sha256").hex(), "q": "s", "id": "7"}

    assert check(Guard(primary, secondary), headers, b"b")
    assert not check(Guard(primary, secondary), {**headers, "q": "t"}, b"b")
    assert check(Guard(primary, secondary, either=True), {**headers, "q": "t"}, b"b")
    assert not check(Guard(primary, secondary, either=True), {}, b"b")
    made = Guard(primary, secondary, ok=Answer(202), instances=lambda _: ["i"], largest=10**9)
    delivery = Delivery("POST", headers, {}, b"b")
    assert (made.ok.status, made.instances(delivery), made.delivery_id(delivery)) == (202, ["i"], "7")
    assert (made.handshake(delivery, []), made.key_address(delivery), made.confirm_address(delivery)) == (
        None, None, None
    )  # fmt: skip
    assert made.largest == primary.largest
    assert {"q", "authorization", "cookie"} <= made.conceals
    with pytest.raises(ValueError, match="nobody"):
        Guard()


@given(st.text(max_size=200), st.text(max_size=40), st.binary(max_size=50))
def test_garbage_is_refused(signature: str, sent: str, body: bytes) -> None:
    """No header text raises or is taken for a signature."""
    for encoding in ("hex", "base64"):
        scheme = Hmac("Sig", encoding=encoding, timestamp="Sent", signed="{time}.{body}")
        assert not check(scheme, {"sig": signature, "sent": sent}, body)
        assert not check(scheme, {"sig": signature, "sent": "1772366400"}, body)
    assert not check(SharedSecret(), {"authorization": signature}, secrets=["the secret"])


def test_nonsense_is_refused_when_built() -> None:
    """A scheme that would sign nothing of the body, or an unsigned time, can't be made."""
    with pytest.raises(ValueError, match="signed"):
        Hmac("Sig", signed="{time}", timestamp="Sent")
    with pytest.raises(ValueError, match="signed"):
        Hmac("Sig", timestamp="Sent")

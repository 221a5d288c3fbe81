"""Tokens and signed messages: keys of our own stand in for the providers', on the hosts that they name."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from ingest.keysigned import Jwt, Sns, certified, in_body, keys_of
from ingest.push import Delivery

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RSA_KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC_KEY = ec.generate_private_key(ec.SECP256R1())
CERTS = "https://www.googleapis.com/oauth2/v3/certs"
GOOGLE = {
    "iss": "https://accounts.google.com", "aud": "s", "email": "push@project.iam.gserviceaccount.com",
    "email_verified": True, "iat": int(NOW.timestamp()) - 10, "exp": int(NOW.timestamp()) + 3600,
}  # fmt: skip
SCHEME = Jwt(
    CERTS,
    fixed={"iss": ("accounts.google.com", "https://accounts.google.com"), "email_verified": ("true",)},
)
TOPIC = "arn:aws:sns:us-west-2:123456789012:MyTopic"
CERT_URL = (
    "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
)


def jwks(*keys: rsa.RSAPrivateKey) -> bytes:
    """Publish keys as Google and Entra do."""
    listed = [
        {
            **RSAAlgorithm.to_jwk(key.public_key(), as_dict=True),
            "kid": str(number),
            "alg": "RS256",
        }
        for number, key in enumerate(keys)
    ]
    return orjson.dumps({"keys": [*listed, {"kty": "unheard of", "kid": "x"}, 7]})


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, days: int = 30) -> bytes:
    """Make a certificate that ends in some days."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), 1, NOW - timedelta(days=60), NOW + timedelta(days=days)
    )
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


def bearer(
    claims: Mapping[str, Any], key: Any = RSA_KEY, algorithm: str = "RS256", kid: str = "0"
) -> Delivery:
    """Push with a token."""
    token = jwt.encode(dict(claims), key, algorithm, headers={"kid": kid})
    return Delivery("POST", {"authorization": f"Bearer {token}"}, {}, b"{}")


def test_a_token_of_the_provider() -> None:
    """Google's push token is accepted for our audience (Pub/Sub: "Authentication for push subscriptions")."""
    good = bearer(GOOGLE)
    assert SCHEME.key_address(good) == CERTS
    assert SCHEME.verify(good, ["newer", "s"], lambda _: jwks(RSA_KEY), NOW)
    pems = orjson.dumps({"0": certificate(RSA_KEY).decode(), "1": "no certificate", "2": 3})
    assert SCHEME.verify(good, ["s"], lambda _: pems, NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another"}, {"aud": ["another"]}, {"iss": "https://evil.example"}, {"email_verified": False},
        {"exp": int(NOW.timestamp()) - 61}, {"iat": int(NOW.timestamp()) + 61},
        {"nbf": int(NOW.timestamp()) + 61},
        {"exp": "never"}, {"exp": True}, {"aud": 7},
    ],
)  # fmt: skip
def test_a_token_with_a_wrong_claim(wrong: dict[str, Any]) -> None:
    """Each claim is looked at."""
    assert not SCHEME.verify(bearer({**GOOGLE, **wrong}), ["s"], lambda _: jwks(RSA_KEY), NOW)


def test_a_token_that_is_forged() -> None:
    """Another key, an unknown one, no algorithm, or the public key as a shared secret do not pass."""
    known = lambda _: jwks(RSA_KEY)  # noqa: E731 the argument of all that follow
    assert not SCHEME.verify(bearer(GOOGLE, OTHER_KEY), ["s"], known, NOW)
    assert not SCHEME.verify(bearer(GOOGLE, kid="1"), ["s"], known, NOW)
    assert not SCHEME.verify(bearer(GOOGLE, None, "none"), ["s"], known, NOW)
    assert not SCHEME.verify(bearer(GOOGLE, "x" * 64, "HS256"), ["s"], known, NOW)
    assert not SCHEME.verify(bearer(GOOGLE), [], known, NOW)
    assert not SCHEME.verify(bearer(GOOGLE), ["s"], lambda _: b"<html>", NOW)
    assert not SCHEME.verify(Delivery("POST", {}, {}, b""), ["s"], known, NOW)
    with pytest.raises(ValueError, match="public key"):
        Jwt(CERTS, algorithms=["HS256"])


def test_tokens_in_the_body() -> None:
    """Every one of Graph's validation tokens must hold ("Change notifications with resource data")."""
    scheme = Jwt("https://login.microsoftonline.com/common/discovery/v2.0/keys",
                 tokens=in_body("validationTokens"),
                 claims=lambda secret: dict(zip(("aud", "iss"), secret.split(" "), strict=True)))  # fmt: skip
    claims = {"aud": "app", "iss": "https://sts.windows.net/t/", "exp": int(NOW.timestamp()) + 60}
    good, bad = (
        jwt.encode({**claims, "aud": aud}, RSA_KEY, "RS256", headers={"kid": "0"}) for aud in ("app", "other")
    )
    for tokens, holds in (
        ([good, good], True),
        ([good, bad], False),
        ([], False),
        ([1], False),
        (None, False),
    ):
        delivery = Delivery("POST", {}, {}, orjson.dumps({"validationTokens": tokens}))
        assert (
            scheme.verify(delivery, ["app https://sts.windows.net/t/"], lambda _: jwks(RSA_KEY), NOW) == holds
        )


def sns(kind: str = "Notification", version: str = "1", **changes: str) -> Delivery:
    """Sign a message as "Verifying the signatures of Amazon SNS messages" describes."""
    message = {
        "Type": kind, "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC,
        "Message": "Hello world!",
        "Timestamp": "2026-03-01T11:59:00.000Z", "SignatureVersion": version, "SigningCertURL": CERT_URL,
        **({"Subject": "My First Message"} if kind == "Notification" else
           {"Token": "2336", "SubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Confirm"}),
    }  # fmt: skip
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
    signature = RSA_KEY.sign(text, PKCS1v15(), SHA1() if version == "1" else SHA256())
    body = {**message, "Signature": base64.b64encode(signature).decode(), **changes}
    return Delivery("POST", {"x-amz-sns-message-type": kind}, {}, orjson.dumps(body))


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_sns_messages(kind: str, version: str) -> None:
    """All kinds and both versions are accepted; only a confirmation names what confirms it."""
    scheme, delivery = Sns(), sns(kind, version)
    assert scheme.key_address(delivery) == CERT_URL
    assert scheme.verify(delivery, [TOPIC], lambda _: certificate(RSA_KEY), NOW)
    assert not scheme.verify(delivery, ["arn:aws:sns:us-west-2:1:Other"], lambda _: certificate(RSA_KEY), NOW)
    assert not scheme.verify(delivery, [TOPIC], lambda _: certificate(OTHER_KEY), NOW)
    assert not scheme.verify(delivery, [TOPIC], lambda _: certificate(RSA_KEY, days=-1), NOW)
    assert not scheme.verify(delivery, [TOPIC], lambda _: b"", NOW)
    assert not scheme.verify(delivery, [TOPIC], lambda _: certificate(RSA_KEY), NOW + timedelta(hours=2))
    assert (scheme.confirm_address(delivery) is not None) == (kind == "SubscriptionConfirmation")
    assert scheme.delivery_id(delivery) == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"


@pytest.mark.parametrize(
    "changed",
    [{"Message": "Hello"}, {"Subject": "Other"}, {"Type": "Notice"}, {"SignatureVersion": "3"},
     {"Signature": "AAAA"},
     {"Signature": "%"}, {"Timestamp": "yesterday"}, {"TopicArn": ""}],
)  # fmt: skip
def test_sns_messages_that_were_changed(changed: dict[str, str]) -> None:
    """No part of a message can be another."""
    assert not Sns().verify(sns(**changed), [TOPIC], lambda _: certificate(RSA_KEY), NOW)


@pytest.mark.parametrize(
    "address",
    ["http://sns.us-west-2.amazonaws.com/a.pem", "https://sns.us-west-2.amazonaws.com.evil.example/a.pem",
     "https://evil.example/sns.us-west-2.amazonaws.com/a.pem", "https://sns.us-west-2.amazonaws.com:8443/a.pem",
     "https://sns.us-west-2.amazonaws.com@evil.example/a.pem", "https://x@sns.us-west-2.amazonaws.com/a.pem",
     "https://169.254.169.254/a.pem", "https://sns.us-west-2.amazonaws.com:x/a.pem", "https://[/a.pem",
     "file:///a.pem",
     "https://s3.amazonaws.com/a.pem", "https://sns.us-west-2.amazonaws.com\t.evil.example/a.pem", ""],
)  # fmt: skip
def test_foreign_addresses_are_never_named(address: str) -> None:
    """Neither a certificate nor a confirmation is fetched from anywhere but SNS itself."""
    assert Sns().key_address(sns(SigningCertURL=address)) is None
    assert not Sns().verify(sns(SigningCertURL=address), [TOPIC], lambda _: certificate(RSA_KEY), NOW)
    assert Sns().confirm_address(sns("SubscriptionConfirmation", SubscribeURL=address)) is None


def test_signatures_on_a_curve() -> None:
    """A certificate with an elliptic key is as good."""
    signature = base64.b64encode(EC_KEY.sign(b"text", ec.ECDSA(SHA256()))).decode()
    assert certified(certificate(EC_KEY), signature, b"text", SHA256(), NOW)
    assert not certified(certificate(EC_KEY), signature, b"other", SHA256(), NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
)


FIELDS = ("Type", "TopicArn", "Signature", "SignatureVersion", "Timestamp", "Message", "SubscribeURL",
          "SigningCertURL", "MessageId", "validationTokens")  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), JSON),
       st.text(max_size=60))  # fmt: skip
def test_garbage_is_refused(body: dict[str, Any], token: str) -> None:
    """No body and no token raises or is accepted."""
    delivery = Delivery(
        "POST", {"authorization": f"Bearer {token}"}, {}, orjson.dumps({"SigningCertURL": CERT_URL, **body})
    )
    for scheme in (Sns(), SCHEME, Jwt(CERTS, tokens=in_body("validationTokens"))):
        assert not scheme.verify(delivery, [TOPIC, "s"], lambda _: jwks(RSA_KEY), NOW)
        scheme.key_address(delivery)
        scheme.confirm_address(delivery)
        scheme.delivery_id(delivery)


@given(
    st.binary(max_size=200)
    | JSON.map(orjson.dumps)
    | st.dictionaries(st.text(max_size=4), JSON).map(orjson.dumps)
)
def test_keys_of_garbage(raw: bytes) -> None:
    """What is no list of keys has none."""
    assert keys_of(raw) == {}

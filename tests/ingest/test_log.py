"""Canaries of every kind go into the log, and none comes out."""

import io
import logging
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pytest
import structlog
from pydantic import BaseModel, SecretStr

from ingest import log

C = "canary0SECRET9value7"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
# Formats from each vendor's documentation; the values are made up.
SHAPES = {
    "AWS access key id": "AKIAIOSFODNN7EXAMPLE",
    "AWS temporary key id": "ASIAIOSFODNN7EXAMPLE",
    "GitHub token": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "GitHub server token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "GitHub fine-grained token": "github_pat_11ABCDEFG0aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "Slack token": "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
    "Google token": "ya29.a0AfH6SMBx-abcdefghijklmnopqrstuvwxyz0123456789",
    "JWT": JWT,
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----",
}
WITHIN = {
    "bearer": f"Authorization: Bearer {C}",
    "bearer in lower case": f"authorization: bearer {C}",
    "basic": "Authorization: Basic Y2FuYXJ5OmNhbmFyeTBTRUNSRVQ5dmFsdWU3",
    "user and password in an address": f"https://user:{C}@example.com/x",
    "token in an address": f"https://example.com/x?access_token={C}&page=2",
    "signature in an address": f"https://x.blob.core.windows.net/y?sv=1&sig={C}&se=2",
    "form field": f"grant_type=refresh_token&refresh_token={C}",
    "client secret in a form": f"client_secret={C}",
    "json field": '{"access_token": "' + C + '", "expires_in": 3}',
}


class Named(NamedTuple):
    """A tuple with a secret in a field of a telling name."""

    id: str
    secret: str


class Model(BaseModel):
    """A model with a typed secret."""

    token: SecretStr


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Log to a text."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.configure(pretty=False)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("name", SHAPES)
def test_the_shapes_of_credentials_are_blanked(name: str) -> None:
    """Whatever the text around it, what looks like a credential is gone and the rest stays."""
    for before, after in (("", ""), ("refused: ", " (try again)"), ("'", "'")):
        shown = log.redact(f"{before}{SHAPES[name]}{after}")
        assert SHAPES[name][4:] not in shown
        assert shown.startswith(before)


@pytest.mark.parametrize("name", WITHIN)
def test_credentials_in_their_usual_places_are_blanked(name: str) -> None:
    """Headers, addresses and forms keep their form and lose the secret."""
    shown = log.redact(WITHIN[name])
    assert C not in shown
    assert "Y2FuYXJ5" not in shown
    assert shown[:5] == WITHIN[name][:5]


def test_plain_words_stay() -> None:
    """What is no credential is not touched."""
    for text in ("connector is running", "u1@example.com", "https://example.com/x?page=2", "Bearer", "AKIA",
                 "the token was refused", "arn:aws:iam::123456789012:user/ann"):  # fmt: skip
        assert log.redact(text) == text


VALUES: dict[str, dict[str, Any]] = {
    "typed": {"x": SecretStr(C)},
    "typed in a list": {"x": [SecretStr(C)]},
    "by name": {"password": C},
    "by part of a name": {"kafka_client_secret": C},
    "by name, nested": {"x": {"deep": [{"Authorization": C}]}},
    "by name, as bytes": {"api_key": C.encode()},
    "a named tuple": {"x": Named("i", C)},
    "a model": {"x": Model(token=SecretStr(C))},
    "bytes": {"x": f"Bearer {C}".encode()},
    "an error": {"error": ValueError(f"Bearer {C}")},
    "text": {"x": f"Bearer {C}"},
    "a set": {"x": {f"https://u:{C}@h/"}},
}


@pytest.mark.parametrize("name", VALUES)
def test_no_value_shows_a_secret(name: str, written: io.StringIO) -> None:
    """Typed, named, nested or shaped, in any container."""
    structlog.get_logger(part="t").warning("something", **VALUES[name])
    assert C not in written.getvalue()
    line = orjson.loads(written.getvalue())
    assert (line["event"], line["level"], line["part"]) == ("something", "warning", "t")


def test_no_traceback_shows_a_secret(written: io.StringIO) -> None:
    """The text of an error in a traceback is cleaned like any other, ours and other libraries'."""
    try:
        int(f"Bearer {C}")
    except ValueError:
        structlog.get_logger().exception("ours")
        logging.getLogger("theirs").exception("password in https://u:%s@h/", C)
    assert C not in written.getvalue()
    ours, theirs = (orjson.loads(line) for line in written.getvalue().splitlines())
    assert "ValueError" in ours["exception"]
    assert "theirs" not in ours["event"]
    assert "***" in theirs["event"]


def test_other_libraries_are_heard_from_warnings_on(written: io.StringIO) -> None:
    """Their warnings are JSON lines like ours; what is below, and Kafka's own chatter, is not."""
    logging.getLogger("lib").info("chatter")
    logging.getLogger("aiokafka.conn").error("Unable to connect")
    logging.getLogger("lib").warning("token %s", f"Bearer {C}")
    (line,) = written.getvalue().splitlines()
    assert orjson.loads(line)["event"].startswith("token Bearer ***")


def test_numbers_of_telling_names_stay(written: io.StringIO) -> None:
    """A count of tokens is no token."""
    structlog.get_logger().info("x", tokens=3, token_seconds=1.5, page={"password_age": 4})
    line = orjson.loads(written.getvalue())
    assert (line["tokens"], line["token_seconds"], line["page"]) == (3, 1.5, {"password_age": 4})

"""CloudEvents 1.0 headers of a record, binary mode: the value is the event alone, all else is in headers.

A consumer de-duplicates on ``ce_source`` and ``ce_id`` and switches on ``ce_type`` without parsing the value.
Source: CloudEvents 1.0.2, Kafka Protocol Binding.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote

from schemas.events import Event, Origin, entity_of
from schemas.ocsf import NAMES
from schemas.topics import topic_of

Headers: TypeAlias = list[tuple[str, bytes]]

SCHEMAS: Final = "https://sluice.example/schemas/v1/{topic}.schema.json"
"""The identity of a topic's schema (a name, not a place to fetch from); ``v1`` is its major version."""

_SPECVERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")
_TYPES = {
    class_uid * 100 + activity: ("ce_type", f"ocsf.{name}.{word}".encode())
    for class_uid, (name, words) in NAMES.items()
    for activity, word in words.items()
}


class InvalidEnvelopeError(ValueError):
    """Headers that are not those of a CloudEvents 1.0 record of ours; the message says which."""


class Envelope(NamedTuple):
    """What the headers of a record say."""

    id: str
    source: str
    type: str
    tenant: str
    provider: str
    instance: str
    time: str
    subject: str
    dataschema: str


@lru_cache(maxsize=4096)
def _time(time: int) -> tuple[str, bytes]:
    seconds, rest = divmod(time, 1000)
    return "ce_time", datetime.fromtimestamp(seconds, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{rest:03d}Z").encode()


@lru_cache(maxsize=64)
def _dataschema(topic: str) -> tuple[str, bytes]:
    return "ce_dataschema", SCHEMAS.format(topic=topic).encode()


def headers(made: Event, origin: Origin, *, topic: str = "", entity: str = "") -> Headers:
    """Write the headers of a stamped event.

    Args:
        made: A stamped and checked event.
        origin: What it was stamped with.
        topic: The topic it goes to; by default the one its class belongs on.
        entity: What it is about; by default what `entity_of` finds.
    """
    return [
        _SPECVERSION,
        ("ce_id", made["metadata"]["uid"].encode()),
        ("ce_source", origin.source),
        _TYPES[made["type_uid"]],
        _time(made["time"]),
        ("ce_subject", (entity or entity_of(made)).encode()),
        _dataschema(topic or topic_of(made)),
        _CONTENT_TYPE,
    ]


def parse(pairs: Iterable[tuple[str, bytes]]) -> Envelope:
    """Read the headers of a public record; headers we do not know are passed over.

    Raises:
        InvalidEnvelopeError: A required header is missing, doubled or unreadable, or the record is not ours.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if not name.startswith("ce_"):
            continue
        if name in found:
            raise InvalidEnvelopeError(f"{name}: sent twice")
        try:
            found[name] = value.decode()
        except (UnicodeDecodeError, AttributeError):
            raise InvalidEnvelopeError(f"{name}: is not UTF-8 text") from None
    for name in ("ce_specversion", "ce_id", "ce_source", "ce_type"):
        if not found.get(name):
            raise InvalidEnvelopeError(f"{name}: is missing")
    if found["ce_specversion"] != "1.0":
        raise InvalidEnvelopeError("ce_specversion: is not 1.0")
    parts = found["ce_source"].split("/")
    if len(parts) != 5 or parts[:2] != ["", "tenants"]:
        raise InvalidEnvelopeError("ce_source: is not /tenants/{tenant}/{provider}/{instance}")
    return Envelope(
        found["ce_id"],
        found["ce_source"],
        found["ce_type"],
        *(unquote(part) for part in parts[2:]),
        *(found.get(name, "") for name in ("ce_time", "ce_subject", "ce_dataschema")),
    )

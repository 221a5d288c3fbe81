"""Check of Signature Version 4 on what arrived.

Source: AWS Identity and Access Management user guide, "Create a signed AWS API request". S3 encodes the path
once and leaves `..` and `//` as they are; every other service encodes it twice.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

_FORM = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request,"
    r"\s*SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_SAFE = "-_.~"


@dataclass(frozen=True, slots=True)
class Signed:
    """What an Authorization header claims."""

    key: str
    day: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True, slots=True)
class Received:
    """The parts of a request that a signature covers; path and query as they came over the wire."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def parse(authorization: str) -> Signed | None:
    """Read an Authorization header; None when it is not a well-formed SigV4 one."""
    if (found := _FORM.fullmatch(authorization.strip())) is None:
        return None
    part = found.groupdict()
    names = tuple(part["signed"].split(";"))
    return Signed(part["key"], part["day"], part["region"], part["service"], names, part["signature"])


def dated(received: Received) -> datetime | None:
    """The moment the request was signed at, by its x-amz-date."""
    try:
        return datetime.strptime(received.headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def genuine(received: Received, signed: Signed, secret: str) -> bool:
    """Whether the signature was made with that secret over exactly this request."""
    lines = "".join(f"{name}:{' '.join(received.headers.get(name, '').split())}\n" for name in signed.headers)
    payload = received.headers.get("x-amz-content-sha256") or hashlib.sha256(received.body).hexdigest()
    canonical = "\n".join(
        (
            received.method,
            _path(received.path, signed.service),
            _query(received.query),
            lines,
            ";".join(signed.headers),
            payload,
        )
    )
    scope = f"{signed.day}/{signed.region}/{signed.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{received.headers.get('x-amz-date', '')}\n{scope}\n{digest}"
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), signed.signature)


def _path(raw: str, service: str) -> str:
    once = quote(unquote(raw, errors="surrogateescape"), safe="/" + _SAFE, errors="surrogateescape")
    return once if service == "s3" else quote(once, safe="/" + _SAFE)


def _query(raw: str) -> str:
    pairs = []
    for part in filter(None, raw.split("&")):
        name, _, value = part.partition("=")
        pairs.append((quote(unquote(name), safe=_SAFE), quote(unquote(value), safe=_SAFE)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))

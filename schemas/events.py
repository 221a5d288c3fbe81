"""Making an event: what a mapper says (`event`), and what the core adds to it (`stamp`).

A mapper is pure and knows neither tenant nor clock: it names the class, the activity, the time and the
source's id. The core then stamps what follows from the connector. ``metadata.uid`` is derived from namespace,
tenant, provider, instance, log, source id and the event's place in its record, so the same occurrence has the
same id however often and by whichever way it comes; no clock, page, cursor or mapping version is in it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address
from typing import Literal, TypeAlias
from urllib.parse import quote

import msgspec
import orjson

from schemas.ocsf import INVENTORY, VERSION
from schemas.scalars import EMAIL, Json
from schemas.structs import part_decoder
from schemas.what import Cloud, Endpoint
from schemas.who import Product

Event: TypeAlias = dict[str, Json]

_NAMESPACE = "1"
_MOST_REGIONS = 256
_PROFILES: Mapping[int, list[str]] = {2006: ["cloud", "host", "security_control", "incident"]}
_USUAL_PROFILES = ["cloud", "host"]
_EMAIL = re.compile(EMAIL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNHASHED = frozenset({"metadata", "time", "cloud", "raw_data", "raw_data_size", "raw_data_hash"})
_SUBJECTS: Mapping[int, tuple[str, ...]] = {
    2006: ("file", "resources"), 3001: ("user",), 3002: ("user",), 3003: ("user",), 3004: ("entity",),
    3005: ("user",), 3006: ("group",), 6001: ("web_resources",), 6002: ("app",), 6003: ("resources", "user"),
    6006: ("file",), 6007: ("scan",), 7002: ("file",),
}  # fmt: skip


def _framed(parts: Iterable[str]) -> bytes:
    framed = ""
    for part in parts:
        framed += f"{len(part)}:{part}"
    return framed.encode("utf-8", "surrogatepass")


class Shared(dict[str, Json]):
    """A part of an event that was checked and written before, so not to be changed; a copy is a plain dict.

    Attributes:
        kind: The typed dictionary it was checked against; dict where anything goes.
        written: Its JSON.
    """

    __slots__ = ("kind", "written")
    kind: type
    written: orjson.Fragment

    def __reduce_ex__(self, _: object) -> tuple[type, tuple[dict[str, Json]]]:
        """Leave out what would not fit a copy that is changed."""
        return dict, (dict(self),)


def shared(kind: type, given: dict[str, Json], raw: bytes = b"") -> dict[str, Json]:
    """Check and write a part ahead, once for all events that have it.

    Args:
        kind: One of `schemas.structs.AHEAD`'s; dict for what is kept as it came.
        given: The part; given back as it is where it does not fit: its event's check says what is wrong.
        raw: Its JSON, if it is written already.
    """
    try:
        raw = raw or orjson.dumps(given)
        if kind is not dict:
            part_decoder(kind).decode(raw)
    except (msgspec.MsgspecError, orjson.JSONEncodeError):
        return given
    made = Shared(given)
    made.kind, made.written = kind, orjson.Fragment(raw)
    return made


def uid(*parts: str) -> str:
    """Hash parts to 32 hex digits (BLAKE2b-128), framed by their lengths, so that joining never collides."""
    return blake2b(_framed(parts), digest_size=16).hexdigest()


def entity_key(tenant: str, provider: str, instance: str, entity: str) -> str:
    """Make the key of a public record; all parts but the last are escaped, so it splits at three slashes."""
    parts = [part.replace("%", "%25").replace("/", "%2F") for part in (tenant, provider, instance)]
    return "/".join([*parts, entity])


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where a connector's events come from, with everything that is the same for each of them made once.

    Attributes:
        tenant: Our customer.
        provider: The provider's name, as its folder is called.
        instance: The customer's account at the provider.
        instance_name: Its display name.
        account_type_id: OCSF's kind of account: 10 AWS account, 11 GCP project, 13 Azure subscription, 14
            Salesforce, 15 Google Workspace, 16 ServiceNow, 17 Microsoft 365 tenant, 99 other.
        account_type: The kind in words, needed with 99.
        org: The organisation above the account, if any.
        product: The product that reports, unless a mapper names another.
        cloud, clouds, source, prefix, seed: Made from the others; shared by all events, so not to be changed.
    """

    tenant: str
    provider: str
    instance: str
    product: Product
    instance_name: str = ""
    account_type_id: int = 99
    account_type: str = ""
    org: str = ""
    cloud: dict[str, Json] = field(init=False, repr=False)
    clouds: dict[str, dict[str, Json]] = field(init=False, repr=False)
    source: bytes = field(init=False, repr=False)
    prefix: str = field(init=False, repr=False)
    seed: "blake2b" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make what all events share."""
        account = present(
            uid=self.instance, name=self.instance_name, type_id=self.account_type_id, type=self.account_type
        )
        cloud = present(provider=self.provider, account=account, org=present(uid=self.org))
        whole = (self.tenant, self.provider, self.instance)
        made = {
            "cloud": shared(Cloud, cloud),
            "clouds": {},
            "source": "/tenants/{}/{}/{}".format(*(quote(part, safe="") for part in whole)).encode(),
            "prefix": entity_key(*whole, ""),
            "seed": blake2b(_framed((_NAMESPACE, *whole)), digest_size=16),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def key(self, entity: str) -> str:
        """Make the key of a record about an entity of this instance."""
        return self.prefix + entity

    def within(self, cloud: Mapping[str, Json]) -> dict[str, Json]:
        """Add to the cloud what a record says of it: nearly always the region and nothing else."""
        region = cloud.get("region")
        if len(cloud) != 1 or region.__class__ is not str:
            return {**self.cloud, **cloud}
        made = self.clouds.get(region)
        if made is None:
            if len(self.clouds) >= _MOST_REGIONS:
                self.clouds.clear()
            made = self.clouds[region] = shared(Cloud, {**self.cloud, **cloud})
        return made

    def uid(self, *parts: str) -> str:
        """Derive an id within this instance."""
        digest = self.seed.copy()
        digest.update(_framed(parts))
        return digest.hexdigest()


def present(**parts: Json) -> Json:
    """Build an object of what is there: without None, empty text, empty lists and empty objects."""
    if all(parts.values()):
        return parts
    return {name: value for name, value in parts.items() if value or value is False or value == 0}


def event(
    class_uid: int,
    activity_id: int,
    time: int,
    *,
    log_name: str,
    source_id: str,
    severity_id: int = 1,
    original_time: str = "",
    event_code: str = "",
    log_provider: str = "",
    logged_time: int | None = None,
    correlation_uid: str = "",
    labels: list[str] | None = None,
    product: Product | None = None,
    **attributes: Json,
) -> Event:
    """Build an event as far as a mapper can; absent attributes (None, empty) are left out.

    Args:
        class_uid: One of `schemas.ocsf.CLASSES`.
        activity_id: The activity, 99 with `activity_name` for the source's own word.
        time: When it happened, milliseconds since 1970.
        log_name: The stream it comes from, the same for push and poll; for inventories the topic's name.
        source_id: The source's id of the record; for inventories the entity's.
        severity_id: 1 informational to 6 fatal.
        original_time: The source's time as sent.
        event_code: The source's name of the event.
        log_provider: The service that wrote the log.
        logged_time: When the provider wrote it, milliseconds.
        correlation_uid: What ties event, finding, command and result together.
        labels: Short words of ours about the event.
        product: The product, where it is not the connector's own.
        attributes: The attributes of the class.
    """
    metadata: dict[str, Json] = {"log_name": log_name, "original_event_uid": source_id}
    if original_time:
        metadata["original_time"] = original_time
    if event_code:
        metadata["event_code"] = event_code
    if log_provider:
        metadata["log_provider"] = log_provider
    if logged_time or correlation_uid or labels or product:
        metadata |= present(
            logged_time=logged_time, correlation_uid=correlation_uid, labels=labels, product=product
        )
    if not all(attributes.values()):  # the hot path: a mapper that leaves out what is absent pays nothing
        attributes = present(**attributes)
    return {
        "class_uid": class_uid, "category_uid": class_uid // 1000, "activity_id": activity_id,
        "type_uid": class_uid * 100 + activity_id, "time": time, "severity_id": severity_id,
        "metadata": metadata, **attributes,
    }  # fmt: skip


def stamp(made: Event, origin: Origin, now: int, *, index: int = 0, revision: str = "") -> Event:
    """Add, in place, what follows from the connector: id, tenant, product, cloud, profiles, version.

    Args:
        made: What `event` built.
        origin: The connector's.
        now: When we normalised it, milliseconds since 1970; not part of the id.
        index: The event's place among those of one record.
        revision: For inventories: the provider's version of the entity, or a counter of ours; without it two
            states with equal content (shared, unshared, shared again) have one id.
    """
    class_uid = made["class_uid"]
    metadata = made["metadata"]
    log, source = metadata["log_name"], metadata["original_event_uid"]
    metadata["version"] = VERSION
    metadata["tenant_uid"] = origin.tenant
    metadata["processed_time"] = now
    metadata["profiles"] = _PROFILES.get(class_uid, _USUAL_PROFILES)
    if "product" not in metadata:
        metadata["product"] = origin.product
    if class_uid in INVENTORY:
        metadata["uid"] = origin.uid(log, source, content_hash(made).hex(), revision)
    else:
        # The same as `origin.uid(log, source, str(index))` in half the time.
        digest, place = origin.seed.copy(), str(index)
        parts = f"{len(log)}:{log}{len(source)}:{source}{len(place)}:{place}"
        digest.update(parts.encode("utf-8", "surrogatepass"))
        metadata["uid"] = digest.hexdigest()
    cloud = made.get("cloud")
    made["cloud"] = origin.within(cloud) if cloud else origin.cloud
    return made


def content_hash(made: Event) -> bytes:
    """Hash what an inventory event says of its entity, 16 bytes; equal before and after stamping."""
    said = {name: value for name, value in made.items() if name not in _UNHASHED}
    return blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def _named(node: Json) -> str | None:
    if isinstance(node, list):
        node = node[0] if node else None
    if not isinstance(node, dict):
        return None
    return node.get("uid") or node.get("name") or _named(node.get("account"))


def entity_of(made: Event) -> str:
    """Name the entity an event is about: its records stay in order, and inventories keep its latest.

    The file, user, group or resource acted on; without one the actor, else the record's own source id.
    """
    class_uid = made["class_uid"]
    if class_uid not in INVENTORY:
        for attribute in _SUBJECTS.get(class_uid, ()):
            if (node := made.get(attribute)) and (name := _named(node)):
                return name
        if class_uid == 6003 and (name := _named(made["actor"].get("user"))):
            return name
    source: str = made["metadata"]["original_event_uid"]
    return source


@lru_cache(maxsize=8192)
def _kind_of_address(address: str) -> Literal["ip", "domain"]:
    try:
        ip_address(address)
    except ValueError:
        return "domain"
    return "ip"


def endpoint(address: str | None, **more: Json) -> Endpoint:
    """Make an endpoint of what a source calls an address: an IP, a service's host name, nothing (unknown)."""
    made: Endpoint = present(**more)
    if address and _kind_of_address(address) == "ip":
        made["ip"] = address
    elif address:
        made["domain"] = address
    elif not made:
        made["name"] = "unknown"
    return made


def email(text: str | None) -> str | None:
    """Give an address back if it is one in OCSF's eyes; what is none belongs into a name."""
    return text if text and _EMAIL.fullmatch(text) else None


@lru_cache(maxsize=4096)
def millis(text: str) -> int:
    """Read an ISO 8601 time as milliseconds since 1970; without a zone it is UTC.

    Raises:
        ValueError: It is no such time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1000 + passed.microseconds // 1000

"""The OCSF objects our events are made of: slim, closed, with only the attributes some provider fills.

Each is a typed dictionary: a mapper builds plain dicts, mypy checks their keys, and the publisher checks their values.
A number named ``*_id`` is an OCSF enum; its text sibling is sent only with 99 (other). Times are milliseconds since 1970.

Source: OCSF 1.8.0, objects.
"""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import Required, TypedDict

Json: TypeAlias = Any
"""What a provider sent, kept as it came."""

Millis = Annotated[int, Field(ge=-62_135_596_800_000, le=253_402_300_799_999)]
"""Milliseconds since 1970, within the years 1 to 9999."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
Kind = TypeVar("Kind", bound=type)


@lru_cache(maxsize=8192)
def _address(text: str) -> str:
    """Refuse what is no IP address; a provider's host name belongs into ``domain`` or ``svc_name``."""
    ip_address(text)
    return text


Ip = Annotated[str, Field(max_length=40), AfterValidator(_address)]
Email = Annotated[str, Field(pattern=r"^[a-zA-Z0-9!#$%&'*+-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+$")]


def at_least_one(*names: str) -> Callable[[Kind], Kind]:
    """Mark a typed dictionary as needing one of these keys (OCSF's ``at_least_one`` constraint)."""
    wanted = frozenset(names)
    complaint = PydanticCustomError("at_least_one", "one of {names} is needed", {"names": ", ".join(names)})

    def check(value: dict[str, Json]) -> dict[str, Json]:
        if wanted.isdisjoint(value):
            raise complaint
        return value

    def core(source: Kind, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(check, handler(source))

    def mark(kind: Kind) -> Kind:
        extra: dict[str, Json] = {"anyOf": [{"required": [name]} for name in names]}
        kind.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, json_schema_extra=extra)
        kind.__get_pydantic_core_schema__ = core
        return kind

    return mark


@at_least_one("name", "uid")
class Feature(TypedDict, total=False):
    """The part of a product that reported."""

    name: str
    uid: str
    version: str


@at_least_one("name", "uid")
class Product(TypedDict, total=False):
    """The product an event is from, or an application an event is about."""

    name: str
    uid: str
    vendor_name: str
    version: str
    feature: Feature
    url_string: str


@at_least_one("value", "values")
class Tag(TypedDict, total=False):
    """A name with one value or several (OCSF: key_value_object)."""

    name: Required[str]
    value: str
    values: list[str]


class Transformation(TypedDict, total=False):
    """A mapping that was applied, by name and version."""

    name: Required[str]
    uid: str
    time: Millis


class Metadata(TypedDict, total=False):
    """Where an event comes from and which one it is; ``uid`` is what consumers de-duplicate on."""

    version: Required[Literal["1.8.0"]]
    product: Required[Product]
    uid: Required[str]
    tenant_uid: Required[str]
    log_name: Required[str]
    profiles: list[Literal["cloud", "host", "security_control", "incident"]]
    original_event_uid: Required[str]
    original_time: str
    event_code: str
    log_provider: str
    log_version: str
    logged_time: Millis
    processed_time: Millis
    modified_time: Millis
    correlation_uid: str
    sequence: Count
    labels: list[str]
    tags: list[Tag]
    is_truncated: bool
    untruncated_size: Count
    transformation_info_list: list[Transformation]


@at_least_one("name", "uid")
class Organization(TypedDict, total=False):
    """An organisation or a unit of one."""

    name: str
    uid: str
    ou_name: str
    ou_uid: str


@at_least_one("name", "uid")
class Account(TypedDict, total=False):
    """An account at a provider: a person's, a role's, or the customer's own (an AWS account, a tenant)."""

    name: str
    uid: str
    type: str
    type_id: Literal[0, 3, 4, 5, 6, 10, 11, 13, 14, 15, 16, 17, 18, 99]
    is_disabled: bool
    is_locked: bool
    is_on_premises_sync_enabled: bool
    labels: list[str]
    tags: list[Tag]


class Cloud(TypedDict, total=False):
    """The provider and the customer's account there (``account.uid`` is the instance)."""

    provider: Required[str]
    account: Account
    org: Organization
    project_uid: str
    region: str
    zone: str
    cloud_partition: str


@at_least_one("name", "uid")
class Group(TypedDict, total=False):
    """A group; a role is one of type ``role`` with its ``privileges``."""

    name: str
    uid: str
    uid_alt: str
    type: str
    desc: str
    domain: str
    privileges: list[str]


class Credential(TypedDict, total=False):
    """An API key or the like, by its public id, never its secret (OCSF: programmatic_credential)."""

    uid: Required[str]
    type: str
    last_used_time: Millis


class Person(TypedDict, total=False):
    """What a directory knows of a person (OCSF: ldap_person)."""

    created_time: Millis
    modified_time: Millis
    deleted_time: Millis
    last_login_time: Millis
    hire_time: Millis
    leave_time: Millis
    given_name: str
    surname: str
    display_name: str
    department: str
    cost_center: str
    job_title: str
    employee_uid: str
    office_location: str
    phone_number: str
    email_addrs: list[Email]
    labels: list[str]
    tags: list[Tag]


@at_least_one("account", "name", "uid")
class User(TypedDict, total=False):
    """A person, role or service that acts or is acted on; ``type_id`` 1 user, 2 admin, 3 system, 4 service."""

    uid: str
    uid_alt: str
    name: str
    type: str
    type_id: Literal[0, 1, 2, 3, 4, 99]
    account: Account
    credential_uid: str
    display_name: str
    full_name: str
    domain: str
    email_addr: Email
    phone_number: str
    groups: list[Group]
    has_mfa: bool
    ldap_person: Person
    org: Organization
    programmatic_credentials: list[Credential]
    risk_level_id: Literal[0, 1, 2, 3, 4, 99]
    risk_level: str
    risk_score: Count


class Session(TypedDict, total=False):
    """A signed-in session, or the temporary credentials of one."""

    uid: str
    uid_alt: str
    issuer: str
    created_time: Millis
    expiration_time: Millis
    expiration_reason: str
    credential_uid: str
    count: Count
    is_mfa: bool
    is_remote: bool
    is_vpn: bool


@at_least_one("name", "uid")
class Idp(TypedDict, total=False):
    """The identity provider that vouched."""

    name: str
    uid: str
    domain: str
    issuer: str
    protocol_name: str
    tenant_uid: str
    url_string: str
    has_mfa: bool


@at_least_one("name", "type", "uid")
class Policy(TypedDict, total=False):
    """A policy at the provider, or one of ours."""

    name: str
    uid: str
    type: str
    desc: str
    version: str
    is_applied: bool
    data: Json


class Authorization(TypedDict, total=False):
    """A decision and the policy behind it."""

    decision: str
    policy: Policy


@at_least_one("user", "invoked_by", "session", "app_name", "app_uid")
class Actor(TypedDict, total=False):
    """Who or what did it."""

    user: User
    session: Session
    idp: Idp
    invoked_by: str
    app_name: str
    app_uid: str
    authorizations: list[Authorization]


@at_least_one("city", "country", "postal_code", "region")
class Location(TypedDict, total=False):
    """Where an address is, as the provider says; ``country`` is ISO 3166-1 alpha-2."""

    city: str
    region: str
    country: str
    continent: str
    postal_code: str
    isp: str
    lat: float
    long: float


@at_least_one("ip", "uid", "name", "hostname", "svc_name", "instance_uid", "domain")
class Endpoint(TypedDict, total=False):
    """An end of a connection (OCSF: network_endpoint); ``{"name": "unknown"}`` where the provider is silent."""

    ip: Ip
    intermediate_ips: list[Ip]
    port: Annotated[int, Field(ge=0, le=65535)]
    hostname: str
    domain: str
    name: str
    svc_name: str
    uid: str
    instance_uid: str
    vpc_uid: str
    interface_uid: str
    isp: str
    location: Location
    type: str
    type_id: Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 99]


@at_least_one("ip", "uid", "name", "hostname", "instance_uid")
class Device(TypedDict, total=False):
    """The device a person used."""

    type_id: Required[Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 99]]
    type: str
    uid: str
    name: str
    hostname: str
    instance_uid: str
    ip: Ip
    model: str
    vendor_name: str
    is_managed: bool
    is_compliant: bool
    is_trusted: bool


@at_least_one("name", "uid")
class Service(TypedDict, total=False):
    """A service of the provider."""

    name: str
    uid: str
    version: str
    labels: list[str]


class Request(TypedDict, total=False):
    """An API request."""

    uid: Required[str]
    data: Json
    flags: list[str]


class Response(TypedDict, total=False):
    """An API response: the provider's error word in ``error``, its sentence in ``error_message``."""

    code: int
    data: Json
    error: str
    error_message: str
    message: str
    flags: list[str]


class Api(TypedDict, total=False):
    """The call that was made."""

    operation: Required[str]
    service: Service
    request: Request
    response: Response
    group: Group
    version: str


@at_least_one("url_string", "path")
class Url(TypedDict, total=False):
    """An address in parts or whole; never with a secret in its query."""

    url_string: str
    scheme: str
    hostname: str
    domain: str
    port: Annotated[int, Field(ge=0, le=65535)]
    path: str
    query_string: str


class HttpRequest(TypedDict, total=False):
    """The HTTP request behind an event."""

    http_method: Literal["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"]
    url: Url
    uid: str
    user_agent: str
    referrer: str
    version: str
    args: str
    length: Count
    x_forwarded_for: list[Ip]


class HttpResponse(TypedDict, total=False):
    """The HTTP response behind an event."""

    code: Required[int]
    status: str
    message: str
    length: Count
    latency: Count
    content_type: str


@at_least_one("name", "uid")
class Resource(TypedDict, total=False):
    """A thing at the provider, its particulars in ``data`` (OCSF: resource_details); role 1 target, 2 actor."""

    name: str
    uid: str
    uid_alt: str
    type: str
    role_id: Literal[0, 1, 2, 3, 4, 99]
    owner: User
    group: Group
    namespace: str
    region: str
    zone: str
    provider: str
    cloud_partition: str
    version: str
    labels: list[str]
    tags: list[Tag]
    data: Json
    hostname: str
    ip: Ip
    created_time: Millis
    modified_time: Millis


@at_least_one("name", "uid")
class WebResource(TypedDict, total=False):
    """A record, message, page or repository in a web application."""

    name: str
    uid: str
    uid_alt: str
    type: str
    desc: str
    url_string: str
    labels: list[str]
    tags: list[Tag]
    data: Json
    created_time: Millis
    modified_time: Millis


class Fingerprint(TypedDict, total=False):
    """A hash: 1 MD5, 2 SHA-1, 3 SHA-256, 4 SHA-512, 7 quickXorHash, 99 the provider's own."""

    algorithm_id: Required[Literal[0, 1, 2, 3, 4, 7, 9, 99]]
    algorithm: str
    value: Required[str]


class File(TypedDict, total=False):
    """A file or folder (``type_id`` 1, 2) as the provider describes it."""

    name: Required[str]
    type_id: Required[Literal[0, 1, 2, 7, 99]]
    type: str
    uid: str
    version: str
    path: str
    parent_folder: str
    volume: str
    ext: str
    mime_type: str
    desc: str
    uri: str
    url: Url
    size: Count
    hashes: list[Fingerprint]
    owner: User
    creator: User
    modifier: User
    accessor: User
    created_time: Millis
    modified_time: Millis
    accessed_time: Millis
    is_public: bool
    is_deleted: bool
    is_encrypted: bool
    is_readonly: bool
    confidentiality: str
    confidentiality_id: Literal[0, 1, 2, 3, 4, 5, 6, 99]
    storage_class: str
    product: Product
    tags: list[Tag]
    xattributes: dict[str, Json]

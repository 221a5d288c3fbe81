"""What: the OCSF objects for metadata, clouds, endpoints, calls, resources, files and findings.

The same rules as in ``schemas.who``. Source: OCSF 1.8.0, objects.
"""

from typing import Annotated, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from schemas.scalars import Count, Ip, Json, Millis, at_least_one, closed
from schemas.who import Account, Group, Organization, Policy, Product, Tag, User


@closed
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
    logged_time: Millis
    processed_time: Millis
    modified_time: Millis
    correlation_uid: str
    labels: list[str]
    is_truncated: bool
    untruncated_size: Count


@closed
class Cloud(TypedDict, total=False):
    """The provider and the customer's account there (``account.uid`` is the instance)."""

    provider: Required[str]
    account: Account
    org: Organization
    project_uid: str
    region: str
    zone: str
    cloud_partition: str


@at_least_one("city", "country", "postal_code", "region")
class Location(TypedDict, total=False):
    """Where an address is, as the provider says; ``country`` is ISO 3166-1 alpha-2."""

    city: str
    region: str
    country: str
    continent: str
    postal_code: str


@at_least_one("ip", "uid", "name", "hostname", "svc_name", "instance_uid", "domain")
class Endpoint(TypedDict, total=False):
    """An end of a connection (OCSF: network_endpoint); its name is ``unknown`` if the source is silent."""

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
    ip: Ip
    is_managed: bool
    is_compliant: bool
    is_trusted: bool


@at_least_one("name", "uid")
class Service(TypedDict, total=False):
    """A service of the provider."""

    name: str
    uid: str
    version: str


@closed
class Request(TypedDict, total=False):
    """An API request."""

    uid: Required[str]
    data: Json


@closed
class Response(TypedDict, total=False):
    """An API response: the provider's error word in ``error``, its sentence in ``error_message``."""

    code: int
    data: Json
    error: str
    error_message: str
    message: str


@closed
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
    port: Annotated[int, Field(ge=0, le=65535)]
    path: str
    query_string: str


@closed
class HttpRequest(TypedDict, total=False):
    """The HTTP request behind an event."""

    http_method: Literal["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"]
    url: Url
    uid: str
    user_agent: str
    length: Count
    x_forwarded_for: list[Ip]


@closed
class HttpResponse(TypedDict, total=False):
    """The HTTP response behind an event."""

    code: Required[int]
    status: str
    message: str
    length: Count


@at_least_one("name", "uid")
class Resource(TypedDict, total=False):
    """A thing at the provider, particulars in ``data`` (OCSF: resource_details); role 1 target, 2 actor."""

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


@closed
class Fingerprint(TypedDict, total=False):
    """A hash: 1 MD5, 2 SHA-1, 3 SHA-256, 4 SHA-512, 7 quickXorHash, 99 the provider's own."""

    algorithm_id: Required[Literal[0, 1, 2, 3, 4, 7, 9, 99]]
    algorithm: str
    value: Required[str]


@closed
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
    storage_class: str
    product: Product
    tags: list[Tag]
    xattributes: dict[str, Json]


@closed
class Classifier(TypedDict, total=False):
    """The detector that matched (OCSF: classifier_details)."""

    type: Required[str]
    name: str
    uid: str


@closed
class Discovery(TypedDict, total=False):
    """How often a detector matched; ``value`` is masked, never the text itself (OCSF: discovery_details)."""

    type: str
    count: Count
    value: str


@at_least_one("data_lifecycle_state_id", "detection_pattern", "detection_system_id", "policy")
class DataSecurity(TypedDict, total=False):
    """What sensitive data was found, by whom; ``detection_system_id`` 8 is a cloud access security broker."""

    uid: str
    category_id: Literal[0, 1, 2, 3, 4, 5, 6, 99]
    classifier_details: Classifier
    confidentiality_id: Literal[0, 1, 2, 3, 4, 5, 6, 99]
    data_lifecycle_state_id: Literal[0, 1, 2, 3, 99]
    detection_pattern: str
    detection_system_id: Literal[8]
    discovery_details: list[Discovery]
    policy: Policy
    size: Count
    status_id: Literal[0, 1, 2, 3, 99]
    status_details: list[str]
    total: Count


@closed
class FindingInfo(TypedDict, total=False):
    """Which finding: ``uid`` stays the same over rescans."""

    uid: Required[str]
    title: str
    desc: str
    types: list[str]
    data_sources: list[str]
    created_time: Millis
    modified_time: Millis
    first_seen_time: Millis
    last_seen_time: Millis


@closed
class Remediation(TypedDict, total=False):
    """What was done about it, in a sentence."""

    desc: Required[str]
    references: list[str]


@at_least_one("name", "uid")
class Scan(TypedDict, total=False):
    """A scan: 1 manual, 2 scheduled, 3 because content changed."""

    type_id: Required[Literal[0, 1, 2, 3, 99]]
    type: str
    name: str
    uid: str


@closed
class Observable(TypedDict, total=False):
    """A value worth searching for, ``name`` its path: 2 IP, 5 email, 8 hash, 10 resource, 31 user."""

    type_id: Required[Literal[0, 1, 2, 4, 5, 6, 7, 8, 10, 16, 19, 21, 24, 31, 33, 35, 99]]
    name: str
    value: str


@closed
class AuthFactor(TypedDict, total=False):
    """A factor used to sign in: 1 SMS, 5 push, 6 hardware token, 7 OTP, 8 email, 10 WebAuthn, 11 password."""

    factor_type_id: Required[Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99]]
    factor_type: str
    provider: str


@at_least_one("name", "uid", "group", "org", "policy", "user")
class ManagedEntity(TypedDict, total=False):
    """A managed thing: 1 device, 2 user, 3 group, 4 organisation, 5 policy, 6 email, 7 zone."""

    name: str
    uid: str
    type: str
    type_id: Literal[0, 1, 2, 3, 4, 5, 6, 7, 99]
    version: str
    data: Json
    group: Group
    org: Organization
    policy: Policy
    user: User

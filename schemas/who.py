"""Who: the OCSF objects for products, accounts, people, groups, sessions and policies.

Slim and closed: only the attributes some provider fills. Each is a typed dictionary: a mapper builds plain
dicts, mypy checks their keys, the publisher their values. A number named ``*_id`` is an OCSF enum; its text
sibling is sent with 99 (other) only. Times are milliseconds since 1970. Source: OCSF 1.8.0, objects.
"""

from typing import Literal, Required

from typing_extensions import TypedDict

from schemas.scalars import Email, Json, Millis, at_least_one, closed


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


@at_least_one("value", "values")
class Tag(TypedDict, total=False):
    """A name with one value or several (OCSF: key_value_object)."""

    name: Required[str]
    value: str
    values: list[str]


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


@closed
class Credential(TypedDict, total=False):
    """An API key or the like, by its public id, never its secret (OCSF: programmatic_credential)."""

    uid: Required[str]
    type: str
    last_used_time: Millis


@closed
class Person(TypedDict, total=False):
    """What a directory knows of a person (OCSF: ldap_person)."""

    created_time: Millis
    modified_time: Millis
    last_login_time: Millis
    given_name: str
    surname: str
    department: str
    job_title: str
    employee_uid: str
    email_addrs: list[Email]
    labels: list[str]
    tags: list[Tag]


@at_least_one("account", "name", "uid")
class User(TypedDict, total=False):
    """A person, role or service: ``type_id`` 1 user, 2 admin, 3 system, 4 service."""

    uid: str
    uid_alt: str
    name: str
    type: str
    type_id: Literal[0, 1, 2, 3, 4, 99]
    account: Account
    credential_uid: str
    display_name: str
    domain: str
    email_addr: Email
    groups: list[Group]
    has_mfa: bool
    ldap_person: Person
    org: Organization
    programmatic_credentials: list[Credential]


@closed
class Session(TypedDict, total=False):
    """A signed-in session, or the temporary credentials of one."""

    uid: str
    uid_alt: str
    issuer: str
    created_time: Millis
    expiration_time: Millis
    credential_uid: str
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


@closed
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

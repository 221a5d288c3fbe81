"""What was seeded: the truth that tests judge by."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sandbox.documents import Document

Json: TypeAlias = Any
Keys: TypeAlias = dict[str, str]


@dataclass(slots=True)
class User:
    """An IAM user as it was made; `keys` are access key ids with their status, `policies` the user's own."""

    name: str
    id: str
    arn: str
    console: bool = False
    mfa: bool = False
    groups: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    keys: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Buckets:
    """The names of an account's buckets."""

    documents: str
    public_acl: str
    public_policy: str
    quarantine: str
    trail: str


@dataclass(slots=True)
class Account:
    """One account: what is in it and how to connect to it."""

    id: str
    region: str
    root: Keys
    role_arn: str
    external_id: str
    key_pair: Keys
    buckets: Buckets
    queue_url: str
    queue_arn: str
    dead_letter_url: str
    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)
    documents: dict[tuple[str, str], Document] = field(default_factory=dict)
    events: dict[str, Json] = field(default_factory=dict)
    trail_keys: list[str] = field(default_factory=list)
    digest_keys: list[str] = field(default_factory=list)
    public_objects: list[tuple[str, str]] = field(default_factory=list)
    hostile: dict[str, tuple[str, str]] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Organization:
    """Two accounts under one organization, and the key pair of who connects to them from outside."""

    id: str
    management: Account
    member: Account
    collector: Keys

    @property
    def accounts(self) -> tuple[Account, Account]:
        """Both."""
        return self.management, self.member

"""What an organisation consists of."""

from collections import OrderedDict
from dataclasses import dataclass, field

from sandbox.github.answers import Json
from sandbox.github.estate import Estate


@dataclass(slots=True)
class User:
    """A GitHub account.

    `name_id` is what the identity provider calls it ("" without), `scim` its SCIM id, `parked` the login
    and address of a suspended managed user.
    """

    id: int
    login: str
    name: str
    email: str
    two_factor: bool = True
    name_id: str = ""
    scim: str = ""
    guid: str = ""
    active: bool = True
    kind: str = "User"
    created: float = 0.0
    parked: tuple[str, str] = ("", "")


@dataclass(slots=True)
class Team:
    """A team; `people` maps a user's id to member or maintainer, `repos` a repository's id to its role."""

    id: int
    name: str
    slug: str
    privacy: str = "closed"
    parent: int = 0
    people: dict[int, str] = field(default_factory=dict)
    repos: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Role:
    """An organisation role or a custom repository role, and who has it."""

    id: int
    name: str
    description: str
    permissions: tuple[str, ...]
    reach: str
    source: str = "Organization"
    created: float = 0.0
    users: set[int] = field(default_factory=set)
    teams: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Installation:
    """An App installed on the organisation."""

    id: int
    app_id: int
    slug: str
    permissions: dict[str, str]
    events: list[str]
    selection: str
    created: float
    suspended: float = 0.0


@dataclass(slots=True)
class Organization:
    """The organisation, its people and what they may do. Members are kept in the order of their ids."""

    login: str
    id: int
    enterprise: str
    enterprise_id: int
    created: float
    saml: bool = True
    managed: bool = False
    discloses_ip: bool = True
    users: dict[int, User] = field(default_factory=dict)
    logins: dict[str, int] = field(default_factory=dict)
    members: OrderedDict[int, str] = field(default_factory=OrderedDict)
    outsiders: OrderedDict[int, None] = field(default_factory=OrderedDict)
    blocked: OrderedDict[int, None] = field(default_factory=OrderedDict)
    invitations: OrderedDict[int, Json] = field(default_factory=OrderedDict)
    teams: OrderedDict[int, Team] = field(default_factory=OrderedDict)
    roles: dict[int, Role] = field(default_factory=dict)
    repository_roles: dict[int, Role] = field(default_factory=dict)
    installations: OrderedDict[int, Installation] = field(default_factory=OrderedDict)
    credentials: OrderedDict[int, Json] = field(default_factory=OrderedDict)
    grants: OrderedDict[int, Json] = field(default_factory=OrderedDict)
    requests: OrderedDict[int, Json] = field(default_factory=OrderedDict)
    estate: Estate = field(default_factory=Estate)

    def user(self, login: str) -> User | None:
        """The account of a login; case does not matter."""
        found = self.logins.get(login.lower())
        return None if found is None else self.users[found]

    def add(self, user: User) -> User:
        """Make an account known."""
        self.users[user.id], self.logins[user.login.lower()] = user, user.id
        return user

    def rename(self, user: User, login: str, email: str) -> None:
        """Give an account another login and address; the id stays."""
        del self.logins[user.login.lower()]
        user.login, user.email = login, email
        self.logins[login.lower()] = user.id

    def admins(self) -> list[int]:
        """The owners' ids."""
        return [one for one, role in self.members.items() if role == "admin"]

    def team(self, slug: str) -> Team | None:
        """The team of a slug."""
        return next((one for one in self.teams.values() if one.slug == slug.lower()), None)

"""An organisation of any size, the same for the same seed number.

Example:
    tenant = seed(members=200, repos=10_000, teams=20)
    async with running(tenant): ...
"""

import uuid
from random import Random

from sandbox.clock import Clock
from sandbox.github import shapes
from sandbox.github.answers import Json
from sandbox.github.estate import Estate
from sandbox.github.state import Installation, Role, Team, User
from sandbox.github.tenant import PERMISSIONS, GitHubTenant

FIRST_USER, DAY = 1_000_001, 86_400.0
OWNER = "acme-owner"
_GIVEN = ("Mona", "Zoë", "Ai<b>ko", "Lars", "Zoe", "Amir", "Nina", "Pavel", "Ines", "Tomas")
_FAMILY = ("O'Archer", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jansen")
_TEAMS = ("Platform", "Security", "Payments", "Mobile", "Data", "Support", "Design", "Release")
_APPS = (
    ("ci-runner", {"checks": "write", "contents": "read", "metadata": "read"}),
    ("backup-bot", {"contents": "read", "members": "read", "metadata": "read"}),
    ("summary-bot", {"contents": "write", "issues": "write", "metadata": "read", "secrets": "write"}),
)


def seed(
    tenant: GitHubTenant | None = None,
    *,
    number: int = 1,
    members: int = 30,
    repos: int = 50,
    teams: int = 5,
    outsiders: int = 4,
    events: int = 40,
    clock: Clock | None = None,
) -> GitHubTenant:
    """Fill a tenant; `events` are log entries of the last days. The first member is the owner acme-owner."""
    tenant = tenant or GitHubTenant(clock)
    chance = Random(number)
    _people(tenant, chance, max(2, members), outsiders)
    _teams(tenant, chance, teams, repos)
    _roles(tenant)
    _apps(tenant)
    org = tenant.org
    people = tuple(org.members)
    now = tenant.clock.now()
    org.estate = Estate(repos, number, now, outsiders=tuple(org.outsiders), members=people[:10_000])
    _tokens(tenant, chance)
    history(tenant, chance, events)
    return tenant


def person(tenant: GitHubTenant, chance: Random, number: int, login: str = "") -> User:
    """A user as the seed makes them."""
    name = f"{_GIVEN[number % 10]} {_FAMILY[number // 10 % 10]}"
    login = login or f"{_slug(name)}-{number}"
    saml = tenant.org.saml
    return tenant.org.add(
        User(
            FIRST_USER + number,
            login,
            name,
            f"{login}@acme.example",
            two_factor=chance.random() > 0.05,
            name_id=f"{login}@acme.example" if saml else "",
            scim=str(uuid.UUID(int=chance.getrandbits(128), version=4)) if saml else "",
            guid=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            created=tenant.org.created + number,
        )
    )


def _slug(name: str) -> str:
    """A login may hold letters, digits and dashes only."""
    return "".join(c for c in name.replace(" ", "-").lower() if (c.isalnum() and c.isascii()) or c == "-")


def _people(tenant: GitHubTenant, chance: Random, members: int, outsiders: int) -> None:
    org = tenant.org
    for number in range(members):
        one = person(tenant, chance, number, OWNER if number == 0 else "")
        org.members[one.id] = "admin" if number in {0, 1} else "member"
    for number in range(members, members + outsiders):
        one = person(tenant, chance, number, f"contractor-{number}")
        one.name_id = one.scim = ""
        org.outsiders[one.id] = None
    stranger = person(tenant, chance, members + outsiders, "invited-one")
    stranger.name_id = stranger.scim = ""
    org.invitations[6_001] = {
        "id": 6_001,
        "login": stranger.login,
        "node_id": shapes.node("OrganizationInvitation", 6_001),
        "email": stranger.email,
        "role": "direct_member",
        "created_at": shapes.moment(tenant.clock.now() - DAY),
        "failed_at": None,
        "failed_reason": None,
        "inviter": shapes.account("https://api.github.com", OWNER, FIRST_USER),
        "team_count": 0,
        "invitation_teams_url": f"https://api.github.com/organizations/{org.id}/invitations/6001/teams",
        "invitation_source": "member",
    }


def _teams(tenant: GitHubTenant, chance: Random, teams: int, repos: int) -> None:
    org, people = tenant.org, list(tenant.org.members)
    for number in range(teams):
        name = _TEAMS[number % len(_TEAMS)] + (f" {number}" if number >= len(_TEAMS) else "")
        team = Team(2_001 + number, name, name.lower().replace(" ", "-"), parent=2_001 if number == 1 else 0)
        for i, one in enumerate(chance.sample(people, min(len(people), 3 + len(people) // (teams + 1)))):
            team.people[one] = "maintainer" if i == 0 else "member"
        for _ in range(min(repos, 5)):
            team.repos[500_000_001 + chance.randrange(repos)] = chance.choice(("read", "write", "admin"))
        org.teams[team.id] = team


def _roles(tenant: GitHubTenant) -> None:
    org, stamp = tenant.org, tenant.org.created
    people, teams = list(org.members), list(org.teams)
    told = (
        Role(
            138, "security_manager", "Manages security", ("read_code_scanning",), "read", "Predefined", stamp
        ),
        Role(8031, "Auditor", "Reads the audit log", ("read_audit_logs",), "", created=stamp),
        Role(
            8032, "Role Manager", "Manages roles", ("write_organization_custom_org_role",), "", created=stamp
        ),
    )
    told[0].teams.update(teams[1:2])
    told[1].users.update(people[-1:])
    told[1].teams.update(teams[:1])
    org.roles = {one.id: one for one in told}
    own = Role(9001, "Security Engineer", "Keeps the pipeline", ("delete_alerts_code_scanning",), "maintain")
    own.created = stamp
    org.repository_roles = {own.id: own}


def _apps(tenant: GitHubTenant) -> None:
    org, app = tenant.org, tenant.access.app
    for number, (slug, permissions) in enumerate(_APPS):
        chosen, made = "all" if number else "selected", org.created + number * DAY
        one = Installation(25_381 + number, 2_218 + number, slug, dict(permissions), ["push"], chosen, made)
        org.installations[one.id] = one
    own = Installation(
        31_001, app.id, app.slug, dict(app.permissions), list(app.events), "all", tenant.clock.now() - DAY
    )
    org.installations[own.id] = own


def _tokens(tenant: GitHubTenant, chance: Random) -> None:
    org, now = tenant.org, tenant.clock.now()
    people = [org.users[one] for one in org.members]
    for number, one in enumerate(people[:200]):
        if org.saml and number % 2 == 0:
            org.credentials[161_195 + number] = credential(one, 161_195 + number, now, chance)
        if number % 3 == 0:
            org.grants[25_400 + number] = grant(tenant, one, 25_400 + number, now, chance)
    waiting = grant(tenant, people[1], 27_001, now, chance)
    waiting["created_at"] = waiting.pop("access_granted_at")
    org.requests[27_001] = {"reason": "For the nightly report", **waiting}


def credential(one: User, number: int, now: float, chance: Random) -> Json:
    """A credential that a member authorised for single sign-on."""
    shown: Json = {
        "login": one.login,
        "credential_id": number,
        "credential_type": chance.choice(("personal access token", "OAuth app token", "SSH key")),
        "credential_authorized_at": shapes.moment(now - chance.random() * 90 * DAY),
        "credential_accessed_at": shapes.moment(now - chance.random() * DAY),
        "authorized_credential_id": number + 12_000_000,
    }
    if shown["credential_type"] == "SSH key":
        return shown | {
            "fingerprint": f"{chance.getrandbits(64):016x}",
            "authorized_credential_title": "laptop",
        }
    return shown | {
        "token_last_eight": f"{chance.getrandbits(32):08x}",
        "scopes": chance.choice((["repo"], ["repo", "read:org"], ["admin:org", "repo"])),
        "authorized_credential_expires_at": shapes.moment(now + 30 * DAY),
    }


def grant(tenant: GitHubTenant, one: User, number: int, now: float, chance: Random) -> Json:
    """A fine-grained token's access to the organisation."""
    org = tenant.org
    used = shapes.moment(now - chance.random() * 20 * DAY) if chance.random() < 0.8 else None
    return {
        "id": number,
        "owner": shapes.account("https://api.github.com", one.login, one.id),
        "repository_selection": "all",
        "repositories_url": f"https://api.github.com/organizations/{org.id}/personal-access-tokens/{number}/repositories",
        "permissions": {"organization": {"members": "read"}, "repository": {"metadata": "read"}},
        "access_granted_at": shapes.moment(now - chance.random() * 60 * DAY),
        "token_id": 98_000 + number,
        "token_name": f"token of {one.login}",
        "token_expired": False,
        "token_expires_at": shapes.moment(now + 60 * DAY),
        "token_last_used_at": used,
    }


def history(tenant: GitHubTenant, chance: Random, events: int) -> None:
    """Log entries of the last six days: sign-ins and git events, long visible."""
    people = [tenant.org.users[one] for one in list(tenant.org.members)[:500]]
    for i in range(events):
        one, ago = people[chance.randrange(len(people))], (events - i) * 6 * DAY / max(1, events) + 600
        if i % 4:
            tenant.happen(
                "org.sso_response",
                one.login,
                operation="authentication",
                ago=ago,
                late=0.0,
                **tenant.about(one),
            )
            continue
        ids = tenant.org.estate.ids()
        repo = tenant.org.estate.get(chance.choice(ids)) if ids else None
        if repo is not None:
            clone(tenant, one, repo.id, ago=ago, late=0.0)


def clone(
    tenant: GitHubTenant,
    one: User,
    number: int,
    action: str = "git.clone",
    ago: float = 0.0,
    late: float | None = None,
) -> None:
    """A git event: it has no created_at, and names the repository in other members."""
    repo = tenant.org.estate.get(number)
    if repo is None:
        return
    tenant.happen(
        action,
        one.login,
        git=True,
        ago=ago,
        late=late,
        repository=f"{tenant.org.login}/{repo.name}",
        repository_public=repo.visibility == "public",
        transport_protocol=1,
        transport_protocol_name="http",
        user="",
    )


def connect(tenant: GitHubTenant) -> dict[str, Json]:
    """What an admin enters to connect by the App."""
    app = tenant.access.app
    own = next(one.id for one in tenant.org.installations.values() if one.app_id == app.id)
    return {
        "organization": tenant.org.login,
        "enterprise": "",
        "app_id": str(app.id),
        "private_key": app.private,
        "installation_id": str(own),
    }


def owner_token(tenant: GitHubTenant, *scopes: str) -> str:
    """A classic token of the owner; without arguments with all scopes that are ever needed."""
    held = scopes or ("admin:org", "admin:org_hook", "admin:enterprise", "repo", "user")
    return tenant.access.person(OWNER, FIRST_USER, *held)


__all__ = ["PERMISSIONS", "clone", "connect", "history", "owner_token", "person", "seed"]

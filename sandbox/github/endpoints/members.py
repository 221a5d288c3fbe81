"""The organisation and its members."""

import uuid

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, Refused, invalid, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.paging import paged
from sandbox.github.state import User
from sandbox.github.tenant import GitHubTenant

READ, WRITE = "members=read", "members=write"
ORG, ADMIN = ("read:org",), ("admin:org",)


@route("GET", "/orgs/{org}", scopes=())
def show_org(tenant: GitHubTenant, call: Call) -> Answer:
    """The organisation; owners' tokens and Apps that administrate see plan and two-factor rule."""
    org, caller = tenant.org, call.caller
    body = full(tenant, call)
    if "admin:org" in caller.scopes or "organization_administration" in caller.permissions:
        seats = len(org.members) + len(org.outsiders)
        body |= {
            "total_private_repos": org.estate.count,
            "owned_private_repos": org.estate.count,
            "default_repository_permission": "read",
            "two_factor_requirement_enabled": False,
            "members_can_create_repositories": True,
            "plan": {
                "name": "enterprise", "space": 976_562_499, "private_repos": 999_999,
                "filled_seats": seats, "seats": seats + 10,
            },
        }  # fmt: skip
    return Answer(body)


def full(tenant: GitHubTenant, call: Call) -> Json:
    """The organisation as anybody who may see it does."""
    org = tenant.org
    return shapes.organization(call.base, org) | {
        "name": org.login.title(),
        "blog": "",
        "is_verified": True,
        "has_organization_projects": True,
        "has_repository_projects": True,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "html_url": f"{shapes.WEB}/{org.login}",
        "created_at": shapes.moment(org.created),
        "updated_at": shapes.moment(org.created),
        "archived_at": None,
        "type": "Organization",
    }


@route("GET", "/orgs/{org}/members", permission=READ, scopes=ORG, query=(*PAGES, "role", "filter"))
def list_members(tenant: GitHubTenant, call: Call) -> Answer:
    """Members by role; the two-factor filters are for owners."""
    org = tenant.org
    role = call.choice("role", "all", ("all", "admin", "member"))
    chosen = [one for one, held in org.members.items() if role in {"all", held}]
    chosen = two_factor(tenant, call, chosen)
    return paged(
        call,
        chosen,
        lambda one: shapes.user(call.base, org.users[one]),
        canonical=f"/organizations/{org.id}/members",
    )


def two_factor(tenant: GitHubTenant, call: Call, people: list[int]) -> list[int]:
    """Keep who the filter asks for."""
    wanted = call.choice("filter", "all", ("all", "2fa_disabled", "2fa_insecure"))
    if wanted == "all":
        return people
    if wanted == "2fa_insecure":
        return []
    return [one for one in people if not tenant.org.users[one].two_factor]


@route("GET", "/orgs/{org}/members/{username}", permission=READ, scopes=ORG)
def is_member(tenant: GitHubTenant, call: Call) -> Answer:
    """204 for a member, else 404."""
    _member(tenant, call)
    return Answer(status=204)


@route("GET", "/orgs/{org}/memberships/{username}", permission=READ, scopes=ORG)
def show_membership(tenant: GitHubTenant, call: Call) -> Answer:
    """Role and state; pending for who is invited."""
    org = tenant.org
    one = org.user(call.params["username"])
    if one is None:
        raise missing()
    if one.id in org.members:
        return Answer(membership(tenant, call.base, one, org.members[one.id], "active"))
    if any(invited["login"] == one.login for invited in org.invitations.values()):
        return Answer(membership(tenant, call.base, one, "member", "pending"))
    raise missing()


@route("GET", "/user/memberships/orgs/{org}", only=("oauth",), scopes=ORG)
def own_membership(tenant: GitHubTenant, call: Call) -> Answer:
    """The same of who asks."""
    one = tenant.org.users.get(call.caller.id)
    if one is None or one.id not in tenant.org.members:
        raise missing()
    return Answer(membership(tenant, call.base, one, tenant.org.members[one.id], "active"))


@route("PUT", "/orgs/{org}/memberships/{username}", permission=WRITE, scopes=ADMIN)
def set_membership(tenant: GitHubTenant, call: Call) -> Answer:
    """Change a member's role, or invite who is none; the invitation waits for its acceptance."""
    org, role = tenant.org, call.word("role", "member")
    one = org.user(call.params["username"])
    if one is None:
        raise missing()
    if role not in {"admin", "member"}:
        raise invalid("OrganizationMembership", "role")
    if one.id in org.blocked:
        raise invalid("OrganizationMembership", "user", "custom", "User is blocked by the organization")
    if one.id in org.members:
        _keep_an_owner(tenant, one, role)
        if org.members[one.id] != role:
            org.members[one.id] = role
            tenant.happen("org.update_member", call.caller.login, permission=role, **tenant.about(one))
        return Answer(membership(tenant, call.base, one, role, "active"))
    invite(tenant, call, one, role)
    return Answer(membership(tenant, call.base, one, role, "pending"))


def invite(tenant: GitHubTenant, call: Call, one: User, role: str) -> Json:
    """Write an invitation."""
    org = tenant.org
    number = 7_000 + next(tenant.numbers)
    org.invitations[number] = {
        "id": number,
        "login": one.login,
        "node_id": shapes.node("OrganizationInvitation", number),
        "email": None,
        "role": "admin" if role == "admin" else "direct_member",
        "created_at": shapes.moment(tenant.clock.now()),
        "failed_at": None,
        "failed_reason": None,
        "inviter": shapes.user(call.base, tenant.actor(call.caller.login)),
        "team_count": 0,
        "invitation_teams_url": f"{call.base}/organizations/{org.id}/invitations/{number}/teams",
        "invitation_source": "member",
    }
    sent = {"invitation": org.invitations[number], "user": shapes.user(call.base, one)}
    tenant.happen(
        "org.invite_member",
        call.caller.login,
        operation="create",
        hook=("organization", "member_invited", sent),
        **tenant.about(one),
    )
    return org.invitations[number]


@route("DELETE", "/orgs/{org}/memberships/{username}", permission=WRITE, scopes=ADMIN)
@route("DELETE", "/orgs/{org}/members/{username}", permission=WRITE, scopes=ADMIN)
def remove_member(tenant: GitHubTenant, call: Call) -> Answer:
    """Take a member out of the organisation, with teams; or take the invitation back."""
    org, one = tenant.org, tenant.org.user(call.params["username"])
    if one is None:
        raise missing()
    invited = [number for number, sent in org.invitations.items() if sent["login"] == one.login]
    for number in invited:
        del org.invitations[number]
        tenant.happen("org.cancel_invitation", call.caller.login, operation="remove", **tenant.about(one))
    if one.id in org.members:
        _keep_an_owner(tenant, one, "")
        leave(tenant, one, call.caller.login)
    elif not invited:
        raise missing()
    return Answer(status=204)


def leave(tenant: GitHubTenant, one: User, actor: str, reason: str = "") -> None:
    """End a membership and all that hangs on it, with the log entry and the webhook."""
    org = tenant.org
    role = org.members.pop(one.id)
    for team in org.teams.values():
        team.people.pop(one.id, None)
    for held in org.roles.values():
        held.users.discard(one.id)
    gone = membership(tenant, tenant.url, one, role, "active")
    fields: Json = {"reason": reason} if reason else {}
    tenant.happen(
        "org.remove_member",
        actor,
        operation="remove",
        hook=("organization", "member_removed", {"membership": gone}),
        **tenant.about(one),
        **fields,
    )


def join(tenant: GitHubTenant, one: User, actor: str, role: str = "member") -> None:
    """Make a user a member."""
    org = tenant.org
    org.add(one)
    org.members[one.id] = role
    org.outsiders.pop(one.id, None)
    for number in [n for n, sent in org.invitations.items() if sent["login"] == one.login]:
        del org.invitations[number]
    one.guid = one.guid or str(uuid.UUID(int=one.id))
    shown = membership(tenant, tenant.url, one, role, "active")
    tenant.happen(
        "org.add_member",
        actor,
        operation="create",
        hook=("organization", "member_added", {"membership": shown}),
        permission="read",
        **tenant.about(one),
    )


def membership(tenant: GitHubTenant, base: str, one: User, role: str, state: str) -> Json:
    """A membership as it is shown."""
    org = tenant.org
    return {
        "url": f"{base}/orgs/{org.login}/memberships/{one.login}",
        "state": state,
        "role": role,
        "direct_membership": True,
        "enterprise_teams_providing_indirect_membership": [],
        "organization_url": f"{base}/orgs/{org.login}",
        "organization": shapes.organization(base, org),
        "user": shapes.user(base, one),
    }


def _member(tenant: GitHubTenant, call: Call) -> User:
    one = tenant.org.user(call.params["username"])
    if one is None or one.id not in tenant.org.members:
        raise missing()
    return one


def _keep_an_owner(tenant: GitHubTenant, one: User, role: str) -> None:
    if role != "admin" and tenant.org.admins() == [one.id]:
        raise Refused(403, "You can't remove or demote the last owner of the organization.")

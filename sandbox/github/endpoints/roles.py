"""Organisation roles, who has them, and custom repository roles."""

from sandbox.github import shapes
from sandbox.github.answers import Answer, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.paging import paged
from sandbox.github.state import Role
from sandbox.github.tenant import GitHubTenant

READ, ADMIN = "organization_custom_org_roles=read", ("admin:org",)


@route("GET", "/orgs/{org}/organization-roles", permission=READ, scopes=ADMIN)
def list_roles(tenant: GitHubTenant, call: Call) -> Answer:
    """All roles, predefined and own; not paged."""
    roles = [shapes.role(call.base, tenant.org, one) for one in tenant.org.roles.values()]
    return Answer({"total_count": len(roles), "roles": roles})


@route("GET", "/orgs/{org}/organization-roles/{role_id}", permission=READ, scopes=ADMIN)
def show_role(tenant: GitHubTenant, call: Call) -> Answer:
    """One role."""
    return Answer(shapes.role(call.base, tenant.org, _role(tenant, call)))


@route(
    "GET",
    "/orgs/{org}/organization-roles/{role_id}/users",
    permission="members=read",
    scopes=ADMIN,
    query=PAGES,
)
def holders(tenant: GitHubTenant, call: Call) -> Answer:
    """Users with a role, directly or through a team."""
    org, role = tenant.org, _role(tenant, call)
    through = {one: team for team in role.teams if team in org.teams for one in org.teams[team].people}
    people = sorted(role.users | set(through))

    def how(one: int) -> str:
        if one in role.users:
            return "mixed" if one in through else "direct"
        return "indirect"

    return paged(
        call,
        people,
        lambda one: {
            **shapes.user(call.base, org.users[one]),
            "assignment": how(one),
            "inherited_from": [shapes.team(call.base, org, org.teams[through[one]])]
            if one in through
            else [],
        },
        canonical=f"/organizations/{org.id}/organization-roles/{role.id}/users",
    )


@route(
    "GET",
    "/orgs/{org}/organization-roles/{role_id}/teams",
    permission="members=read",
    scopes=ADMIN,
    query=PAGES,
)
def holding_teams(tenant: GitHubTenant, call: Call) -> Answer:
    """Teams with a role."""
    org, role = tenant.org, _role(tenant, call)
    return paged(
        call,
        sorted(role.teams & set(org.teams)),
        lambda one: {**shapes.team(call.base, org, org.teams[one]), "assignment": "direct"},
        canonical=f"/organizations/{org.id}/organization-roles/{role.id}/teams",
    )


@route(
    "GET", "/orgs/{org}/custom-repository-roles", permission="organization_custom_roles=read", scopes=ADMIN
)
def repository_roles(tenant: GitHubTenant, call: Call) -> Answer:
    """Repository roles the organisation made itself; not paged."""
    roles = [
        shapes.role(call.base, tenant.org, one, repositories=True)
        for one in tenant.org.repository_roles.values()
    ]
    return Answer({"total_count": len(roles), "custom_roles": roles})


def _role(tenant: GitHubTenant, call: Call) -> Role:
    role = tenant.org.roles.get(int(call.params["role_id"]))
    if role is None:
        raise missing()
    return role

"""Who is not a member: outside collaborators, invited people, blocked users."""

from sandbox.github import shapes
from sandbox.github.answers import Answer, Refused, invalid, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.endpoints.members import leave, two_factor
from sandbox.github.paging import paged
from sandbox.github.state import User
from sandbox.github.tenant import GitHubTenant

ADMIN = ("admin:org",)


@route(
    "GET",
    "/orgs/{org}/outside_collaborators",
    permission="members=read",
    scopes=("read:org",),
    query=(*PAGES, "filter"),
)
def list_outsiders(tenant: GitHubTenant, call: Call) -> Answer:
    """People with access to repositories who are not members."""
    org = tenant.org
    return paged(
        call,
        two_factor(tenant, call, list(org.outsiders)),
        lambda one: shapes.user(call.base, org.users[one]),
        canonical=f"/organizations/{org.id}/outside_collaborators",
    )


@route("PUT", "/orgs/{org}/outside_collaborators/{username}", permission="members=write", scopes=ADMIN)
def demote(tenant: GitHubTenant, call: Call) -> Answer:
    """Turn a member into an outside collaborator, at once or as a job."""
    org, one = tenant.org, _known(tenant, call)
    if one.id not in org.members:
        raise Refused(403, f"{one.login} is not a member of the {org.login} organization.")
    if org.admins() == [one.id]:
        raise Refused(403, "Cannot convert the last owner to an outside collaborator")
    actor = call.caller.login

    def job() -> None:
        if one.id in org.members:
            org.outsiders[one.id] = None
            leave(tenant, one, actor, "converted to outside collaborator")

    if call.given().get("async") is True:
        tenant.later(job)
        return Answer({}, 202)
    job()
    return Answer(status=204)


@route("DELETE", "/orgs/{org}/outside_collaborators/{username}", permission="members=write", scopes=ADMIN)
def drop_outsider(tenant: GitHubTenant, call: Call) -> Answer:
    """Take an outside collaborator off all repositories; members are not removed this way."""
    org, one = tenant.org, _known(tenant, call)
    if one.id in org.members:
        raise Refused(
            422,
            "You cannot specify an organization member to remove as an outside collaborator.",
        )
    if one.id not in org.outsiders:
        raise missing()
    del org.outsiders[one.id]
    org.estate.outsiders = tuple(org.outsiders)
    for people in org.estate.direct.values():
        people.pop(one.id, None)
    org.estate.gone.add(one.id)
    tenant.happen(
        "org.remove_outside_collaborator", call.caller.login, operation="remove", **tenant.about(one)
    )
    return Answer(status=204)


@route(
    "GET",
    "/orgs/{org}/invitations",
    permission="members=read",
    scopes=ADMIN,
    query=(*PAGES, "role", "invitation_source"),
)
def list_invitations(tenant: GitHubTenant, call: Call) -> Answer:
    """Invitations that wait."""
    role = call.choice("role", "all", ("all", "admin", "direct_member", "billing_manager", "hiring_manager"))
    source = call.choice("invitation_source", "all", ("all", "member", "scim"))
    waiting = [
        one
        for one in tenant.org.invitations.values()
        if role in {"all", one["role"]} and source in {"all", one["invitation_source"]}
    ]
    return paged(call, waiting, lambda one: one)


@route("GET", "/orgs/{org}/blocks", permission="organization_user_blocking=read", scopes=ADMIN, query=PAGES)
def list_blocked(tenant: GitHubTenant, call: Call) -> Answer:
    """Blocked users."""
    org = tenant.org
    return paged(call, list(org.blocked), lambda one: shapes.user(call.base, org.users[one]))


@route("GET", "/orgs/{org}/blocks/{username}", permission="organization_user_blocking=read", scopes=ADMIN)
def is_blocked(tenant: GitHubTenant, call: Call) -> Answer:
    """204 for a blocked user, else 404."""
    if _known(tenant, call).id not in tenant.org.blocked:
        raise missing()
    return Answer(status=204)


@route("PUT", "/orgs/{org}/blocks/{username}", permission="organization_user_blocking=write", scopes=ADMIN)
def block(tenant: GitHubTenant, call: Call) -> Answer:
    """Block a user; an owner or an already blocked user is refused or left as it is."""
    org, one = tenant.org, _known(tenant, call)
    if org.members.get(one.id) == "admin":
        raise invalid("Block", "user", "custom", "You can't block an owner of the organization")
    if one.id not in org.blocked:
        if one.id in org.members:
            leave(tenant, one, call.caller.login, "blocked")
        org.blocked[one.id] = None
        _told(tenant, call, one, "blocked", "block")
    return Answer(status=204)


@route("DELETE", "/orgs/{org}/blocks/{username}", permission="organization_user_blocking=write", scopes=ADMIN)
def unblock(tenant: GitHubTenant, call: Call) -> Answer:
    """Let a user in again."""
    one = _known(tenant, call)
    if tenant.org.blocked.pop(one.id, 0) is None:
        _told(tenant, call, one, "unblocked", "unblock")
    return Answer(status=204)


def _told(tenant: GitHubTenant, call: Call, one: User, done: str, verb: str) -> None:
    tenant.happen(
        f"org.{verb}_user",
        call.caller.login,
        hook=("org_block", done, {"blocked_user": shapes.user(call.base, one)}),
        blocked_user=one.login,
    )


def _known(tenant: GitHubTenant, call: Call) -> User:
    one = tenant.org.user(call.params["username"])
    if one is None:
        raise missing()
    return one

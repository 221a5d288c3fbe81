"""Teams, who is in them, and what they may do."""

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, Refused, invalid, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.endpoints.members import full
from sandbox.github.endpoints.repositories import reaching
from sandbox.github.paging import paged
from sandbox.github.state import Team, User
from sandbox.github.tenant import GitHubTenant

READ, ORG = "members=read", ("read:org",)
WRITE, ADMIN = "members=write", ("write:org", "admin:org")


@route("GET", "/orgs/{org}/teams", permission=READ, scopes=ORG, query=(*PAGES, "team_type"))
def list_teams(tenant: GitHubTenant, call: Call) -> Answer:
    """Teams, parents told in each."""
    org = tenant.org
    kind = call.choice("team_type", "all", ("all", "enterprise", "organization"))
    teams = [] if kind == "enterprise" else list(org.teams.values())
    return paged(
        call, teams, lambda one: shapes.team(call.base, org, one), canonical=f"/organizations/{org.id}/teams"
    )


@route("GET", "/orgs/{org}/teams/{team_slug}", permission=READ, scopes=ORG)
def show_team(tenant: GitHubTenant, call: Call) -> Answer:
    """One team with its counts."""
    org, team = tenant.org, _team(tenant, call)
    stamp = shapes.moment(org.created)
    return Answer(
        shapes.team(call.base, org, team)
        | {
            "members_count": len(team.people),
            "repos_count": len(team.repos),
            "created_at": stamp,
            "updated_at": stamp,
            "organization": full(tenant, call),
        }
    )


@route("GET", "/orgs/{org}/teams/{team_slug}/members", permission=READ, scopes=ORG, query=(*PAGES, "role"))
def list_people(tenant: GitHubTenant, call: Call) -> Answer:
    """Members with their role, those of child teams too (inherited)."""
    org, team = tenant.org, _team(tenant, call)
    role = call.choice("role", "all", ("all", "member", "maintainer"))
    people = {one: (held, False) for one, held in team.people.items()}
    for child in org.teams.values():
        if child.parent == team.id:
            people = dict.fromkeys(child.people, ("member", True)) | people
    chosen = [(one, *told) for one, told in people.items() if role in {"all", told[0]}]
    return paged(
        call,
        chosen,
        lambda one: {**shapes.user(call.base, org.users[one[0]]), "role": one[1], "inherited": one[2]},
        canonical=f"/organizations/{org.id}/team/{team.id}/members",
    )


@route("GET", "/orgs/{org}/teams/{team_slug}/repos", permission=READ, scopes=ORG, query=PAGES)
def list_repos(tenant: GitHubTenant, call: Call) -> Answer:
    """Repositories with the team's role on each."""
    org, team = tenant.org, _team(tenant, call)

    def show(number: int) -> Json:
        repo = org.estate.get(number)
        if repo is None:
            return None
        return shapes.repository(call.base, org, repo) | reaching(team.repos[number])

    held = [number for number in team.repos if org.estate.get(number)]
    return paged(call, held, show, canonical=f"/organizations/{org.id}/team/{team.id}/repos")


@route("GET", "/orgs/{org}/teams/{team_slug}/memberships/{username}", permission=READ, scopes=ORG)
def show_place(tenant: GitHubTenant, call: Call) -> Answer:
    """A user's role in a team."""
    team, one = _team(tenant, call), _user(tenant, call)
    if one.id not in team.people:
        raise missing()
    return Answer(_place(call, team, one))


@route("PUT", "/orgs/{org}/teams/{team_slug}/memberships/{username}", permission=WRITE, scopes=ADMIN)
def enter(tenant: GitHubTenant, call: Call) -> Answer:
    """Put a member into a team, or change the role there."""
    team, one = _team(tenant, call), _user(tenant, call)
    role = call.word("role", "member")
    if role not in {"member", "maintainer"}:
        raise invalid("TeamMembership", "role")
    if one.id not in tenant.org.members:
        raise Refused(422, "Cannot add a user who is not a member of the organization.")
    add_to_team(tenant, team, one, call.caller.login, role)
    return Answer(_place(call, team, one))


@route("DELETE", "/orgs/{org}/teams/{team_slug}/memberships/{username}", permission=WRITE, scopes=ADMIN)
def leave_team(tenant: GitHubTenant, call: Call) -> Answer:
    """Take somebody out of a team."""
    team, one = _team(tenant, call), _user(tenant, call)
    if one.id not in team.people:
        raise missing()
    drop_from_team(tenant, team, one, call.caller.login)
    return Answer(status=204)


def add_to_team(tenant: GitHubTenant, team: Team, one: User, actor: str, role: str = "member") -> None:
    """Put somebody into a team, with log entry and webhook."""
    fresh = one.id not in team.people
    team.people[one.id] = role
    _told(tenant, team, one, actor, "added", "team.add_member" if fresh else "team.update_member")


def drop_from_team(tenant: GitHubTenant, team: Team, one: User, actor: str) -> None:
    """Take somebody out of a team, with log entry and webhook."""
    del team.people[one.id]
    _told(tenant, team, one, actor, "removed", "team.remove_member")


def _told(tenant: GitHubTenant, team: Team, one: User, actor: str, verb: str, action: str) -> None:
    base, org = tenant.url, tenant.org
    sent = {"scope": "team", "member": shapes.user(base, one), "team": shapes.team(base, org, team)}
    tenant.happen(
        action,
        actor,
        operation="create" if verb == "added" else "remove",
        hook=("membership", verb, sent),
        team=f"{org.login}/{team.slug}",
        team_id=team.id,
        **tenant.about(one),
    )


def _place(call: Call, team: Team, one: User) -> Json:
    url = f"{call.base}/teams/{team.id}/memberships/{one.login}"
    return {"url": url, "role": team.people[one.id], "state": "active"}


def _team(tenant: GitHubTenant, call: Call) -> Team:
    team = tenant.org.team(call.params["team_slug"])
    if team is None:
        raise missing()
    return team


def _user(tenant: GitHubTenant, call: Call) -> User:
    one = tenant.org.user(call.params["username"])
    if one is None:
        raise missing()
    return one

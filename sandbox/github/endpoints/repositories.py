"""Repositories and their collaborators."""

from collections.abc import Callable

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, Refused, invalid, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.estate import ROLES, Repository
from sandbox.github.paging import paged
from sandbox.github.state import User
from sandbox.github.tenant import GitHubTenant

META, ORG = "metadata=read", ("repo", "read:org")
ADMIN, REPO = "administration=write", ("repo",)
PERMISSIONS = ("pull", "triage", "push", "maintain", "admin")


def reaching(role: str) -> Json:
    """What a role permits: the flags and the role's name."""
    level = ROLES.index(role) if role in ROLES else 0
    return {
        "permissions": {name: PERMISSIONS.index(name) <= level for name in PERMISSIONS},
        "role_name": role,
    }


@route("GET", "/orgs/{org}/repos", permission=META, query=(*PAGES, "type", "sort", "direction"))
def list_repositories(tenant: GitHubTenant, call: Call) -> Answer:
    """Repositories; newest first unless asked otherwise."""
    estate = tenant.org.estate
    kind = call.choice("type", "all", ("all", "public", "private", "forks", "sources", "member", "internal"))
    sort = call.choice("sort", "created", ("created", "updated", "pushed", "full_name"))
    down = call.choice("direction", "asc" if sort == "full_name" else "desc", ("asc", "desc")) == "desc"
    ids = estate.ids()
    if kind != "all" or sort != "created":
        repos = [repo for one in ids if (repo := estate.get(one)) and _is(repo, kind)]
        key: Callable[[Repository], tuple[str | float, int]] = (
            (lambda r: (r.name, r.id)) if sort == "full_name" else (lambda r: (r.pushed, r.id))
        )
        ids = [repo.id for repo in (repos if sort == "created" else sorted(repos, key=key))]
    return paged(
        call,
        ids[::-1] if down else ids,
        lambda one: shapes.repository(call.base, tenant.org, _existing(tenant, one)),
        canonical=f"/organizations/{tenant.org.id}/repos",
    )


def _is(repo: Repository, kind: str) -> bool:
    match kind:
        case "forks":
            return repo.fork
        case "sources":
            return not repo.fork
        case "all" | "member":
            return True
        case _:
            return repo.visibility == kind


@route("GET", "/repos/{owner}/{repo}", permission=META)
def show_repository(tenant: GitHubTenant, call: Call) -> Answer:
    """One repository; a former name redirects to the id."""
    repo = repository(tenant, call)
    owner = shapes.account(call.base, tenant.org.login, tenant.org.id, "Organization")
    return Answer(_full(tenant, call, repo) | {"organization": owner})


def _full(tenant: GitHubTenant, call: Call, repo: Repository) -> Json:
    counts = {"network_count": 0, "subscribers_count": 0}
    return shapes.repository(call.base, tenant.org, repo) | counts


@route("PATCH", "/repos/{owner}/{repo}", permission=ADMIN, scopes=REPO)
def change_repository(tenant: GitHubTenant, call: Call) -> Answer:
    """Change visibility."""
    repo, asked = repository(tenant, call), call.given()
    wanted = call.word("visibility", "private" if asked.get("private") is True else repo.visibility)
    if wanted not in {"public", "private", "internal"}:
        raise invalid("Repository", "visibility")
    if repo.archived and wanted != repo.visibility:
        raise Refused(403, "Repository was archived so is read-only.")
    if wanted != repo.visibility:
        repo = expose(tenant, repo, wanted, call.caller.login)
    return Answer(_full(tenant, call, repo))


def expose(tenant: GitHubTenant, repo: Repository, visibility: str, actor: str) -> Repository:
    """Give a repository another visibility, with log entry and webhook."""
    before = repo.visibility
    repo = tenant.org.estate.change(repo, visibility=visibility)
    shown = {"repository": shapes.repository(tenant.url, tenant.org, repo)}
    event = "publicized" if visibility == "public" else "privatized"
    tenant.happen(
        "repo.access",
        actor,
        hook=("repository", event, shown),
        previous_visibility=before,
        **tenant.on(repo),
    )
    if visibility == "public":
        tenant.send("public", "", shown, tenant.actor(actor))
    return repo


@route(
    "GET",
    "/repos/{owner}/{repo}/collaborators",
    permission=META,
    scopes=REPO,
    query=(*PAGES, "affiliation", "permission"),
)
def list_collaborators(tenant: GitHubTenant, call: Call) -> Answer:
    """Who can reach a repository; role_name is the highest of all ways."""
    org, repo = tenant.org, repository(tenant, call)
    reach = call.choice("affiliation", "all", ("all", "direct", "outside"))
    least = call.choice("permission", "pull", PERMISSIONS)
    people = dict(org.estate.collaborators(repo.id))
    if reach == "outside":
        people = {one: role for one, role in people.items() if one in org.outsiders}
    elif reach == "all":
        for one, role in org.members.items():
            own = "admin" if role == "admin" else people.get(one, "read")
            people[one] = max(own, people.get(one, "read"), key=_rank)
    chosen = [
        (one, role)
        for one, role in people.items()
        if one in org.users and _rank(role) >= PERMISSIONS.index(least)
    ]
    return paged(
        call,
        sorted(chosen),
        lambda one: {**shapes.user(call.base, org.users[one[0]]), **reaching(one[1])},
        canonical=f"/repositories/{repo.id}/collaborators",
    )


@route("PUT", "/repos/{owner}/{repo}/collaborators/{username}", permission=ADMIN, scopes=REPO)
def add_collaborator(tenant: GitHubTenant, call: Call) -> Answer:
    """Give a member access at once."""
    repo, one = repository(tenant, call), _user(tenant, call)
    asked = call.word("permission", "push")
    role = dict(zip(PERMISSIONS, ROLES, strict=True)).get(asked)
    if role is None:
        raise invalid("RepositoryInvitation", "permissions")
    admit(tenant, repo, one, role, call.caller.login)
    return Answer(status=204)


def admit(tenant: GitHubTenant, repo: Repository, one: User, role: str, actor: str) -> None:
    """Give somebody direct access, with log entry and webhook."""
    org = tenant.org
    org.estate.collaborators(repo.id)[one.id] = role
    if one.id not in org.members:
        org.outsiders[one.id] = None
    _told(tenant, repo, one, actor, "added", role)


@route("DELETE", "/repos/{owner}/{repo}/collaborators/{username}", permission=ADMIN, scopes=REPO)
def drop_collaborator(tenant: GitHubTenant, call: Call) -> Answer:
    """Take direct access away; who has none gets the same answer."""
    repo, one = repository(tenant, call), _user(tenant, call)
    if tenant.org.estate.collaborators(repo.id).pop(one.id, None):
        _told(tenant, repo, one, call.caller.login, "removed", "")
    return Answer(status=204)


@route(
    "GET",
    "/repos/{owner}/{repo}/invitations",
    permission=ADMIN.replace("write", "read"),
    scopes=REPO,
    query=PAGES,
)
def repository_invitations(tenant: GitHubTenant, call: Call) -> Answer:
    """Invitations to a repository; nobody waits for one here."""
    repository(tenant, call)
    return Answer([])


def _told(tenant: GitHubTenant, repo: Repository, one: User, actor: str, verb: str, role: str) -> None:
    sent: Json = {
        "member": shapes.user(tenant.url, one),
        "repository": shapes.repository(tenant.url, tenant.org, repo),
    }
    if role:
        sent["changes"] = {"permission": {"to": role}, "role_name": {"to": role}}
    tenant.happen(
        "repo.add_member" if verb == "added" else "repo.remove_member",
        actor,
        operation="create" if verb == "added" else "remove",
        hook=("member", verb, sent),
        **tenant.about(one),
        **tenant.on(repo),
    )


def repository(tenant: GitHubTenant, call: Call) -> Repository:
    """The repository of the path; 301 for a name it had before."""
    estate, name = tenant.org.estate, call.params["repo"]
    repo = estate.find(name)
    if repo is not None and repo.name.lower() == name.lower():
        return repo
    if name.lower() in estate.renamed:
        number = estate.renamed[name.lower()]
        rest = call.path.split("/", 4)[4:]
        where = "/".join([f"{call.base}/repositories/{number}", *rest])
        raise Refused(301, "Moved Permanently", {"Location": where}, url=where)
    raise missing()


def _existing(tenant: GitHubTenant, number: int) -> Repository:
    repo = tenant.org.estate.get(number)
    if repo is None:
        raise missing()
    return repo


def _rank(role: str) -> int:
    return ROLES.index(role) if role in ROLES else 0


def _user(tenant: GitHubTenant, call: Call) -> User:
    one = tenant.org.user(call.params["username"])
    if one is None:
        raise missing()
    return one

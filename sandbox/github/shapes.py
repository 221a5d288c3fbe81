"""The documented shapes of users, organisations, teams, repositories and installations.

Source: components.examples of GitHub's OpenAPI description, Enterprise Cloud flavour.
"""

import base64
from datetime import UTC, datetime

from sandbox.github.answers import Json
from sandbox.github.estate import Repository
from sandbox.github.state import Installation, Organization, Role, Team, User

WEB = "https://github.com"
_USER_LINKS = (
    ("followers", "/followers"),
    ("following", "/following{/other_user}"),
    ("gists", "/gists{/gist_id}"),
    ("starred", "/starred{/owner}{/repo}"),
    ("subscriptions", "/subscriptions"),
    ("organizations", "/orgs"),
    ("repos", "/repos"),
    ("events", "/events{/privacy}"),
    ("received_events", "/received_events"),
)
_REPO_LINKS = (
    ("archive", "/{archive_format}{/ref}"),
    ("assignees", "/assignees{/user}"),
    ("blobs", "/git/blobs{/sha}"),
    ("branches", "/branches{/branch}"),
    ("collaborators", "/collaborators{/collaborator}"),
    ("comments", "/comments{/number}"),
    ("commits", "/commits{/sha}"),
    ("compare", "/compare/{base}...{head}"),
    ("contents", "/contents/{+path}"),
    ("contributors", "/contributors"),
    ("deployments", "/deployments"),
    ("downloads", "/downloads"),
    ("events", "/events"),
    ("forks", "/forks"),
    ("git_commits", "/git/commits{/sha}"),
    ("git_refs", "/git/refs{/sha}"),
    ("git_tags", "/git/tags{/sha}"),
    ("hooks", "/hooks"),
    ("issue_comment", "/issues/comments{/number}"),
    ("issue_events", "/issues/events{/number}"),
    ("issues", "/issues{/number}"),
    ("keys", "/keys{/key_id}"),
    ("labels", "/labels{/name}"),
    ("languages", "/languages"),
    ("merges", "/merges"),
    ("milestones", "/milestones{/number}"),
    ("notifications", "/notifications{?since,all,participating}"),
    ("pulls", "/pulls{/number}"),
    ("releases", "/releases{/id}"),
    ("stargazers", "/stargazers"),
    ("statuses", "/statuses/{sha}"),
    ("subscribers", "/subscribers"),
    ("subscription", "/subscription"),
    ("tags", "/tags"),
    ("teams", "/teams"),
    ("trees", "/git/trees{/sha}"),
)


_REPO_REST: dict[str, Json] = {
    **dict.fromkeys(("homepage", "mirror_url", "license", "language")),
    **dict.fromkeys(("forks", "open_issues", "watchers", "size"), 0),
    **dict.fromkeys(("forks_count", "stargazers_count", "watchers_count", "open_issues_count"), 0),
    **dict.fromkeys(("has_issues", "has_projects", "has_wiki", "has_downloads", "allow_forking"), True),
    **dict.fromkeys(("has_pages", "has_discussions", "disabled", "is_template"), False),
    "web_commit_signoff_required": False,
}


def moment(seconds: float) -> str:
    """A time as most of the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node(kind: str, number: int) -> str:
    """A global node id."""
    return base64.b64encode(f"04:{kind}{number}".encode()).decode()


def account(base: str, login: str, number: int, kind: str = "User") -> Json:
    """The simple user; organisations and bots have the same shape."""
    url = f"{base}/users/{login}"
    return {
        "login": login,
        "id": number,
        "node_id": node(kind, number),
        "avatar_url": f"https://avatars.githubusercontent.com/u/{number}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{WEB}/{login}",
        **{f"{name}_url": url + path for name, path in _USER_LINKS},
        "type": kind,
        "site_admin": False,
    }


def user(base: str, one: User) -> Json:
    """A user as lists have it; no e-mail address."""
    return account(base, one.login, one.id, one.kind)


def organization(base: str, org: Organization) -> Json:
    """The simple organisation."""
    url = f"{base}/orgs/{org.login}"
    return {
        "login": org.login,
        "id": org.id,
        "node_id": node("Organization", org.id),
        "url": url,
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events",
        "hooks_url": f"{url}/hooks",
        "issues_url": f"{url}/issues",
        "members_url": f"{url}/members{{/member}}",
        "public_members_url": f"{url}/public_members{{/member}}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{org.id}?v=4",
        "description": None,
    }


def team(base: str, org: Organization, one: Team, *, parent: bool = True) -> Json:
    """A team with its parent."""
    url = f"{base}/organizations/{org.id}/team/{one.id}"
    shown: Json = {
        "id": one.id,
        "node_id": node("Team", one.id),
        "url": url,
        "html_url": f"{WEB}/orgs/{org.login}/teams/{one.slug}",
        "name": one.name,
        "slug": one.slug,
        "description": "",
        "privacy": one.privacy,
        "notification_setting": "notifications_enabled",
        "permission": "pull",
        "type": "organization",
        "organization_id": org.id,
        "members_url": f"{url}/members{{/member}}",
        "repositories_url": f"{url}/repos",
    }
    if parent:
        shown["parent"] = team(base, org, org.teams[one.parent], parent=False) if one.parent else None
    return shown


def repository(base: str, org: Organization, repo: Repository) -> Json:
    """A repository as lists have it."""
    full = f"{org.login}/{repo.name}"
    url = f"{base}/repos/{full}"
    return {
        "id": repo.id,
        "node_id": node("Repository", repo.id),
        "name": repo.name,
        "full_name": full,
        "private": repo.visibility != "public",
        "owner": account(base, org.login, org.id, "Organization"),
        "html_url": f"{WEB}/{full}",
        "description": None,
        "fork": repo.fork,
        "url": url,
        **{f"{name}_url": url + path for name, path in _REPO_LINKS},
        "git_url": f"git://github.com/{full}.git",
        "ssh_url": f"git@github.com:{full}.git",
        "clone_url": f"{WEB}/{full}.git",
        "svn_url": f"{WEB}/{full}",
        "created_at": moment(repo.created),
        "updated_at": moment(repo.pushed),
        "pushed_at": moment(repo.pushed),
        "default_branch": repo.default_branch,
        "archived": repo.archived,
        "visibility": repo.visibility,
        **_REPO_REST,
        "topics": [],
        "permissions": {"admin": False, "maintain": False, "push": False, "triage": False, "pull": True},
    }


def installation(base: str, org: Organization, one: Installation) -> Json:
    """An App's installation on the organisation."""
    return {
        "id": one.id,
        "client_id": f"Iv23li{one.app_id:014d}",
        "account": account(base, org.login, org.id, "Organization"),
        "repository_selection": one.selection,
        "access_tokens_url": f"{base}/app/installations/{one.id}/access_tokens",
        "repositories_url": f"{base}/installation/repositories",
        "html_url": f"{WEB}/organizations/{org.login}/settings/installations/{one.id}",
        "app_id": one.app_id,
        "app_slug": one.slug,
        "target_id": org.id,
        "target_type": "Organization",
        "permissions": one.permissions,
        "events": one.events,
        "created_at": moment(one.created),
        "updated_at": moment(one.suspended or one.created),
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": account(base, "acme-owner", 1) if one.suspended else None,
        "suspended_at": moment(one.suspended) if one.suspended else None,
    }


def role(base: str, org: Organization, one: Role, *, repositories: bool = False) -> Json:
    """An organisation role, or a custom repository role."""
    shown: Json = {
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "base_role": one.reach or None,
        "permissions": list(one.permissions),
        "organization": account(base, org.login, org.id, "Organization"),
        "created_at": moment(one.created),
        "updated_at": moment(one.created),
    }
    if not repositories:
        shown["source"] = one.source
        if one.source == "Predefined":
            shown["organization"] = None
    return shown

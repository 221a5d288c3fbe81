"""What an App does with its own signed token, and with the token of an installation."""

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, Refused, invalid, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.paging import paged
from sandbox.github.state import Installation
from sandbox.github.tenant import BOT, GitHubTenant


@route("GET", "/app", only=("app",))
def show_app(tenant: GitHubTenant, call: Call) -> Answer:
    """The App that asks."""
    app, org = tenant.access.app, tenant.org
    return Answer(
        {
            "id": app.id,
            "slug": app.slug,
            "client_id": app.client_id,
            "node_id": shapes.node("Integration", app.id),
            "owner": shapes.account(call.base, org.login, org.id, "Organization"),
            "name": "Sluice Connect",
            "description": "",
            "external_url": "https://example.com",
            "html_url": f"{shapes.WEB}/apps/{app.slug}",
            "created_at": shapes.moment(org.created),
            "updated_at": shapes.moment(org.created),
            "permissions": app.permissions,
            "events": app.events,
            "installations_count": len(_own(tenant)),
        }
    )


@route("GET", "/app/installations", only=("app",), query=(*PAGES, "since", "outdated"))
def list_own(tenant: GitHubTenant, call: Call) -> Answer:
    """Where the App is installed."""
    return paged(call, _own(tenant), lambda one: shapes.installation(call.base, tenant.org, one))


@route("GET", "/orgs/{org}/installation", only=("app",))
def find_own(tenant: GitHubTenant, call: Call) -> Answer:
    """The App's installation on an organisation."""
    own = _own(tenant)
    if not own:
        raise missing()
    return Answer(shapes.installation(call.base, tenant.org, own[0]))


@route("GET", "/app/installations/{installation_id}", only=("app",))
def show_own(tenant: GitHubTenant, call: Call) -> Answer:
    """One installation of the App."""
    return Answer(shapes.installation(call.base, tenant.org, _installation(tenant, call)))


@route("POST", "/app/installations/{installation_id}/access_tokens", only=("app",))
def mint(tenant: GitHubTenant, call: Call) -> Answer:
    """A token for an hour, with the installation's permissions or fewer."""
    one, asked = _installation(tenant, call), call.given()
    if one.suspended:
        raise Refused(403, "This installation has been suspended")
    if unknown := set(asked) - {"permissions", "repositories", "repository_ids"}:
        raise invalid("AccessToken", min(unknown), "unrecognized")
    wanted = asked.get("permissions") or {}
    if not isinstance(wanted, dict) or not all(isinstance(level, str) for level in wanted.values()):
        raise invalid("AccessToken", "permissions")
    chosen = asked.get("repositories") or asked.get("repository_ids") or []
    if not isinstance(chosen, list) or len(chosen) > 500:
        raise invalid("AccessToken", "repositories", "too_many")
    token, ends, granted = tenant.access.install(one, wanted, tenant.clock.now(), BOT, tenant.token_life)
    body: Json = {
        "token": token,
        "expires_at": shapes.moment(ends),
        "permissions": granted,
        "repository_selection": one.selection,
    }
    return Answer(body, 201)


@route("DELETE", "/installation/token", only=("installation",))
def drop_token(tenant: GitHubTenant, call: Call) -> Answer:
    """End the token that asks."""
    tenant.access.revoke(call.headers["Authorization"].partition(" ")[2])
    return Answer(status=204)


@route("GET", "/installation/repositories", only=("installation",), permission="metadata=read", query=PAGES)
def reachable(tenant: GitHubTenant, call: Call) -> Answer:
    """The repositories that the installation may see."""
    estate = tenant.org.estate

    def show(number: int) -> Json:
        repo = estate.get(number)
        return shapes.repository(call.base, tenant.org, repo) if repo else None

    return paged(call, estate.ids(), show, under="repositories")


@route("PUT", "/app/installations/{installation_id}/suspended", only=("app",))
def suspend(tenant: GitHubTenant, call: Call) -> Answer:
    """Stop an own installation: its tokens end at once."""
    one = _installation(tenant, call)
    one.suspended = tenant.clock.now()
    tenant.access.revoke_all(installation=one.id)
    _tell(tenant, call, one, "suspend")
    return Answer(status=204)


@route("DELETE", "/app/installations/{installation_id}/suspended", only=("app",))
def resume(tenant: GitHubTenant, call: Call) -> Answer:
    """Let an own installation work again."""
    one = _installation(tenant, call)
    one.suspended = 0.0
    _tell(tenant, call, one, "unsuspend")
    return Answer(status=204)


@route("DELETE", "/app/installations/{installation_id}", only=("app",))
def uninstall(tenant: GitHubTenant, call: Call) -> Answer:
    """Remove an own installation."""
    one = _installation(tenant, call)
    tenant.access.revoke_all(installation=one.id)
    _tell(tenant, call, one, "deleted", "integration_installation.destroy")
    del tenant.org.installations[one.id]
    return Answer(status=204)


def _tell(tenant: GitHubTenant, call: Call, one: Installation, verb: str, action: str = "") -> None:
    shown = shapes.installation(call.base, tenant.org, one)
    tenant.happen(
        action or f"integration_installation.{verb}",
        BOT,
        hook=("installation", verb, {"installation": shown}),
        integration=one.slug,
        installation_id=one.id,
    )


def _own(tenant: GitHubTenant) -> list[Installation]:
    return [one for one in tenant.org.installations.values() if one.app_id == tenant.access.app.id]


def _installation(tenant: GitHubTenant, call: Call) -> Installation:
    one = tenant.org.installations.get(int(call.params["installation_id"]))
    if one is None or one.app_id != tenant.access.app.id:
        raise missing()
    return one

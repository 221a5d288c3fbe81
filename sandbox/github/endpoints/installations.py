"""Apps installed on the organisation."""

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.paging import paged
from sandbox.github.state import Installation
from sandbox.github.tenant import GitHubTenant


@route(
    "GET",
    "/orgs/{org}/installations",
    permission="organization_administration=read",
    scopes=("read:org",),
    query=PAGES,
)
def list_installations(tenant: GitHubTenant, call: Call) -> Answer:
    """Everybody's Apps, suspended ones too."""
    org = tenant.org
    return paged(
        call,
        list(org.installations.values()),
        lambda one: shapes.installation(call.base, org, one),
        under="installations",
        canonical=f"/organizations/{org.id}/installations",
    )


@route(
    "GET",
    "/enterprises/{enterprise}/apps/organizations/{org}/installations",
    permission="no",
    only=("oauth",),
    scopes=("admin:enterprise",),
    query=PAGES,
)
def list_for_enterprise(tenant: GitHubTenant, call: Call) -> Answer:
    """The same for the enterprise's owners: a plain list of fewer members."""
    shown = (
        "id",
        "app_slug",
        "client_id",
        "repository_selection",
        "repositories_url",
        "permissions",
        "events",
    )

    def show(one: Installation) -> Json:
        told = shapes.installation(call.base, tenant.org, one)
        return {name: told[name] for name in (*shown, "created_at", "updated_at")}

    return paged(call, list(tenant.org.installations.values()), show)


@route(
    "DELETE",
    "/enterprises/{enterprise}/apps/organizations/{org}/installations/{installation_id}",
    permission="no",
    only=("oauth",),
    scopes=("admin:enterprise",),
)
def remove_installation(tenant: GitHubTenant, call: Call) -> Answer:
    """Uninstall any App, as an enterprise owner."""
    one = tenant.org.installations.pop(int(call.params["installation_id"]), None)
    if one is None:
        raise missing()
    tenant.access.revoke_all(installation=one.id)
    tenant.happen(
        "integration_installation.destroy",
        call.caller.login,
        operation="remove",
        integration=one.slug,
        installation_id=one.id,
    )
    return Answer(status=204)

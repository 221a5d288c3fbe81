"""Credentials that members authorised for SAML single sign-on; without SAML there is no such list."""

from sandbox.github.answers import Answer, Json, Refused, invalid, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.paging import paged
from sandbox.github.tenant import GitHubTenant

READ, WRITE = "organization_administration=read", "organization_administration=write"
KINDS = {
    "classic_pat": "personal access token",
    "fine_grained_pat": "fine-grained personal access token",
    "ssh_key": "SSH key",
    "oauth_app_token": "OAuth app token",
}


@route(
    "GET",
    "/orgs/{org}/credential-authorizations",
    permission=READ,
    scopes=("read:org",),
    query=(*PAGES, "login"),
)
def list_credentials(tenant: GitHubTenant, call: Call) -> Answer:
    """All of them, or one member's."""
    _saml(tenant)
    login = call.query.get("login", "").lower()
    held = [one for one in tenant.org.credentials.values() if login in {"", one["login"].lower()}]
    return paged(
        call, held, lambda one: one, canonical=f"/organizations/{tenant.org.id}/credential-authorizations"
    )


@route(
    "DELETE", "/orgs/{org}/credential-authorizations/{credential_id}", permission=WRITE, scopes=("admin:org",)
)
def revoke(tenant: GitHubTenant, call: Call) -> Answer:
    """Take one authorisation away at once."""
    _saml(tenant)
    one = tenant.org.credentials.get(int(call.params["credential_id"]))
    if one is None:
        raise missing()
    _end(tenant, one, call.caller.login)
    return Answer(status=204)


@route(
    "POST", "/orgs/{org}/credential-authorizations/{username}/revoke", permission=WRITE, scopes=("admin:org",)
)
@route(
    "POST",
    "/orgs/{org}/credential-authorizations/{username}/revoke-credential-type",
    permission=WRITE,
    scopes=("admin:org",),
)
def revoke_many(tenant: GitHubTenant, call: Call) -> Answer:
    """Take a member's authorisations away, all or of a kind: a job that runs later."""
    _saml(tenant)
    org, login, kind = tenant.org, call.params["username"].lower(), ""
    one = org.user(login)
    if one is None or one.id not in org.members:
        raise missing()
    if call.path.endswith("-type"):
        asked = call.word("credential_type")
        if asked not in KINDS:
            raise invalid("CredentialAuthorization", "credential_type")
        kind = KINDS[asked]
    actor = call.caller.login

    def job() -> None:
        for held in list(org.credentials.values()):
            if held["login"].lower() == login and kind in {"", held["credential_type"]}:
                _end(tenant, held, actor)

    tenant.later(job)
    return Answer({}, 202)


def _end(tenant: GitHubTenant, one: Json, actor: str) -> None:
    del tenant.org.credentials[one["credential_id"]]
    tenant.happen(
        "org_credential_authorization.revoke",
        actor,
        operation="remove",
        user=one["login"],
        credential_id=one["credential_id"],
        credential_type=one["credential_type"],
    )


def _saml(tenant: GitHubTenant) -> None:
    if not tenant.org.saml:
        raise Refused(404, "Not Found")

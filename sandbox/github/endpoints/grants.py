"""Fine-grained personal access tokens of members, which only Apps may see and revoke."""

from sandbox.github.answers import Answer, Json, invalid, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.paging import paged
from sandbox.github.tenant import GitHubTenant

TOKENS, REQUESTS = "organization_personal_access_tokens", "organization_personal_access_token_requests"
_QUERY = (
    *PAGES, "sort", "direction", "owner", "owner[]", "repository", "permission", "last_used_before",
    "last_used_after", "token_id",
)  # fmt: skip


@route(
    "GET",
    "/orgs/{org}/personal-access-tokens",
    permission=f"{TOKENS}=read",
    only=("installation",),
    query=_QUERY,
)
def list_grants(tenant: GitHubTenant, call: Call) -> Answer:
    """Tokens with access, last granted first."""
    return _listed(call, list(tenant.org.grants.values()), "access_granted_at")


@route(
    "GET",
    "/orgs/{org}/personal-access-token-requests",
    permission=f"{REQUESTS}=read",
    only=("installation",),
    query=_QUERY,
)
def list_requests(tenant: GitHubTenant, call: Call) -> Answer:
    """Tokens that wait for an owner."""
    return _listed(call, list(tenant.org.requests.values()), "created_at")


@route(
    "POST",
    "/orgs/{org}/personal-access-tokens/{pat_id}",
    permission=f"{TOKENS}=write",
    only=("installation",),
)
def revoke_grant(tenant: GitHubTenant, call: Call) -> Answer:
    """Take a token's access away."""
    if call.given().get("action") != "revoke":
        raise invalid("OrganizationProgrammaticAccessGrant", "action")
    _revoke(tenant, int(call.params["pat_id"]), call.caller.login)
    return Answer(status=204)


@route("POST", "/orgs/{org}/personal-access-tokens", permission=f"{TOKENS}=write", only=("installation",))
def revoke_grants(tenant: GitHubTenant, call: Call) -> Answer:
    """Take the access of up to 100 tokens away: a job."""
    asked, actor = call.given(), call.caller.login
    ids = asked.get("pat_ids")
    if asked.get("action") != "revoke":
        raise invalid("OrganizationProgrammaticAccessGrant", "action")
    if not isinstance(ids, list) or not 1 <= len(ids) <= 100 or not all(isinstance(i, int) for i in ids):
        raise invalid("OrganizationProgrammaticAccessGrant", "pat_ids")

    def job() -> None:
        for one in ids:
            if one in tenant.org.grants:
                _revoke(tenant, one, actor)

    tenant.later(job)
    return Answer({}, 202)


def _revoke(tenant: GitHubTenant, number: int, actor: str) -> None:
    one = tenant.org.grants.pop(number, None)
    if one is None:
        raise missing()
    tenant.happen(
        "personal_access_token.access_revoked",
        actor,
        operation="remove",
        user=one["owner"]["login"],
        user_id=one["owner"]["id"],
        user_programmatic_access_name=one["token_name"],
    )


def _listed(call: Call, held: list[Json], stamp: str) -> Answer:
    call.choice("sort", "created_at", ("created_at",))
    down = call.choice("direction", "desc", ("asc", "desc")) == "desc"
    since, until = call.query.get("last_used_after"), call.query.get("last_used_before")
    owner = call.query.get("owner[]", call.query.get("owner", "")).lower()
    chosen = [
        one
        for one in held
        if (not since or (one["token_last_used_at"] or "") > since)
        and (not until or (one["token_last_used_at"] or "~") < until)
        and owner in {"", one["owner"]["login"].lower()}
    ]
    chosen.sort(key=lambda one: str(one[stamp]), reverse=down)
    return paged(call, chosen, lambda one: one)

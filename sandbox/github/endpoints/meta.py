"""Who asks, how much is left, and GitHub's addresses."""

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, Refused, invalid, missing
from sandbox.github.call import Call, route
from sandbox.github.state import User
from sandbox.github.tenant import GitHubTenant


@route("GET", "/rate_limit", only=("installation", "oauth", "nobody"), bucket="")
def rate_limit(tenant: GitHubTenant, call: Call) -> Answer:
    """The hourly limits; asking costs nothing of them."""
    now = tenant.clock.now()
    shown: Json = {}
    for bucket in ("core", "search", "graphql", "scim", "audit_log"):
        window = tenant.limits.window(call.caller, bucket, now)
        shown[bucket] = {
            "limit": window.limit,
            "used": window.used,
            "remaining": window.limit - window.used,
            "reset": int(window.reset),
        }
    return Answer({"resources": shown, "rate": shown["core"]})


@route("GET", "/meta", only=("installation", "oauth", "nobody"))
def meta(tenant: GitHubTenant, call: Call) -> Answer:
    """Addresses; webhooks come from `hooks`."""
    del tenant, call
    return Answer(
        {
            "verifiable_password_authentication": False,
            "hooks": ["127.0.0.0/8"],
            "web": ["192.0.2.0/24"],
            "api": ["192.0.2.0/24"],
            "git": ["192.0.2.0/24"],
        }
    )


@route("GET", "/user", only=("oauth",))
def who(tenant: GitHubTenant, call: Call) -> Answer:
    """The owner of the token."""
    one = tenant.org.users.get(call.caller.id)
    if one is None:
        raise missing()
    if "user" not in call.caller.scopes:
        return Answer(_public(call, one))
    counts = ("private_gists", "total_private_repos", "owned_private_repos", "disk_usage", "collaborators")
    return Answer(
        _public(call, one) | dict.fromkeys(counts, 0) | {"two_factor_authentication": one.two_factor}
    )


@route("GET", "/users/{username}")
def profile(tenant: GitHubTenant, call: Call) -> Answer:
    """Somebody's public profile; most people hide their address."""
    one = tenant.org.user(call.params["username"])
    if one is None:
        raise missing()
    return Answer(_public(call, one))


@route("GET", "/user/{account_id}")
def profile_by_id(tenant: GitHubTenant, call: Call) -> Answer:
    """The same by the number, which outlives every change of the login."""
    one = tenant.org.users.get(int(call.params["account_id"]))
    if one is None:
        raise missing()
    return Answer(_public(call, one))


def _public(call: Call, one: User) -> Json:
    stamp = shapes.moment(one.created)
    return shapes.user(call.base, one) | {
        "name": one.name,
        "company": None,
        "blog": "",
        "location": None,
        "email": None,
        "hireable": None,
        "bio": None,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": stamp,
        "updated_at": stamp,
    }


@route("POST", "/credentials/revoke", only=("nobody", "app", "installation", "oauth"))
def revoke_leaked(tenant: GitHubTenant, call: Call) -> Answer:
    """End tokens that leaked, whoever found them; to be called without a token."""
    if call.caller.kind != "nobody":
        raise Refused(403, "This endpoint must be called without authentication.")
    leaked = call.given().get("credentials")
    if not isinstance(leaked, list) or not 1 <= len(leaked) <= 1000:
        raise invalid("Credentials", "credentials")

    def job() -> None:
        for token in leaked:
            tenant.access.revoke(str(token))

    tenant.later(job)
    return Answer({}, 202)

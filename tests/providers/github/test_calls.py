"""GitHub's dialect and addresses.

Sources: "Rate limits for the REST API", "Rate limits and node limits for the GraphQL API", "Using SAML … with
the REST API", "Network details for GHE.com".
"""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ingest.apis import JwtBearer, Static
from ingest.provider import Json, NotAllowed, Refused, Reply, Retry
from ingest.providers.github.calls import PATIENCE, quota, ruling
from ingest.providers.github.settings import Settings, apis

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
"""1700000000 seconds since 1970."""
APP = {"app_id": 901234, "private_key": "-----BEGIN", "installation_id": "31001"}


def reply(status: int, body: Json = None, **headers: str) -> Reply:
    """Make a reply; header names with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"date": DATE, **named}, json.dumps(body).encode(), body)


@pytest.mark.parametrize("status", [403, 429])
def test_limits_are_told_apart(status: int) -> None:
    """Retry-After and the secondary limit pause everything, the hourly one its bucket until the reset."""
    asked = ruling(reply(status, {"message": "You have exceeded a secondary rate limit."}, retry_after="17"))
    assert isinstance(asked, Retry)
    assert (asked.after, asked.everywhere) == (None, True)
    silent = ruling(reply(status, {"message": "You have exceeded a secondary rate limit. Please wait."}))
    assert isinstance(silent, Retry)
    assert (silent.after, silent.everywhere) == (PATIENCE, True)
    hourly = ruling(
        reply(status, {"message": "API rate limit exceeded for user ID 1."}, x_ratelimit_remaining="0",
              x_ratelimit_reset="1700000600", x_ratelimit_resource="core")
    )  # fmt: skip
    assert isinstance(hourly, Retry)
    assert (hourly.after, hourly.bucket, hourly.everywhere) == (601.0, "primary", False)


def test_a_bare_429_waits_a_minute() -> None:
    """Without any hint GitHub asks for at least a minute."""
    bare = ruling(reply(429, {"message": "Too many requests"}))
    assert isinstance(bare, Retry)
    assert bare.after == 60.0


BLOCKED = "Although you appear to have the correct rights, the organization has an IP allow list enabled"
SSO = "required; url=https://github.com/orgs/o/sso?authorization_request=A4Z"


@pytest.mark.parametrize(
    ("headers", "message", "said"),
    [
        ({"x_accepted_github_permissions": "members=read"}, "Resource not accessible", "members=read"),
        ({"x_accepted_oauth_scopes": "admin:org", "x_oauth_scopes": "repo"}, "Must be admin", "admin:org"),
        ({"x_github_sso": SSO}, "Resource protected by organization SAML enforcement.", "single sign-on"),
        ({}, BLOCKED, "IP allow list"),
    ],
)
def test_a_refusal_names_what_is_missing(headers: dict[str, str], message: str, said: str) -> None:
    """Permission, scope, single sign-on and address list are each told, without the link's secret."""
    error = ruling(reply(403, {"message": message}, **headers))
    assert isinstance(error, NotAllowed)
    assert said in str(error)
    assert "A4Z" not in str(error)


def test_what_github_declines_has_its_reason() -> None:
    """A 422 is no fault of the call: its sentences are the reason."""
    body = {"message": "Validation Failed", "errors": [{"message": "User is the last owner"}, "odd"]}
    error = ruling(reply(422, body))
    assert isinstance(error, Refused)
    assert "last owner" in str(error)


@pytest.mark.parametrize(
    ("errors", "data", "kind"),
    [
        ([{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}], None, Retry),
        ([{"type": "FORBIDDEN", "message": "no"}], {"organization": None}, NotAllowed),
        ([{"type": "INSUFFICIENT_SCOPES", "message": "no"}], None, NotAllowed),
        ([{"message": "Something went wrong"}], None, Retry),
        ([{"type": "NOT_FOUND", "message": "gone"}], {"organization": None}, type(None)),
        (None, {"organization": None}, type(None)),
    ],
)
def test_graphql_answers_200_with_errors(errors: Json, data: Json, kind: type[Any]) -> None:
    """Limits, rights and faults come with success as status; a part that is not there is no error."""
    assert isinstance(ruling(reply(200, {"data": data, "errors": errors})), kind)


@pytest.mark.parametrize("status", [200, 201, 304, 404, 500])
def test_other_replies_are_judged_by_their_status(status: int) -> None:
    """The dialect has no opinion of them."""
    assert ruling(reply(status, {"message": "x"})) is None
    assert ruling(Reply(status, {}, b"", None)) is None


@pytest.mark.parametrize(
    ("resource", "bucket"), [("core", "primary"), ("graphql", "graph"), ("audit_log", "audit")]
)
def test_what_is_left_is_read_from_headers(resource: str, bucket: str) -> None:
    """Each resource is a bucket of ours; the reset is measured by the reply's own clock."""
    told = quota(reply(200, x_ratelimit_resource=resource, x_ratelimit_remaining="4321",
                       x_ratelimit_reset="1700000100"))  # fmt: skip
    assert told == {bucket: (4321.0, 101.0)}
    assert quota(reply(200)) == {}
    assert quota(reply(200, x_ratelimit_resource="search", x_ratelimit_remaining="1")) == {}


@pytest.mark.parametrize(
    ("host", "rest", "graph"),
    [
        ("github.com", "https://api.github.com", "https://api.github.com/graphql"),
        ("acme.ghe.com", "https://api.acme.ghe.com", "https://api.acme.ghe.com/graphql"),
        ("git.acme.example", "https://git.acme.example/api/v3", "https://git.acme.example/api/graphql"),
    ],
)
def test_addresses_follow_from_the_host(host: str, rest: str, graph: str) -> None:
    """github.com, data residency and Enterprise Server have their own forms."""
    found = apis(Settings.model_validate({"organization": "acme", "token": "t", "host": host}))
    assert (found["rest"].base, found["graphql"].base) == (rest, graph)
    assert "app" not in found


def test_endpoints_override_the_host() -> None:
    """Tests and simulated tenants use the same door; GraphQL follows REST unless it is named."""
    given = {"organization": "acme", **APP, "endpoints": {"rest": "http://127.0.0.1:1"}}
    found = apis(Settings.model_validate(given))
    assert {name: one.base for name, one in found.items()} == {
        "rest": "http://127.0.0.1:1", "app": "http://127.0.0.1:1", "graphql": "http://127.0.0.1:1/graphql",
    }  # fmt: skip
    named = apis(Settings.model_validate(given | {"endpoints": {"graphql": "http://127.0.0.1:2/graphql"}}))
    assert named["graphql"].base == "http://127.0.0.1:2/graphql"


def test_the_sign_ins() -> None:
    """A token is sent as it is; an App's key is exchanged for an installation's token."""
    token = apis(Settings.model_validate({"organization": "acme", "token": "ghp_x"}))["rest"].auth
    assert token == Static("ghp_x")
    assert "ghp_x" not in repr(token)
    found = apis(Settings.model_validate({"organization": "acme", **APP}))
    signed, own = found["rest"].auth, found["app"].auth
    assert isinstance(signed, JwtBearer)
    assert isinstance(own, JwtBearer)
    assert signed.url == "https://api.github.com/app/installations/31001/access_tokens"
    assert (signed.in_header, signed.claims, own.url) == (True, {"iss": "901234"}, "")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"token": "t", **APP},
        {"app_id": "1", "private_key": "k"},
        {"token": "t", "organization": "a/../b"},
        {"token": "t", "host": "evil.example/x"},
        {"token": "t", "enterprise": "a b"},
        {"token": "t", "days": 0},
        {"token": "t", "unknown": 1},
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Json]) -> None:
    """Two sign-ins, half a sign-in, paths in names: an error that does not show the input."""
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"organization": "acme", **wrong})
    assert "-----BEGIN" not in str(raised.value)


def test_the_enterprises_log_is_for_tokens_alone() -> None:
    """Apps are not let in there, so they read the organization's."""
    token = Settings.model_validate({"organization": "acme", "enterprise": "inc", "token": "t"})
    assert token.log == "/enterprises/inc/audit-log"
    app = Settings.model_validate({"organization": "acme", "enterprise": "inc", **APP})
    assert app.log == "/orgs/acme/audit-log"

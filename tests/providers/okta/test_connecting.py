"""Settings, the ways to sign in, Okta's dialect of errors and limits, and the permission probe."""

from typing import Any, TypeAlias

import pytest
from pydantic import ValidationError

from ingest.errors import Misconfigured, NotAllowed, Retry, SignInAgain
from ingest.provider import ClientCredentials, Grant, Instance, Reply, Static
from ingest.providers.okta import Okta
from ingest.providers.okta.settings import SCOPES, Settings
from sandbox.okta.limits import DEFAULTS

Org: TypeAlias = Any
TOKEN = {"api_token": "00Tsecret-token-text"}
KEY = {"client_id": "0oa1", "private_key": "-----BEGIN PRIVATE KEY-----secret"}


def given(**more: Any) -> Settings:
    """Make settings."""
    return Settings.model_validate({"domain": "acme.okta.com", **more})


@pytest.mark.parametrize(
    ("domain", "host"),
    [("acme.okta.com", "acme.okta.com"), ("https://acme.okta-emea.com/", "acme.okta-emea.com"),
     (" ACME.oktapreview.com ", "acme.oktapreview.com"), ("acme.okta-gov.com", "acme.okta-gov.com"),
     ("acme.okta.mil", "acme.okta.mil"), ("login.acme.example", "login.acme.example"),
     ("login-admin.acme.example", "login-admin.acme.example")],
)  # fmt: skip
def test_hosts(domain: str, host: str) -> None:
    """Every kind of Okta host is taken, however it is pasted."""
    settings = given(domain=domain, **TOKEN)
    assert settings.domain == host
    assert {api.base for api in settings.apis().values()} == {f"https://{host}"}


@pytest.mark.parametrize(
    "domain",
    ["acme", "acme-admin.okta.com", "acme-admin.oktapreview.com", "acme.okta.com/admin", "", "a b.okta.com",
     "user@acme.okta.com", "acme.okta.com:8443", "http://acme.okta.com", "-a.okta.com", "a" * 250 + ".com"],
)  # fmt: skip
def test_what_is_no_host_is_refused(domain: str) -> None:
    """The message says what a domain looks like, and shows no secret."""
    with pytest.raises(ValidationError, match=r"like acme\.okta\.com") as error:
        given(domain=domain, **TOKEN)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "sign_in", [{}, {**TOKEN, **KEY}, {"private_key": KEY["private_key"]}, {"client_id": "0oa1"}]
)
def test_one_way_to_sign_in(sign_in: dict[str, str]) -> None:
    """Neither or both, or half of one, is said at once."""
    with pytest.raises(ValidationError, match=r"api_token|client_id") as error:
        given(**sign_in)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("days", [0, 91, -1])
def test_days_that_okta_does_not_keep(days: int) -> None:
    """Okta keeps 90 days."""
    with pytest.raises(ValidationError):
        given(days=days, **TOKEN)


def test_a_token_is_sent_as_okta_wants_it() -> None:
    """The scheme is SSWS; nothing shows the token."""
    auth = given(**TOKEN).auth()
    assert isinstance(auth, Static)
    assert (auth.header, auth.prefix, auth.value) == ("Authorization", "SSWS ", TOKEN["api_token"])
    assert "secret" not in repr(given(**TOKEN)) + repr(auth)


def test_an_app_signs_in_at_the_orgs_own_server() -> None:
    """Only that one gives out scopes of Okta's API."""
    auth = given(**KEY, key_id="k7", dpop=True, scopes=["okta.logs.read"]).auth()
    assert isinstance(auth, ClientCredentials)
    assert auth.url == "https://acme.okta.com/oauth2/v1/token"
    assert (auth.scope, auth.extra, auth.dpop) == ("okta.logs.read", {"kid": "k7"}, True)
    assert KEY["private_key"] not in repr(auth)


def test_no_more_than_ten_calls_at_once() -> None:
    """An org allows 75 for everybody, a free one 35."""
    limits = [limit for api in given(**TOKEN).apis().values() for limit in api.limits.values()]
    assert sum(limit.at_once or 0 for limit in limits) <= 10
    assert given(**TOKEN).apis()["logs"].limits["calls"].n <= 60


@pytest.mark.parametrize("sign_in", [{}, {"oauth": True}, {"dpop": True}], ids=["token", "key", "DPoP"])
async def test_every_way_to_sign_in_works(connect: Any, sign_in: dict[str, bool]) -> None:
    """A connection knows its org by id and itself by the principal that the log shows."""
    org = await connect(sign_in)
    instance = org.provider.instance
    assert instance.id == org.tenant.id
    (me,) = instance.ourselves
    assert me.startswith("0oa" if sign_in else "00u")
    assert await grants(org)


async def test_a_refused_token_says_what_to_do(connect: Any) -> None:
    """A token that Okta does not know (any more) stops the connector with a reason."""
    with pytest.raises(Misconfigured, match="401") as error:
        await connect({"api_token": "00Tnobodys"})
    assert "00Tnobodys" not in str(error.value)


async def test_a_nonce_that_changes_is_followed(connect: Any) -> None:
    """With proof of possession, Okta's new nonce costs one more call, not the feed."""
    org = await connect({"dpop": True})
    org.tenant.oauth.proofs.rotate(forget=True)
    org.tenant.oauth.end_tokens()
    assert (
        await org.run(org.one.client.call("users", "GET", "/api/v1/users", params={"limit": 1}))
    ).status == 200


async def grants(org: Org) -> dict[str, Grant]:
    """Probe, by capability."""

    async def probed() -> list[Grant]:
        return [one async for one in org.provider.probe()]

    return {one.capability: one for one in await org.run(probed())}


async def test_the_probe_finds_nothing_missing(org: Org) -> None:
    """A super admin's token may do everything; every capability is judged."""
    found = await grants(org)
    assert [one for one in found.values() if one.missing] == []
    assert set(found) == {"accounts", "groups", "privileges", "logons", "user_activity", "admin_activity",
                          "user_governance"}  # fmt: skip


async def test_the_probe_names_missing_scopes(connect: Any) -> None:
    """What an app was not granted is named as Okta names it, capability by capability."""
    found = await grants(await connect({"oauth": True, "scopes": ["okta.logs.read", "okta.groups.read"]}))
    assert found["accounts"].missing == ("okta.users.read",)
    assert found["groups"].missing == ()
    assert found["privileges"].missing == ("okta.roles.read", "okta.apps.read")
    assert found["logons"].missing == ()
    assert "polled only" in found["logons"].note
    assert "okta.users.manage" in found["user_governance"].missing
    assert "admin role" in found["accounts"].note


async def test_the_probe_names_what_a_role_lacks(connect: Any) -> None:
    """A token of a report admin reads the log and no users."""
    org = await connect()
    token = org.tenant.issue_token("report", 6)
    other = await connect({"api_token": token, "endpoints": {"okta": org.tenant.url}})
    found = await grants(other)
    assert found["logons"].missing == ()
    assert found["accounts"].missing == ("okta.users.read",)


def okta(**sign_in: str) -> Okta:
    """Make a provider without a connection."""
    http: Any = None
    return Okta(given(**(sign_in or TOKEN)), http, Instance("00o1"))


def limits(limit: str, left: str, reset: str, date: str = "Sat, 21 Nov 2026 10:00:00 GMT") -> dict[str, str]:
    """Write the headers of a reply."""
    named = {"x-rate-limit-limit": limit, "x-rate-limit-remaining": left, "x-rate-limit-reset": reset}
    return {**named, "date": date} if date else named


THROTTLED = {
    "errorCode": "E0000047",
    "errorSummary": "API call exceeded rate limit due to too many requests.",
}
AT = 1_795_255_200  # the date of the replies, in seconds


@pytest.mark.parametrize(
    ("headers", "after", "everywhere"),
    [
        (limits("120", "0", str(AT + 30)), 31.0, False),
        (limits("120, 600", "0, 400", f"{AT + 20}, {AT + 50}"), 51.0, False),
        (limits("120", "0", str(AT - 5)), 1.0, False),
        (limits("120", "0", str(AT + 9000)), 301.0, False),
        (limits("0", "0", str(AT + 120)), 1.0, True),
        (limits("120", "0", str(AT + 30), date=""), 61.0, False),
        ({}, 61.0, False),
    ],
)  # fmt: skip
def test_throttling_is_waited_out(headers: dict[str, str], after: float, everywhere: bool) -> None:
    """Until the reset by Okta's own clock, a second longer; the limit on calls at once passes in a second."""
    told = okta().ruling(Reply(429, headers, b"", THROTTLED))
    assert isinstance(told, Retry)
    assert (told.after, told.everywhere) == (after, everywhere)


def test_an_invalid_session_is_asked_once_more() -> None:
    """It comes at random for apps: a fresh token and one more call; a token of an admin just tries again."""
    reply = Reply(403, {}, b"", {"errorCode": "E0000005", "errorSummary": "Invalid session"})
    assert isinstance(okta(**KEY).ruling(reply), SignInAgain)
    assert isinstance(okta().ruling(reply), Retry)


def test_what_is_not_permitted_says_so() -> None:
    """The role or the scopes do not suffice."""
    reply = Reply(403, {}, b"", {"errorCode": "E0000006", "errorSummary": "You do not have permission"})
    assert isinstance(okta().ruling(reply), NotAllowed)


@pytest.mark.parametrize(
    "reply",
    [Reply(200, {}, b"[]", []), Reply(200, {}, b"", {"errorCode": "E0000006"}), Reply(404, {}, b"", None),
     Reply(500, {}, b"", {"errorCode": "E0000009"}), Reply(400, {}, b"", {"errorCode": "E0000001"}),
     Reply(403, {}, b"", ["E0000005"])],
)  # fmt: skip
def test_all_else_is_judged_by_its_status(reply: Reply) -> None:
    """A success with an odd body, and errors without a meaning of their own, are left to the core."""
    assert okta().ruling(reply) is None


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (limits("600", "599", str(AT + 60)), {"calls": (599.0, 60.0)}),
        (limits("600, 120", "500, 3", f"{AT + 60}, {AT + 10}"), {"calls": (3.0, 60.0)}),
        (limits("0", "0", str(AT + 120)), {}),
        (limits("many", "none", "soon"), {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_what_is_left_is_read_from_the_headers(headers: dict[str, str], told: Any) -> None:
    """Of nested limits the least counts; nonsense counts as nothing said."""
    assert okta().quota(Reply(200, headers, b"", [])) == told


async def test_limits_are_kept(connect: Any) -> None:
    """Under the limits of a paid org no call is refused, however much there is to read."""
    org = await connect({}, limits=DEFAULTS, users=450, groups=150)
    for name in ("users", "groups", "privileges", "log"):
        await org.one.once(name)
    assert not sum(org.tenant.limits.refused.values())
    assert org.tenant.limits.busiest_at_once <= 10


def test_default_scopes_are_okta_scopes() -> None:
    """All have Okta's form, and reading comes before managing."""
    assert all(one.startswith("okta.") and one.endswith((".read", ".manage")) for one in SCOPES)

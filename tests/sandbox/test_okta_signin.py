"""Signing in to the simulated Okta org: API tokens, private_key_jwt, DPoP, scopes and roles."""

import base64
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from sandbox.okta.oauth import ServiceApp
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant

Json = Any
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
async def org() -> AsyncIterator[OktaTenant]:
    """Run an org."""
    async with running(OktaTenant(users=20, limits=LOOSE)) as tenant:
        yield tenant


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Call without any token."""
    async with aiohttp.ClientSession() as session:
        yield session


def form(
    org: OktaTenant, app: ServiceApp, *, scope: str = "okta.users.read", key: str = "", **claims: Json
) -> Json:
    """Write a token request; a claim of None is left out."""
    now = org.clock.now()
    whole = {
        "iss": app.id, "sub": app.id, "aud": f"{org.url}/oauth2/v1/token", "exp": now + 300,
        "jti": uuid4().hex,
    } | claims  # fmt: skip
    signed = jwt.encode(
        {name: value for name, value in whole.items() if value is not None},
        key or app.private_key, algorithm="RS256", headers={"kid": app.key_id},
    )  # fmt: skip
    return {
        "grant_type": "client_credentials", "scope": scope, "client_assertion_type": ASSERTION,
        "client_assertion": signed,
    }  # fmt: skip


class Prover:
    """A DPoP key and the proofs it makes."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.jwk = json.loads(ECAlgorithm.to_jwk(self.key.public_key()))

    def proof(
        self, org: OktaTenant, method: str, url: str, token: str = "", **claims: Json
    ) -> dict[str, str]:
        """Write the header for a request."""
        whole = {"htm": method, "htu": url, "iat": int(org.clock.now()), "jti": uuid4().hex} | claims
        if token:
            digest = sha256(token.encode()).digest()
            whole["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        head = {"typ": "dpop+jwt", "jwk": self.jwk}
        return {"DPoP": jwt.encode(whole | claims, self.key, algorithm="ES256", headers=head)}


async def ask(
    http: aiohttp.ClientSession, org: OktaTenant, sent: Json, **headers: str
) -> tuple[int, Json, str]:
    """Ask for a token; status, body and nonce."""
    async with http.post(f"{org.url}/oauth2/v1/token", data=sent, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers.get("dpop-nonce", "")


async def get(http: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, str, str]:
    """Call; status, WWW-Authenticate and body."""
    async with http.get(url, headers=headers) as answer:
        return answer.status, answer.headers.get("WWW-Authenticate", ""), await answer.text()


async def test_an_api_token_is_as_good_as_its_owner(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Its role decides, its suspension ends it, and 30 days without a call."""
    logs = f"{org.url}/api/v1/logs"
    token = {"Authorization": f"SSWS {org.issue_token('reports', 6)}"}
    assert (await get(http, logs, **token))[0] == 200
    refused = await get(http, f"{org.url}/api/v1/users", **token)
    assert (refused[0], "E0000006" in refused[2]) == (403, True)
    org.clock.advance(29 * 86400)
    assert (await get(http, logs, **token))[0] == 200
    org.clock.advance(31 * 86400)
    assert (await get(http, logs, **token))[0] == 401
    other = {"Authorization": f"SSWS {org.issue_token('more', 6)}"}
    org.people.change(6, org.clock.now(), status="SUSPENDED")
    told = await get(http, logs, **other)
    assert (told[0], "E0000011" in told[2]) == (401, True)


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ({}, 403, "E0000005"),
        ({"Authorization": "SSWS nonsense"}, 401, "E0000011"),
        ({"Authorization": "Basic x"}, 403, "E0000005"),
    ],
)
async def test_without_a_good_token(
    org: OktaTenant, http: aiohttp.ClientSession, header: dict[str, str], status: int, code: str
) -> None:
    """No token is an invalid session, a wrong one an invalid token."""
    told = await get(http, f"{org.url}/api/v1/org", **header)
    assert told[0] == status
    assert code in told[2]


async def test_anybody_may_know_the_org(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Its id, pipeline and other names need no token."""
    status, _, text = await get(http, f"{org.url}/.well-known/okta-organization")
    told = json.loads(text)
    assert (status, told["id"], told["pipeline"]) == (200, org.id, "idx")


async def test_a_service_app_gets_a_token_for_an_hour(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """It works for its scopes: another is refused with an empty body, and after an hour it is over."""
    app = org.oauth.register("reader")
    status, told, _ = await ask(http, org, form(org, app))
    assert (status, told["token_type"], told["expires_in"], told["scope"]) == (
        200,
        "Bearer",
        3600,
        "okta.users.read",
    )
    bearer = {"Authorization": f"Bearer {told['access_token']}"}
    assert (await get(http, f"{org.url}/api/v1/users", **bearer))[0] == 200
    status, why, text = await get(http, f"{org.url}/api/v1/groups", **bearer)
    assert (status, text) == (403, "")
    assert 'error="insufficient_scope"' in why
    assert 'scope="okta.groups.read"' in why
    org.clock.advance(3601)
    status, why, _ = await get(http, f"{org.url}/api/v1/users", **bearer)
    assert (status, "invalid_token" in why) == (401, True)


async def test_service_apps_are_listed(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Among the apps as `service`, with their roles and the scopes that admins granted."""
    app = org.oauth.register("listed", scopes=["okta.logs.read"], role="REPORT_ADMIN")
    token = {"Authorization": f"SSWS {org.api_token}"}
    found = json.loads((await get(http, f"{org.url}/api/v1/apps?limit=200", **token))[2])
    kinds = {one["id"]: one["settings"].get("oauthClient", {}).get("application_type") for one in found}
    assert kinds[app.id] == "service"
    roles = json.loads((await get(http, f"{org.url}/oauth2/v1/clients/{app.id}/roles", **token))[2])
    assert [(one["type"], one["assignmentType"]) for one in roles] == [("REPORT_ADMIN", "CLIENT")]
    for part in ("users", "groups", "tokens"):
        assert (await get(http, f"{org.url}/api/v1/apps/{app.id}/{part}", **token))[::2] == (200, "[]")
    grants = json.loads((await get(http, f"{org.url}/api/v1/apps/{app.id}/grants", **token))[2])
    assert [one["scopeId"] for one in grants] == ["okta.logs.read"]


async def test_scopes_alone_do_not_suffice(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """An app without an admin role may nothing."""
    app = org.oauth.register("roleless", role="")
    _, told, _ = await ask(http, org, form(org, app))
    status, _, text = await get(
        http, f"{org.url}/api/v1/users", Authorization=f"Bearer {told['access_token']}"
    )
    assert (status, "E0000006" in text) == (403, True)


async def test_an_assertion_works_once(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """A `jti` can't be used again; without one the same assertion is taken twice."""
    app = org.oauth.register("replay")
    once, often = form(org, app), form(org, app, jti=None)
    assert [(await ask(http, org, sent))[0] for sent in (once, once, often, often)] == [200, 401, 200, 200]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://acme.okta.com/oauth2/default/v1/token"}, {"iss": "0oaelse"}, {"sub": "0oaelse"},
        {"exp": None},
        {"exp": 1}, {"exp": 99999999999}, {"iat": 99999999999},
    ],
)  # fmt: skip
async def test_a_wrong_assertion_is_refused(
    org: OktaTenant, http: aiohttp.ClientSession, claims: Json
) -> None:
    """Audience, issuer, subject, expiry (an hour at most) and issue time are judged."""
    status, told, _ = await ask(http, org, form(org, org.oauth.register("wrong"), **claims))
    assert (status, told["error"]) == (401, "invalid_client")


async def test_other_ways_to_ask_are_refused(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """A foreign key, an ungranted scope, none, another grant type, a secret, JSON."""
    app, other = org.oauth.register("narrow", scopes=["okta.logs.read"]), org.oauth.register("other")
    good = form(org, app, scope="okta.logs.read")
    assert (await ask(http, org, form(org, app, key=other.private_key)))[1]["error"] == "invalid_client"
    wider = form(org, app, scope="okta.logs.read okta.users.read")
    assert (await ask(http, org, wider))[:2][1]["error"] == "invalid_scope"
    assert (await ask(http, org, form(org, app, scope="")))[1]["error"] == "invalid_scope"
    assert (await ask(http, org, good | {"grant_type": "password"}))[1]["error"] == "unsupported_grant_type"
    secret = {
        "grant_type": "client_credentials",
        "client_id": app.id,
        "client_secret": "x",
        "scope": "okta.logs.read",
    }
    assert (await ask(http, org, secret))[1]["error"] == "invalid_client"
    async with http.post(f"{org.url}/oauth2/v1/token", json=good) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "invalid_request")
    assert (await ask(http, org, form(org, app, scope="okta.logs.read")))[0] == 200


async def test_the_dpop_dance(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """First a nonce is demanded, then the token is bound: each call needs a fresh proof with `ath`."""
    app, prover, at = org.oauth.register("prover", dpop=True), Prover(), f"{org.url}/oauth2/v1/token"
    status, told, _ = await ask(http, org, form(org, app))
    assert (status, told["error"]) == (400, "invalid_dpop_proof")
    status, told, nonce = await ask(http, org, form(org, app), **prover.proof(org, "POST", at))
    assert (status, told["error"], bool(nonce)) == (400, "use_dpop_nonce", True)
    status, told, _ = await ask(http, org, form(org, app), **prover.proof(org, "POST", at, nonce=nonce))
    assert (status, told["token_type"]) == (200, "DPoP")
    token, url = told["access_token"], f"{org.url}/api/v1/users"
    signed = {"Authorization": f"DPoP {token}"}
    good = signed | prover.proof(org, "GET", url, token)
    assert (await get(http, f"{url}?limit=1", **good))[0] == 200
    refused = [
        good,
        signed,
        {"Authorization": f"Bearer {token}"},
        signed | prover.proof(org, "GET", url),
        signed | prover.proof(org, "GET", url, token, ath="else"),
        signed | prover.proof(org, "POST", url, token),
        signed | prover.proof(org, "GET", f"{url}?limit=1", token),
        signed | prover.proof(org, "GET", url, token, iat=1),
        signed | Prover().proof(org, "GET", url, token),
    ]
    for headers in refused:
        status, why, _ = await get(http, f"{url}?limit=1", **headers)
        assert status in {400, 401}
        assert why.startswith("DPoP ")


async def test_nonces_are_renewed(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """An old nonce works for three days, a forgotten one not at all."""
    app, prover, at = org.oauth.register("nonces", dpop=True), Prover(), f"{org.url}/oauth2/v1/token"

    async def token(nonce: str) -> tuple[int, str]:
        status, _, told = await ask(http, org, form(org, app), **prover.proof(org, "POST", at, nonce=nonce))
        return status, told

    _, first = await token("unknown")
    org.clock.advance(25 * 3600)
    assert (await token(first))[0] == 200
    _, second = await token("unknown")
    assert second != first
    org.clock.advance(48 * 3600)
    assert (await token(first))[0] == 400
    org.oauth.proofs.rotate(forget=True)
    assert (await token(second))[0] == 400


async def test_secrets_are_known_to_judges(org: OktaTenant, http: aiohttp.ClientSession) -> None:
    """Whatever was given out can be searched for in logs and events."""
    app = org.oauth.register("told")
    _, told, _ = await ask(http, org, form(org, app))
    assert {org.api_token, app.private_key, told["access_token"]} <= org.issued()

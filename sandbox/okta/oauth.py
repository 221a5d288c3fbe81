"""The org authorization server for service apps: client credentials with private_key_jwt, bearer or DPoP."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.okta import ids
from sandbox.okta.dpop import ALGORITHMS, BadProof, Proofs
from sandbox.okta.errors import Challenged, OAuthRefused
from sandbox.okta.principals import Principal, roles_of

if TYPE_CHECKING:
    from sandbox.okta.tenant import OktaTenant

Json: TypeAlias = Any
LIFE, LONGEST = 3600, 3600
# Times and audience are judged by the org's clock and address, with an answer of their own each.
_LATER: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SCOPES = tuple(
    f"okta.{area}.{verb}"
    for area in ("users", "groups", "apps", "roles", "logs", "orgs", "eventHooks", "appGrants", "apiTokens")
    for verb in ("read", "manage")
    if (area, verb) != ("logs", "manage")
)


@dataclass(slots=True)
class ServiceApp:
    """An API Services app: its key pair, the scopes granted to it, and whether it has to prove possession."""

    id: str
    name: str
    key_id: str
    private_key: str
    public_key: Json
    scopes: frozenset[str]
    dpop: bool


@dataclass(slots=True)
class Access:
    """An access token that was given out; `bound` is the thumbprint of its DPoP key."""

    app: ServiceApp
    scopes: frozenset[str]
    ends: float
    bound: str = ""


@dataclass(slots=True)
class _Issued:
    tokens: dict[str, Access] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)


class OAuth:
    """Service apps and their tokens."""

    def __init__(self, tenant: "OktaTenant") -> None:
        self._tenant, self._issued = tenant, _Issued()
        self.apps: dict[str, ServiceApp] = {}
        self.proofs = Proofs(tenant.clock.now, lambda: secrets.token_urlsafe(16))

    def register(
        self, name: str, *, scopes: Sequence[str] = (), dpop: bool = False, role: str = "SUPER_ADMIN"
    ) -> ServiceApp:
        """Make a service app with a key of its own; all scopes unless named, no role with `role=""`."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        made = ServiceApp(
            ids.make("0oa", 1_000_000 + len(self.apps)), name, f"key-{len(self.apps) + 1}", pem,
            private.public_key(),
            frozenset(scopes or SCOPES), dpop,
        )  # fmt: skip
        self.apps[made.id] = made
        self._tenant.secrets.add(pem)
        if role:
            self._tenant.roles.assign(made.id, role, "CLIENT")
        return made

    def end_tokens(self) -> int:
        """Let all access tokens expire at once; how many."""
        ended, self._issued.tokens = len(self._issued.tokens), {}
        return ended

    async def token(self, request: web.Request) -> web.Response:
        """The token endpoint."""
        if request.content_type != "application/x-www-form-urlencoded":
            raise OAuthRefused(
                "invalid_request", "The Content-Type must be application/x-www-form-urlencoded."
            )
        form = {name: str(value) for name, value in (await request.post()).items()}
        if form.get("grant_type") != "client_credentials":
            raise OAuthRefused("unsupported_grant_type", "The grant type is not supported by this client.")
        app = self._client(form)
        bound = self._bound(app, request)
        asked = form.get("scope", "").split()
        if not asked or not set(asked) <= app.scopes:
            about = "One or more scopes are not configured for the authorization server resource."
            raise OAuthRefused("invalid_scope", about)
        value = secrets.token_urlsafe(48)
        now = self._tenant.clock.now()
        self._issued.tokens = {key: one for key, one in self._issued.tokens.items() if one.ends > now}
        self._issued.tokens[value] = Access(app, frozenset(asked), now + LIFE, bound)
        self._tenant.secrets.add(value)
        return web.json_response(
            {
                "token_type": "DPoP" if bound else "Bearer", "expires_in": LIFE, "access_token": value,
                "scope": " ".join(asked),
            },
            headers={"Cache-Control": "no-cache, no-store"},
        )  # fmt: skip

    def _client(self, form: dict[str, str]) -> ServiceApp:
        assertion = form.get("client_assertion", "")
        if form.get("client_assertion_type") != ASSERTION or not assertion:
            raise OAuthRefused("invalid_client", "Client authentication has to be private_key_jwt.", 401)
        try:
            header = jwt.get_unverified_header(assertion)
            subject = jwt.decode(assertion, options={"verify_signature": False}).get("sub")
        except jwt.PyJWTError as error:
            raise OAuthRefused(
                "invalid_client", "The parsing of the client_assertion failed.", 401
            ) from error
        app = self.apps.get(str(subject))
        if app is None or header.get("alg") not in ALGORITHMS:
            raise OAuthRefused("invalid_client", "Invalid value for 'client_id' parameter.", 401)
        if header.get("kid", app.key_id) != app.key_id:
            raise OAuthRefused("invalid_client", "The client_assertion JWT kid is invalid.", 401)
        self._claims(app, assertion, header["alg"])
        return app

    def _claims(self, app: ServiceApp, assertion: str, algorithm: str) -> None:
        try:
            claims = jwt.decode(assertion, app.public_key, algorithms=[algorithm], options=_LATER)
        except jwt.PyJWTError as error:
            raise OAuthRefused("invalid_client", "The client_assertion signature is invalid.", 401) from error
        now, ends, key = self._tenant.clock.now(), claims.get("exp"), claims.get("jti")
        wrong = ""
        if claims.get("iss") != app.id:
            wrong = "The issuer claim for client_assertion is invalid."
        elif claims.get("aud") != f"{self._tenant.url}/oauth2/v1/token":
            wrong = "The audience claim for client_assertion must be the endpoint invoked for the request."
        elif not isinstance(ends, int | float) or ends <= now:
            wrong = "The client_assertion token is expired."
        elif ends > now + LONGEST + 5:
            wrong = "The client_assertion token has an expiration too far into the future."
        elif isinstance(claims.get("iat"), int | float) and claims["iat"] > now + 300:
            wrong = "The client_assertion token was issued in the future."
        elif key in self._issued.used:
            wrong = "The client_assertion token has already been used."
        if wrong:
            raise OAuthRefused("invalid_client", wrong, 401)
        if key is not None:
            self._issued.used = {one: end for one, end in self._issued.used.items() if end > now}
            self._issued.used[str(key)] = float(ends or 0)

    def _bound(self, app: ServiceApp, request: web.Request) -> str:
        """The thumbprint that the token is bound to; empty for a bearer token."""
        if not app.dpop and "DPoP" not in request.headers:
            return ""
        try:
            return self.proofs.judge(request, f"{self._tenant.url}{request.rel_url.raw_path}", nonced=True)
        except BadProof as bad:
            if bad.nonce:
                raise OAuthRefused("use_dpop_nonce", str(bad), nonce=self.proofs.nonce()) from bad
            raise OAuthRefused("invalid_dpop_proof", str(bad)) from bad

    def caller(self, scheme: str, value: str, request: web.Request) -> Principal:
        """Who holds an access token; Challenged when it is unknown, expired, or its proof is not good."""
        access = self._issued.tokens.get(value)
        if access is None or access.ends <= self._tenant.clock.now():
            raise Challenged(401, "invalid_token", "The access token is invalid.", scheme=scheme)
        if bool(access.bound) != (scheme == "DPoP"):
            raise Challenged(401, "invalid_token", "The access token is bound to a DPoP key.", scheme="DPoP")
        if access.bound:
            try:
                print_ = self.proofs.judge(
                    request, f"{self._tenant.url}{request.rel_url.raw_path}", token=value
                )
            except BadProof as bad:
                raise Challenged(400, "invalid_dpop_proof", str(bad), scheme="DPoP") from bad
            if print_ != access.bound:
                raise Challenged(
                    401, "invalid_token", "The DPoP key does not fit the access token.", scheme="DPoP"
                )
        app = access.app
        actor = {
            "id": app.id, "type": "PublicClientApp", "alternateId": app.id, "displayName": app.name,
            "detailEntry": None,
        }  # fmt: skip
        return Principal(app.id, actor, access.scopes, "", roles_of(self._tenant.roles, [], app.id))

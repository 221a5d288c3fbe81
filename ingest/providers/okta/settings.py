"""What a connection to an Okta org needs: its host, and one of two ways to sign in."""

import re
from typing import Final, TypeAlias

from pydantic import Field, SecretStr, field_validator, model_validator

from ingest.provider import Api, Auth, ClientCredentials, Limit, Provider, Static
from ingest.provider import Settings as Common

SCOPES: Final = (
    "okta.logs.read", "okta.users.read", "okta.groups.read", "okta.roles.read", "okta.apps.read",
    "okta.orgs.read", "okta.eventHooks.manage", "okta.users.manage", "okta.groups.manage",
    "okta.roles.manage", "okta.apps.manage",
)  # fmt: skip
_HOST: Final = re.compile(r"(?=.{4,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


class Settings(Common, frozen=True):
    """An org by its host, signed in to by an API token or as an API service app.

    Attributes:
        domain: `acme.okta.com`, `.okta-emea.com`, `.oktapreview.com`, `.okta-gov.com`, or a custom domain.
        api_token: An SSWS token; it lives 30 days beyond its last use and has its creator's admin role.
        client_id: The service app's.
        private_key: Its private key, PEM.
        key_id: The `kid` of that key, where the app has several.
        dpop: Whether the app demands proof of possession.
        scopes: What to ask for; one that is not granted to the app fails the sign-in.
        days: How far the first read of the log goes back; Okta keeps 90 days.
        factors: Ask for every user's factors, one call a user, so that accounts say `has_mfa`.
    """

    domain: str
    api_token: SecretStr = SecretStr("")
    client_id: str = ""
    private_key: SecretStr = SecretStr("")
    key_id: str = ""
    dpop: bool = False
    scopes: tuple[str, ...] = SCOPES
    days: int = Field(default=60, ge=1, le=90)
    factors: bool = False

    @field_validator("domain")
    @classmethod
    def _is_a_host(cls, given: str) -> str:
        host = given.strip().lower().removeprefix("https://").rstrip("/")
        if not _HOST.fullmatch(host):
            raise ValueError("domain must be the org's host, like acme.okta.com")
        if re.search(r"-admin\.(okta|oktapreview)", host):
            raise ValueError("domain must be the org's host without -admin, like acme.okta.com")
        return host

    @model_validator(mode="after")
    def _has_one_sign_in(self) -> "Settings":
        token, key = self.api_token.get_secret_value(), self.private_key.get_secret_value()
        if bool(token) == bool(key):
            raise ValueError("give either api_token, or client_id and private_key")
        if key and not self.client_id:
            raise ValueError("private_key needs the client_id of its app")
        return self

    @property
    def address(self) -> str:
        """The org's address."""
        return self.endpoints.get("okta", f"https://{self.domain}").rstrip("/")

    def auth(self) -> Auth:
        """Sign in as the settings say; scopes of Okta's own API come from the org's server alone."""
        if token := self.api_token.get_secret_value():
            return Static(token, prefix="SSWS ")
        kid = {"kid": self.key_id} if self.key_id else {}
        return ClientCredentials(
            f"{self.address}/oauth2/v1/token", self.client_id, key=self.private_key.get_secret_value(),
            scope=" ".join(self.scopes), extra=kid, dpop=self.dpop,
        )  # fmt: skip

    def apis(self) -> dict[str, Api]:
        """Split the org's API as Okta's rate limits do; no more than ten calls at once in all.

        An org's real limits stand in each reply's headers; a token may use half of them by default.
        """
        auth, address = self.auth(), self.address
        return {name: Api(address, auth, {"calls": limit}) for name, limit in _LIMITS.items()}


_LIMITS: Final = {
    "okta": Limit(100, 60.0, at_once=1),
    "logs": Limit(60, 60.0, at_once=1),
    "users": Limit(300, 60.0, at_once=2),
    "user": Limit(1000, 60.0, at_once=3),
    "groups": Limit(250, 60.0, at_once=1),
    "group": Limit(500, 60.0, at_once=2),
}
Org: TypeAlias = Provider[Settings]
"""A connection to an org."""

"""How to reach an organization: settings, and the addresses and budgets that follow from them."""

from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import Field, SecretStr, model_validator

from ingest.provider import Api, Auth, JwtBearer, Limit, Static
from ingest.provider import Settings as ProviderSettings

HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
}

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?$", max_length=100)]
Number = Annotated[str, Field(pattern=r"^\w*$", coerce_numbers_to_str=True)]


class Settings(ProviderSettings, frozen=True):
    """Either a token, or a GitHub App installed on the organization (recommended).

    Attributes:
        organization: The organization's login.
        enterprise: The enterprise's slug: with a token its audit log is read instead of the organization's.
        host: `github.com`, an enterprise's `SUBDOMAIN.ghe.com` or an Enterprise Server's host name.
        token: A personal access token (classic) of an owner, or an OAuth token.
        app_id: The App's id or client id.
        private_key: The App's private key (PEM).
        installation_id: The App's installation on the organization.
        days: How far the first read of the audit log goes back; GitHub keeps 180 days, of git events 7.
        audit_log: Whether the organization has an audit log that may be read; unset: it is tried at sign-in.
            Without one, what webhooks bring is published.
    """

    organization: Name
    enterprise: str = Field("", pattern=r"^[A-Za-z0-9_-]*$")
    host: str = Field("github.com", pattern=r"^[A-Za-z0-9.-]+(:\d+)?$")
    token: SecretStr = SecretStr("")
    app_id: Number = ""
    private_key: SecretStr = SecretStr("")
    installation_id: Number = ""
    days: int = Field(7, ge=1, le=180)
    audit_log: bool | None = None

    @model_validator(mode="after")
    def _one_sign_in(self) -> Self:
        app = [bool(self.app_id), bool(self.private_key.get_secret_value()), bool(self.installation_id)]
        if bool(self.token.get_secret_value()) == any(app) or any(app) != all(app):
            raise ValueError("set either token, or all of app_id, private_key and installation_id")
        return self

    @property
    def as_app(self) -> bool:
        """Whether we sign in as a GitHub App."""
        return bool(self.app_id)

    @property
    def org(self) -> str:
        """The path of what is the organization's."""
        return f"/orgs/{self.organization}"

    @property
    def rest(self) -> str:
        """The REST API's address."""
        if "rest" in self.endpoints:
            return self.endpoints["rest"].rstrip("/")
        if self.host == "github.com" or self.host.endswith(".ghe.com"):
            return f"https://api.{self.host}"
        return f"https://{self.host}/api/v3"

    @property
    def graph(self) -> str:
        """The GraphQL API's address."""
        given = (self.endpoints.get("graphql") or self.rest.removesuffix("/v3")).rstrip("/")
        return given if given.endswith("/graphql") else f"{given}/graphql"

    @property
    def log(self) -> str:
        """The audit log to read; the enterprise's is closed to Apps."""
        if self.enterprise and not self.as_app:
            return f"/enterprises/{self.enterprise}/audit-log"
        return f"{self.org}/audit-log"


def apis(s: Settings) -> Mapping[str, Api]:
    """Name the addresses, sign-ins and budgets.

    The hourly limits are a person's, shared with all its other tools, or an installation's on Enterprise
    Cloud; the replies' headers correct them. Source: "Rate limits for the REST API", "Best practices".
    """
    hourly = 15_000 if s.as_app else 5_000
    rest = {
        "primary": Limit(hourly, 3600),
        "points": Limit(880, 60, at_once=20),
        "audit": Limit(1_700, 3600),
        "writes": Limit(1, 1),
    }
    graph = {"graph": Limit(10_000 if s.as_app else 5_000, 3600), "points": Limit(1_900, 60, at_once=5)}
    signed = _sign_in(s)
    found = {"rest": Api(s.rest, signed, rest), "graphql": Api(s.graph, signed, graph)}
    if s.as_app:
        own = JwtBearer("", s.private_key.get_secret_value(), {"iss": s.app_id})
        found["app"] = Api(s.endpoints.get("app", s.rest), own, {"points": Limit(60, 60, at_once=1)})
    return found


def _sign_in(s: Settings) -> Auth:
    if not s.as_app:
        return Static(s.token.get_secret_value())
    url = f"{s.endpoints.get('app', s.rest).rstrip('/')}/app/installations/{s.installation_id}/access_tokens"
    return JwtBearer(url, s.private_key.get_secret_value(), {"iss": s.app_id}, HEADERS, in_header=True)

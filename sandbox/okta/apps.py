"""Apps, who is assigned to them, and what people let apps do (consents and refresh tokens)."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from sandbox.okta import ids
from sandbox.okta.people import DAY, People

Json: TypeAlias = Any
LABELS = ("Mail", "Wiki", "Payroll", "Tracker", "Storage", "Chat", "CRM", "Build", "Metrics", "Shop")
MODES = ("SAML_2_0", "BOOKMARK", "OPENID_CONNECT")
SCOPES = ("openid", "offline_access", "profile")


class Apps:
    """Every third user of an app's own pattern is assigned; the OpenID apps also hold consents and tokens."""

    def __init__(self, people: People, size: int) -> None:
        self.people, self.size = people, max(3, size)
        self._changed: dict[tuple[int, int], str | None] = {}
        self._revoked: set[str] = set()

    def number(self, key: str) -> int | None:
        """The number of an app, None when there is none."""
        found = ids.number("0oa", key)
        return found if found is not None and found < self.size else None

    def label(self, index: int) -> str:
        """The name shown."""
        return f"{LABELS[index % len(LABELS)]} {index}"

    def get(self, index: int) -> Json:
        """An app as the API shows it, links apart."""
        mode, at = MODES[index % 3], ids.stamp(self.people.founded + DAY * (index % 90))
        key = ids.make("0oa", index)
        name = {"SAML_2_0": f"example_saml_{index}", "BOOKMARK": "bookmark", "OPENID_CONNECT": "oidc_client"}[
            mode
        ]
        settings: Json = {"app": {}}
        if mode == "BOOKMARK":
            settings = {"app": {"requestIntegration": False, "url": f"https://app{index}.example.com/"}}
        credentials: Json = {"userNameTemplate": {"template": "${source.login}", "type": "BUILT_IN"}}
        if mode == "OPENID_CONNECT":
            credentials["oauthClient"] = {
                "client_id": key,
                "token_endpoint_auth_method": "client_secret_basic",
            }
            settings = {"oauthClient": {"application_type": "web", "grant_types": ["authorization_code"],
                                        "redirect_uris": [f"https://app{index}.example.com/cb"]}}  # fmt: skip
        return {
            "id": key, "name": name, "label": self.label(index),
            "status": "INACTIVE" if index % 9 == 8 else "ACTIVE",
            "created": at, "lastUpdated": at, "signOnMode": mode, "features": [],
            "accessibility": {"selfService": False}, "credentials": credentials, "settings": settings,
            "visibility": {"autoSubmitToolbar": False, "hide": {"iOS": False, "web": False},
            "appLinks": {"login": True}},
        }  # fmt: skip

    def state(self, index: int, user: int) -> str | None:
        """How a user is assigned: USER, GROUP, or not at all."""
        if (index, user) in self._changed:
            return self._changed[index, user]
        if user >= self.people.seeded or (user + index) % 3:
            return None
        return "GROUP" if user % 4 == 1 else "USER"

    def users(self, index: int, start: int = 0) -> Iterator[int]:
        """Numbers of those assigned."""
        gone = {None, "DEPROVISIONED"}
        for user in range(start, self.people.size):
            if self.state(index, user) and self.people.field(user, "status") not in gone:
                yield user

    def of(self, user: int) -> list[int]:
        """The apps of a user."""
        if self.people.field(user, "status") in {None, "DEPROVISIONED"}:
            return []
        return [index for index in range(self.size) if self.state(index, user)]

    def assign(self, index: int, user: int, how: str | None) -> None:
        """Assign a user by itself (`USER`), or take the assignment away (None)."""
        self._changed[index, user] = how

    def clients(self, user: int) -> list[int]:
        """The OpenID apps that a user gave consent to."""
        if user >= self.people.seeded or user % 5 != 3:
            return []
        return [index for index in range(min(self.size, 9)) if MODES[index % 3] == "OPENID_CONNECT"]

    def grants(self, user: int) -> list[Json]:
        """Consents that a user gave, links apart."""
        made = [
            self._grant(user, index, scope) for index in self.clients(user) for scope in range(len(SCOPES))
        ]
        return [one for one in made if one["id"] not in self._revoked]

    def _grant(self, user: int, index: int, scope: int) -> Json:
        at = ids.stamp(self.people.founded + DAY * 250)
        owner = ids.make("00u", user)
        return {
            "id": ids.make("oag", (user * 64 + index) * 4 + scope), "status": "ACTIVE", "created": at,
            "createdBy": {"id": owner, "type": "User"}, "lastUpdated": at, "clientId": ids.make("0oa", index),
            "userId": owner, "scopeId": SCOPES[scope], "source": "END_USER",
        }  # fmt: skip

    def tokens(self, user: int, index: int) -> list[Json]:
        """Refresh tokens that an app holds for a user, links apart."""
        if index not in self.clients(user):
            return []
        at, owner = self.people.founded + DAY * 250, ids.make("00u", user)
        made = {
            "id": ids.make("oar", user * 64 + index), "status": "ACTIVE", "created": ids.stamp(at),
            "lastUpdated": ids.stamp(at), "expiresAt": ids.stamp(at + 400 * DAY), "userId": owner,
            "clientId": ids.make("0oa", index), "scopes": list(SCOPES[:2]),
        }  # fmt: skip
        return [] if made["id"] in self._revoked else [made]

    def revoke(self, *keys: str) -> None:
        """Let consents or tokens end."""
        self._revoked.update(keys)

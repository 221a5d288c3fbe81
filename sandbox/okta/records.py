"""System log events, field by field as `ListLogs` of the management API's description shows them."""

from collections.abc import Sequence
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

from sandbox.okta.catalogue import KINDS
from sandbox.okta.ids import make, stamp

Json: TypeAlias = Any
SYSTEM: Json = {
    "id": "00u0000000SystemOkta", "type": "SystemPrincipal", "alternateId": "system@okta.com",
    "displayName": "Okta System", "detailEntry": None,
}  # fmt: skip
CITIES = (
    ("Paris", "Ile-de-France", "France", "75001", 48.8566, 2.3522),
    ("Berlin", "Berlin", "Germany", "10115", 52.52, 13.405),
    ("Austin", "Texas", "United States", "73301", 30.2672, -97.7431),
    ("Tokyo", "Tokyo", "Japan", "100-0001", 35.6762, 139.6503),
)
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def person(user: Json) -> Json:
    """A user as actor or target."""
    profile = user["profile"]
    return {
        "id": user["id"], "type": "User", "alternateId": profile["login"],
        "displayName": f"{profile['firstName']} {profile['lastName']}", "detailEntry": None,
    }  # fmt: skip


def stranger(typed: str) -> Json:
    """Whoever failed to log in under a name that nobody has; what was typed stands there as it is."""
    return {
        "id": "unknown", "type": "User", "alternateId": typed, "displayName": "unknown", "detailEntry": None
    }  # fmt: skip


def thing(kind: str, key: str, name: str, alternate: str = "unknown") -> Json:
    """Any other target: AppInstance, UserGroup, Token, Hook, ROLE and so on."""
    return {"id": key, "type": kind, "alternateId": alternate, "displayName": name, "detailEntry": None}


class Records:
    """Makes events; the same seed makes the same ones."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance

    def make(
        self,
        kind: str,
        published: float,
        *,
        actor: Json,
        targets: Sequence[Json] = (),
        result: str = "SUCCESS",
        reason: str | None = None,
        session: str | None = None,
        debug: Json = None,
        transaction: Json = None,
    ) -> Json:
        """One event; KeyError when the catalogue has no such type."""
        about = KINDS[kind]
        who = session or "unknown"
        ip = f"192.0.2.{self.chance.randrange(1, 255)}"
        return {
            "actor": actor,
            "client": self._client(ip) if actor["type"] != "SystemPrincipal" else _NOBODY,
            "device": None,
            "authenticationContext": {**_CONTEXT, "rootSessionId": who, "externalSessionId": who},
            "displayMessage": about.message,
            "eventType": kind,
            "outcome": {"result": result, "reason": reason},
            "published": stamp(published),
            "securityContext": _NETWORK,
            "severity": about.severity if result != "FAILURE" else "WARN",
            "debugContext": {"debugData": {"requestUri": "/api/v1/authn", "requestId": self._word(),
            **(debug or {})}},
            "legacyEventType": None,
            "transaction": {"type": "WEB", "id": self._word(), "detail": {}, **(transaction or {})},
            "uuid": str(UUID(int=self.chance.getrandbits(128), version=4)),
            "version": "0",
            "request": {"ipChain": [{"ip": ip, "geographicalContext": None, "version": "V4",
            "source": None}]},
            "target": list(targets) or None,
        }  # fmt: skip

    def _client(self, ip: str) -> Json:
        city, state, country, post, latitude, longitude = self.chance.choice(CITIES)
        return {
            "userAgent": {"rawUserAgent": AGENT, "os": "Linux", "browser": "FIREFOX"},
            "zone": "null",
            "device": "Computer",
            "id": None,
            "ipAddress": ip,
            "geographicalContext": {
                "city": city, "state": state, "country": country, "postalCode": post,
                "geolocation": {"lat": latitude, "lon": longitude},
            },
        }  # fmt: skip

    def _word(self) -> str:
        return make("", self.chance.getrandbits(40))


_CONTEXT: Json = {
    "authenticationProvider": None, "credentialProvider": None, "credentialType": None, "issuer": None,
    "interface": None, "authenticationStep": 0,
}  # fmt: skip
_NETWORK: Json = {
    "asNumber": 64496, "asOrg": "example networks", "isp": "example networks", "domain": "example.net",
    "isProxy": False,
}  # fmt: skip
_NOBODY: Json = {
    "userAgent": None, "zone": None, "device": None, "id": None, "ipAddress": None,
    "geographicalContext": None
}  # fmt: skip

"""Factors that people enrolled for their second step."""

from typing import Any, TypeAlias
from zlib import crc32

from aiohttp import web

from sandbox.okta import ids
from sandbox.okta.call import Call, Route
from sandbox.okta.errors import Refused

Json: TypeAlias = Any
_KINDS = (("push", "OKTA"), ("token:software:totp", "GOOGLE"), ("webauthn", "FIDO"))


def _enrolled(call: Call, user: int) -> list[Json]:
    """Two of three users have one or two, until somebody resets them."""
    people = call.tenant.people
    if user in people.without_factors or people.field(user, "status") in {"STAGED", "PROVISIONED"}:
        return []
    at, count = people.field(user, "created"), crc32(f"factors {user}".encode()) % 3
    return [
        {
            "id": ids.make("ufs", user * 4 + place), "factorType": kind, "provider": vendor,
            "vendorName": vendor,
            "status": "ACTIVE", "created": at, "lastUpdated": at, "profile": {},
            "_links": {"user": call.href(f"/api/v1/users/{ids.make('00u', user)}")},
        }
        for place, (kind, vendor) in enumerate(_KINDS[:count])
    ]  # fmt: skip


async def listing(call: Call) -> web.Response:
    """The factors of a user."""
    call.only()
    return web.json_response(_enrolled(call, call.user()))


async def reset(call: Call) -> web.Response:
    """All enrolled factors are gone."""
    call.only("removeRecoveryEnrollment")
    user, people = call.user(), call.tenant.people
    if people.field(user, "status") in {"DEPROVISIONED", "STAGED"}:
        raise Refused("E0000038")
    people.without_factors.add(user)
    call.did("user.mfa.factor.reset_all", user)
    return web.json_response({})


_READ, _BUCKET = "okta.users.read", "/api/v1/users/{id}"
ROUTES = (
    Route("GET", "/api/v1/users/{user}/factors", listing, _READ, _BUCKET),
    Route("POST", "/api/v1/users/{user}/lifecycle/reset_factors", reset, "okta.users.manage", _BUCKET),
)

"""What admins do to people: each with its precondition, its effect, and the log event it causes."""

import secrets
from typing import Any, TypeAlias

from aiohttp import web

from sandbox.okta import ids
from sandbox.okta.api.users import shown
from sandbox.okta.call import Call, Route, empty, now_of
from sandbox.okta.errors import Refused

Json: TypeAlias = Any
_PASSWORD = {"STAGED", "ACTIVE", "LOCKED_OUT", "RECOVERY", "PASSWORD_EXPIRED"}


def _status(call: Call, user: int) -> str:
    return str(call.tenant.people.field(user, "status"))


def _set(call: Call, user: int, kind: str, **fields: Json) -> None:
    call.tenant.people.change(user, now_of(call), **fields)
    call.did(kind, user)


def _nothing() -> web.Response:
    return web.json_response({})


async def suspend(call: Call) -> web.Response:
    """Only an ACTIVE user can be suspended."""
    user = call.user()
    if _status(call, user) != "ACTIVE":
        raise Refused("E0000001", "suspendUser", causes=("Cannot suspend a user that is not active",))
    _set(call, user, "user.lifecycle.suspend", status="SUSPENDED")
    return _nothing()


async def unsuspend(call: Call) -> web.Response:
    """Only a SUSPENDED user can come back this way."""
    user = call.user()
    if _status(call, user) != "SUSPENDED":
        raise Refused("E0000001", "unsuspendUser", causes=("Cannot unsuspend a user that is not suspended",))
    _set(call, user, "user.lifecycle.unsuspend", status="ACTIVE")
    return _nothing()


async def unlock(call: Call) -> web.Response:
    """Only a LOCKED_OUT user can be unlocked."""
    user = call.user()
    if _status(call, user) != "LOCKED_OUT":
        raise Refused("E0000032")
    _set(call, user, "user.account.unlock_by_admin", status="ACTIVE")
    return _nothing()


async def activate(call: Call) -> web.Response:
    """STAGED or DEPROVISIONED users are activated; app assignments do not come back."""
    call.only("sendEmail")
    user, mail = call.user(), call.flag("sendEmail", default=True)
    if _status(call, user) == "ACTIVE":
        raise Refused("E0000016")
    if _status(call, user) not in {"STAGED", "DEPROVISIONED"}:
        raise Refused("E0000038")
    _set(call, user, "user.lifecycle.activate", status="PROVISIONED", activated=ids.stamp(now_of(call)))
    if mail:
        return _nothing()
    token = secrets.token_urlsafe(15)
    call.tenant.secrets.add(token)
    return web.json_response(
        {"activationUrl": f"{call.tenant.url}/welcome/{token}", "activationToken": token}
    )


async def deactivate(call: Call) -> web.Response:
    """Anyone but a DEPROVISIONED user; loses app assignments and admin roles, later if so asked."""
    call.only("sendEmail")
    user, tenant = call.user(), call.tenant
    call.flag("sendEmail", default=False)
    if _status(call, user) == "DEPROVISIONED" or "transitioningToStatus" in tenant.people.get(user):
        raise Refused("E0000038")
    if call.request.headers.get("Prefer") == "respond-async":
        tenant.people.change(user, now_of(call), transitioningToStatus="DEPROVISIONED")
        tenant.later(tenant.transition, lambda: _deprovision(call, user))
    else:
        _deprovision(call, user)
    return _nothing()


def _deprovision(call: Call, user: int) -> None:
    tenant = call.tenant
    for index in tenant.apps.of(user):
        tenant.apps.assign(index, user, None)
    tenant.roles.held.pop(ids.make("00u", user), None)
    tenant.people.drop(user, "transitioningToStatus")
    _set(call, user, "user.lifecycle.deactivate", status="DEPROVISIONED")


async def delete(call: Call) -> web.Response:
    """Deactivates at the first call, deletes at the second."""
    call.only("sendEmail")
    user = call.user()
    if _status(call, user) != "DEPROVISIONED":
        _deprovision(call, user)
        return empty()
    call.did("user.lifecycle.delete.initiated", user)
    call.tenant.people.remove(user, now_of(call))
    return empty()


async def expire_password(call: Call) -> web.Response:
    """The password has to be changed at the next login."""
    call.only()
    user = _with_password(call)
    _set(call, user, "user.account.expire_password", status="PASSWORD_EXPIRED")
    return web.json_response(shown(call, user))


async def temporary_password(call: Call) -> web.Response:
    """The same, with a temporary password in the answer."""
    call.only("revokeSessions")
    user, clear = _with_password(call), call.flag("revokeSessions", default=False)
    _set(call, user, "user.account.expire_password", status="PASSWORD_EXPIRED")
    if clear:
        call.did("user.session.clear", user)
    made = secrets.token_urlsafe(12)
    call.tenant.secrets.add(made)
    return web.json_response({"tempPassword": made})


def _with_password(call: Call) -> int:
    user = call.user()
    if _status(call, user) not in _PASSWORD:
        raise Refused("E0000038")
    return user


async def reset_password(call: Call) -> web.Response:
    """A one-time token by mail, or in the answer; the user is in RECOVERY until it is used."""
    call.only("sendEmail", "revokeSessions")
    mail, clear = call.flag("sendEmail", default=None), call.flag("revokeSessions", default=False)
    user = _with_password(call)
    if _status(call, user) == "STAGED":
        raise Refused("E0000017")
    _set(call, user, "user.account.reset_password", status="RECOVERY")
    if clear:
        call.did("user.session.clear", user)
    if mail:
        return _nothing()
    token = secrets.token_urlsafe(15)
    call.tenant.secrets.add(token)
    return web.json_response({"resetPasswordUrl": f"{call.tenant.url}/reset_password/{token}"})


async def clear_sessions(call: Call) -> web.Response:
    """All sessions at Okta end; OAuth tokens too when asked for."""
    call.only("oauthTokens", "forgetDevices")
    user, tokens = call.user(), call.flag("oauthTokens", default=False)
    call.flag("forgetDevices", default=True)
    if tokens:
        apps = call.tenant.apps
        apps.revoke(*(one["id"] for index in apps.clients(user) for one in apps.tokens(user, index)))
    call.did("user.session.clear", user)
    return empty()


_ONE, _BUCKET, _SCOPE = "/api/v1/users/{user}", "/api/v1/users/{id}", "okta.users.manage"
_VERBS = {
    "suspend": suspend, "unsuspend": unsuspend, "unlock": unlock, "activate": activate,
    "deactivate": deactivate,
    "expire_password": expire_password, "expire_password_with_temp_password": temporary_password,
    "reset_password": reset_password,
}  # fmt: skip
ROUTES = (
    *(Route("POST", f"{_ONE}/lifecycle/{verb}", handle, _SCOPE, _BUCKET) for verb, handle in _VERBS.items()),
    Route("DELETE", _ONE, delete, _SCOPE, _BUCKET),
    Route("DELETE", f"{_ONE}/sessions", clear_sessions, _SCOPE, _BUCKET),
)

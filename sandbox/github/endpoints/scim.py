"""Identities as the identity provider provisioned them: the organisation's, or a managed enterprise's.

Source: "REST API endpoints for SCIM" and "REST API endpoints for SCIM in an enterprise".
"""

import hashlib
import re

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, Refused, missing
from sandbox.github.call import Call, route
from sandbox.github.endpoints.members import leave
from sandbox.github.state import User
from sandbox.github.tenant import GitHubTenant

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_ORG, _ENTERPRISE = "/scim/v2/organizations/{org}/Users", "/scim/v2/enterprises/{enterprise}/Users"
_QUERY = ("startIndex", "count", "filter")
_FILTER = re.compile(r'(userName|externalId|id|emails) eq "?([^"]*)"?', re.IGNORECASE)
_SCOPES = ("admin:org", "scim:enterprise", "admin:enterprise")


@route("GET", _ORG, permission="members=read", scopes=_SCOPES, query=_QUERY, bucket="scim")
@route("GET", _ENTERPRISE, permission="no", only=("oauth",), scopes=_SCOPES, query=_QUERY, bucket="scim")
def list_users(tenant: GitHubTenant, call: Call) -> Answer:
    """Identities from a 1-based offset."""
    people = _people(tenant, call)
    if wanted := call.query.get("filter"):
        match = _FILTER.fullmatch(wanted.strip())
        if match is None:
            raise Refused(400, "Invalid filter")
        value = match[2].lower()
        people = [one for one in people if value in {one.scim, one.name_id.lower(), f"ext-{one.id}"}]
    start, count = call.number("startIndex", 1), min(call.number("count", 30), 100)
    shown = people[start - 1 : start - 1 + count]
    body = {
        "schemas": [LIST],
        "totalResults": len(people),
        "itemsPerPage": len(shown),
        "startIndex": start,
        "Resources": [_shape(call, one) for one in shown],
    }
    return Answer(body, media="application/scim+json")


@route("GET", _ORG + "/{scim_user_id}", permission="members=read", scopes=_SCOPES, bucket="scim")
@route(
    "GET", _ENTERPRISE + "/{scim_user_id}", permission="no", only=("oauth",), scopes=_SCOPES, bucket="scim"
)
def show_user(tenant: GitHubTenant, call: Call) -> Answer:
    """One identity."""
    return Answer(_shape(call, _identity(tenant, call)), media="application/scim+json")


@route("PATCH", _ORG + "/{scim_user_id}", permission="members=write", scopes=_SCOPES, bucket="scim")
@route(
    "PATCH", _ENTERPRISE + "/{scim_user_id}", permission="no", only=("oauth",), scopes=_SCOPES, bucket="scim"
)
def change_user(tenant: GitHubTenant, call: Call) -> Answer:
    """Set active: suspend in an enterprise; in an organisation end membership and identity."""
    one, active = _identity(tenant, call), _active(call)
    if active is None or active == one.active:
        return Answer(_shape(call, one), media="application/scim+json")
    if "org" in call.params and not active:
        if tenant.org.admins() == [one.id]:
            raise Refused(403, "The last owner cannot be removed.")
        if one.id in tenant.org.members:
            leave(tenant, one, call.caller.login, "scim")
        gone = _shape(call, one) | {"active": False}
        one.scim = ""
        return Answer(gone, media="application/scim+json")
    _suspend(tenant, one, call.caller.login, active=active)
    return Answer(_shape(call, one), media="application/scim+json")


def _suspend(tenant: GitHubTenant, one: User, actor: str, *, active: bool) -> None:
    """Suspend a managed user, whose login and address are obfuscated until the end of it."""
    one.active = active
    tenant.happen(f"user.{'unsuspend' if active else 'suspend'}", actor, business=True, **tenant.about(one))
    if active:
        tenant.org.rename(one, *one.parked)
        return
    tenant.access.revoke_all(login=one.login)
    one.parked = (one.login, one.email)
    hidden = hashlib.sha256(one.login.encode()).hexdigest()[:24]
    tenant.org.rename(one, hidden, f"{hidden}@users.noreply.github.com")


def _active(call: Call) -> bool | None:
    given = call.given()
    operations = given.get("Operations")
    if not isinstance(operations, list) or not operations:
        raise Refused(400, "Operations is required")
    for one in operations:
        if not isinstance(one, dict) or str(one.get("op", "")).lower() not in {"add", "remove", "replace"}:
            raise Refused(400, "Invalid operation")
        value = one.get("value")
        if one.get("path") == "active":
            return str(value).lower() == "true"
        if isinstance(value, dict) and "active" in value:
            return bool(value["active"])
    return None


def _people(tenant: GitHubTenant, call: Call) -> list[User]:
    org = tenant.org
    if "enterprise" in call.params and not org.managed:
        raise missing()
    if "org" in call.params and not org.saml:
        raise missing()
    return [one for one in org.users.values() if one.scim]


def _identity(tenant: GitHubTenant, call: Call) -> User:
    wanted = call.params["scim_user_id"]
    found = next((one for one in _people(tenant, call) if one.scim == wanted), None)
    if found is None:
        raise missing()
    return found


def _shape(call: Call, one: User) -> Json:
    given, _, family = one.name.partition(" ")
    stamp = shapes.moment(one.created)
    return {
        "schemas": [USER],
        "id": one.scim,
        "externalId": f"ext-{one.id}",
        "userName": one.name_id,
        "displayName": one.name,
        "name": {"givenName": given, "familyName": family, "formatted": one.name},
        "emails": [{"value": one.email, "type": "work", "primary": True}],
        "active": one.active,
        "meta": {
            "resourceType": "User",
            "created": stamp,
            "lastModified": stamp,
            "location": f"{call.base}{call.path.removesuffix('/' + one.scim)}/{one.scim}",
        },
    }

"""The part of GitHub's graph that tells who members are: identities of SAML and SCIM, verified addresses.

Source: GitHub's public GraphQL schema; "Rate limits and node limits for the GraphQL API". Errors come
with HTTP 200.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sandbox.github import shapes
from sandbox.github.answers import Json, Refused
from sandbox.github.call import Call
from sandbox.github.paging import cursor, position
from sandbox.github.query import Field
from sandbox.github.schema import CONNECTIONS, NODES, SCHEMA
from sandbox.github.state import User
from sandbox.github.tenant import GitHubTenant

Path: TypeAlias = list[str | int]


class Fault(Exception):
    """An error of one field: its kind and text."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


@dataclass(slots=True)
class Thing:
    """A node of the graph: the type and what its fields are worked out from."""

    kind: str
    value: Json = None


def check(fields: Sequence[Field], kind: str = "Query", factor: int = 1) -> tuple[int, int]:
    """How many requests and nodes a query is worth; a Fault for a field that the schema lacks."""
    requests = nodes = 0
    for one in fields:
        if one.name == "__typename":
            continue
        if one.on not in {"", kind, "Node"}:
            continue
        if one.name not in SCHEMA[kind]:
            raise Fault("undefinedField", f"Field '{one.name}' doesn't exist on type '{kind}'")
        target = SCHEMA[kind][one.name]
        if bool(target) != bool(one.fields):
            raise Fault(
                "selectionMismatch", f"Field '{one.name}' must {'' if target else 'not '}have a selection"
            )
        inner = factor
        if one.name in CONNECTIONS:
            inner = factor * _first(one)
            requests, nodes = requests + factor, nodes + inner
        if target:
            more = check(one.fields, target, inner)
            requests, nodes = requests + more[0], nodes + more[1]
    if nodes > NODES:
        raise Fault("MAX_NODE_LIMIT_EXCEEDED", f"This query requests up to {nodes} nodes, more than {NODES}.")
    return requests, nodes


def _first(one: Field) -> int:
    size = one.arguments.get("first", one.arguments.get("last"))
    if not isinstance(size, int):
        raise Fault(
            "MISSING_PAGINATION_BOUNDARIES",
            f"You must provide a `first` or `last` value to properly paginate the `{one.name}` connection.",
        )
    if not 1 <= size <= 100:
        raise Fault(
            "EXCESSIVE_PAGINATION",
            f"Requesting {size} records on the `{one.name}` connection exceeds the `first` limit of 100"
            " records.",
        )
    return size


@dataclass(slots=True)
class Run:
    """One query being answered: the errors so far."""

    tenant: GitHubTenant
    call: Call
    rate: Json
    errors: list[Json] = field(default_factory=list)

    def select(self, thing: Thing, fields: Sequence[Field], path: Path) -> Json:
        """The asked fields of a node."""
        shown: dict[str, Json] = {}
        for one in fields:
            if one.on and one.on not in {thing.kind, "Node"}:
                continue
            here: Path = [*path, one.alias]
            try:
                found = thing.kind if one.name == "__typename" else self._field(thing, one)
                shown[one.alias] = self._show(found, one, here)
            except Fault as fault:
                shown[one.alias] = None
                self.errors.append({"type": fault.kind, "path": here, "message": fault.message})
        return shown

    def _show(self, found: Json, one: Field, path: Path) -> Json:
        if isinstance(found, Thing):
            if found.kind == "User" and found.value.id in self.tenant.forbidden:
                raise Fault(
                    "FORBIDDEN",
                    "Although you appear to have the correct authorization credentials, access is denied.",
                )
            return self.select(found, one.fields, path)
        if isinstance(found, list) and one.fields:
            shown: list[Json] = []
            for number, entry in enumerate(found):
                try:
                    shown.append(self._show(entry, one, [*path, number]))
                except Fault as fault:
                    shown.append(None)
                    self.errors.append(
                        {"type": fault.kind, "path": [*path, number], "message": fault.message}
                    )
            return shown
        return found

    def _field(self, thing: Thing, one: Field) -> Json:
        match thing.kind:
            case "Query":
                return self._top(one)
            case "Organization" if one.name in {"samlIdentityProvider", "membersWithRole"}:
                return self._of_organization(one)
            case "EnterpriseOwnerInfo":
                return Thing("EnterpriseIdentityProvider", {"id": "E1"}) if self.tenant.org.managed else None
            case "OrganizationIdentityProvider" | "EnterpriseIdentityProvider" if (
                one.name == "externalIdentities"
            ):
                return self._identities(one)
            case "User":
                return self._user(thing.value, one)
            case _:
                return thing.value.get(one.name)

    def _top(self, one: Field) -> Json:
        org = self.tenant.org
        login = str(one.arguments.get("login", one.arguments.get("slug", "")))
        match one.name:
            case "rateLimit":
                return Thing("RateLimit", self.rate)
            case "organization" if login.lower() == org.login.lower():
                url = f"{shapes.WEB}/{org.login}"
                told = {
                    "id": shapes.node("Organization", org.id),
                    "databaseId": org.id,
                    "login": org.login,
                    "name": org.login,
                    "url": url,
                }
                return Thing("Organization", told)
            case "enterprise" if login == org.enterprise and self.call.caller.kind == "oauth":
                info = Thing("EnterpriseOwnerInfo", {})
                told = {
                    "id": "E1",
                    "databaseId": org.enterprise_id,
                    "slug": login,
                    "name": login,
                    "ownerInfo": info,
                }
                return Thing("Enterprise", told)
            case "viewer" | "user":
                found = org.user(login or self.call.caller.login)
                if found is not None:
                    return Thing("User", found)
            case _:
                pass
        kind = SCHEMA["Query"][one.name]
        raise Fault(
            "NOT_FOUND",
            f"Could not resolve to a{'n' if kind[0] in 'OE' else ''} {kind} with the login of '{login}'.",
        )

    def _of_organization(self, one: Field) -> Json:
        org, caller = self.tenant.org, self.call.caller
        if one.name == "membersWithRole":
            if not ({"read:org"} & caller.scopes or "members" in caller.permissions):
                raise Fault("FORBIDDEN", "Resource not accessible by integration")
            people = [Thing("User", org.users[number]) for number in org.members]
            return self._connection(one, "OrganizationMember", people, lambda t: str(t.value.id))
        if not (
            {"admin:org"} & caller.scopes
            or {"members", "organization_administration"} & set(caller.permissions)
        ):
            raise Fault(
                "INSUFFICIENT_SCOPES", "Your token has not been granted the required scopes: 'admin:org'."
            )
        told = {"id": "IP1", "ssoUrl": "https://idp.example/sso", "issuer": "https://idp.example"}
        return Thing("OrganizationIdentityProvider", told) if org.saml else None

    def _identities(self, one: Field) -> Thing:
        org, asked = self.tenant.org, one.arguments
        people = [user for user in org.users.values() if user.guid and user.name_id]
        if asked.get("membersOnly"):
            people = [user for user in people if user.id in org.members]
        if asked.get("login"):
            people = [user for user in people if user.login.lower() == str(asked["login"]).lower()]
        if asked.get("userName"):
            people = [user for user in people if user.name_id.lower() == str(asked["userName"]).lower()]
        return self._connection(
            one, "ExternalIdentity", [self._identity(u) for u in people], lambda t: str(t.value["guid"])
        )

    def _identity(self, one: User) -> Thing:
        """An identity; `user` is null as long as nobody linked it to an account."""
        given, _, family = one.name.partition(" ")
        mails = [Thing("UserEmailMetadata", {"primary": True, "type": "work", "value": one.email})]
        told = {
            "nameId": one.name_id,
            "username": one.name_id,
            "givenName": given,
            "familyName": family,
            "emails": mails,
        }
        linked = one.id in self.tenant.org.members
        return Thing(
            "ExternalIdentity",
            {
                "id": shapes.node("ExternalIdentity", one.id),
                "guid": one.guid,
                "samlIdentity": Thing("ExternalIdentitySamlAttributes", told),
                "scimIdentity": Thing("ExternalIdentityScimAttributes", told) if one.scim else None,
                "user": Thing("User", one) if linked else None,
            },
        )

    def _connection(self, one: Field, kind: str, things: list[Thing], key: Callable[[Thing], str]) -> Thing:
        size, start = _first(one), 0
        if after := one.arguments.get("after"):
            keys = [key(thing) for thing in things]
            try:
                place = position(str(after))[0]
            except Refused:
                raise Fault("INVALID_CURSOR_ARGUMENTS", f"`{after}` is not a valid cursor.") from None
            start = keys.index(place) + 1 if place in keys else len(keys)
        if "last" in one.arguments and "first" not in one.arguments:
            start = max(start, len(things) - size)
        shown = things[start : start + size]
        cursors = [cursor(key(thing)) for thing in shown]
        edges = [
            Thing(f"{kind}Edge", {"cursor": c, "node": t, **self._edge(t)})
            for c, t in zip(cursors, shown, strict=True)
        ]
        info = {
            "hasNextPage": start + size < len(things),
            "hasPreviousPage": start > 0,
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        }
        told = {
            "totalCount": len(things),
            "pageInfo": Thing("PageInfo", info),
            "nodes": shown,
            "edges": edges,
        }
        return Thing(f"{kind}Connection", told)

    def _edge(self, thing: Thing) -> Json:
        if thing.kind != "User":
            return {}
        return {
            "role": self.tenant.org.members[thing.value.id].upper(),
            "hasTwoFactorEnabled": thing.value.two_factor,
        }

    def _user(self, user: User, one: Field) -> Json:
        org = self.tenant.org
        if one.name == "organizationVerifiedDomainEmails":
            own = str(one.arguments.get("login", "")).lower() == org.login.lower()
            return [user.email] if own and user.id in org.members and user.email else []
        told = {
            "id": shapes.node("User", user.id),
            "databaseId": user.id,
            "login": user.login,
            "name": user.name,
            "email": "",
            "url": f"{shapes.WEB}/{user.login}",
            "createdAt": shapes.moment(user.created),
        }
        return told[one.name]

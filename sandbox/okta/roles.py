"""Admin roles: who has which, and what each allows."""

from collections.abc import Callable
from itertools import count
from typing import Any, TypeAlias

from sandbox.okta import ids

Json: TypeAlias = Any
LABELS = {
    "SUPER_ADMIN": "Super Administrator",
    "ORG_ADMIN": "Organization Administrator",
    "USER_ADMIN": "Group Administrator",
    "HELP_DESK_ADMIN": "Help Desk Administrator",
    "READ_ONLY_ADMIN": "Read-only Administrator",
    "REPORT_ADMIN": "Report Administrator",
    "APP_ADMIN": "Application Administrator",
    "GROUP_MEMBERSHIP_ADMIN": "Group Membership Administrator",
    "API_ACCESS_MANAGEMENT_ADMIN": "API Access Management Administrator",
    "CUSTOM": "Session auditor",
}
CUSTOM_ROLE, RESOURCE_SET = ids.make("cr0", 1), ids.make("iam", 1)
_READERS = {
    "users",
    "groups",
    "apps",
    "logs",
    "roles",
    "orgs",
    "appGrants",
    "eventHooks",
    "apiTokens",
    "logStreams",
}
_ALLOWED: dict[str, Callable[[str, bool], bool]] = {
    "SUPER_ADMIN": lambda _area, _manage: True,
    "ORG_ADMIN": lambda area, manage: area not in {"roles", "eventHooks", "apiTokens"} or not manage,
    "READ_ONLY_ADMIN": lambda area, manage: area in _READERS and not manage,
    "REPORT_ADMIN": lambda area, manage: area in {"logs", "orgs"} and not manage,
    "USER_ADMIN": lambda area, manage: area in {"users", "groups"} or (area == "orgs" and not manage),
    "HELP_DESK_ADMIN": lambda area, manage: area == "users" or (area in {"groups", "orgs"} and not manage),
    "APP_ADMIN": lambda area, manage: (
        area in {"apps", "appGrants"} or (area in {"users", "groups", "orgs"} and not manage)
    ),
    "GROUP_MEMBERSHIP_ADMIN": lambda area, manage: (
        area == "groups" or (area in {"users", "orgs"} and not manage)
    ),
    "API_ACCESS_MANAGEMENT_ADMIN": lambda area, manage: area in {"apps", "appGrants"} or not manage,
    "CUSTOM": lambda area, manage: area in {"logs", "orgs", "users"} and not manage,
}


def allows(role: str, scope: str) -> bool:
    """Whether a role suffices for what a scope (`okta.users.read`) is about."""
    _, area, verb = scope.split(".")
    return _ALLOWED[role](area, verb == "manage")


class Roles:
    """Assignments by principal: a user's, group's or client's id."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._numbers = now, count(1)
        self.held: dict[str, dict[str, Json]] = {}

    def assign(self, principal: str, role: str, kind: str = "USER") -> Json:
        """Give a role; returns the assignment as the API shows it, links apart."""
        at = ids.stamp(self._now())
        made = {
            "id": ids.make({"USER": "ra1", "GROUP": "grA", "CLIENT": "irb"}[kind], next(self._numbers)),
            "label": LABELS[role], "type": role, "status": "ACTIVE", "created": at, "lastUpdated": at,
            "assignmentType": kind,
        }  # fmt: skip
        if role == "CUSTOM":
            made |= {"role": CUSTOM_ROLE, "resource-set": RESOURCE_SET}
        self.held.setdefault(principal, {})[made["id"]] = made
        return made

    def of(self, principal: str) -> list[Json]:
        """A principal's own assignments."""
        return list(self.held.get(principal, {}).values())

    def revoke(self, principal: str, assignment: str) -> Json | None:
        """Take one away; None when there is none."""
        mine = self.held.get(principal, {})
        gone = mine.pop(assignment, None)
        if not mine:
            self.held.pop(principal, None)
        return gone

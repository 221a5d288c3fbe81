"""What the sign-in may do: each capability's cheapest call, and the scope it lacks."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

from ingest.provider import Capability, Grant, Json, NotAllowed
from ingest.providers.okta.reads import stamp
from ingest.providers.okta.settings import Org

_Call = tuple[str, str, dict[str, Json], str]

_USERS: Final[_Call] = ("users", "/api/v1/users", {"limit": 1}, "okta.users.read")
_GROUPS: Final[_Call] = ("groups", "/api/v1/groups", {"limit": 1}, "okta.groups.read")
_ROLES: Final[_Call] = ("okta", "/api/v1/iam/assignees/users", {"limit": 1}, "okta.roles.read")
_APPS: Final[_Call] = ("okta", "/api/v1/apps", {"limit": 1}, "okta.apps.read")
_HOOKS: Final[_Call] = ("okta", "/api/v1/eventHooks", {}, "okta.eventHooks.manage")
_ROLE: Final = "scopes say what, an admin role on whom: the app needs both"
_MANAGE: Final = ("okta.users.manage", "okta.groups.manage", "okta.roles.manage", "okta.apps.manage")


async def read_grants(p: Org) -> AsyncIterator[Grant]:
    """Say of each capability what is missing; a call that several need is made once."""
    tried: dict[str, str] = {}

    async def lack(call: _Call) -> str:
        api, path, params, scope = call
        if scope not in tried:
            try:
                await p.http.call(api, "GET", path, params=params)
                tried[scope] = ""
            except NotAllowed:
                tried[scope] = scope
        return tried[scope]

    since = stamp(datetime.now(UTC) - timedelta(minutes=5))
    log: _Call = ("logs", "/api/v1/logs", {"limit": 1, "since": since}, "okta.logs.read")
    pushed = "" if not await lack(_HOOKS) else "without okta.eventHooks.manage the log is polled only"
    app = bool(p.settings.client_id)
    rows: tuple[tuple[Capability, tuple[_Call, ...], str], ...] = (
        ("accounts", (_USERS,), ""), ("groups", (_GROUPS,), ""), ("privileges", (_ROLES, _APPS), ""),
        ("logons", (log,), pushed), ("user_activity", (log,), pushed), ("admin_activity", (log,), pushed),
    )  # fmt: skip
    for capability, calls, note in rows:
        missing = tuple([found for call in calls if (found := await lack(call))])
        yield Grant(capability, missing, _ROLE if missing and app else note)
    # Changes are not tried out: of an app the scopes asked for are known, of a token nothing is.
    wanted = tuple(one for one in _MANAGE if one not in p.settings.scopes) if app else ()
    unread = (found,) if (found := await lack(_USERS)) else ()
    yield Grant(
        "user_governance", (*unread, *wanted), "changes are not tried out: grant what the README names"
    )

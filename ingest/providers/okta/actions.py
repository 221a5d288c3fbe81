"""Everything that can be done about an Okta user."""

from typing import Any, Final

from ingest.provider import Action
from ingest.providers.okta.access_actions import RemoveAdminRole, RemoveFromGroup, RevokeGrants, UnassignApp
from ingest.providers.okta.lifecycle_actions import (
    ClearSessions,
    DeactivateUser,
    ExpirePassword,
    ResetFactors,
    ResetPassword,
    SuspendUser,
    UnlockUser,
    UnsuspendUser,
)

ACTIONS: Final[tuple[Action[Any], ...]] = (
    SuspendUser(), UnsuspendUser(), ClearSessions(), ExpirePassword(), ResetPassword(), ResetFactors(),
    UnlockUser(), DeactivateUser(), RemoveFromGroup(), RemoveAdminRole(), RevokeGrants(), UnassignApp(),
)  # fmt: skip

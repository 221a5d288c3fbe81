"""Everything that can be done about an Okta user."""

from typing import Any, Final

from ingest.provider import Action
from ingest.providers.okta.access_actions import RemoveAdminRole, RemoveFromGroup, RevokeGrants, UnassignApp
from ingest.providers.okta.lifecycle_actions import LIFECYCLE, ClearSessions, ResetFactors

ACTIONS: Final[tuple[Action[Any], ...]] = (
    *LIFECYCLE, ClearSessions(), ResetFactors(), RemoveFromGroup(), RemoveAdminRole(), RevokeGrants(),
    UnassignApp(),
)  # fmt: skip

"""What can be done in GitHub: to members and collaborators, to apps and tokens."""

from typing import TYPE_CHECKING, Final

from ingest.provider import Action
from ingest.providers.github.app_actions import RemoveApp, RevokeCredential, RevokeToken, SuspendApp
from ingest.providers.github.user_actions import (
    BlockUser,
    DemoteMember,
    RemoveMember,
    RemoveOutsider,
    RemoveRepositoryCollaborator,
    SuspendUser,
    UnblockUser,
)

if TYPE_CHECKING:
    from ingest.providers.github import GitHub

ACTIONS: Final[tuple[Action["GitHub"], ...]] = (
    RemoveMember(),
    DemoteMember(),
    BlockUser(),
    UnblockUser(),
    RemoveOutsider(),
    RemoveRepositoryCollaborator(),
    SuspendUser(),
    RevokeCredential(),
    RevokeToken(),
    SuspendApp(),
    RemoveApp(),
)

"""What can be done in AWS: to objects, to what they are shared with, to users."""

from typing import TYPE_CHECKING, Final

from ingest.provider import Action
from ingest.providers.aws.object_actions import Delete, Quarantine, Restore, Trash
from ingest.providers.aws.sharing_actions import MakePrivate, RemovePublicAcl, RemovePublicPolicy
from ingest.providers.aws.user_actions import ForcePasswordReset, RevokeSessions, SuspendUser

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

ACTIONS: Final[tuple[Action["Aws"], ...]] = (
    Quarantine(), Restore(), Trash(), Delete(), RemovePublicAcl(), RemovePublicPolicy(), MakePrivate(),
    SuspendUser(), RevokeSessions(), ForcePasswordReset(),
)  # fmt: skip

"""What really happened: the record that a judge compares with what was collected."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One thing that was done.

    `id` is the `_document_id` in the audit log ("" where it has no entry), `guid` the X-GitHub-Delivery of
    its webhook ("" without), `time` the seconds since 1970 at which it happened, `visible` those from
    which the audit log shows it; `git` and `business` say that only include=git or the enterprise's log
    has it.
    """

    id: str
    guid: str
    time: float
    visible: float
    action: str
    actor: str
    actor_id: int
    git: bool = False
    business: bool = False

"""What a command is about: which record it goes on with, and whether it may at all."""

from typing import NamedTuple

from consumers.governance import verdicts
from consumers.governance.ledger import UNDO_MS, Ledger
from consumers.governance.verdicts import Verdict
from schemas.control import ActionRecord, Command, Policy, Wish

_UNDOABLE = frozenset({"done", "failed", "unknown", "intent"})


class Subject(NamedTuple):
    """The record a command works on, and for an undo the one it takes back."""

    record: ActionRecord
    undoing: ActionRecord | None = None

    @property
    def command(self) -> Command:
        """The command that names action and target."""
        return self.undoing.command if self.undoing else self.record.command

    @property
    def begun(self) -> bool:
        """Whether something may have been changed already."""
        return self.record.state == "intent"


def subject(command: Command, ledger: Ledger, now: int) -> Subject | Verdict:
    """Find what a command is about, or say why there is nothing to do it with."""
    mine = ledger.get(command.id) or ActionRecord(command=command, state="")
    if command.kind == "do":
        return Subject(mine) if command.target else verdicts.refused("the command names no target")
    original = ledger.get(command.of)
    if original is not None and original.command.kind == "approve":
        original = ledger.get(original.command.of)
    if original is None:
        return verdicts.refused(
            f"nothing is known of {command.of or 'a command without a name'} here: "
            "check the id and the connector; what is older than 30 days is forgotten"
        )
    if command.kind == "approve":
        return _approved(command, original)
    if mine.state == "intent":
        return Subject(mine, original)
    return _undone(mine, original, now)


def _approved(command: Command, original: ActionRecord) -> Subject | Verdict:
    if original.state == "intent" and original.by == command.id:
        return Subject(original)
    if original.state != "held":
        return verdicts.refused(f"{command.of} does not wait for approval: it is {original.state}")
    return Subject(original.model_copy(update={"by": command.id}))


def _undone(mine: ActionRecord, original: ActionRecord, now: int) -> Subject | Verdict:
    name = original.command.id
    if original.state == "undone":
        return verdicts.Verdict("already", verdicts.SUCCESS, f"{name} is undone already")
    if original.command.kind != "do" or original.before is None or original.state not in _UNDOABLE:
        return verdicts.refused(f"{name} changed nothing ({original.state}): there is nothing to undo")
    if now - original.at > UNDO_MS:
        return verdicts.refused(f"{name} is older than 30 days: its prior state is no longer kept")
    return Subject(mine, original)


def barrier(
    command: Command, it: Subject, wish: Wish | None, policies: dict[str, Policy], partition: int
) -> str:
    """Tell what stands in a command's way now, or nothing."""
    if wish is None or wish.removing or not wish.enabled:
        gone = wish is None or wish.removing
        return f"{command.connector} is {'not connected' if gone else 'disabled'}"
    if wish.partition != partition:
        return f"the command lies in partition {partition}, the connector in {wish.partition}: send it again"
    known = it.undoing or it.record
    policy = policies.get(command.policy)
    if known.instance and known.instance != wish.instance:
        return f"{command.connector} is connected to another account by now"
    if command.kind == "do" and command.policy and not it.begun:
        lifted = policy is None or policy.dry_run > command.dry_run
        return f"the policy {command.policy} does not ask for it any more" if lifted else ""
    return ""

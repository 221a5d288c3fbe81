"""From a command to its end: may it be done, by which provider, within which cap, and what is remembered."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from consumers.governance import verdicts
from consumers.governance.act import Attempt
from consumers.governance.ledger import Ledger, run_key, strings
from consumers.governance.means import Means
from consumers.governance.patience import Patience
from consumers.governance.subjects import Subject, barrier, subject
from consumers.governance.verdicts import AGAIN, Verdict
from consumers.run import Commit
from ingest.errors import Refused
from ingest.producing import Outgoing
from ingest.provider import Action, Json, Provider, Ref, Step
from schemas.control import ActionRecord, ActionRun, Command, Wish

_LARGEST: Final = 900_000
"""Bytes of a record; what the broker refused would be no intent at all."""


class End(NamedTuple):
    """What a command came to: `about` names action and target, `keep` is what to remember, by key."""

    verdict: Verdict
    about: Command
    action: Action[Any] | None
    before: Json
    keep: Mapping[str, ActionRecord]


class Carrier:
    """Carries out the commands of one partition; `commit` makes intents durable."""

    def __init__(
        self, partition: int, means: Means, ledger: Ledger, patience: Patience, commit: Commit
    ) -> None:
        self._partition, self._means, self._ledger = partition, means, ledger
        self._patience, self._commit = patience, commit

    async def carry(self, command: Command) -> End:
        """Bring a command to its end.

        Raises:
            Retry: Try again later; a bounded number of times for each command.
            StoppedError: The partition was handed over.
        """
        found = subject(command, self._ledger, self._means.tempo.now())
        if not isinstance(found, Subject):
            return self._stopped(command, command, found)
        if stop := self._stop(command, found):
            verdict = verdicts.unknown(stop) if found.begun else verdicts.skipped(stop)
            return self._stopped(command, found.command, verdict, found)
        wish = self._means.directory.wishes[command.connector]
        async with AsyncExitStack() as stack:
            try:
                provider = await stack.enter_async_context(self._means.providers.use(command.connector))
            except AGAIN as error:
                self._patience.again(command.id, error)
                verdict = verdicts.failed(error)
            except Exception as error:  # noqa: BLE001 a connector that does not work is an outcome
                verdict = verdicts.failed(error)
            else:
                return await self._try(command, found, provider, wish)
        if found.begun:
            verdict = verdicts.unknown(verdict.why)
        return self._stopped(command, found.command, verdict, found)

    def _stop(self, command: Command, it: Subject) -> str:
        wish = self._means.directory.wishes.get(command.connector)
        gate = f"gate/{command.id}"
        if stop := barrier(command, it, wish, self._means.book.policies, self._partition):
            self._patience.wait(gate, stop)
            return stop
        self._patience.forget(gate)
        return self._ledger.barred(command) if command.kind == "do" and not it.begun else ""

    async def _try(self, command: Command, it: Subject, provider: Provider[Any], wish: Wish) -> End:
        about = it.command
        action = next((one for one in provider.actions if one.name == about.action), None)
        if action is None or about.target is None:
            verdict = verdicts.refused(
                f"{provider.name} has no action {about.action!r}", verdicts.UNSUPPORTED
            )
            return self._stopped(command, about, verdict, it)
        meant = (command.irreversible or about.irreversible) and not about.policy
        if action.irreversible and not (command.dry_run or it.undoing or meant):
            verdict = verdicts.refused(
                f"{action.name} can't be undone: say `--irreversible` if that is meant"
            )
            return self._stopped(command, about, verdict, it, action)
        attempt = self._attempt(command, it, provider, action, Ref(**about.target.model_dump()), wish)
        try:
            verdict = await attempt.run()
        except AGAIN as error:
            self._patience.again(command.id, error)
            verdict = await attempt.give_up(error)
        return self._ended(command, it, attempt, verdict)

    def _attempt(
        self, command: Command, it: Subject, provider: Provider[Any], action: Action[Any], target: Ref,
        wish: Wish,
    ) -> Attempt:  # fmt: skip
        about = it.command
        day = datetime.fromtimestamp(self._means.tempo.now() / 1000, UTC).date().isoformat()
        run = run_key(about, day) if about.cap > 0 and it.undoing is None else ""

        def allow(steps: Sequence[Step]) -> Verdict | None:
            counted = self._ledger.runs.get(run)
            if not run or command.kind == "approve" or counted is None or counted.count < about.cap:
                return None
            return verdicts.held(steps, about.cap, about.id)

        async def save(record: ActionRecord) -> None:
            await self._save(record, run)

        record = it.record.model_copy(update={"instance": wish.instance})
        return Attempt(
            provider, action, target, about.options or {}, record, save, self._means.tempo, it.undoing,
            command.dry_run, allow,
        )  # fmt: skip

    async def _save(self, record: ActionRecord, run: str) -> None:
        """Make an intent durable; the first one of a command counts for its run, in the same transaction.

        Raises:
            StoppedError: The partition was handed over.
            Refused: The state is too large for a record.
        """
        key = record.command.id
        before = self._ledger.get(key)
        out = [Outgoing("actions", self._partition, key.encode(), record.dump())]
        if out[0].size > _LARGEST:
            raise Refused("its state is too large to be kept, so it could not be undone")
        counted = None
        if run and (before is None or before.state != "intent"):
            count = self._ledger.runs[run].count if run in self._ledger.runs else 0
            counted = ActionRun(count=count + 1, at=self._means.tempo.now())
            out.append(Outgoing("actions", self._partition, run.encode(), counted.dump()))
        await self._commit(out)
        self._ledger.put(key, record)
        if counted is not None:
            self._ledger.put_run(run, counted)

    def _stopped(
        self, command: Command, about: Command, verdict: Verdict, it: Subject | None = None,
        action: Action[Any] | None = None,
    ) -> End:  # fmt: skip
        """End a command that did not get to the provider; one found half done is no longer under way."""
        keep = {command.id: self._final(ActionRecord(command=command, state=""), verdict)}
        if it is not None and it.begun:
            keep[it.record.command.id] = self._final(it.record, verdict)
        return End(verdict, about, action, None, keep)

    def _ended(self, command: Command, it: Subject, attempt: Attempt, verdict: Verdict) -> End:
        record, about = attempt.record, it.command
        keep = {command.id: self._final(ActionRecord(command=command, state=""), verdict)}
        changed = attempt.begun or verdict.state == "already"
        if command.kind == "do" or (command.kind == "approve" and changed):
            keep[about.id] = self._final(record, verdict)
        if it.undoing is not None and verdict.state in {"undone", "already"}:
            versions = (about.target.version if about.target else "", *strings(attempt.seen))
            keep[about.id] = ActionRecord(
                command=about, state="undone", instance=record.instance, by=command.id, versions=versions,
                at=self._means.tempo.now(),
            )  # fmt: skip
        before = it.undoing.before if it.undoing else record.before
        return End(verdict, about, attempt.action, before, keep)

    def _final(self, record: ActionRecord, verdict: Verdict) -> ActionRecord:
        """Note how a command ended; of what was done only what an undo needs is kept."""
        update = {"state": verdict.state, "why": verdict.why, "at": self._means.tempo.now()}
        plan = {"plan": ()} if verdict.state == "done" else {}
        return record.model_copy(update=update | plan)

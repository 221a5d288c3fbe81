"""What is remembered of commands: how far each got, what runs have touched, what must not be done again.

A record stays for the undo period. One that a policy asked for and a person took back stays for good, without
its prior state: the policy must not do it again to the same version.
"""

import heapq
from collections.abc import Iterator
from typing import Final

from ingest.errors import Misconfigured
from schemas.control import ActionRecord, ActionRun, Command, Json, UnreadableRecordError

UNDO_MS: Final = 30 * 86_400_000
"""How long a command can be undone, in ms."""
_GRACE_MS: Final = 86_400_000
_RUN_MS: Final = 2 * 86_400_000
_RUN: Final = "@run/"
_STRINGS: Final = 64


def run_key(command: Command, day: str) -> str:
    """Name the run that a command counts for: the one it names, else its policy's of the day (UTC)."""
    run = command.run or f"{command.policy or '@by-hand'}/{day}"
    return f"{_RUN}{command.connector}/{run}"


def strings(state: Json) -> tuple[str, ...]:
    """List the texts in a state; a version that was brought back is among them."""
    found: list[str] = []
    waiting = [state]
    while waiting and len(found) < _STRINGS:
        one = waiting.pop()
        if isinstance(one, str) and one and len(one) <= 256:
            found.append(one)
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return tuple(found)


class Ledger:
    """The records of one partition; what is in here is what is durable.

    Records are kept as bytes, not unpacked: a dry run over a large inventory leaves many.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all: the state will be read again."""
        self.runs: dict[str, ActionRun] = {}
        self._records: dict[str, bytes] = {}
        self._bars: dict[str, tuple[str, str]] = {}
        self._barring: dict[tuple[str, str], set[str]] = {}
        self._ends: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []

    def take(self, key: str, value: bytes | None) -> None:
        """Take in one record as it is read back.

        Raises:
            Misconfigured: It can't be read; a partition whose past is unknown must not act.
        """
        try:
            if key.startswith(_RUN):
                self.put_run(key, ActionRun.load(value) if value else None)
            else:
                self.put(key, ActionRecord.load(value) if value else None)
        except UnreadableRecordError as error:
            raise Misconfigured(f"actions: {key}: {error}") from None

    def get(self, key: str) -> ActionRecord | None:
        """Get a command's record."""
        value = self._records.get(key)
        return None if value is None else ActionRecord.load(value)

    def put(self, key: str, record: ActionRecord | None) -> None:
        """Note a command's record, or that it is gone."""
        if (place := self._bars.pop(key, None)) is not None:
            self._barring[place].discard(key)
        if record is None:
            self._records.pop(key, None)
            self._until(key, None)
            return
        # A copy: what the encoder hands out keeps its buffer of 4 KiB.
        self._records[key] = bytes(memoryview(record.dump()))
        if record.command.policy and record.state in {"held", "undone"}:
            self._bars[key] = place = _place(record.command)
            self._barring.setdefault(place, set()).add(key)
        self._until(key, _end(record))

    def put_run(self, key: str, run: ActionRun | None) -> None:
        """Note a run's count, or that it is over."""
        self.runs.pop(key, None)
        if run is not None:
            self.runs[key] = run
        self._until(key, None if run is None else run.at + _RUN_MS)

    def barred(self, command: Command) -> str:
        """Tell why a policy's command must not be carried out, or nothing."""
        if not command.policy or command.target is None:
            return ""
        for key in sorted(self._barring.get(_place(command), ())):
            record = self.get(key)
            if record is None or record.state == "held":
                return f"the same waits for approval as {key}"
            if not command.target.version or command.target.version in record.versions:
                return f"it was undone on purpose by {record.by}"
        return ""

    def expired(self, now: int, most: int = 50) -> Iterator[str]:
        """Name what need not be kept any longer, each once."""
        while most and self._queue and self._queue[0][0] <= now:
            end, key = heapq.heappop(self._queue)
            if self._ends.get(key) == end:
                del self._ends[key]
                most -= 1
                yield key

    def _until(self, key: str, end: int | None) -> None:
        self._ends.pop(key, None)
        if end is not None:
            self._ends[key] = end
            heapq.heappush(self._queue, (end, key))


def _place(command: Command) -> tuple[str, str]:
    return command.policy, command.target.id if command.target else ""


def _end(record: ActionRecord) -> int | None:
    if record.state == "intent" or (record.state == "undone" and record.command.policy):
        return None
    # Longer than it can be undone: an undo on the last day still finds it.
    return record.at + UNDO_MS + _GRACE_MS

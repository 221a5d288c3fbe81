"""Dead letters: read from their topic; what becomes of one is asked of its connector's owner."""

from collections.abc import Sequence

from ingest.consuming import Incoming, Place, read_to_end
from ingest.producing import Outgoing
from schemas.control import DeadLetter, Inbox, UnreadableRecordError
from sluice.operate import Desk, now
from sluice.terminal import WrongCallError, note

_SHORTEST = 4


async def letters(desk: Desk, connector: str = "") -> list[DeadLetter]:
    """Read the letters that are there, oldest first, of one connector or of all."""
    found: dict[bytes, DeadLetter] = {}

    def take(record: Incoming) -> None:
        found.pop(record.key, None)
        if record.value is not None:
            try:
                found[record.key] = DeadLetter.load(record.value)
            except UnreadableRecordError as error:
                note(f"{record.topic} {record.partition}/{record.offset}: passed over, {error}")

    places = [Place("dead-letters", number) for number in range(desk.cluster.owners)]
    await read_to_end(desk.cluster, places, take, 60.0)
    kept = [one for one in found.values() if connector in ("", one.connector)]
    return sorted(kept, key=lambda one: (one.at, one.id))


def chosen(there: Sequence[DeadLetter], ids: Sequence[str], *, everything: bool) -> list[DeadLetter]:
    """Pick letters by their ids or the beginnings of these.

    Raises:
        WrongCallError: Nothing is named, or a beginning fits none or several.
    """
    if everything == bool(ids):
        raise WrongCallError(
            "name the letters by their ids, or all with --all; `sluice dead-letters list` lists"
        )
    if everything:
        return list(there)
    picked: dict[str, DeadLetter] = {}
    for identity in ids:
        fits = [one for one in there if one.id.startswith(identity)]
        if len(fits) != 1 or len(identity) < _SHORTEST:
            what = f"{len(fits)} dead letters begin with" if fits else "there is no dead letter"
            raise WrongCallError(f"{what} {identity!r}: see `sluice dead-letters list`")
        picked[fits[0].id] = fits[0]
    return list(picked.values())


async def retry(desk: Desk, these: Sequence[DeadLetter]) -> int:
    """Ask the owners to try these again, and say how many can be: one that was cut short can't."""
    whole = [one for one in these if not one.truncated]
    for one in these:
        if one.truncated:
            note(f"{one.id}: its record was cut short, so it can't be tried again; the next read brings it")
    asked = [
        Inbox(kind="redrive", connector=one.connector, incarnation=one.incarnation, at=now(),
              letter=one.model_dump(mode="json"))
        for one in whole
    ]  # fmt: skip
    await _send(desk, whole, asked)
    return len(whole)


async def discard(desk: Desk, these: Sequence[DeadLetter]) -> int:
    """Ask the owners to take these away."""
    asked = [Inbox(kind="discard", connector=one.connector, at=now(), hook=one.id) for one in these]
    await _send(desk, these, asked)
    return len(these)


async def _send(desk: Desk, these: Sequence[DeadLetter], asked: Sequence[Inbox]) -> None:
    records = [
        Outgoing("inbox", one.partition, one.connector.encode(), each.dump())
        for one, each in zip(these, asked, strict=True)
    ]
    for start in range(0, len(records), 500):
        await desk.write(*records[start : start + 500])

"""The verdict: what the tenants know to have happened against what a read-committed reader found."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

SLACK = 0.05
"""Seconds: ids carry milliseconds, and two clocks were asked."""
OCCURRENCES = frozenset({"activities", "logons"})


class Occurrence(NamedTuple):
    """One thing that happened: its id in the provider's words, when (s), since when polls show it.

    `pushed`: a delivery brought it, which may overtake what only polls bring.
    """

    id: str
    tenant: str
    at: float
    seen: float
    pushed: bool = False


class Found(NamedTuple):
    """One record as the reader had it: `source` is the provider's id, `at` the reader's clock (monotonic)."""

    topic: str
    partition: int
    offset: int
    key: str
    uid: str
    source: str
    at: float


class Reached(NamedTuple):
    """A cursor that became readable at `at`: by it, the first `done` records of a tenant's log are done."""

    tenant: str
    done: int
    at: float


@dataclass
class Verdict:
    """What was found wrong; empty lists are what the product promises.

    `overtaken` is none of these: a delivery was faster than the poll for what came before it.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)
    overtaken: int = 0

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.reordered or self.strange or self.ahead)

    def __str__(self) -> str:
        names = ("lost", "doubled", "reordered", "strange", "ahead")
        told = [f"{name} {len(getattr(self, name))} {getattr(self, name)[:3]}" for name in names]
        return "; ".join([*told, f"overtaken {self.overtaken}"])


def judge(
    truth: Iterable[Occurrence],
    found: Iterable[Found],
    cursors: Iterable[Reached] = (),
    logs: Mapping[str, list[str]] | None = None,
    grace: float = 8.0,
) -> Verdict:
    """Compare.

    Args:
        truth: All that happened.
        found: Every record of the public topics, in each partition in the order of its log.
        cursors: Cursors as they became readable.
        logs: By tenant, the ids of its log in the order in which the tenant hands them out.
        grace: Seconds that a reader may be held back by another partition's open transaction.
    """
    known = {one.id: one for one in truth}
    records = list(found)
    told = [one for one in records if one.topic in OCCURRENCES]
    sources = Counter(one.source for one in told)
    verdict = Verdict()
    verdict.lost = sorted(set(known) - set(sources))
    verdict.strange = sorted(set(sources) - set(known))
    verdict.doubled = _doubled(records, sources)
    _order(known, told, verdict)
    verdict.ahead = _ahead(told, cursors, logs or {}, grace)
    return verdict


def _doubled(records: list[Found], sources: Counter[str]) -> list[str]:
    uids = Counter((one.topic, one.uid) for one in records)
    twice = {f"{topic} {uid}" for (topic, uid), count in uids.items() if count > 1}
    return sorted(twice | {one for one, count in sources.items() if count > 1})


def _order(known: Mapping[str, Occurrence], told: list[Found], verdict: Verdict) -> None:
    """Find what was published after something of its entity that happened when it could be seen already."""
    entities: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for one in told:
        entities[one.topic, one.key].append(one)
    for published in entities.values():
        newest, pushed = (float("-inf"), ""), float("-inf")
        for one in sorted(published, key=lambda each: (each.partition, each.offset)):
            happened = known.get(one.source)
            if happened is None:
                continue
            if newest[0] > happened.seen + SLACK:
                verdict.reordered.append(f"{one.topic} {one.key}: {newest[1]} before {one.source}")
            elif pushed > happened.seen + SLACK:
                verdict.overtaken += 1
            if happened.pushed:
                pushed = max(pushed, happened.at)
            else:
                newest = max(newest, (happened.at, one.source))


def _ahead(
    told: list[Found], cursors: Iterable[Reached], logs: Mapping[str, list[str]], grace: float
) -> list[str]:
    """Find cursors that were readable while records before them were not, nor soon after."""
    first: dict[str, float] = {}
    for one in told:
        first.setdefault(one.source, one.at)
    wrong, done = set[str](), dict[str, int]()
    for cursor in sorted(cursors, key=lambda each: each.at):
        log, start = logs.get(cursor.tenant, []), done.get(cursor.tenant, 0)
        for source in log[start : cursor.done]:
            if first.get(source, float("inf")) > cursor.at + grace:
                wrong.add(f"{cursor.tenant}: {source} before {cursor.done}")
        done[cursor.tenant] = max(start, cursor.done)
    return sorted(wrong)

"""Counts what was found in one file, and shows of each value only its masked form and its digest."""

from collections.abc import Callable
from dataclasses import dataclass, field

from consumers.dlp.extract.segments import Part, Segment
from consumers.dlp.extract.sheets import column_letters
from consumers.dlp.matching import Matcher, Value, column_at
from consumers.dlp.paths import JsonPath
from consumers.dlp.plain import Plain
from consumers.dlp.status import Finding, Place

DISTINCT = 1_000  # of one detector; what follows is counted and not checked
CHECKED = 50_000  # the same for values that repeat
PLACES = 5  # of one finding


@dataclass(slots=True)
class _Group:
    """One detector at one confidence."""

    count: int = 0
    seen: set[bytes] = field(default_factory=set)
    reasons: dict[str, None] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)


@dataclass(slots=True)
class _Total:
    """One detector."""

    checked: int = 0
    unchecked: int = 0
    seen: set[bytes] = field(default_factory=set)


class Tally:
    """The findings of one file while its segments come by."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._totals = {kind.id: _Total() for kind in matcher.kinds}
        self._groups: dict[tuple[str, int, bool], _Group] = {}
        self._room = {kind.id: DISTINCT for kind in matcher.kinds}

    def feed(self, segment: Segment) -> None:
        """Scan a segment and count what it holds."""
        values, unchecked = self._matcher.values(segment, self._room)
        for name, count in unchecked.items():
            self._totals[name].unchecked += count
        if values:
            where = _Where(segment, self._matcher.redact)
            for value in values:
                self._add(value, segment, where)

    def findings(self) -> tuple[Finding, ...]:
        """What was found, the surest and most frequent first."""
        found = [self._finding(*key, group) for key, group in self._groups.items()]
        return tuple(sorted(found, key=lambda f: (f.test, -f.confidence, -f.count, f.detector)))

    def _add(self, value: Value, segment: Segment, where: "_Where") -> None:
        total = self._totals[value.kind.id]
        total.checked += 1
        total.seen.add(value.normal)
        self._room[value.kind.id] = DISTINCT - len(total.seen) if total.checked < CHECKED else 0
        key = (value.kind.id, value.confidence, value.test)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        group.count += 1
        group.seen.add(value.normal)
        group.reasons.update(dict.fromkeys(value.reasons))
        if len(group.places) < PLACES:
            name, offset = where.of(value)
            digest = value.digest(self._matcher.key).hex()
            group.places.append(Place(name, segment.base + offset, value.masked, digest))

    def _finding(self, name: str, confidence: int, test: bool, group: _Group) -> Finding:
        total = self._totals[name]
        detector = next(kind.detector for kind in self._matcher.kinds if kind.id == name)
        extra = total.unchecked * group.count // total.checked
        return Finding(
            detector=name,
            title=detector.title,
            category=detector.category,
            confidence=confidence,
            reasons=tuple(group.reasons),
            count=group.count + extra,
            distinct=len(group.seen),
            estimated=bool(total.unchecked),
            test=test,
            places=tuple(group.places),
        )


class _Where:
    """Names the places of one segment, with the values in the names masked."""

    def __init__(self, segment: Segment, redact: Callable[[str], str]) -> None:
        self._segment, self._redact = segment, redact
        self._plain: Plain | None = None
        self._path: JsonPath | None = None

    def of(self, value: Value) -> tuple[str, int]:
        """The name of the place, and the offset in it."""
        segment, offset, label = self._segment, value.raw_start, self._segment.place
        if segment.cells:
            row, column = segment.cells.at(offset)
            offset -= segment.cells.start(offset)
            label = f"{label}!{column_letters(column)}{row + 1}"
        elif segment.kind is Part.TABLE:
            name = column_at(segment, segment.text, offset, None)
            label = _join(label, f"column {name}") if name else label
        elif segment.kind is Part.JSON and not segment.base and segment.high is None:
            if self._path is None:
                self._path = JsonPath(segment.text)
            label = _join(label, self._path.at(offset))
        return self._redact(label), offset


def _join(place: str, inner: str) -> str:
    return f"{place}: {inner}" if place else inner

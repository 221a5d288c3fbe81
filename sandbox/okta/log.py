"""The system log: kept in the order of persistence, published when it happened (System Log query guide)."""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice
from typing import Any, NamedTuple, TypeAlias

from sandbox.okta import ids
from sandbox.okta.errors import Refused, invalid
from sandbox.okta.filters import LOG_FILTER, Malformed, Node, Unsupported, parse, reach
from sandbox.okta.paging import limit, seal, unseal

Json: TypeAlias = Any
Query: TypeAlias = Mapping[str, str]
DAY = 86400.0
KEPT, OLDEST = 90 * DAY, 180 * DAY
PARAMETERS = frozenset({"since", "until", "after", "filter", "q", "limit", "sortOrder"})


class Row(NamedTuple):
    """An event, and the moment from which it can be read."""

    persisted: float
    published: float
    event: Json


class Page(NamedTuple):
    """Events of a page, and the query of the next one; None at the end of a bounded request."""

    events: list[Json]
    more: dict[str, str] | None


class Log:
    """Events in order of persistence; `stale` refuses cursors issued before that moment."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._rows, self._dropped = now, list[Row](), 0
        self._late: list[tuple[float, int, Row]] = []
        self._order = count()
        self.stale = 0.0

    def add(self, event: Json, *, late: float = 0.0) -> None:
        """Write an event down; `late`: the system is that many seconds behind with it."""
        at = self._now() + late
        row = Row(at, ids.moment(event["published"]), event)
        heapq.heappush(self._late, (at, next(self._order), row))

    def past(self, event: Json) -> None:
        """Write down what was persisted when it happened; only in order, before anything else."""
        at = ids.moment(event["published"])
        heapq.heappush(self._late, (at, next(self._order), Row(at, at, event)))

    def rows(self) -> list[Row]:
        """All that can be read by now."""
        now = self._now()
        while self._late and self._late[0][0] <= now:
            self._rows.append(heapq.heappop(self._late)[2])
        if len(self._rows) > 1000 and self._rows[0].published < now - KEPT - DAY:
            gone = bisect_left(self._rows, (now - KEPT - DAY,))
            del self._rows[:gone]
            self._dropped += gone
        return self._rows

    def read(self, query: Query) -> Page:
        """Answer a request; Refused with the documented error when it is wrong."""
        for name in query:
            if name not in PARAMETERS:
                raise invalid(name, "unknown parameter")
        size = limit(query, 100, 1000, least=0)
        wanted, words = _filter(query.get("filter", "")), _words(query.get("q", ""))
        order = query.get("sortOrder", "ASCENDING")
        if order not in {"ASCENDING", "DESCENDING"}:
            raise invalid("sortOrder", "must be ASCENDING or DESCENDING")
        if "after" in query and "since" in query:
            raise Refused("E0000053", "Invalid parameter: since and after are mutually exclusive.")
        rows, fresh = self.rows(), self._now() - KEPT
        fits = lambda row: row.published >= fresh and _fits(row.event, wanted, words)  # noqa: E731
        if "until" in query or order == "DESCENDING":
            return self._bounded(rows, query, size, order == "DESCENDING", fits)
        return self._polled(rows, query, size, fits)

    def _polled(self, rows: list[Row], query: Query, size: int, fits: Callable[[Row], bool]) -> Page:
        now = self._now()
        if "after" in query:
            place = max(0, self._opened(query["after"], "poll") - self._dropped)
        else:
            since = _time(query, "since", now - 7 * DAY)
            _recent(since, now)
            place = bisect_left(rows, (since,))
        found: list[Json] = []
        while place < len(rows) and len(found) < size:
            if fits(rows[place]):
                found.append(rows[place].event)
            place += 1
        kept = {name: query[name] for name in ("filter", "q", "sortOrder", "limit") if name in query}
        return Page(found, {**kept, "after": seal(["poll", int(now * 1000), place + self._dropped])})

    def _bounded(
        self, rows: list[Row], query: Query, size: int, backwards: bool, fits: Callable[[Row], bool]
    ) -> Page:
        now = self._now()
        until = _time(query, "until", now)
        start = 0
        if "after" in query:
            start, since = self._opened(query["after"], "bounded")
        else:
            since = _time(query, "since", until - 7 * DAY)
        _recent(since, now)
        inside = sorted(
            (row for row in rows if since <= row.published < until and fits(row)),
            key=lambda row: (row.published, row.event["uuid"]), reverse=backwards,
        )  # fmt: skip
        page: Iterator[Row] = islice(inside, start, start + size)
        more = None
        if start + size < len(inside) and size:
            kept = {name: query[name] for name in query if name not in {"after", "since"}}
            more = {**kept, "until": query.get("until", ids.stamp(until))}
            more["after"] = seal(["bounded", int(now * 1000), [start + size, since]])
        return Page([row.event for row in page], more)

    def _opened(self, cursor: str, kind: str) -> Json:
        read = unseal(cursor)
        if not (isinstance(read, list) and len(read) == 3 and read[0] == kind):
            raise invalid("after", "The after cursor does not belong to this request")
        if read[1] < self.stale * 1000:
            raise invalid("after", "The after cursor is no longer valid")
        return read[2]


def _filter(text: str) -> Node | None:
    if not text:
        return None
    try:
        return parse(text, LOG_FILTER)
    except Unsupported as error:
        raise Refused("E0000031", str(error)) from error
    except Malformed as error:
        raise Refused("E0000053", str(error)) from error


def _words(text: str) -> list[str]:
    words = text.lower().split()
    if len(words) > 10:
        raise invalid("q", "Freeform search cannot contain more than 10 items")
    if any(len(word) > 40 for word in words):
        raise invalid(
            "'q': Freeform search cannot contain items longer than 40 characters. Please shorten the items "
            "in your search or use an advanced filter to query by specific fields."
        )
    return words


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield from value.lower().split()
        yield from value.lower().split("-")


def _fits(event: Json, wanted: Node | None, words: list[str]) -> bool:
    if wanted is not None and not wanted.test(lambda path: reach(event, path)):
        return False
    return not words or set(words) <= set(_texts(event))


def _time(query: Query, name: str, default: float) -> float:
    try:
        return ids.moment(query[name]) if name in query else default
    except ValueError as error:
        first = (
            "The date format in your query is not recognized. Please enter dates using ISO8601 string format."
        )
        last = "must be a valid date-time or empty."
        raise Refused(
            "E0000001", f"'{name}': {first} '{name}': {last}", causes=(f"{name}: {first}", f"{name}: {last}")
        ) from error


def _recent(since: float, now: float) -> None:
    if since < now - OLDEST:
        raise Refused(
            "E0000053", "Invalid parameter: The since parameter is over 180 days prior to the current day."
        )

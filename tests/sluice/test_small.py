"""The pure parts: times, options, names, what may go to a terminal, which mapper is meant."""

import contextlib
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import DeadLetter
from sluice.acting import parsed
from sluice.letters import chosen
from sluice.normalizing import mapper_of
from sluice.operate import checked_name
from sluice.tail import checked_topic, since_ms
from sluice.terminal import WrongCallError, age, printable

NOON = 1_767_268_800_000
"""2026-01-01T12:00:00Z."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOON - 90_000),
        ("15m", NOON - 900_000),
        ("2h", NOON - 7_200_000),
        ("1d", NOON - 86_400_000),
        ("2026-01-01T11:00:00Z", NOON - 3_600_000),
        ("2026-01-01T13:00:00+02:00", NOON - 3_600_000),
        ("2026-01-01 11:00", NOON - 3_600_000),
        ("2026-01-01", NOON - 43_200_000),
        ("999999999d", 0),
        ("0001-01-01", 0),
    ],
)
def test_since(text: str, expected: int) -> None:
    """A duration counts back from now, a time without a zone is UTC."""
    assert since_ms(text, NOON) == expected


@given(st.text(max_size=12))
def test_since_takes_anything_or_calls_it_wrong(text: str) -> None:
    """Whatever is given, it is a time or a wrong call, never another error."""
    with contextlib.suppress(WrongCallError):
        assert isinstance(since_ms(text, NOON), int)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 naive is the point
def test_since_reads_what_isoformat_writes(moment: datetime) -> None:
    """ISO 8601 comes back to the millisecond below."""
    assert abs(since_ms(moment.isoformat(), 0) - moment.replace(tzinfo=UTC).timestamp() * 1000) <= 1


@given(st.text())
def test_nothing_speaks_to_the_terminal(text: str) -> None:
    """What is shown has no control character but the line's end, and is UTF-8."""
    shown = printable(text)
    shown.encode()
    assert all(one.isprintable() or one == "\n" for one in shown)


@given(st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=63))
def test_plain_names_are_names(name: str) -> None:
    """Letters and digits make a name."""
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "A", "a/b", "a b", "a\n", "ä", "a" * 64, "@status"])
def test_other_names_are_none(name: str) -> None:
    """What could be mistaken in a key or an address is refused."""
    with pytest.raises(WrongCallError, match="can't be a connector's name"):
        checked_name(name)


def test_options() -> None:
    """A value that is JSON is one; all else is text; an equals sign may be in it."""
    assert parsed(["a=1", "b=true", "c=x=y", "d=", 'e={"f": [2]}']) == {
        "a": 1, "b": True, "c": "x=y", "d": "", "e": {"f": [2]},
    }  # fmt: skip
    for wrong in ("a", "=1", ""):
        with pytest.raises(WrongCallError, match="is not name=value"):
            parsed([wrong])


def test_age() -> None:
    """The largest unit of which there are two; nothing is known of zero."""
    shown = [
        age(at, NOON)
        for at in (0, NOON, NOON - 119_000, NOON - 120_000, NOON - 7_200_000, NOON - 2 * 86_400_000)
    ]
    assert shown == ["", "0 s", "119 s", "2 m", "2 h", "2 d"]


def test_topics_with_and_without_prefix() -> None:
    """Either name will do; what is no topic is told with those there are."""
    assert checked_topic("findings", "x.") == checked_topic("x.findings", "x.") == "findings"
    with pytest.raises(WrongCallError, match="activities, logons"):
        checked_topic("y.findings", "x.")


def test_letters_by_their_beginnings() -> None:
    """A beginning must fit one letter, and be four characters long."""
    letters = [
        DeadLetter(id=name, source="record", connector="c", reason="r")
        for name in ("aaaa1", "aaaa2", "bbbb1")
    ]
    assert chosen(letters, ["bbbb", "aaaa2"], everything=False) == [letters[2], letters[1]]
    assert chosen(letters, [], everything=True) == letters
    for ids, everything in (
        (["aaaa"], False),
        (["bbb"], False),
        (["cccc"], False),
        ([], False),
        (["bbbb"], True),
    ):
        with pytest.raises(WrongCallError):
            chosen(letters, ids, everything=everything)


def test_the_mapper_that_is_meant() -> None:
    """A feed with one mapper needs no more; one with several needs the mapper's name."""
    kind, _ = mapper_of("aws", "lookup", "")
    assert kind.name == "aws"
    assert mapper_of("aws", "trail", "trail")[1] is kind.feeds()["trail"].to["trail"]
    for feed, mapper, why in (
        ("", "", "--feed"),
        ("trail", "", "--mapper"),
        ("trail", "odd", "no mapper 'odd'"),
    ):
        with pytest.raises(WrongCallError, match=why):
            mapper_of("aws", feed, mapper)

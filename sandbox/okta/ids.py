"""Ids as Okta writes them (20 characters), made from a number so that nothing has to be remembered."""

from datetime import UTC, datetime

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_STEM = "8Jx0gTq2vR"
_WIDTH = 7


def make(prefix: str, number: int) -> str:
    """The id of a number; ids of one prefix sort like their numbers."""
    digits = []
    for _ in range(_WIDTH):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return f"{prefix}{''.join(reversed(digits))}{_STEM}"


def number(prefix: str, text: str) -> int | None:
    """The number of an id, None when it is no id of that kind."""
    middle = text[len(prefix) : -len(_STEM)]
    if not (text.startswith(prefix) and text.endswith(_STEM) and len(middle) == _WIDTH):
        return None
    total = 0
    for digit in middle:
        place = _DIGITS.find(digit)
        if place < 0:
            return None
        total = total * len(_DIGITS) + place
    return total


def stamp(seconds: float) -> str:
    """A moment as the API writes it: UTC with milliseconds and a Z."""
    whole = datetime.fromtimestamp(round(seconds, 3), UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03d}Z"


def moment(text: str) -> float:
    """The seconds since 1970 of an ISO 8601 time; ValueError when it is none or has no zone."""
    read = datetime.fromisoformat(text.strip().replace(" ", "+"))
    if read.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    return read.timestamp()

"""Undo what hides a value from byte patterns: odd spaces and hyphens, full-width digits, JSON escapes."""

import re
from array import array
from bisect import bisect_right

# Characters to replace, as UTF-8: what they are for Vectorscan and for `re` alike.
ODD = (
    rb"\xc2[\xa0\xad]|\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]"
    rb"|\xe2\x80[\x80-\x95\xaf]|\xe2\x81[\x9f\xa0]|\xe2\x88\x92|\xe3\x80\x80"
    rb"|\xef\xbb\xbf|\xef\xbc[\x81-\xbf]|\xef\xbd[\x80-\x9e]"
)
_ODD = re.compile(ODD)
_ODD_OR_ESCAPE = re.compile(ODD + rb"|\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_NOTHING = frozenset("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")
_HYPHENS = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
_SHORT = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b" ", b"f": b" "}


class Plain:
    """A text with its oddities replaced, which still knows the offsets of the original."""

    def __init__(self, raw: bytes, *, json: bool = False) -> None:
        self._starts = array("Q", [0])
        self._shifts = array("q", [0])
        pieces: list[bytes] = []
        at = length = 0
        for match in (_ODD_OR_ESCAPE if json else _ODD).finditer(raw):
            start, end = match.span()
            made = _replacement(match[0])
            pieces += (raw[at:start], made)
            length += start - at + len(made)
            at = end
            self._starts.append(length)
            self._shifts.append(end - length)
        pieces.append(raw[at:])
        self.text = b"".join(pieces)

    def raw_offset(self, offset: int) -> int:
        """Where an offset of `text` lies in the original."""
        return offset + self._shifts[bisect_right(self._starts, offset) - 1]


def _replacement(found: bytes) -> bytes:
    if found[:1] != b"\\":
        return _plain_character(found.decode())
    if found[1:2] != b"u" or len(found) < 6:
        return _SHORT.get(found[1:], found[1:])
    return _plain_character(chr(int(found[2:6], 16)))


def _plain_character(character: str) -> bytes:
    code = ord(character)
    if character in _NOTHING:
        return b""
    if character in _HYPHENS:
        return b"-"
    if 0xFF01 <= code <= 0xFF5E:
        return bytes([code - 0xFEE0])
    if 0x660 <= code <= 0x669 or 0x6F0 <= code <= 0x6F9:
        return bytes([48 + (code & 0xF)])
    if character.isspace() and code > 127:
        return b" "
    return character.encode("utf-8", "replace")

"""Validators: what decides whether a candidate is the thing it looks like. Each costs well under 10 µs."""

import zlib
from collections import Counter
from collections.abc import Callable
from math import log2
from typing import TypeAlias

# Takes a candidate; gives how many of its bytes belong to the value, and the value's normal form.
Validator: TypeAlias = Callable[[bytes], tuple[int, bytes] | None]

SEPARATORS = b" -"
_DOUBLED = bytes(
    (2 * (byte - 48) - 9 * (byte > 52) if 48 <= byte <= 57 else 0) for byte in range(256)
)  # what Luhn adds for a doubled digit
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTERS = {ord(letter): str(ord(letter) - 55) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}

# Lengths by country: SWIFT IBAN registry, release 101.
_REGISTRY = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
IBAN_LENGTHS = {country.encode(): length for length, names in _REGISTRY.items() for country in names.split()}


# Brands by their first four digits; where ranges overlap the later line holds.
_LONG = (16, 17, 18, 19)
_RANGES: tuple[tuple[int, int, str, tuple[int, ...]], ...] = (
    (5000, 5099, "Maestro", (13, 14, 15, *_LONG)),
    (5600, 5899, "Maestro", (13, 14, 15, *_LONG)),
    (6000, 6999, "Maestro", (13, 14, 15, *_LONG)),
    (4000, 4999, "Visa", (13, 16, 19)),
    (5100, 5599, "Mastercard", (16,)),
    (2221, 2720, "Mastercard", (16,)),
    (3400, 3499, "American Express", (15,)),
    (3700, 3799, "American Express", (15,)),
    (6011, 6011, "Discover", _LONG),
    (6440, 6599, "Discover", _LONG),
    (3528, 3589, "JCB", _LONG),
    (3600, 3699, "Diners Club", (14, *_LONG)),
    (3800, 3999, "Diners Club", (14, *_LONG)),
    (3000, 3059, "Diners Club", (14, *_LONG)),
    (3095, 3095, "Diners Club", (14, *_LONG)),
    (2200, 2204, "Mir", _LONG),
    (6200, 6299, "UnionPay", _LONG),
)
BRANDS = {prefix: (name, lengths) for low, high, name, lengths in _RANGES for prefix in range(low, high + 1)}


def luhn(digits: bytes) -> bool:
    """Check the last digit of a number by the Luhn formula (ISO/IEC 7812-1 annex B)."""
    plain = digits[::-2]
    return (sum(plain) - 48 * len(plain) + sum(digits[-2::-2].translate(_DOUBLED))) % 10 == 0


def mod97(iban: bytes) -> bool:
    """Check an IBAN without separators by ISO 7064 mod 97-10."""
    return int((iban[4:] + iban[:4]).decode().translate(_LETTERS)) % 97 == 1


def card(raw: bytes) -> tuple[int, bytes] | None:
    """A payment card: the brand's prefix and length, then Luhn. One repeated digit is no card."""
    digits = raw.translate(None, SEPARATORS)
    if not luhn(digits) or not brand(digits) or digits.count(digits[:1]) == len(digits):
        return None
    return len(raw), digits


def brand(digits: bytes) -> str:
    """The brand that issues numbers with this prefix and length, or nothing."""
    name, lengths = BRANDS.get(int(digits[:4]), ("", ()))
    return name if len(digits) in lengths else ""


def iban(raw: bytes) -> tuple[int, bytes] | None:
    """An IBAN: cut to its country's length first, or the next words would be taken in; then mod 97."""
    length = IBAN_LENGTHS.get(raw[:2])
    if length is None:
        return None
    plain = raw.translate(None, SEPARATORS)[:length]
    if len(plain) < length or not mod97(plain):
        return None
    used = length
    while len(raw[:used].translate(None, SEPARATORS)) < length:
        used += 1
    following = raw[used : used + 1]
    if following and following not in (b" ", b"-"):
        return None
    return used, plain


def ssn(raw: bytes) -> tuple[int, bytes] | None:
    """A US Social Security number by the rules that outlived the randomisation of 2011.

    Never issued: area 000, 666 and 900 to 999, group 00, serial 0000 (SSA, "Social Security Number
    Randomization").
    """
    digits = raw.translate(None, SEPARATORS)
    if digits[:3] in (b"000", b"666") or digits[0] == 57 or digits[3:5] == b"00" or digits[5:] == b"0000":
        return None
    if digits.count(digits[:1]) == 9 or digits in (b"123456789", b"012345678"):
        return None
    return len(raw), digits


def email(raw: bytes) -> tuple[int, bytes] | None:
    """An address whose local part and labels are not malformed."""
    local, _, domain = raw.rpartition(b"@")
    if local[:1] == b"." or local[-1:] == b"." or b".." in raw or b".-" in domain or b"-." in domain:
        return None
    return len(raw), local + b"@" + domain.lower()


def github_token(raw: bytes) -> tuple[int, bytes] | None:
    """A GitHub token; the classic forms end in the base-62 CRC-32 of what comes before."""
    if not raw.startswith(b"github_pat_") and raw not in DOCUMENTED:
        body = raw[4:]
        if base62(zlib.crc32(body[:30]), 6) != body[30:].decode():
            return None
    return len(raw), raw


def base62(number: int, width: int) -> str:
    """Write a number in base 62, digits before capitals before small letters, padded with zeros."""
    out = ""
    while number:
        number, rest = divmod(number, 62)
        out = _BASE62[rest] + out
    return out.rjust(width, "0")


def private_key(raw: bytes) -> tuple[int, bytes] | None:
    """PEM armour with a body that is no filler."""
    body = raw[raw.index(b"KEY") :].translate(None, b" \r\n\t\"',+\\")
    if len(set(body[20:])) < 16:
        return None
    return len(raw), body


def entropy(raw: bytes) -> float:
    """Bits a byte by Shannon."""
    size = len(raw)
    return -sum(count / size * log2(count / size) for count in Counter(raw).values())


def aws_secret(raw: bytes) -> tuple[int, bytes] | None:
    """The secret half of a key pair: forty characters that look random."""
    return (len(raw), raw) if entropy(raw) > 4.2 else None


def as_is(raw: bytes) -> tuple[int, bytes] | None:
    """Whatever its form matches."""
    return len(raw), raw


# GitHub's own documentation shows these tokens, whose checksums do not hold.
DOCUMENTED = frozenset(
    {b"gho_16C7e42F292c6912E7710c838347Ae178B4a", b"ghu_16C7e42F292c6912E7710c838347Ae178B4a"}
)

VALIDATORS: dict[str, Validator] = {
    "card": card,
    "iban": iban,
    "ssn": ssn,
    "email": email,
    "github_token": github_token,
    "private_key": private_key,
    "aws_secret": aws_secret,
    "as_is": as_is,
}

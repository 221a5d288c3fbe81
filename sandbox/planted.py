"""Sensitive values that are valid in form and belong to nobody.

Sources: the card networks' published test numbers; the IBAN registry's examples; ISO 7064 for check digits;
GitHub's "Behind GitHub's new authentication token formats" (prefix, 30 base62 characters, CRC32 in base62).
"""

import string
import zlib
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

Kind = Literal["card", "iban", "ssn", "aws_key", "aws_secret", "github_token", "private_key"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TEST_CARDS = ("4111111111111111", "5555555555554444", "378282246310005", "4012888888881881")
EXAMPLE_IBANS = (
    "DE89370400440532013000",
    "GB29NWBK60161331926819",
    "FR1420041010050500013M02606",
    "NL91ABNA0417164300",
)
_BASE32 = string.ascii_uppercase + "234567"
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


@dataclass(frozen=True, slots=True)
class Planted:
    """One value that a scan should find; the value prints as its kind alone."""

    kind: Kind
    value: str

    def __repr__(self) -> str:
        return f"Planted({self.kind})"


def plant(kind: Kind, chance: Random) -> Planted:
    """A fresh value of that kind."""
    return Planted(kind, _MAKERS[kind](chance))


def sentence(item: Planted) -> str:
    """The value in a line with the words that usually stand beside it."""
    return _LINES[item.kind].format(item.value)


def luhn(digits: str) -> bool:
    """Whether the last digit is right by ISO/IEC 7812's check."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def mod97(iban: str) -> bool:
    """Whether an IBAN's check digits are right (ISO 7064 mod 97-10)."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _card(chance: Random) -> str:
    body = chance.choice(("4539", "4716", "5425", "5187")) + "".join(chance.choices(string.digits, k=11))
    return next(body + d for d in string.digits if luhn(body + d))


def _iban(chance: Random) -> str:
    account = "".join(chance.choices(string.digits, k=18))
    rest = int(account + "131400") % 97
    return f"DE{98 - rest:02d}{account}"


def _ssn(chance: Random) -> str:
    area = chance.choice([n for n in range(100, 700) if n != 666])
    return f"{area:03d}-{chance.randint(10, 99):02d}-{chance.randint(1000, 9998):04d}"


def _aws_key(chance: Random) -> str:
    return "AKIA" + "".join(chance.choices(_BASE32, k=16))


def _aws_secret(chance: Random) -> str:
    return "".join(chance.choices(_BASE62 + "+/", k=40))


def _github_token(chance: Random) -> str:
    body = "".join(chance.choices(_BASE62, k=30))
    left, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        left, digit = divmod(left, 62)
        check = _BASE62[digit] + check
    return f"ghp_{body}{check}"


def _private_key(chance: Random) -> str:
    key = ec.derive_private_key(chance.getrandbits(250) | 1, ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode().strip()


_MAKERS = {
    "card": _card,
    "iban": _iban,
    "ssn": _ssn,
    "aws_key": _aws_key,
    "aws_secret": _aws_secret,
    "github_token": _github_token,
    "private_key": _private_key,
}
_LINES = {
    "card": "Credit card number (Visa/Mastercard): {}, expires 08/29.",
    "iban": "Please transfer to IBAN {} by Friday.",
    "ssn": "Social security number (SSN): {}",
    "aws_key": "aws_access_key_id = {}",
    "aws_secret": "aws_secret_access_key = {}",
    "github_token": "export GITHUB_TOKEN={}",
    "private_key": "{}",
}

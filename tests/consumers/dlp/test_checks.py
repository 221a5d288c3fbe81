"""The validators against published values and slow references."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.dlp.checks import (
    IBAN_LENGTHS,
    base62,
    brand,
    card,
    github_token,
    iban,
    luhn,
    mod97,
    private_key,
    ssn,
)

# The examples of the SWIFT IBAN registry, as printed there in groups.
REGISTRY = """
AD12 0001 2030 2003 5910 0100|AE07 0331 2345 6789 0123 456|AL47 2121 1009 0000 0002 3569 8741
AT61 1904 3002 3457 3201|AZ21 NABZ 0000 0000 1370 1000 1944|BA39 1290 0794 0102 8494|BE68 5390 0754 7034
BG80 BNBG 9661 1020 3456 78|BH67 BMAG 0000 1299 1234 56|BI42 1000 0100 0100 0033 2045 181
BR18 0036 0305 0000 1000 9795 493C 1|BY13 NBRB 3600 9000 0000 2Z00 AB00|CH93 0076 2011 6238 5295 7
CR05 0152 0200 1026 2840 66|CY17 0020 0128 0000 0012 0052 7600|CZ65 0800 0000 1920 0014 5399
DE89 3704 0044 0532 0130 00|DK50 0040 0440 1162 43|DO28 BAGR 0000 0001 2124 5361 1324
EE38 2200 2210 2014 5685|EG38 0019 0005 0000 0000 2631 8000 2|ES91 2100 0418 4502 0005 1332
FI21 1234 5600 0007 85|FO62 6460 0001 6316 34|FR14 2004 1010 0505 0001 3M02 606|GB29 NWBK 6016 1331 9268 19
GE29 NB00 0000 0101 9049 17|NL91 ABNA 0417 1643 00|NO93 8601 1117 947|PL61 1090 1014 0000 0712 1981 2874
MT84 MALT 0110 0001 2345 MTLC AST0 01S|SE45 5000 0000 0583 9825 7466|TR33 0006 1005 1978 6457 8413 26
"""
CARDS = {
    "Visa": "4111111111111111 4012888888881881 4222222222222",
    "Mastercard": "5555555555554444 5105105105105100 2223003122003222",
    "American Express": "378282246310005 371449635398431 378734493671000",
    "Discover": "6011111111111117 6011000990139424",
    "Diners Club": "30569309025904 38520000023237",
    "JCB": "3530111333300000 3566002020360505",
}
# Expired tokens published as vectors for checkers: therootcompany/base62-token.js, issue 2.
TOKENS = """
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 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
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 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
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 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
"""


def slow_luhn(digits: str) -> bool:
    """The formula as ISO/IEC 7812-1 describes it."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


@given(st.text("0123456789", min_size=1, max_size=25))
def test_luhn(digits: str) -> None:
    """The fast formula says what the slow one says."""
    assert luhn(digits.encode()) is slow_luhn(digits)


@given(
    st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=11, max_size=30), st.sampled_from(["DE", "GB"])
)
def test_mod97(body: str, country: str) -> None:
    """Of the hundred check numbers exactly the one that ISO 13616 computes holds."""
    digits = "".join(str(int(letter, 36)) for letter in f"{body}{country}00")
    wanted = 98 - int(digits) % 97

    held = [number for number in range(2, 99) if mod97(f"{country}{number:02}{body}".encode())]

    assert held == [wanted]


@pytest.mark.parametrize(
    "printed", [example for line in REGISTRY.split("\n") for example in line.split("|") if example]
)
def test_registry_examples(printed: str) -> None:
    """Each country's example holds, in groups and without, and cut off from the words behind it."""
    plain = printed.replace(" ", "").encode()

    assert IBAN_LENGTHS[plain[:2]] == len(plain)
    assert iban(plain) == (len(plain), plain)
    assert iban(printed.encode()) == (len(printed), plain)
    assert iban(printed.encode() + b" BIC CODE") == (len(printed), plain)
    assert iban(plain + b"X") is None


def test_iban_refused() -> None:
    """A wrong digit, a country without IBAN and a cut number don't hold."""
    assert iban(b"DE88370400440532013000") is None
    assert iban(b"US89370400440532013000") is None
    assert iban(b"DE8937040044053201300") is None


@pytest.mark.parametrize(("name", "numbers"), CARDS.items())
def test_cards(name: str, numbers: str) -> None:
    """The processors' test numbers hold and name their brand; with one digit changed they don't hold."""
    for number in numbers.split():
        digits = number.encode()
        changed = digits[:-1] + str((int(number[-1]) + 1) % 10).encode()

        assert brand(digits) == name
        assert card(digits) == (len(digits), digits)
        assert card(changed) is None


@pytest.mark.parametrize(
    "number", ["0000000000000000", "1234567812345670", "9999999999999995", "41111111111111"]
)
def test_no_cards(number: str) -> None:
    """Luhn alone is not enough: the prefix and the length must be a brand's."""
    assert card(number.encode()) is None


@pytest.mark.parametrize(
    "number", ["000-12-3456", "666-12-3456", "900-12-3456", "999-12-3456", "123-00-4567", "123-45-0000"]
)
def test_ssn_never_issued(number: str) -> None:
    """Numbers that the Social Security Administration never issues are no findings."""
    assert ssn(number.encode()) is None


@pytest.mark.parametrize(
    "number", ["001-01-0001", "665-99-9999", "667-01-0001", "772-82-1234", "899-99-9999"]
)
def test_ssn_issued(number: str) -> None:
    """Since the randomisation of 2011 all other areas can be issued."""
    assert ssn(number.encode()) == (11, number.replace("-", "").encode())


@pytest.mark.parametrize("token", TOKENS.split())
def test_github_tokens(token: str) -> None:
    """The published tokens hold, and no longer hold with two characters exchanged."""
    swapped = token[:4] + token[5] + token[4] + token[6:]

    assert github_token(token.encode()) == (40, token.encode())
    assert github_token(swapped.encode()) is None


def test_base62_is_padded() -> None:
    """A small number is padded on the left, as in a token whose checksum starts with zeros."""
    assert base62(0, 6) == "000000"
    assert base62(61, 6) == "00000z"
    assert base62(2**32 - 1, 6) == "4gfFC3"


def test_key_of_filler() -> None:
    """Armour around dots or the same letter is a placeholder."""
    armour = b"-----BEGIN PRIVATE KEY-----\n%s\n-----END"
    body = bytes(random.Random(1).choices(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop0123456789+/", k=640))

    assert private_key(armour % (b"x" * 640)) is None
    assert private_key(armour % body) is not None

"""What `sluice status` says of registrations: a word, what to do, addresses only where they are needed."""

import os

import pytest

from ingest.credentials import Keyring
from schemas.control import Former, Registration
from sluice.status import registration, show, state, unreachable

NOW = 1_700_000_000_000
RING = Keyring([os.urandom(32)])
SECRET = "canary-secret-of-a-hook"


def made(**more: object) -> Registration:
    """Make a registration that is well."""
    told = {
        "incarnation": "1", "kind": "Hooks", "axis": "", "id": "a" * 32, "hook": "changed",
        "state": "active", "address": "https://s.example/v1/toy/changed/" + "a" * 32,
        "sealed": RING.seal(SECRET, "c/1"), "registered": {"id": "7", "data": None},
    }  # fmt: skip
    return Registration.model_validate(told | more)


@pytest.mark.parametrize(
    ("more", "word", "fix"),
    [
        ({}, "active", ""),
        ({"state": "wanted", "why": "grant hooks:write"}, "wanted", "grant hooks:write"),
        ({"state": "wanted", "former": Former(id="b" * 32)}, "replacing", ""),
        ({"healthy": False, "why": "can't be verified"}, "unverified", "can't be verified"),
        ({"suspect": NOW, "recovered": 4}, "suspect", "4 came by the poll alone"),
        ({"state": "removing", "why": "still registered"}, "removing", "still registered"),
        ({"manual": True}, "by hand", "register the address"),
        ({"manual": True, "delivered": NOW}, "by hand", ""),
    ],
)
def test_each_state_has_a_word_and_a_remedy(more: dict[str, object], word: str, fix: str) -> None:
    """The operator sees how it is, and what to do if anything."""
    one = made(**more)
    assert state(one) == word
    assert fix in registration(one)["fix"]
    assert bool(registration(one)["fix"]) is bool(fix)


def test_addresses_and_secrets_are_shown_sparingly(capsys: pytest.CaptureFixture[str]) -> None:
    """An address only where somebody must register it, its secret only on demand."""
    assert "address" not in registration(made(), RING, "c/1")
    assert SECRET not in str(registration(made(), RING, "c/1"))
    by_hand = made(manual=True)
    assert SECRET not in str(registration(by_hand))
    assert registration(by_hand, RING, "c/1")["secret"] == SECRET
    assert "SLUICE_KEY" in registration(by_hand, Keyring([os.urandom(32)]), "c/1")["secret"]
    show([registration(by_hand)], NOW)
    said = capsys.readouterr().out
    assert by_hand.address in said
    assert SECRET not in said


def test_the_table_shows_times_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """When it ends, when something last came, what only the poll found."""
    one = made(expires=NOW + 7_300_000, delivered=NOW - 190_000, recovered=12, axis="drive-9")
    show([registration(one)], NOW)
    said = capsys.readouterr().out
    for word in ("Hooks: changed", "drive-9", "active", "2 h", "3 m", "12"):
        assert word in said
    assert one.id not in said


def test_without_a_public_address_it_says_so() -> None:
    """A provider that could push is polled alone until somebody sets the address."""

    class Pushing:
        """A provider with a hook."""

        @classmethod
        def hooks(cls) -> dict[str, object]:
            """Name it."""
            return {"changed": None}

    kind: type = Pushing
    assert "SLUICE_PUBLIC_URL" in unreachable(kind, [])
    assert unreachable(kind, [made()]) == ""
    assert unreachable(None, []) == ""

"""The detector files: well-formed, named, hashed; and what is refused."""

from pathlib import Path

import pytest

from consumers.dlp.detectors import Rules, RulesError
from consumers.dlp.engine import Engine

FIRST_SET = {"aws_key_pair", "credit_card", "email_address", "github_token", "iban", "private_key", "us_ssn"}


def test_built_in(rules: Rules) -> None:
    """The first set of types is there."""
    assert {detector.id for detector in rules.detectors} >= FIRST_SET


def test_hash_names_the_set(rules: Rules) -> None:
    """The hash is the same for the same detectors whatever the key, and another one for others."""
    assert rules.hash == Rules.load(b"another key").hash
    assert rules.hash != Rules.load(b"another key", only=frozenset({"iban"})).hash


def test_key_is_not_shown(rules: Rules) -> None:
    """Neither the rules nor their parts print the key."""
    assert rules.key.get_secret_value().decode() not in repr(rules) + str(rules) + repr(rules.key)


def test_only_some(rules: Rules) -> None:
    """A detector that is not asked for finds nothing."""
    engine = Engine(Rules.load(b"k", only=frozenset({"iban"})))

    assert engine.scan(b"a@acme.io 4539148803436467", "a.txt").findings == ()
    assert Engine(rules).scan(b"a@acme.io 4539148803436467", "a.txt").findings


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no detectors in"),
        ({"a.yaml": "id: [1"}, "a.yaml"),
        ({"a.yaml": "id: a"}, "Field required"),
        ({"a.yaml": "id: a", "b.yaml": "extra: 1"}, "a.yaml"),
    ],
)
def test_bad_files(tmp_path: Path, files: dict[str, str], words: str) -> None:
    """A wrong detector file is named with what is wrong."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(RulesError, match=words):
        Rules.load(b"k", folder=tmp_path)


def test_unknown_id() -> None:
    """An id that is not there is an error, as a scan without it would look clean."""
    with pytest.raises(RulesError, match="no such detector: nope"):
        Rules.load(b"k", only=frozenset({"nope"}))

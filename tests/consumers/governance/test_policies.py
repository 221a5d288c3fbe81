"""Policy files: what is taken, what is refused and how that reads."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.governance.book import Book, removed, written
from consumers.governance.policies import PolicyError, parse_policies
from ingest.consuming import Incoming
from schemas.control import Policy

GOOD = """
policies:
  - name: ssn
    match: {on: finding, detectors: [us_ssn], min_confidence: 75, min_count: 3, name: "*.csv"}
    action: quarantine
    dry_run: false
    cap: 10
  - name: public
    match: {on: file, exposure: external}
    action: quarantine
"""


@pytest.fixture
def kinds(makers: Any) -> dict[str, Any]:
    """Give the one provider there is."""
    return {"memory": makers.memory}


def test_reads_policies(kinds: Any) -> None:
    """What is not said is careful: a dry run, 25 targets."""
    first, second = parse_policies(GOOD, kinds)

    assert (first.name, first.dry_run, first.cap, first.match.min_confidence) == ("ssn", False, 10, 75)
    assert (second.dry_run, second.cap, second.match.exposure) == (True, 25, "external")
    assert Policy.load(first.dump()) == first


def test_reads_json_and_a_bare_list(kinds: Any) -> None:
    """JSON is YAML; the list may stand alone; nothing at all is no policy."""
    text = '[{"name": "a", "match": {"on": "finding"}, "action": "quarantine"}]'

    assert parse_policies(text, kinds)[0].name == "a"
    assert parse_policies("policies: []", kinds) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("dry_run: false", "dryrun: false"), "policy 'ssn': dryrun: there is no such field"),
        (("min_count: 3", "min_count: 0"), "policy 'ssn': match.min_count:"),
        (("min_confidence: 75", "min_confidence: 80"), "policy 'ssn': match.min_confidence:"),
        (("cap: 10", "cap: 0"), "policy 'ssn': cap:"),
        (("exposure: external", "exposure: everyone"), "policy 'public': match.exposure:"),
        (("on: file, exposure: external", "on: file"), "on: file needs exposure"),
        (("on: file, exposure", "on: finding, exposure"), "exposure can't be used with on: finding"),
        (("on: file,", "on: file, detectors: [x],"), "detectors can't be used with on: file"),
        (("name: public", "name: ssn"), "policy 'ssn': the name is used twice"),
        (("name: public", "name: ../x"), "policy '../x': name:"),
        (
            ("action: quarantine\n    dry", "action: burn\n    dry"),
            "there is no 'burn'; there are: delete, lock",
        ),
        (("action: quarantine\n    dry", "action: delete\n    dry"), "delete can't be undone"),
        (("action: quarantine\n    dry", "action: suspend\n    dry"), "suspend acts on no file"),
        (("cap: 10", "options: {irreversible: true}"), "can't do what can't be undone"),
        (("policies:", "rules:"), "rules: there is no such field"),
    ],
)
def test_says_what_is_wrong(kinds: Any, change: tuple[str, str], said: str) -> None:
    """The message names the policy, the field and the rule."""
    text = GOOD.replace(*change, 1)
    assert text != GOOD

    with pytest.raises(PolicyError) as error:
        parse_policies(text, kinds)

    assert said in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "a: [", "3", "!!python/object:os.system {}", "[" * 5000, "a: &x [1]\nb: *x", "a" * 2_000_000]
)
def test_refuses_what_is_no_policy_file(kinds: Any, text: str) -> None:
    """Hostile text ends in the same kind of error."""
    with pytest.raises(PolicyError):
        parse_policies(text, kinds)


NAMES = st.sampled_from(["policies", "name", "match", "on", "action"])
LEAVES = st.none() | st.integers() | st.text(max_size=5)


@given(st.recursive(LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(NAMES, x, max_size=3)))
def test_never_fails_otherwise(raw: Any) -> None:
    """Whatever a document holds, it is read or refused in our words."""
    with contextlib.suppress(PolicyError):
        parse_policies(json.dumps(raw), {})


def test_the_book_follows_changes(kinds: Any) -> None:
    """A policy is put in force, replaced and ended; a damaged one is off."""
    first, second = parse_policies(GOOD, kinds)
    book = Book()

    def take(record: Any) -> None:
        book.take(Incoming("policies", 0, 0, record.key, record.value, (), 0))

    take(written(first))
    take(written(second))
    assert list(book.policies) == ["public", "ssn"]
    take(removed("public"))
    take(written(first)._replace(value=b'{"v": 99}'))
    assert book.policies == {}

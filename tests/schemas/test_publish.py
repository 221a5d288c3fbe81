"""The published contracts are current and valid by their own standards and true of our events."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from schemas.envelope import headers
from schemas.events import Event, Origin
from schemas.publish import FOLDER, check, rendered, write
from schemas.topics import TOPICS, topic_of

PUBLIC = sorted(name for name, topic in TOPICS.items() if topic.public)


def published(topic: str) -> dict[str, Any]:
    """Read the schema of a topic from its file."""
    schema: dict[str, Any] = json.loads((FOLDER / f"{topic}.schema.json").read_bytes())
    return schema


def test_what_is_published_is_current() -> None:
    """Run `python -m schemas.publish` when this fails."""
    assert check() == []


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    """The output is deterministic; damaged, missing and foreign files are found and put right."""
    assert write(tmp_path / "new") == sorted(rendered())
    assert write(tmp_path / "new") == []
    (tmp_path / "new" / "stray.json").write_text("{}")
    (tmp_path / "new" / "asyncapi.yaml").write_text("asyncapi: 2.0.0")
    (tmp_path / "new" / "files.schema.json").unlink()
    assert write(tmp_path / "new") == ["asyncapi.yaml", "files.schema.json", "stray.json"]
    assert check(tmp_path / "new") == []


def test_the_asyncapi_document_is_valid() -> None:
    """AsyncAPI's own JSON Schema for 3.0.0 finds nothing, and finds a planted defect."""
    official = json.loads((Path(__file__).parent / "asyncapi-3.0.0.json").read_bytes())
    document = yaml.safe_load((FOLDER / "asyncapi.yaml").read_bytes())
    judge = Draft7Validator(official)
    assert [error.message for error in judge.iter_errors(document)] == []
    document["channels"]["files"]["bindings"]["kafka"]["partitions"] = -1
    assert not judge.is_valid(document)


def test_the_asyncapi_document_names_every_public_topic_and_header(
    golden: dict[int, Event], origin: Origin
) -> None:
    """Nothing private is in it, and nothing that readers need is missing."""
    document = yaml.safe_load((FOLDER / "asyncapi.yaml").read_bytes())
    assert sorted(document["channels"]) == PUBLIC
    assert "isolation.level=read_committed" in document["info"]["description"]
    described = document["components"]["schemas"]["headers"]["properties"]
    assert set(described) == {name for name, _ in headers(golden[6003], origin)}
    for message in document["components"]["messages"].values():
        assert (FOLDER / message["payload"]["schema"]["$ref"]).is_file()


@pytest.mark.parametrize("topic", PUBLIC)
def test_a_topics_schema_is_draft_07_and_takes_its_events(topic: str, golden: dict[int, Event]) -> None:
    """An analyst's validator takes what we send, and refuses other topics' events and unknown keys."""
    schema = published(topic)
    Draft7Validator.check_schema(schema)
    assert b"$defs" not in (FOLDER / f"{topic}.schema.json").read_bytes()
    judge = Draft7Validator(schema)
    for class_uid, made in golden.items():
        assert judge.is_valid(made) == (class_uid in TOPICS[topic].classes)
    ours = golden[TOPICS[topic].classes[0]]
    assert not judge.is_valid(ours | {"surprise": 1})
    assert not judge.is_valid({name: value for name, value in ours.items() if name != "metadata"})


@pytest.mark.parametrize("topic", PUBLIC)
def test_the_schemas_identity_is_what_records_name(
    topic: str, golden: dict[int, Event], origin: Origin
) -> None:
    """ce_dataschema of a topic's records is the $id of its schema, with the major version in the path."""
    named = dict(headers(golden[TOPICS[topic].classes[0]], origin, topic=topic))["ce_dataschema"].decode()
    assert published(topic)["$id"] == named
    assert "/v1/" in named


def test_constraints_are_published(golden: dict[int, Event]) -> None:
    """A user without account, name and uid is refused by the schema as it is by us."""
    judge = Draft7Validator(published("accounts"))
    assert judge.is_valid(golden[5003])
    assert not judge.is_valid(golden[5003] | {"user": {"has_mfa": True}})


def test_the_golden_events_cover_every_occurrence_topic(golden: dict[int, Event]) -> None:
    """The table of topics finds a place for each of our events."""
    assert {topic_of(made) for made in golden.values()} >= {
        "activities",
        "logons",
        "findings",
        "outcomes",
        "health",
    }

"""The published contracts: a JSON Schema per public topic and one AsyncAPI document, both generated.

``python -m schemas.publish`` writes them; `check` says which are out of date. The schemas are draft-07, the
newest that every AsyncAPI tool must read. They are closed: a consumer that tolerates unknown keys is never
broken by a new optional one, and taking one away is a new major version.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import orjson
import yaml
from pydantic.json_schema import GenerateJsonSchema

from schemas.envelope import SCHEMAS
from schemas.ocsf import NAMES, VERSION
from schemas.scalars import Json
from schemas.topics import TOPICS, Topic
from schemas.validation import adapter

FOLDER = Path(__file__).parent / "published"
_DRAFT_07 = "http://json-schema.org/draft-07/schema#"
_PARTITIONS = 64
_NUMBERS = frozenset({"retention.ms", "delete.retention.ms", "max.message.bytes"})
"""Of a topic's settings those that AsyncAPI's Kafka binding knows, beside cleanup.policy."""
_HEADERS: Mapping[str, str] = {
    "ce_specversion": "Always 1.0.",
    "ce_id": "The event's id (metadata.uid). Equal source and id: the same occurrence.",
    "ce_source": "/tenants/{tenant}/{provider}/{instance}, each part percent-encoded.",
    "ce_type": "ocsf.{class}.{activity}, for example ocsf.file_hosting.share.",
    "ce_time": "When it happened, RFC 3339 with milliseconds.",
    "ce_subject": "The entity the event is about.",
    "ce_dataschema": "The identity of this topic's schema.",
    "content-type": "application/json.",
}
_ABOUT = (
    "Normalized security events from connected apps: one bare OCSF event a record, CloudEvents 1.0 headers"
    " (binary mode). Read with isolation.level=read_committed, and each occurrence appears once; librdkafka"
    " does so by default, Java clients must be told. Records of one entity stay in order within a topic. On"
    " compacted topics a key's latest record is the entity's state; one without a value means that the entity"
    " is gone. Topic names may carry the deployment's prefix; partitions are the default number."
)


class _Draft07(GenerateJsonSchema):
    """Pydantic's generator without a title for each field: it would only repeat the key."""

    def field_title_should_be_set(self, schema: Json) -> bool:  # noqa: ARG002 - the parent's signature.
        return False


def topic_schema(topic: Topic) -> dict[str, Json]:
    """Make the schema of a topic's values: one of its classes, told apart by ``class_uid``."""
    branches: list[Json] = []
    shared: dict[str, Json] = {}
    for class_uid in sorted(topic.classes):
        made = adapter(class_uid).json_schema(ref_template="#/definitions/{model}", schema_generator=_Draft07)
        shared |= made.pop("$defs", {})
        shared[made["title"]] = made
        branches.append({"$ref": f"#/definitions/{made['title']}"})
    return {
        "$schema": _DRAFT_07,
        "$id": SCHEMAS.format(topic=topic.name),
        "title": topic.name,
        "description": f"{topic.doc} OCSF {VERSION}.",
        "oneOf": branches,
        "definitions": dict(sorted(shared.items())),
    }


def _channel(topic: Topic) -> dict[str, Json]:
    settings: dict[str, Json] = {name: int(value) for name, value in topic.config.items() if name in _NUMBERS}
    settings["cleanup.policy"] = topic.config["cleanup.policy"].split(",")
    return {
        "address": topic.name,
        "description": topic.doc,
        "messages": {"event": {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {"kafka": {
            "topic": topic.name, "partitions": topic.partitions(_PARTITIONS),
            "topicConfiguration": dict(sorted(settings.items())), "bindingVersion": "0.5.0",
        }},
    }  # fmt: skip


def _message(topic: Topic) -> dict[str, Json]:
    types = ", ".join(f"ocsf.{NAMES[number][0]}.*" for number in sorted(topic.classes))
    key = {"type": "string", "description": topic.key}
    return {
        "name": topic.name,
        "summary": f"{topic.doc} ce_type is one of {types}.",
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {"schemaFormat": "application/schema+json;version=draft-07",
                    "schema": {"$ref": f"./{topic.name}.schema.json"}},
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }  # fmt: skip


def document() -> dict[str, Json]:
    """Make the AsyncAPI 3.0 document of the public topics."""
    public = {name: topic for name, topic in sorted(TOPICS.items()) if topic.public}
    headers = {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "content-type"],
        "properties": {name: {"type": "string", "description": text} for name, text in _HEADERS.items()},
    }
    terms = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
    sent = {
        f"publish-{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in public
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Sluice", "version": "1.0.0", "description": _ABOUT, "license": terms},
        "defaultContentType": "application/json",
        "channels": {name: _channel(topic) for name, topic in public.items()},
        "operations": sent,
        "components": {"messages": {name: _message(topic) for name, topic in public.items()},
                       "schemas": {"headers": headers}},
    }  # fmt: skip


def rendered() -> dict[str, bytes]:
    """Make every published file: its name and its bytes, the same on each run."""
    files = {
        f"{name}.schema.json": orjson.dumps(topic_schema(topic), option=orjson.OPT_INDENT_2) + b"\n"
        for name, topic in TOPICS.items()
        if topic.public
    }
    text = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110)
    return files | {"asyncapi.yaml": text.encode()}


def check(folder: Path = FOLDER) -> list[str]:
    """List the published files that differ from what would be written, or should not be there."""
    wanted = rendered()
    found = {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(folder: Path = FOLDER) -> list[str]:
    """Write what is out of date, remove what does not belong, and list both."""
    wanted = rendered()
    stale = check(folder)
    folder.mkdir(exist_ok=True)
    for name in stale:
        if name in wanted:
            (folder / name).write_bytes(wanted[name])
        else:
            (folder / name).unlink()
    return stale


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in write()))

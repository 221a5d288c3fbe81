"""What all test folders share: one real Kafka for the session, and names that no other test uses."""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from typing import Any
from uuid import uuid4

import hypothesis  # noqa: F401 here, where nothing runs yet: Python 3.11 can't parse it beside other threads
import jsonschema_rs
import pytest
import pytest_asyncio
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from schemas.ocsf import VERSION
from sluice.broker import Broker, embedded


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kafka() -> AsyncIterator[Broker]:
    """Run one embedded Kafka for a file's tests: with the topics of all it would take minutes to recover."""
    async with embedded() as broker:
        yield broker


@pytest.fixture
def topic_prefix() -> str:
    """Give a prefix for the names of topics, groups and transactional ids that is the test's own."""
    return uuid4().hex[:8] + "."


@pytest.fixture(scope="session")
def ocsf() -> dict[str, Any]:
    """Load the official compiled OCSF schema of our release."""
    loaded: dict[str, Any] = get_ocsf_schema(VERSION)
    return loaded


@pytest.fixture(scope="session")
def official(ocsf: dict[str, Any]) -> Callable[[Mapping[str, Any]], list[str]]:
    """Give the judge of events: complaints by the official schema with the event's own profiles."""
    embedded_schema = OcsfJsonSchemaEmbedded(ocsf)

    @cache
    def judge(class_uid: int, profiles: tuple[str, ...]) -> jsonschema_rs.Draft202012Validator:
        name = embedded_schema.lookup_class_name_from_uid(class_uid)
        return jsonschema_rs.Draft202012Validator(embedded_schema.get_class_schema(name, list(profiles)))

    def complaints(made: Mapping[str, Any]) -> list[str]:
        judged = judge(made["class_uid"], tuple(made["metadata"].get("profiles", ())))
        return [f"{'.'.join(map(str, e.instance_path))}: {e.message}" for e in judged.iter_errors(made)]

    return complaints

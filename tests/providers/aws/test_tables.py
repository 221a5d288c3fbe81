"""The tables beside the code name what there is: operations of AWS, capabilities, each code once."""

import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, get_args

import pytest
from botocore import xform_name
from botocore.loaders import create_loader
from botocore.model import ServiceModel

import ingest.providers.aws
from ingest.provider import Capability
from ingest.providers.aws.session import Settings

Json: TypeAlias = Any
FOLDER = Path(ingest.providers.aws.__file__).parent
LOGGED = ("cloudtrail", "iam", "identitystore", "sts")
"""Services whose calls CloudTrail names as their API does; sign-ins are no calls, S3 has names of its own."""


def table(name: str) -> Json:
    """Read a table."""
    return tomllib.loads((FOLDER / name).read_text())


@cache
def operations(service: str) -> frozenset[str]:
    """Ask the SDK's model of a service for its operations."""
    model = ServiceModel(create_loader().load_service_model(service, "service-2"), service)
    return frozenset(model.operation_names)


def test_each_code_has_one_meaning() -> None:
    """A code in two rows would mean what stands last."""
    rows = [one for name, one in table("errors.toml").items() if name != "s3_actions"]
    counted = Counter(code for one in rows for code in one["codes"])
    assert [code for code, count in counted.items() if count > 1] == []


def test_the_actions_of_s3_are_for_its_operations() -> None:
    """A misspelt operation would name a permission that nobody can grant."""
    assert set(table("errors.toml")["s3_actions"]) <= operations("s3")


def test_the_probe_calls_what_there_is() -> None:
    """Each capability is the contract's, each call the SDK's, each setting ours; no call is left over."""
    probe = table("probe.toml")
    assert set(probe["capabilities"]) <= set(get_args(Capability))
    used = {call for one in probe["capabilities"].values() for call in one["calls"]}
    assert used == set(probe["calls"])
    for one in probe["calls"].values():
        service, operation = one["call"]
        assert operation in {xform_name(name) for name in operations(service)}
    for one in probe["capabilities"].values():
        assert one.get("setting", "regions") in Settings.model_fields


@pytest.mark.parametrize("service", LOGGED)
def test_classes_are_for_calls_there_are(service: str) -> None:
    """A misspelt call would never get its class."""
    rows = table("calls.toml")["rows"][f"{service}.amazonaws.com"]
    names = {name for row in rows for name in row["calls"]}
    assert names - operations(service) == set()

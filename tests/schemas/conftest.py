"""What the schema tests share: the official OCSF schema, a connector's origin and one event of each class."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

import jsonschema_rs
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from schemas.events import Event, Origin, event, present, stamp
from schemas.ocsf import VERSION

Official: TypeAlias = Callable[[Mapping[str, Any]], list[str]]
NOW = 1_772_359_201_000


@pytest.fixture(scope="session")
def ocsf() -> dict[str, Any]:
    """Load the official compiled schema of our release."""
    loaded: dict[str, Any] = get_ocsf_schema(VERSION)
    return loaded


@pytest.fixture(scope="session")
def official(ocsf: dict[str, Any]) -> Official:
    """Give the judge of events: complaints by the official schema with the event's own profiles."""
    embedded = OcsfJsonSchemaEmbedded(ocsf)

    @cache
    def judge(class_uid: int, profiles: tuple[str, ...]) -> jsonschema_rs.Draft202012Validator:
        name = embedded.lookup_class_name_from_uid(class_uid)
        return jsonschema_rs.Draft202012Validator(embedded.get_class_schema(name, list(profiles)))

    def complaints(made: Mapping[str, Any]) -> list[str]:
        judged = judge(made["class_uid"], tuple(made["metadata"].get("profiles", ())))
        return [
            f"{'.'.join(map(str, error.instance_path))}: {error.message}"
            for error in judged.iter_errors(made)
        ]

    return complaints


@pytest.fixture(scope="session")
def origin() -> Origin:
    """Give the origin of an AWS connector."""
    return Origin(
        "acme",
        "aws",
        "123456789012",
        {"name": "AWS", "vendor_name": "Amazon"},
        instance_name="production",
        account_type_id=10,
        org="o-exampleorgid",
    )


USER = present(uid="AIDAEXAMPLE", name="Alice", type_id=1, account=present(uid="123456789012", type_id=10))
ACTOR = {"user": USER | {"credential_uid": "AKIAI44QH8DHBEXAMPLE"}, "session": {"is_mfa": False}}
SOURCE = {"ip": "192.0.2.0"}
FILE = present(
    name="report.csv",
    type_id=1,
    uid="example-bucket/report.csv",
    version="3sL4kqtJlcpXroDTDmJ",
    size=1024,
    is_public=True,
    hashes=[{"algorithm_id": 1, "value": "d41d8cd98f00b204e9800998ecf8427e"}],
)
RESOURCE = present(uid="arn:aws:s3:::example-bucket", name="example-bucket", type="bucket", labels=["public"])
ENTITY = present(name="password policy", type_id=5, type="Policy", data={"minimum": 14})

ATTRIBUTES: Mapping[int, tuple[int, dict[str, Any]]] = {
    2006: (
        1,
        {
            "status_id": 1,
            "finding_info": {"uid": "f" * 32, "title": "Payment cards", "types": ["pci"]},
            "data_security": {
                "detection_system_id": 8,
                "category_id": 3,
                "policy": {"uid": "pci", "name": "Payment cards"},
                "discovery_details": [{"type": "payment_card", "count": 3, "value": "4***********1111"}],
            },
            "file": FILE,
            "confidence_id": 3,
            "priority_id": 3,
        },
    ),
    3001: (1, {"user": {"name": "Richard"}, "actor": ACTOR, "src_endpoint": SOURCE}),
    3002: (
        1,
        {
            "user": USER,
            "service": {"name": "signin.amazonaws.com"},
            "src_endpoint": SOURCE,
            "http_request": {"user_agent": "Mozilla/5.0"},
            "is_mfa": False,
            "status_id": 2,
            "status_detail": "Failed authentication",
        },
    ),
    3003: (
        1,
        {"user": USER, "privileges": ["role/Admin"], "session": {"uid": "ASIAEXAMPLE"}, "actor": ACTOR},
    ),
    3004: (3, {"entity": ENTITY, "actor": ACTOR}),
    3005: (1, {"user": USER, "privileges": ["AdministratorAccess"], "resources": [RESOURCE]}),
    3006: (3, {"group": {"name": "admins", "uid": "AGPAEXAMPLE"}, "user": USER, "actor": ACTOR}),
    5003: (2, {"user": USER | {"has_mfa": True, "programmatic_credentials": [{"uid": "AKIAEXAMPLE"}]}}),
    5023: (2, {"resources": [RESOURCE | {"data": {"exposure": "public"}}], "region": "us-east-1"}),
    6001: (2, {"web_resources": [{"uid": "acme/site", "type": "repository"}], "actor": ACTOR}),
    6002: (3, {"app": {"name": "Sluice", "uid": "aws/123456789012"}, "message": "running"}),
    6003: (
        1,
        {
            "actor": ACTOR,
            "api": {
                "operation": "StartInstances",
                "service": {"name": "ec2.amazonaws.com"},
                "request": {"uid": "6e4a4d1c"},
                "response": {"error": "AccessDenied", "error_message": "not authorized"},
            },
            "src_endpoint": SOURCE,
            "http_request": {"user_agent": "ec2-api-tools 1.6.12.2"},
            "resources": [RESOURCE],
            "status_id": 2,
            "cloud": {"region": "us-east-2"},
            "unmapped": {"eventVersion": "1.08", "requestParameters": None},
        },
    ),
    6006: (12, {"actor": ACTOR, "file": FILE, "src_endpoint": SOURCE, "access_list": ["anyone: read"]}),
    6007: (
        2,
        {"scan": {"uid": "sweep-1", "type_id": 2}, "num_files": 10, "num_detections": 0, "duration": 5},
    ),
    6008: (2, {"message": "a record could not be mapped", "status_code": "BadRecord"}),
    7001: (4, {"command_uid": "c-1", "remediation": {"desc": "suspended"}, "status_id": 1, "actor": ACTOR}),
    7002: (1, {"command_uid": "c-2", "file": FILE, "status_id": 3}),
}


@pytest.fixture
def golden(origin: Origin) -> dict[int, Event]:
    """Give one event of each class, most of them after samples in the AWS CloudTrail user guide."""
    return {
        class_uid: stamp(
            event(
                class_uid,
                activity_id,
                1_772_359_200_000,
                log_name="files" if class_uid in {5003, 5023} else "cloudtrail",
                source_id=f"3038ebd2-c98a-4c65-9b6e-{class_uid}",
                original_time="2026-03-01T10:00:00Z",
                event_code="StartInstances",
                **attributes,
            ),
            origin,
            NOW,
        )
        for class_uid, (activity_id, attributes) in ATTRIBUTES.items()
    }

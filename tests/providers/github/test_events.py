"""Audit records to events; the inputs are the examples of GitHub's REST reference and of its catalogue.

Sources: REST API description, example `audit-log`; "Audit log events for your organization".
"""

from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.provider import BadRecord, Instance, Json
from ingest.providers.github.events import audit_record
from schemas.events import Event, entity_of

Mapped = Callable[..., list[Event]]
PUBLISHED: list[Json] = [
    {"@timestamp": 1606929874512, "action": "team.add_member", "actor": "octocat",
     "created_at": 1606929874512, "_document_id": "xJJFlFOhQ6b-5vaAFy9Rjw", "org": "octo-corp",
     "team": "octo-corp/example-team", "user": "monalisa"},
    {"@timestamp": 1606507117008, "action": "org.create", "actor": "octocat", "created_at": 1606507117008,
     "_document_id": "Vqvg6kZ4MYqwWRKFDzlMoQ", "org": "octocat-test-org"},
    {"@timestamp": 1605719148837, "action": "repo.destroy", "actor": "monalisa", "created_at": 1605719148837,
     "_document_id": "LwW2vpJZCDS-WUmo9Z-ifw", "org": "mona-org", "repo": "mona-org/mona-test-repo",
     "visibility": "private"},
]  # fmt: skip


def one(mapped: Mapped, **record: Json) -> Event:
    """Map a record with some members."""
    whole = {"@timestamp": 1_606_929_874_512, "_document_id": "id", "action": "org.rename", **record}
    (event,) = mapped(audit_record, [whole])
    return event


def test_published_records(mapped: Mapped) -> None:
    """The reference's three examples: who, what, when, and the log's own id."""
    added, made, gone = mapped(audit_record, PUBLISHED)
    assert (added["class_uid"], added["activity_id"], added["time"]) == (3006, 3, 1606929874512)
    assert added["group"] == {"name": "octo-corp/example-team", "type": "team"}
    assert added["user"] == {"name": "monalisa", "type_id": 1}
    assert added["actor"]["user"] == {"name": "octocat", "type_id": 1}
    assert added["metadata"]["original_event_uid"] == "xJJFlFOhQ6b-5vaAFy9Rjw"
    assert (made["class_uid"], made["entity"]["name"]) == (3004, "octocat-test-org")
    assert gone["web_resources"] == [
        {"name": "mona-org/mona-test-repo", "type": "repository", "labels": ["private"]}
    ]
    assert entity_of(gone) == "mona-org/mona-test-repo"


def test_a_git_event_has_no_time_of_writing(mapped: Mapped) -> None:
    """Git events lack `created_at`; what protocol was used is kept."""
    event = one(mapped, action="git.clone", repo="octo/repo", transport_protocol_name="ssh", actor="octocat")
    assert (event["class_uid"], event["activity_id"]) == (6001, 7)
    assert "logged_time" not in event["metadata"]
    assert event["unmapped"] == {"transport_protocol_name": "ssh"}


def test_a_sign_in_names_person_address_and_country(mapped: Mapped) -> None:
    """Where disclosure is enabled, the address and the country are in the event."""
    event = one(
        mapped, action="org.sso_response", actor="octocat", actor_id=1, actor_ip="192.0.2.7",
        actor_location={"country_code": "CH"}, user_agent="Mozilla/5.0",
    )  # fmt: skip
    assert (event["class_uid"], event["activity_id"], event["status_id"]) == (3002, 1, 1)
    assert event["auth_protocol_id"] == 5
    assert event["src_endpoint"] == {"ip": "192.0.2.7", "location": {"country": "CH"}}
    assert event["http_request"] == {"user_agent": "Mozilla/5.0"}
    assert event["user"]["uid"] == "1"


@pytest.mark.parametrize(
    "action", ["user.failed_login", "org.recovery_code_failed", "protected_branch.rejected_ref_update",
               "external_identity.scim_api_failure", "business.proxy_security_header_unsatisfied"],
)  # fmt: skip
def test_a_failure_is_told_by_its_name(mapped: Mapped, action: str) -> None:
    """The log has no outcome of its own."""
    assert one(mapped, action=action, actor="octocat")["status_id"] == 2


def test_a_repository_made_public_is_shared(mapped: Mapped) -> None:
    """`repo.access` to public is a share, to private an update."""
    assert one(mapped, action="repo.access", repo="o/r", visibility="public")["activity_id"] == 8
    assert one(mapped, action="repo.access", repo="o/r", visibility="private")["activity_id"] == 3


def test_an_api_request_keeps_its_call_and_outcome(mapped: Mapped) -> None:
    """Requests, which only streams have, are API activity by their method."""
    event = one(
        mapped, action="api.request", request_method="DELETE", route="/repos/:o/:r", status_code=404,
        actor="octocat", url_path="/repos/o/r?access_token=ghp_0123456789abcdefghijABCDEFGHIJ012345",
    )  # fmt: skip
    assert (event["class_uid"], event["activity_id"], event["status_id"]) == (6003, 4, 2)
    assert event["api"]["operation"] == "DELETE /repos/:o/:r"
    assert event["http_response"] == {"code": 404}
    assert "ghp_" not in orjson.dumps(event).decode()


def test_secrets_are_left_out(mapped: Mapped) -> None:
    """Tokens never appear; their hash, which GitHub gives for searching, does."""
    event = one(
        mapped, token="ghp_secretsecretsecretsecretsecret1234", client_secret="s3cret",
        hashed_token="aGFzaA==", config={"secret": "hush", "url": "https://x"},
        note="github_pat_11AAAAAAA0123456789_abcdefghij",
    )  # fmt: skip
    text = orjson.dumps(event).decode()
    assert not any(word in text for word in ("secretsecret", "s3cret", "hush", "github_pat_11"))
    assert event["unmapped"]["hashed_token"] == "aGFzaA=="
    assert event["unmapped"]["config"] == {"url": "https://x"}


def test_grants_name_app_and_privileges(mapped: Mapped) -> None:
    """A consent has its app; a role change its role; a blocked person is the one acted on."""
    event = one(mapped, action="oauth_authorization.create", actor="o", oauth_application_name="Zap",
                oauth_application_id=9, scopes=["repo", "user"])  # fmt: skip
    assert event["resources"] == [{"name": "Zap", "uid": "9", "type": "oauth_app"}]
    assert event["privileges"] == ["repo", "user"]
    assert one(mapped, action="org.update_member", user="m", permission="admin")["privileges"] == ["admin"]
    assert one(mapped, action="org.block_user", blocked_user="eve")["user"]["name"] == "eve"


def test_an_enterprise_event_of_several_organizations(mapped: Mapped) -> None:
    """Where `org` is a list, the first counts; all stay."""
    event = one(mapped, org=["a", "b"], org_id=[1, 2])
    assert event["cloud"]["org"] == {"name": "a", "uid": "1"}


@pytest.mark.parametrize(
    "record", [{}, {"action": "x"}, {"@timestamp": "now", "_document_id": "i", "action": "a.b"}]
)
def test_what_is_no_record_is_refused(record: Json) -> None:
    """Without id, time or action there is nothing to map."""
    with pytest.raises(BadRecord):
        list(audit_record(record, Instance("1")))


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


MEMBERS = [
    "actor", "actor_id", "org", "repo", "user", "team", "actor_ip", "name", "actor_location", "permission",
    "scopes", "user_agent",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(MEMBERS), JSONS))
def test_odd_members_are_left_aside(members: dict[str, Json]) -> None:
    """Whatever stands in a member, the record becomes one event with its id."""
    record = {"@timestamp": 1_606_929_874_512, "_document_id": "id", "action": "repo.create", **members}
    (event,) = audit_record(record, Instance("1"))
    assert event["metadata"]["original_event_uid"] == "id"

"""Both published catalogues, walked whole: every name is mapped by a rule of ours to a valid event."""

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.provider import Json
from ingest.providers.github.events import audit_record
from ingest.providers.github.kinds import EVENTS, WEBHOOKS, logged
from ingest.providers.github.table import AUDIT, Rules
from ingest.providers.github.webhooks import webhook_record
from schemas.events import Event
from schemas.topics import topic_of

Mapped = Callable[..., list[Event]]
HERE = Path(__file__).parent
ACTIONS = (HERE / "actions.txt").read_text().split()
KINDS = (HERE / "webhooks.txt").read_text().split()
OTHER = {3001: 53, 3002: 1, 3004: 14, 3005: 8, 3006: 8, 6003: 1}
"""How many actions are "other" on purpose, by class: OCSF has no number for what they do."""


def record(action: str) -> Json:
    """Make an audit record with the members that all actions may have, as the catalogue lists them."""
    return {
        "@timestamp": 1_606_929_874_512, "_document_id": f"id-{action}", "action": action,
        "actor": "octocat", "actor_id": 1, "user": "monalisa", "user_id": 2, "org": "octo-corp", "org_id": 3,
        "repo": "octo/repo", "repo_id": 4, "created_at": 1_606_929_874_600, "operation_type": "modify",
        "user_agent": "Mozilla/5.0", "hashed_token": "aGFzaA==", "token_id": 77, "token_scopes": "repo",
        "business": "octo", "business_id": 5, "request_id": "A:B:C",
        "programmatic_access_type": "Personal access token (classic)",
    }  # fmt: skip


def test_no_action_falls_to_unknown() -> None:
    """Each of the 1,194 actions is named by a rule; those that are "other" are so on purpose."""
    assert len(ACTIONS) == 1194
    assert [name for name in ACTIONS if not AUDIT.rule(name).known] == []
    others: dict[int, int] = {}
    for name in ACTIONS:
        rule = AUDIT.rule(name)
        assert rule.activity != 0
        if rule.activity == 99:
            others[rule.class_uid] = others.get(rule.class_uid, 0) + 1
    assert others == OTHER


def test_no_kind_of_webhook_falls_to_unknown() -> None:
    """Each of the 284 events and actions is named by a rule; what is subscribed to exists."""
    assert len(KINDS) == 284
    assert [kind for kind in KINDS if not WEBHOOKS.rule(kind).known] == []
    assert set(EVENTS) <= {kind.partition(".")[0] for kind in KINDS}


def test_every_action_makes_a_valid_event(mapped: Mapped) -> None:
    """Whatever the action, its record becomes one event with actor, time, id, address and the rest."""
    events = mapped(audit_record, map(record, ACTIONS))
    assert [one["metadata"]["event_code"] for one in events] == ACTIONS
    for one in events:
        assert one["actor"]["user"] == {"name": "octocat", "uid": "1", "type_id": 1, "credential_uid": "77"}
        assert one["unmapped"]["hashed_token"] == "aGFzaA=="
        assert topic_of(one) == ("logons" if one["class_uid"] == 3002 else "activities")


@pytest.mark.parametrize(
    ("action", "class_uid", "activity"),
    [
        ("org.sso_response", 3002, 1),
        ("user.failed_login", 3002, 1),
        ("user.logout", 3002, 2),
        ("org.add_member", 3001, 1),
        ("org.remove_member", 3001, 6),
        ("user.suspend", 3001, 5),
        ("two_factor_authentication.disabled", 3001, 11),
        ("team.create", 3006, 6),
        ("team.add_member", 3006, 3),
        ("team.remove_repository", 3006, 2),
        ("org.update_member", 3005, 1),
        ("repo.add_member", 3005, 1),
        ("oauth_authorization.create", 3005, 1),
        ("integration_installation.destroy", 3005, 2),
        ("org_credential_authorization.revoke", 3005, 2),
        ("personal_access_token.access_granted", 3005, 1),
        ("git.clone", 6001, 7),
        ("git.push", 6001, 3),
        ("repo.destroy", 6001, 4),
        ("repo.pages_public", 6001, 8),
        ("org.audit_log_export", 6001, 7),
        ("protected_branch.destroy", 3004, 4),
        ("ip_allow_list.disable", 3004, 9),
        ("org.enable_saml", 3004, 8),
        ("hook.create", 3004, 1),
        ("integration.suspend", 3004, 12),
        ("business.set_actions_retention_limit", 3004, 3),
        ("api.request", 6003, 99),
    ],
)
def test_what_actions_mean(action: str, class_uid: int, activity: int) -> None:
    """Sign-ins, people, groups, grants, content and settings each have their class and activity."""
    assert AUDIT.rule(action)[:2] == (class_uid, activity)


@pytest.mark.parametrize(
    ("name", "activity"),
    [("quantum.create_entanglement", 1), ("quantum.destroyed", 4), ("quantum.viewed", 3), ("odd", 3)],
)
def test_an_action_nobody_knows_passes_through(mapped: Mapped, name: str, activity: int) -> None:
    """A new action is API activity by its verb, with everything it came with."""
    (event,) = mapped(audit_record, [record(name) | {"novelty": {"deep": [1]}}])
    assert (event["class_uid"], event["activity_id"]) == (6003, activity)
    assert event["api"]["operation"] == name
    assert event["unmapped"]["novelty"] == {"deep": [1]}


def test_an_event_nobody_knows_passes_through(mapped: Mapped) -> None:
    """A new kind of webhook too."""
    payload = {"action": "entangled", "sender": {"login": "octocat", "id": 1}}
    told = {"guid": "g", "event": "quantum", "delivered_at": "2026-01-02T03:04:05Z"}
    new = {**told, "request": {"payload": payload}}
    (event,) = mapped(webhook_record, [new])
    assert (event["class_uid"], event["metadata"]["event_code"]) == (6003, "quantum.entangled")


def test_kinds_that_the_log_lacks() -> None:
    """What the audit log's catalogue has nothing like is published; what it has is a nudge."""
    assert not any(
        map(logged, ("issues.opened", "fork", "release.published", "create", "issue_comment.created"))
    )
    assert all(map(logged, ("member.added", "push", "repository.created", "org_block.blocked", "team_add")))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"class": 3007}, "no class that we emit"),
        ({"activity": 42}, "no activity 42"),
        ({"activity": "sometimes"}, "by-verb"),
        ({"kind": ""}, "needs a kind"),
        ({"class": 3001}, "has no kind"),
        ({"names": ["Org.Create"]}, "pattern"),
        ({"names": ["org.create", "org.create"]}, "named twice: org.create"),
        ({"nmaes": []}, "Extra inputs"),
    ],
)
def test_a_rule_that_is_wrong_is_refused(wrong: Json, says: str) -> None:
    """A class or activity that does not exist, a kind too much or too little, a name said twice."""
    good = {"class": 3004, "activity": 1, "kind": "organization", "names": ["org.create"]}
    assert Rules.model_validate({"rule": [good]}).rule[0].names == ("org.create",)
    with pytest.raises(ValidationError, match=says):
        Rules.model_validate({"rule": [good | wrong]})


@given(st.text(max_size=60))
def test_any_name_has_a_rule(name: str) -> None:
    """Looking a name up never fails, and ends in one of our classes."""
    assert AUDIT.rule(name).class_uid in {3001, 3002, 3004, 3005, 3006, 6001, 6003}


def test_the_page_about_the_mapping_is_up_to_date() -> None:
    """docs/mappings/github.md is what the rules say."""
    spec = spec_from_file_location("mapping_table", HERE / "mapping_table.py")
    assert spec is not None
    assert spec.loader is not None
    table = module_from_spec(spec)
    spec.loader.exec_module(table)
    root = HERE.parent.parent.parent
    assert (root / "docs" / "mappings" / "github.md").read_text() == table.page()

"""The whole catalogue of types has deliberate rules, and the documentation lists them as they are."""

import runpy
from pathlib import Path

import pytest

from ingest.providers.okta.hooks import ELIGIBLE
from ingest.providers.okta.rules import RULES, rule
from schemas.ocsf import CLASSES, NAMES

HERE = Path(__file__).parent
CATALOGUE = (HERE / "event_types.txt").read_text().split()
TABLE = HERE.parents[2] / "docs" / "mappings" / "okta.md"


def test_every_type_of_the_catalogue_has_a_rule() -> None:
    """No type of Okta's falls to the unknown by accident."""
    assert len(CATALOGUE) > 1100
    assert [name for name in CATALOGUE if not rule(name).prefix] == []


def test_every_rule_is_used() -> None:
    """A prefix that fits no type of the catalogue is a mistake."""
    used = {rule(name).prefix for name in CATALOGUE}
    assert sorted(set(RULES) - used) == []


def test_rules_name_activities_that_there_are() -> None:
    """Each class is one of ours and each activity one of the class."""
    for name in CATALOGUE:
        found = rule(name)
        assert found.class_uid in CLASSES
        assert found.activity_id in NAMES[found.class_uid][1], name


def test_hooks_are_asked_for_types_of_the_catalogue() -> None:
    """What we subscribe to exists, and is no more than the catalogue marks as eligible."""
    assert set(ELIGIBLE) <= set(CATALOGUE)
    assert len(ELIGIBLE) == len(set(ELIGIBLE)) == 214
    never = {"user.session.access_admin_app", "security.threat.detected", "user.account.expire_password",
             "zone.update", "app.oauth2.as.token.grant", "policy.evaluate_sign_on"}  # fmt: skip
    assert never.isdisjoint(ELIGIBLE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("user.session.start", (3002, 1)), ("user.session.end", (3002, 2)),
        ("user.authentication.sso", (3002, 1)), ("user.authentication.slo", (3002, 2)),
        ("policy.evaluate_sign_on", (3002, 6)), ("user.session.impersonation.initiate", (3002, 7)),
        ("user.lifecycle.create", (3001, 1)), ("user.lifecycle.suspend", (3001, 5)),
        ("user.lifecycle.unsuspend", (3001, 2)), ("user.account.lock", (3001, 9)),
        ("user.account.unlock_by_admin", (3001, 12)), ("user.mfa.factor.activate", (3001, 10)),
        ("user.mfa.factor.reset_all", (3001, 11)), ("user.account.update_password", (3001, 3)),
        ("user.account.privilege.grant", (3005, 1)), ("application.user_membership.remove", (3005, 2)),
        ("app.oauth2.as.consent.grant", (3005, 1)), ("app.oauth2.as.token.grant.access_token", (3003, 1)),
        ("group.user_membership.add", (3006, 3)), ("group.lifecycle.delete", (3006, 5)),
        ("group.privilege.revoke", (3006, 2)), ("group.user_membership.rule.deactivated", (3004, 11)),
        ("zone.update", (3004, 3)), ("policy.rule.delete", (3004, 4)),
        ("device.lifecycle.suspend", (3004, 12)),
        ("application.lifecycle.create", (3004, 1)), ("system.api_token.create", (3004, 1)),
        ("user.session.access_admin_app", (6003, 99)), ("system.org.rate_limit.warning", (6003, 99)),
        ("analytics.reports.export.download", (6003, 2)),
    ],
)  # fmt: skip
def test_what_well_known_types_are(name: str, expected: tuple[int, int]) -> None:
    """Class and activity follow the catalogue's description of the type."""
    assert rule(name)[:2] == expected


@pytest.mark.parametrize("name", ["", "quantum.flux.invert", "zz", "userx.session.start", "é.☃"])
def test_a_type_nobody_knows_is_api_activity(name: str) -> None:
    """A type that Okta adds tomorrow passes, as API activity without a rule."""
    assert rule(name) == (6003, 99, "")


def test_the_documentation_is_current() -> None:
    """The table is what the rules say; mapping_table.py writes it anew."""
    assert TABLE.read_text() == runpy.run_path(str(HERE / "mapping_table.py"))["table"]()

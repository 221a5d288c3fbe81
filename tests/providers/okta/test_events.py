"""System Log events: every type, whole, bare or full of nulls, is a valid event that keeps what matters."""

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.provider import BadRecord, Instance
from ingest.providers.okta.events import log_event
from ingest.providers.okta.inventory import record as any_record
from schemas.topics import topic_of
from schemas.validation import validate

CATALOGUE = Path(__file__).with_name("event_types.txt").read_text().split()
HERE = Instance("00o1", "Acme")
ANN = {"id": "00u1ann", "type": "User", "alternateId": "ann@acme.example", "displayName": "Ann Ohm"}
BOB = {"id": "00u1bob", "type": "User", "alternateId": "bob@acme.example", "displayName": "Bob Ray"}
GROUP = {"id": "00g1fin", "type": "UserGroup", "alternateId": "unknown", "displayName": "Finance"}
APP = {"id": "0oa1crm", "type": "AppInstance", "alternateId": "CRM", "displayName": "CRM",
       "detailEntry": {"signOnModeType": "SAML_2_0"}}  # fmt: skip
APP_USER = {"id": "0ua1", "type": "AppUser", "alternateId": "bob", "displayName": "Bob Ray"}
POLICY = {"id": "00p1", "type": "PolicyEntity", "alternateId": "unknown", "displayName": "Default Policy"}
RULE = {"id": "0pr1", "type": "PolicyRule", "alternateId": "00p1", "displayName": "Catch-all Rule",
        "changeDetails": {"from": {"factor": "1FA"}, "to": {"factor": "2FA"}}}  # fmt: skip
SYSTEM = {"id": "okta", "type": "SystemPrincipal", "alternateId": "system@okta.com"}
BARE = {"uuid": "c4c1b0be-0000-11ee-be56-0242ac120002", "published": "2026-11-20T10:20:30.456Z"}
FULL: dict[str, Any] = {
    **BARE,
    "eventType": "user.session.start", "legacyEventType": "core.user_auth.login_success", "version": "0",
    "displayMessage": "User login to Okta", "severity": "INFO", "actor": {**ANN, "detailEntry": None},
    "client": {
        "userAgent": {"rawUserAgent": "Mozilla/5.0 (X11; Linux x86_64)", "os": "Linux", "browser": "FIREFOX"},
        "zone": "null", "device": "Computer", "id": None, "ipAddress": "198.51.100.7",
        "geographicalContext": {"city": "Graz", "state": "Styria", "country": "Austria", "postalCode": "8010",
                                "geolocation": {"lat": 47.07, "lon": 15.44}},
    },
    "device": {"id": "guo1", "name": "ann-laptop", "os_platform": "LINUX", "managed": True,
               "registered": True},
    "authenticationContext": {
        "authenticationProvider": None, "credentialProvider": None, "credentialType": "PASSWORD",
        "issuer": {"id": "0oaidp", "type": "Corporate IdP"}, "interface": None, "authenticationStep": 0,
        "externalSessionId": "102aaa", "rootSessionId": "102bbb",
    },
    "outcome": {"result": "SUCCESS", "reason": None},
    "securityContext": {"asNumber": 64500, "asOrg": "Example AS", "isp": "Example ISP", "domain": ".",
                        "isProxy": False},
    "debugContext": {"debugData": {
        "requestId": "Y3ab", "requestUri": "/api/v1/authn", "threatSuspected": "false",
        "url": "/api/v1/authn?code=s3cr3t-code&state=x", "deviceFingerprint": "f00f", "password": "hunter2",
    }},
    "transaction": {"type": "WEB", "id": "Y3trans", "detail": {"requestApiTokenId": "00T1"}},
    "request": {"ipChain": [
        {"ip": "198.51.100.7", "version": "V4", "source": None, "geographicalContext": {"city": "Graz"}},
        {"ip": "not an ip", "version": "V4"},
    ]},
    "target": [GROUP, APP, POLICY, RULE, APP_USER, BOB],
}  # fmt: skip


def of(name: str, **more: Any) -> dict[str, Any]:
    """Make a whole record of a type."""
    return {**copy.deepcopy(FULL), "eventType": name, **more}


def mapped(record: Any) -> Any:
    """Map one record."""
    (event,) = log_event(record, HERE)
    return event


@pytest.mark.parametrize("shape", ["bare", "whole", "nulls", "no targets", "system actor"])
def test_every_type_is_a_valid_event(judge: Any, shape: str) -> None:
    """Each type of the catalogue maps to an event that the official schema accepts, on a topic of ours."""
    for name in CATALOGUE:
        record = {
            "bare": {**BARE, "eventType": name},
            "whole": of(name),
            "nulls": {**dict.fromkeys(FULL), **BARE, "eventType": name},
            "no targets": of(name, target=[]),
            "system actor": of(name, actor=SYSTEM, client=None),
        }[shape]  # fmt: skip
        event = judge(mapped(record))
        assert topic_of(event) == ("logons" if event["class_uid"] == 3002 else "activities")
        assert event["metadata"]["event_code"] == name


def test_a_sign_in_keeps_who_where_and_how() -> None:
    """Identity, address, session, device, request, time and Okta's own id are where OCSF has them."""
    event = mapped(of("user.session.start", target=None))
    assert event["user"] == {
        "uid": "00u1ann", "name": "ann@acme.example", "email_addr": "ann@acme.example",
        "display_name": "Ann Ohm", "type_id": 1,
    }  # fmt: skip
    assert event["actor"]["user"]["uid"] == "00u1ann"
    assert event["actor"]["session"] == {"uid": "102aaa"}
    assert event["session"] == {"uid": "102aaa", "uid_alt": "102bbb"}
    assert event["actor"]["idp"] == {"uid": "0oaidp", "name": "Corporate IdP"}
    assert event["src_endpoint"] == {
        "ip": "198.51.100.7", "isp": "Example ISP",
        "location": {"city": "Graz", "region": "Styria", "postal_code": "8010"},
    }  # fmt: skip
    assert event["http_request"] == {
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "uid": "Y3ab", "url": {"path": "/api/v1/authn"},
        "x_forwarded_for": ["198.51.100.7"],
    }  # fmt: skip
    assert event["device"]["uid"] == "guo1"
    assert event["auth_factors"] == [{"factor_type_id": 11}]
    assert (event["status_id"], event["time"]) == (1, 1795170030456)
    assert event["metadata"]["original_event_uid"] == BARE["uuid"]
    assert event["metadata"]["original_time"] == BARE["published"]
    assert event["metadata"]["correlation_uid"] == "Y3trans"


def test_what_is_not_mapped_is_kept() -> None:
    """Country, security context, transaction and all targets with their changes stay as they came."""
    event = mapped(of("policy.rule.update"))
    kept = event["unmapped"]
    assert kept["client"]["geographicalContext"]["country"] == "Austria"
    assert kept["securityContext"]["asNumber"] == 64500
    assert kept["transaction"]["detail"] == {"requestApiTokenId": "00T1"}
    assert [one["id"] for one in kept["target"]] == [one["id"] for one in FULL["target"]]
    assert kept["target"][3]["changeDetails"] == RULE["changeDetails"]
    assert kept["debugContext"]["debugData"]["threatSuspected"] == "false"
    assert "None" not in str(kept)


def test_secrets_of_debug_data_stay_out() -> None:
    """Queries of addresses, recovery tokens in paths and fields named like secrets are dropped."""
    reset = "/signin/reset-password/XbSnr2zPq6tL9vWkYh4M"
    record = of("user.session.start")
    secrets = {"stateToken": "00aBcDeF", "client_secret": "00zYxW"}
    tame = {"passwordChanged": "2026-01-01", "requestApiTokenId": "00T7", "stateTokenHash": "f1f1"}
    record["debugContext"]["debugData"] |= {"requestUri": reset, **secrets, **tame}
    text = orjson.dumps(mapped(record)).decode()
    assert "hunter2" not in text
    assert "s3cr3t-code" not in text
    assert "XbSnr2zPq6tL9vWkYh4M" not in text
    assert [one for one in secrets.values() if one in text] == []
    assert [one for one in tame.values() if one not in text] == []


@pytest.mark.parametrize("shuffled", [False, True])
def test_targets_are_found_by_type(shuffled: bool) -> None:
    """Whatever the order of the targets, the user, group, app and rule are the ones of that type."""
    targets = FULL["target"][::-1] if shuffled else FULL["target"]
    member = mapped(of("group.user_membership.add", target=targets))
    assert (member["group"]["uid"], member["user"]["uid"]) == ("00g1fin", "00u1bob")
    changed = mapped(of("user.lifecycle.suspend", target=targets))
    assert (changed["user"]["uid"], changed["actor"]["user"]["uid"]) == ("00u1bob", "00u1ann")
    assert mapped(of("policy.rule.update", target=targets))["entity"]["uid"] == "0pr1"
    assert mapped(of("application.lifecycle.update", target=targets))["entity"]["uid"] == "0oa1crm"
    sso = mapped(of("user.authentication.sso", target=[one for one in targets if one not in (BOB, APP_USER)]))
    assert (sso["service"]["name"], sso["user"]["uid"]) == ("CRM", "00u1ann")
    given = mapped(of("application.user_membership.add", target=targets))
    assert (given["user"]["uid"], given["privileges"]) == ("00u1bob", ["CRM"])


@pytest.mark.parametrize(("kind", "mfa"), [("OTP", True), (None, True), ("PASSWORD", None)])
def test_a_second_factor_is_said(kind: str | None, mfa: bool | None) -> None:
    """Identity Engine writes the same type for passwords, which are no second factor."""
    record = of("user.authentication.auth_via_mfa")
    record["authenticationContext"]["credentialType"] = kind
    assert mapped(record).get("is_mfa") is mfa


def test_sign_on_by_saml_says_so() -> None:
    """The app's way of signing on is the protocol: 5 is SAML."""
    assert mapped(of("user.authentication.sso", target=[APP])).get("auth_protocol_id") == 5


@pytest.mark.parametrize(
    ("result", "status", "word"),
    [("SUCCESS", 1, None), ("ALLOW", 1, None), ("FAILURE", 2, None), ("DENY", 2, None),
     ("CHALLENGE", 99, "CHALLENGE"), ("SKIPPED", 99, "SKIPPED"), (None, None, None)],
)  # fmt: skip
def test_outcomes(result: str | None, status: int | None, word: str | None) -> None:
    """Success and failure are OCSF's; any other word of Okta's is kept."""
    event = mapped(of("user.session.start", outcome={"result": result, "reason": "WHY"}))
    assert (event.get("status_id"), event.get("status")) == (status, word)
    assert event["status_detail"] == "WHY"


def failed(typed: str, uid: str = "unknown") -> Any:
    """Map a failed sign-in of somebody who typed this as a name."""
    actor = {"id": uid, "type": "User", "alternateId": typed, "displayName": typed}
    record = of(
        "user.session.start",
        actor=actor,
        target=[],
        outcome={"result": "FAILURE", "reason": "VERIFICATION_ERROR"},
    )
    record["debugContext"]["debugData"]["loginHint"] = typed
    record["displayMessage"] = f"Sign in of {typed} failed"
    return mapped(record)


@pytest.mark.parametrize("typed", ["correct horse battery", "P4$$w0rd!", "hunter-two", "MyDogRex1"])
def test_a_password_typed_as_a_name_is_masked(judge: Any, typed: str) -> None:
    """It is nowhere in the event, which is still one of the unknown user."""
    event = judge(failed(typed))
    assert typed not in orjson.dumps(event).decode()
    assert event["user"]["name"] == "***"


@pytest.mark.parametrize("typed", ["eve@acme.example", "ACME\\eve", "acme\\eve@acme.example"])
def test_an_account_typed_in_vain_is_kept(typed: str) -> None:
    """Who tries accounts that do not exist is worth knowing."""
    assert failed(typed)["user"]["name"] == typed


def test_the_login_of_a_known_user_is_kept() -> None:
    """Okta knew the user, so the name is no secret, whatever it looks like."""
    assert failed("ann ohm", uid="00u1ann")["user"]["name"] == "ann ohm"


def test_an_unknown_actor_stays_unknown() -> None:
    """Okta's word for nobody is not a name."""
    actor = {"id": "unknown", "type": "User", "alternateId": "unknown", "displayName": "unknown"}
    assert mapped(of("security.threat.detected", actor=actor))["actor"]["user"] == {
        "name": "unknown",
        "type_id": 0,
    }


def test_a_service_acts_as_a_service() -> None:
    """An app that signs in with a key is the actor, by its client id."""
    actor = {
        "id": "0oa1sluice",
        "type": "PublicClientApp",
        "alternateId": "0oa1sluice",
        "displayName": "Sluice",
    }
    made = mapped(of("user.lifecycle.suspend", actor=actor))["actor"]
    assert (made["user"]["uid"], made["user"]["type_id"], made["app_uid"]) == ("0oa1sluice", 4, "0oa1sluice")


def test_grants_name_their_scopes() -> None:
    """A consent or token names what it allows, a role its name."""
    record = of("app.oauth2.as.consent.grant")
    record["debugContext"]["debugData"]["grantedScopes"] = "openid, email, files.read"
    assert mapped(record)["privileges"] == ["openid", "email", "files.read"]
    role = of("user.account.privilege.grant")
    role["debugContext"]["debugData"]["privilegeGranted"] = "Super administrator, Report administrator"
    assert mapped(role)["privileges"] == ["Super administrator", "Report administrator"]


def test_a_change_without_its_user_is_api_activity() -> None:
    """Where a class demands what the record lacks, the type is the operation and nothing is lost."""
    event = mapped(of("user.lifecycle.password_mass_expiry", target=[]))
    assert (event["class_uid"], event["api"]["operation"]) == (6003, "user.lifecycle.password_mass_expiry")


@pytest.mark.parametrize(
    "broken", [{}, {"uuid": "x"}, {**BARE}, {**BARE, "eventType": "a.b", "published": "soon"}]
)
def test_what_is_no_event_is_a_bad_record(broken: Any) -> None:
    """Without id, time or type there is nothing to publish; the message holds no content."""
    with pytest.raises(BadRecord):
        list(log_event(broken, HERE))


@pytest.mark.parametrize("broken", [None, 7, "text", [], {"data": {}}, {"data": {"events": 7}}, {"x": 1}])
def test_what_is_nothing_of_oktas_is_a_bad_record(broken: Any) -> None:
    """The mapper of all feeds tells what it can't use."""
    with pytest.raises(BadRecord):
        list(any_record(broken, HERE))


def test_a_hooks_body_has_its_events() -> None:
    """The body of a delivery maps to the events in it."""
    body = {
        "eventType": "com.okta.event_hook",
        "data": {"events": [of("user.session.start"), of("zone.update")]},
    }
    assert [one["class_uid"] for one in any_record(body, HERE)] == [3002, 3004]


@settings(max_examples=200, deadline=None)
@given(
    gone=st.sets(st.sampled_from(sorted(set(FULL) - {*BARE, "eventType"}))),
    empty=st.sampled_from([None, {}, "absent"]),
    name=st.sampled_from(CATALOGUE),
)
def test_any_part_may_be_missing(gone: set[str], empty: Any, name: str) -> None:
    """Whichever parts of a record are absent, empty or null, it is an event that our schema accepts."""
    from schemas.events import Origin, stamp  # noqa: PLC0415 the strategy runs without fixtures

    record = of(name)
    for part in gone:
        if empty == "absent":
            del record[part]
        else:
            record[part] = empty if part not in {"target", "severity", "displayMessage"} else None
    validate(
        stamp(
            mapped(record),
            Origin("t", "okta", "i", {"name": "Okta"}, account_type="Okta org"),
            1_772_359_201_000,
        )
    )

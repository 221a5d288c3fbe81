"""What actions promise and plan, without a tenant."""

from typing import Any, TypeAlias

import orjson
import pytest

from ingest.provider import Refused
from ingest.providers.aws.actions import ACTIONS
from ingest.providers.aws.sharing_actions import RemovePublicPolicy
from ingest.providers.aws.user_actions import RevokeSessions

Json: TypeAlias = Any


def test_names_and_promises() -> None:
    """Each action says what it needs; the two without a way back say so."""
    assert [one.name for one in ACTIONS] == [
        "quarantine", "restore", "trash", "delete", "remove-public-acl", "remove-public-policy",
        "make-private", "suspend-user", "revoke-sessions", "force-password-reset",
    ]  # fmt: skip
    assert {one.name for one in ACTIONS if one.irreversible} == {"delete", "force-password-reset"}
    assert all(one.undo({}, {}, {}) is None for one in ACTIONS if one.irreversible)


def test_a_policy_that_only_s3_calls_public() -> None:
    """Where no statement can be named, a person has to look."""
    with pytest.raises(Refused, match="by hand"):
        RemovePublicPolicy().plan({"policy": {"Statement": []}, "public": True}, None)


def test_an_older_revocation_is_moved() -> None:
    """A date of last year, or a policy that is no such date, does not count as done."""
    at = "2026-05-01T12:00:00+00:00"
    condition = {"DateLessThan": {"aws:TokenIssueTime": "2026-05-01T11:58:00Z"}}
    fresh = {"Statement": [{"Effect": "Deny", "Condition": condition}]}
    assert RevokeSessions().plan({"user": "u", "policy": fresh, "at": at}, None) == []
    old = orjson.loads(orjson.dumps(fresh).replace(b"2026-05", b"2025-05"))
    odd: tuple[Json, ...] = (old, {"Statement": []}, {"Statement": "x"}, {}, None)
    for policy in odd:
        (step,) = RevokeSessions().plan({"user": "u", "policy": policy, "at": at}, None)
        assert "2026-05-01T12:00:00Z" in str(step.data)

"""Who is calling: access keys, temporary credentials, and who may assume which role.

moto accepts any key; here an unknown or inactive key, a wrong secret, an expired session and a request
dated more than 15 minutes off are refused as AWS does. A role is assumed only if its trust policy names the
caller and its external id is given exactly.
"""

import hashlib
import json
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from sandbox.aws import answers, operations, sigv4
from sandbox.aws.answers import Refused
from sandbox.aws.call import Call
from sandbox.clock import Clock

Json: TypeAlias = Any
SKEW = 15 * 60
ROOT = "AKIAROOT"
CHAINED = 3600
_LENIENT = ("GetCallerIdentity",)


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: the account it acts in, its ARN, and its unique id as S3 events show it."""

    account: str
    arn: str
    principal: str
    secret: str
    session: bool = False


class Keys:
    """Knows every key of the tenant: moto's own, and one root key for each account for seeding."""

    def __init__(self, clock: Clock, seed: str) -> None:
        self._clock = clock
        self._seed = seed
        self._ended: set[str] = set()
        self._born: dict[str, float] = {}
        self._lock = threading.Lock()

    def root(self, account: str) -> dict[str, str]:
        """The key pair with which an account is seeded."""
        if not re.fullmatch(r"\d{12}", account):
            raise ValueError(f"an AWS account id has 12 digits, got {account!r}")
        secret = hashlib.sha256(f"{self._seed}/{account}".encode()).hexdigest()[:40]
        return {"aws_access_key_id": ROOT + account, "aws_secret_access_key": secret}

    def end_sessions(self) -> int:
        """Let every temporary credential expire now; how many there were."""
        with self._lock:
            before = len(self._ended)
            for account in list(sts_backends):
                self._ended.update(r.access_key_id for r in sts_backends[account]["aws"].assumed_roles)
            return len(self._ended) - before

    def admit(self, call: Call) -> Identity:
        """Check key, token, date and signature; raises Refused in the service's dialect."""
        if call.signed is None:
            raise answers.unsigned(call.service)
        if (who := self._find(call.signed.key, call)) is None:
            raise answers.unknown_key(call.service)
        when = sigv4.dated(call.received)
        if when is None or abs(when.timestamp() - self._clock.now()) > SKEW + self._slack():
            raise answers.skewed(call.service)
        if not sigv4.genuine(call.received, call.signed, who.secret):
            raise answers.wrong_signature(call.service)
        return who

    def _slack(self) -> float:
        """A tenant whose clock was pushed forward still takes requests dated by the wall clock."""
        return self._clock.now() - datetime.now(UTC).timestamp()

    def _find(self, key: str, call: Call) -> Identity | None:
        if key.startswith(ROOT):
            account = key.removeprefix(ROOT)
            secret = self.root(account)["aws_secret_access_key"]
            return Identity(account, f"arn:aws:iam::{account}:root", account, secret)
        if key.startswith("ASIA"):
            return self._session(key, call)
        for account in list(iam_backends):
            backend = iam_backends[account]["aws"]
            if (found := backend.access_keys.get(key)) is None:
                continue
            user = backend.get_user_from_access_key_id(key)
            if user is None or found.status != "Active":
                return None
            return Identity(account, user.arn, f"AWS:{user.id}", found.secret_access_key)
        return None

    def _session(self, key: str, call: Call) -> Identity | None:
        for account in list(sts_backends):
            role = sts_backends[account]["aws"].get_assumed_role_from_access_key(key)
            if role is None:
                continue
            if call.header("x-amz-security-token") != role.session_token:
                return None
            moment = self._clock.moment().replace(tzinfo=None)
            if key in self._ended or role.expiration.replace(tzinfo=None) < moment:
                raise answers.expired(call.service)
            return Identity(account, role.arn, f"AWS:{role.user_id}", role.secret_access_key, session=True)
        return None


def trusted(call: Call, who: Identity) -> None:
    """Refuse AssumeRole unless the role exists, names the caller and has exactly the given external id."""
    asked = operations.form(call.body)
    arn = asked.get("RoleArn", "")
    refusal = answers.denied("sts", who.arn, f"sts:AssumeRole on resource: {arn}")
    seconds = asked.get("DurationSeconds", "3600")
    if not seconds.isdecimal() or not 900 <= int(seconds) <= 43200:
        raise Refused("ValidationError", "DurationSeconds must be between 900 and 43200")
    if (part := re.fullmatch(r"arn:[\w-]+:iam::(\d{12}):role/(?:.*/)?([\w+=,.@-]+)", arn)) is None:
        raise Refused("ValidationError", f"{arn} is invalid")
    role = iam_backends[part[1]]["aws"].roles
    found = next((r for r in list(role.values()) if r.arn == arn), None)
    if found is None:
        raise refusal
    if int(seconds) > (CHAINED if who.session else int(found.max_session_duration or 3600)):
        raise Refused(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )
    policy = json.loads(found.assume_role_policy_document)
    if not any(_lets_in(s, who, asked.get("ExternalId")) for s in _many(policy.get("Statement"))):
        raise refusal


def _lets_in(statement: Json, who: Identity, external: str | None) -> bool:
    if statement.get("Effect") != "Allow" or "sts:AssumeRole" not in _many(statement.get("Action")):
        return False
    principal = statement.get("Principal")
    named = ["*"] if principal == "*" else _many((principal or {}).get("AWS"))
    own = {"*", who.arn, who.account, f"arn:aws:iam::{who.account}:root"}
    wanted = statement.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId")
    matches = wanted is None or (
        external is not None
        and any(secrets.compare_digest(external.encode(), w.encode()) for w in _many(wanted))
    )
    return bool(own & set(named)) and matches


def _many(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [] if value is None else [value]

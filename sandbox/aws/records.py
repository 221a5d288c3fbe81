"""CloudTrail records as the user guide shows them.

Source: CloudTrail user guide, "CloudTrail record contents", "userIdentity element", "AWS Management Console
sign-in events", log file examples. Global services and console sign-ins land in us-east-1.
"""

import string
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

Json: TypeAlias = Any
_BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36"
)
_TLS = {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256"}
_SDK = "aws-cli/2.17.0 md/awscrt#0.20.11 ua/2.0 os/linux#5.15 md/arch#x86_64 lang/python#3.11.8"


class Records:
    """Makes the records of one account; `chance` makes ids, so that a seed repeats them.

    `ids` are the true ids of users that exist.
    """

    def __init__(
        self,
        account: str,
        chance: Random,
        region: str = "us-east-1",
        ids: Mapping[str, str] | None = None,
    ) -> None:
        self.account, self.region, self._chance, self._ids = account, region, chance, ids or {}

    def user(self, name: str) -> Json:
        """The identity of an IAM user."""
        return {
            "type": "IAMUser",
            "principalId": self._ids.get(name) or self._id("AIDA", name),
            "arn": f"arn:aws:iam::{self.account}:user/{name}",
            "accountId": self.account,
            "userName": name,
        }

    def session(self, role: str, name: str) -> Json:
        """The identity of a role's session."""
        principal = self._id("AROA", role)
        issuer = {
            "type": "Role",
            "principalId": principal,
            "arn": f"arn:aws:iam::{self.account}:role/{role}",
            "accountId": self.account,
            "userName": role,
        }
        return {
            "type": "AssumedRole",
            "principalId": f"{principal}:{name}",
            "arn": f"arn:aws:sts::{self.account}:assumed-role/{role}/{name}",
            "accountId": self.account,
            "accessKeyId": self._id("ASIA", role + name, 16),
            "sessionContext": {
                "sessionIssuer": issuer,
                "webIdFederationData": {},
                "attributes": {"mfaAuthenticated": "false", "creationDate": _stamp(None)},
            },
        }

    def root(self) -> Json:
        """The identity of the account's root."""
        arn = f"arn:aws:iam::{self.account}:root"
        return {"type": "Root", "principalId": self.account, "arn": arn, "accountId": self.account}

    def call(
        self,
        service: str,
        name: str,
        who: Json,
        params: Json = None,
        response: Json = None,
        *,
        at: datetime | None = None,
        read_only: bool = False,
        error: tuple[str, str] | None = None,
        region: str | None = None,
    ) -> Json:
        """An API call; `at` is now unless given, `error` its code and message."""
        home = "us-east-1" if service in ("iam", "signin") else self.region
        record = {
            "eventVersion": "1.09",
            "userIdentity": who,
            "eventTime": _stamp(at),
            "eventSource": f"{service}.amazonaws.com",
            "eventName": name,
            "awsRegion": region or home,
            "sourceIPAddress": f"203.0.113.{self._chance.randint(1, 254)}",
            "userAgent": _SDK,
            "requestParameters": params,
            "responseElements": response,
            "requestID": str(self._uuid()),
            "eventID": str(self._uuid()),
            "readOnly": read_only,
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": self.account,
            "eventCategory": "Management",
            "tlsDetails": _TLS | {"clientProvidedHostHeader": f"{service}.amazonaws.com"},
        }
        if error is not None:
            record["errorCode"], record["errorMessage"] = error
        return record

    def console_login(
        self, name: str, *, ok: bool = True, mfa: bool = True, at: datetime | None = None, known: bool = True
    ) -> Json:
        """A console sign-in; one with an unknown user name hides the name."""
        who = {k: v for k, v in self.user(name).items() if ok or k != "arn"}
        if not known:
            who = {
                "type": "IAMUser",
                "accountId": self.account,
                "accessKeyId": "",
                "userName": "HIDDEN_DUE_TO_SECURITY_REASONS",
            }
        record = self.call(
            "signin", "ConsoleLogin", who, None, {"ConsoleLogin": "Success" if ok else "Failure"}, at=at
        )
        record |= {"eventType": "AwsConsoleSignIn", "userAgent": _BROWSER}
        del record["requestID"]
        record["additionalEventData"] = {
            "LoginTo": "https://console.aws.amazon.com/console/home?state=hashArgs%23&isauthcode=true",
            "MobileVersion": "No",
            "MFAUsed": "Yes" if ok and mfa else "No",
        }
        if not ok:
            record["errorMessage"] = (
                "Failed authentication" if known else "No username found in supplied account"
            )
        return record

    def check_mfa(self, name: str, *, at: datetime | None = None) -> Json:
        """The second factor was asked for and given."""
        record = self.call("signin", "CheckMfa", self.user(name), None, {"CheckMfa": "Success"}, at=at)
        record |= {"eventType": "AwsConsoleSignIn", "userAgent": _BROWSER}
        record["additionalEventData"] = {"MfaType": "Virtual MFA"}
        return record

    def switch_role(self, name: str, role: str, *, at: datetime | None = None) -> Json:
        """A user changed to a role in the console."""
        record = self.call(
            "signin", "SwitchRole", self.session(role, name), None, {"SwitchRole": "Success"}, at=at
        )
        record |= {"eventType": "AwsConsoleSignIn", "userAgent": _BROWSER}
        record["additionalEventData"] = {
            "SwitchFrom": f"arn:aws:iam::{self.account}:user/{name}",
            "RedirectTo": "https://console.aws.amazon.com/console/home",
        }
        return record

    def assume_role(self, name: str, role: str, *, at: datetime | None = None) -> Json:
        """A user took a role's temporary credentials."""
        arn = f"arn:aws:iam::{self.account}:role/{role}"
        session = self.session(role, name)
        credentials = {
            "accessKeyId": session["accessKeyId"],
            "expiration": _stamp(at),
            "sessionToken": "Fwo/truncated",
        }
        taken = {"assumedRoleId": session["principalId"], "arn": session["arn"]}
        params = {"roleArn": arn, "roleSessionName": name}
        response = {"credentials": credentials, "assumedRoleUser": taken}
        return self.call("sts", "AssumeRole", self.user(name), params, response, at=at)

    def create_user(self, actor: str, name: str, *, at: datetime | None = None) -> Json:
        """An IAM user was made."""
        made = {
            "path": "/",
            "arn": f"arn:aws:iam::{self.account}:user/{name}",
            "userId": self._id("AIDA", name),
            "createDate": _stamp(at),
            "userName": name,
        }
        return self.call("iam", "CreateUser", self.user(actor), {"userName": name}, {"user": made}, at=at)

    def attach_user_policy(self, actor: str, name: str, arn: str, *, at: datetime | None = None) -> Json:
        """A policy was attached to a user."""
        return self.call(
            "iam", "AttachUserPolicy", self.user(actor), {"userName": name, "policyArn": arn}, at=at
        )

    def add_user_to_group(self, actor: str, name: str, group: str, *, at: datetime | None = None) -> Json:
        """A user became a member of a group."""
        return self.call(
            "iam", "AddUserToGroup", self.user(actor), {"groupName": group, "userName": name}, at=at
        )

    def remove_user_from_group(
        self, actor: str, name: str, group: str, *, at: datetime | None = None
    ) -> Json:
        """A user left a group."""
        return self.call(
            "iam", "RemoveUserFromGroup", self.user(actor), {"groupName": group, "userName": name}, at=at
        )

    def put_bucket_policy(self, actor: str, bucket: str, policy: Json, *, at: datetime | None = None) -> Json:
        """A bucket got a policy."""
        params = {
            "bucketName": bucket,
            "bucketPolicy": policy,
            "Host": f"{bucket}.s3.amazonaws.com",
            "policy": "",
        }
        return self.call("s3", "PutBucketPolicy", self.user(actor), params, at=at)

    def data_event(self, actor: str, bucket: str, key: str, *, at: datetime | None = None) -> Json:
        """An object was read: a data event, which only trails with data-event selectors hold."""
        params = {"bucketName": bucket, "key": key, "Host": f"{bucket}.s3.amazonaws.com"}
        record = self.call("s3", "GetObject", self.user(actor), params, at=at, read_only=True)
        return record | {"managementEvent": False, "eventCategory": "Data"}

    def _id(self, prefix: str, name: str, length: int = 17) -> str:
        """The same id for the same name in the same account."""
        chance = Random(f"{self.account}/{prefix}/{name}")
        return prefix + "".join(chance.choices(string.ascii_uppercase + "234567", k=length))

    def _uuid(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)


def _stamp(at: datetime | None) -> str:
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")

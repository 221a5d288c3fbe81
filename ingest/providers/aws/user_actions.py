"""Governance of IAM users: suspend, revoke sessions, force a new password.

IAM is eventually consistent: what was written may be read back only seconds later, and takes effect then.
Users are named by their id (AIDA…), since names get reused; the name comes with the target or is looked up.

Source: IAM API Reference, UpdateAccessKey, PutUserPolicy, UpdateLoginProfile; IAM User Guide, "Revoking IAM
role temporary security credentials".
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final

import orjson

from ingest.provider import Capability, Json, Kind, Missing, Ref, Refused, Step

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

SUSPENDED: Final = "SluiceSuspended"
REVOKED: Final = "AWSRevokeOlderSessions"
"""The name AWS's own console gives to this policy."""
LATELY: Final = timedelta(minutes=5)
_DENY_ALL: Final = {"Effect": "Deny", "Action": "*", "Resource": "*"}


class _OnUser:
    """What these actions share: who is meant, and calls in the user's account."""

    capability: ClassVar[Capability] = "user_governance"
    on: ClassVar[Kind] = "user"
    irreversible: ClassVar[bool] = False

    async def _named(self, p: "Aws", target: Ref) -> str:
        """Find the user's name and make sure that the name is still this user's.

        Raises:
            Missing: There is no such user (any more).
            Refused: It is no IAM user, or it is the one we act as.
        """
        if target.kind != "user" or not target.id.startswith("AIDA"):
            raise Refused(f"{target.id[:80]} is no IAM user: name a user by its id (AIDA…)")
        name = (target.data or {}).get("name") or await self._search(p, target)
        found = (await self._call(p, target, "get_user", UserName=name))["User"]
        if found["UserId"] != target.id:
            raise Missing(f"the name {name} belongs to another user by now")
        if not p.instance.ourselves.isdisjoint((found["UserId"], found["Arn"])):
            raise Refused("that is the user Sluice itself acts as")
        return str(name)

    async def _search(self, p: "Aws", target: Ref) -> str:
        marker: dict[str, str] = {}
        while True:
            reply = await self._call(p, target, "list_users", MaxItems=1000, **marker)
            for one in reply["Users"]:
                if one["UserId"] == target.id:
                    return str(one["UserName"])
            if not reply["IsTruncated"]:
                raise Missing(f"there is no user {target.id}")
            marker = {"Marker": reply["Marker"]}

    async def _call(self, p: "Aws", target: Ref, operation: str, **params: Json) -> Json:
        account = (target.data or {}).get("account", "")
        return await p.sessions.call("iam", operation, account=account, **params)

    async def _policy(self, p: "Aws", target: Ref, user: str, policy: str) -> Json:
        try:
            found = await self._call(p, target, "get_user_policy", UserName=user, PolicyName=policy)
        except Missing:
            return None
        return found["PolicyDocument"]

    async def _set_policy(self, p: "Aws", target: Ref, user: str, policy: str, document: Json) -> None:
        named = {"UserName": user, "PolicyName": policy}
        if document is not None:
            await self._call(
                p, target, "put_user_policy", **named, PolicyDocument=orjson.dumps(document).decode()
            )
            return
        try:
            await self._call(p, target, "delete_user_policy", **named)
        except Missing:  # done already
            return


class SuspendUser(_OnUser):
    """Deny the user everything by an inline policy and switch its access keys off; both can be taken back."""

    name: ClassVar[str] = "suspend-user"

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the keys' states and our policy."""
        del options
        user = await self._named(p, target)
        keys = await self._call(p, target, "list_access_keys", UserName=user)
        states = {one["AccessKeyId"]: one["Status"] for one in keys["AccessKeyMetadata"]}
        return {"user": user, "keys": states, "policy": await self._policy(p, target, user, SUSPENDED)}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Deny first: it also ends what the console and running sessions may do."""
        del options
        document = {"Version": "2012-10-17", "Statement": [_DENY_ALL]}
        steps = [] if state["policy"] == document else [_write(state, SUSPENDED, document, "deny everything")]
        return steps + _keys(
            state, [key for key, status in state["keys"].items() if status == "Active"], "Inactive"
        )

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the policy or switch a key."""
        data = step.data
        if "key" in data:
            await self._call(
                p,
                target,
                "update_access_key",
                UserName=data["user"],
                AccessKeyId=data["key"],
                Status=data["status"],
            )
        else:
            await self._set_policy(p, target, data["user"], data["policy"], data["document"])

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Switch on only the keys that were on, then take the denial away."""
        del done
        were = [key for key, status in before["keys"].items() if status == "Active"]
        steps = _keys(now, [key for key in were if now["keys"].get(key) == "Inactive"], "Active")
        if now["policy"] != before["policy"]:
            steps.append(_write(now, SUSPENDED, before["policy"], "take the denial away"))
        return steps


class RevokeSessions(_OnUser):
    """Deny everything to temporary credentials issued until now; access keys and new sessions go on.

    A revocation of the last five minutes counts as done: the second call changes nothing.
    """

    name: ClassVar[str] = "revoke-sessions"

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the policy in force and the time."""
        del options
        user = await self._named(p, target)
        now = datetime.now(UTC).replace(microsecond=0)
        return {"user": user, "policy": await self._policy(p, target, user, REVOKED), "at": now.isoformat()}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Move the date to now."""
        del options
        at = datetime.fromisoformat(state["at"])
        if (last := _cutoff(state["policy"])) and at - last <= LATELY:
            return []
        condition = {"DateLessThan": {"aws:TokenIssueTime": at.isoformat().replace("+00:00", "Z")}}
        document = {"Version": "2012-10-17", "Statement": [{**_DENY_ALL, "Condition": condition}]}
        return [_write(state, REVOKED, document, f"revoke sessions issued before {state['at']}")]

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the policy."""
        await self._set_policy(p, target, step.data["user"], step.data["policy"], step.data["document"])

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Put back the earlier policy, or none."""
        del done
        if now["policy"] == before["policy"]:
            return []
        return [_write(now, REVOKED, before["policy"], "take the revocation back")]


class ForcePasswordReset(_OnUser):
    """Replace the console password by a random one nobody learns; an administrator hands out the next one."""

    name: ClassVar[str] = "force-password-reset"
    irreversible: ClassVar[bool] = True

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read whether there is a password, and whether it must be changed."""
        del options
        user = await self._named(p, target)
        try:
            login = (await self._call(p, target, "get_login_profile", UserName=user))["LoginProfile"]
        except Missing:
            return {"user": user, "login": False, "reset": False}
        return {"user": user, "login": True, "reset": bool(login.get("PasswordResetRequired"))}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Reset once."""
        del options
        if not state["login"]:
            raise Refused(
                f"{state['user']} has no console password: suspend the user, or revoke its sessions"
            )
        if state["reset"]:
            return []
        return [Step("reset", "set a random password that must be changed", {"user": state["user"]})]

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Set a password that satisfies any policy of IAM's and is known to nobody."""
        password = secrets.token_urlsafe(72) + "aA1!"
        await self._call(
            p, target, "update_login_profile", UserName=step.data["user"], Password=password,
            PasswordResetRequired=True,
        )  # fmt: skip

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> None:
        """There is no way back."""


def _write(state: Json, policy: str, document: Json, say: str) -> Step:
    return Step("set-policy", say, {"user": state["user"], "policy": policy, "document": document})


def _keys(state: Json, keys: list[str], status: str) -> list[Step]:
    return [
        Step(
            f"key:{key}",
            f"make key {key} {status.lower()}",
            {"user": state["user"], "key": key, "status": status},
        )
        for key in keys
    ]


def _cutoff(policy: Json) -> datetime | None:
    """Read until when a policy of ours, or of AWS's console, revokes."""
    try:
        statement = policy["Statement"]
        found = statement[0] if isinstance(statement, list) else statement
        moment = datetime.fromisoformat(found["Condition"]["DateLessThan"]["aws:TokenIssueTime"])
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

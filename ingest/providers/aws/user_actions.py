"""Governance of IAM users: suspend, revoke sessions, force a new password.

IAM is eventually consistent: what was written may be read back only seconds later, and takes effect then.
Users are named by their id (AIDA…), since names get reused; the name comes with the target or is looked up.

Source: IAM API Reference, UpdateAccessKey, PutUserPolicy, UpdateLoginProfile; IAM User Guide, "Revoking IAM
role temporary security credentials".
"""

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final

import orjson

from ingest.provider import Action, Capability, Json, Kind, Missing, Ref, Refused, Step
from ingest.providers.aws.session import pages
from ingest.switches import Switch

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

LATELY: Final = timedelta(minutes=5)
_DENY_ALL: Final = {"Effect": "Deny", "Action": "*", "Resource": "*"}


async def _named(p: "Aws", target: Ref) -> str:
    """Find the user's name and make sure that the name is still this user's.

    Raises:
        Missing: There is no such user (any more).
        Refused: It is no IAM user, or it is the one we act as.
    """
    if target.kind != "user" or not target.id.startswith("AIDA"):
        raise Refused(f"{target.id[:80]} is no IAM user: name a user by its id (AIDA…)")
    name = (target.data or {}).get("name") or await _search(p, target)
    found = (await _iam(p, target, "get_user", UserName=name))["User"]
    if found["UserId"] != target.id:
        raise Missing(f"the name {name} belongs to another user by now")
    if not p.instance.ourselves.isdisjoint((found["UserId"], found["Arn"])):
        raise Refused("that is the user Sluice itself acts as")
    return str(name)


async def _search(p: "Aws", target: Ref) -> str:
    async for reply in pages(p.sessions, "iam", "list_users", mark="Marker", MaxItems=1000, **_home(target)):
        for one in reply["Users"]:
            if one["UserId"] == target.id:
                return str(one["UserName"])
    raise Missing(f"there is no user {target.id}")


def _home(target: Ref) -> dict[str, str]:
    return {"account": (target.data or {}).get("account", "")}


async def _iam(p: "Aws", target: Ref, operation: str, **params: Json) -> Json:
    return await p.sessions.call("iam", operation, **_home(target), **params)


class _OnUser(Action["Aws"]):
    """What these actions share: they are about a user, and most of them about an inline policy of ours."""

    capability: ClassVar[Capability] = "user_governance"
    on: ClassVar[Kind] = "user"
    policy: ClassVar[str] = ""

    async def look(self, p: "Aws", target: Ref, _options: Json) -> Json:
        """Read the user's name and our policy."""
        user, document = await _named(p, target), None
        with suppress(Missing):
            found = await _iam(p, target, "get_user_policy", UserName=user, PolicyName=self.policy)
            document = found["PolicyDocument"]
        return {"user": user, "policy": document}

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the policy, or delete it."""
        named, document = {"UserName": step.data["user"], "PolicyName": self.policy}, step.data["document"]
        if document is not None:
            text = orjson.dumps(document).decode()
            await _iam(p, target, "put_user_policy", **named, PolicyDocument=text)
        else:
            with suppress(Missing):  # done already
                await _iam(p, target, "delete_user_policy", **named)


def _write(state: Json, document: Json, say: str) -> Step:
    return Step("set-policy", say, {"user": state["user"], "document": document})


class SuspendUser(_OnUser):
    """Deny the user everything by an inline policy and switch its access keys off; both can be taken back."""

    name = "suspend-user"
    policy = "SluiceSuspended"

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the keys' states and our policy."""
        state = await super().look(p, target, options)
        keys = await _iam(p, target, "list_access_keys", UserName=state["user"])
        return {**state, "keys": {one["AccessKeyId"]: one["Status"] for one in keys["AccessKeyMetadata"]}}

    def plan(self, state: Json, _options: Json) -> list[Step]:
        """Deny first: it also ends what the console and running sessions may do."""
        document = {"Version": "2012-10-17", "Statement": [_DENY_ALL]}
        steps = [] if state["policy"] == document else [_write(state, document, "deny everything")]
        return steps + _keys(state, state["keys"], "Active", "Inactive")

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Write the policy or switch a key."""
        data = step.data
        if "key" not in data:
            return await super().do(p, target, step)
        named = {"UserName": data["user"], "AccessKeyId": data["key"]}
        await _iam(p, target, "update_access_key", **named, Status=data["status"])
        return None

    def undo(self, before: Json, now: Json, _done: Mapping[str, Json]) -> list[Step]:
        """Switch on only the keys that were on, then take the denial away."""
        were = [key for key, status in before["keys"].items() if status == "Active"]
        steps = _keys(now, were, "Inactive", "Active")
        if now["policy"] != before["policy"]:
            steps.append(_write(now, before["policy"], "take the denial away"))
        return steps


def _keys(state: Json, keys: Iterable[str], old: str, new: str) -> list[Step]:
    """Switch those that have the old status."""
    data = {"user": state["user"], "status": new}
    return [
        Step(f"key:{key}", f"make key {key} {new.lower()}", {**data, "key": key})
        for key in keys
        if state["keys"].get(key) == old
    ]


class RevokeSessions(_OnUser, Switch["Aws"]):
    """Deny everything to temporary credentials issued until now; access keys and new sessions go on.

    A revocation of the last five minutes counts as done: the second call changes nothing.
    """

    name = "revoke-sessions"
    policy = "AWSRevokeOlderSessions"  # as AWS's own console names it
    part = "policy"

    async def look(self, p: "Aws", target: Ref, options: Json) -> Json:
        """Read the policy in force and the time."""
        at = datetime.now(UTC).replace(microsecond=0)
        return {**await super().look(p, target, options), "at": at.isoformat()}

    def wanted(self, state: Json, _options: Json) -> Json:
        """Move the date to now."""
        at = datetime.fromisoformat(state["at"])
        if (last := _cutoff(state["policy"])) and at - last <= LATELY:
            return state["policy"]
        condition = {"DateLessThan": {"aws:TokenIssueTime": at.isoformat().replace("+00:00", "Z")}}
        return {"Version": "2012-10-17", "Statement": [{**_DENY_ALL, "Condition": condition}]}

    def step(self, state: Json, value: Json) -> Step:
        """Write the policy."""
        moved = _cutoff(value) == datetime.fromisoformat(state["at"])
        say = f"revoke sessions issued before {state['at']}" if moved else "take the revocation back"
        return _write(state, value, say)


def _cutoff(policy: Json) -> datetime | None:
    """Read until when a policy of ours, or of AWS's console, revokes."""
    try:
        statement = policy["Statement"]
        found = statement[0] if isinstance(statement, list) else statement
        moment = datetime.fromisoformat(found["Condition"]["DateLessThan"]["aws:TokenIssueTime"])
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class ForcePasswordReset(_OnUser):
    """Replace the console password by a random one nobody learns; an administrator hands out the next one."""

    name = "force-password-reset"
    irreversible = True

    async def look(self, p: "Aws", target: Ref, _options: Json) -> Json:
        """Read whether there is a password, and whether it must be changed."""
        user = await _named(p, target)
        login = None
        with suppress(Missing):
            login = (await _iam(p, target, "get_login_profile", UserName=user))["LoginProfile"]
        reset = bool(login and login.get("PasswordResetRequired"))
        return {"user": user, "login": login is not None, "reset": reset}

    def plan(self, state: Json, _options: Json) -> list[Step]:
        """Reset once."""
        if not state["login"]:
            raise Refused(
                f"{state['user']} has no console password: suspend the user, or revoke its sessions"
            )
        say = "set a random password that must be changed"
        return [] if state["reset"] else [Step("reset", say, {"user": state["user"]})]

    async def do(self, p: "Aws", target: Ref, step: Step) -> Json:
        """Set a password that satisfies any policy of IAM's and is known to nobody."""
        await _iam(
            p, target, "update_login_profile", UserName=step.data["user"], PasswordResetRequired=True,
            Password=secrets.token_urlsafe(72) + "aA1!",
        )  # fmt: skip

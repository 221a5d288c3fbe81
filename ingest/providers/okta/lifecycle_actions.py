"""Governance of users: what changes their status, and what ends their sessions.

Okta answers a change at once but for deactivation, which goes on behind the scenes. Source: Okta Management
API, User Lifecycle, User Sessions, User Factors.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from ingest.provider import Json, Ref, Refused, Step
from ingest.providers.okta.target import OnUser, spare_the_last_admin, user_of

if TYPE_CHECKING:
    from ingest.providers.okta import Okta

LATELY: Final = timedelta(minutes=5)


class _Lifecycle(OnUser):
    """One call that takes a user from some statuses to another."""

    verb: ClassVar[str]
    say: ClassVar[str]
    begins: ClassVar[frozenset[str]]
    ends: ClassVar[frozenset[str]]
    params: ClassVar[Mapping[str, Json]] = {}
    back: ClassVar[str] = ""
    grave: ClassVar[bool] = False
    """Whether it may lock the last administrator out."""

    async def look(self, p: "Okta", target: Ref, options: Json) -> Json:
        """Read the user's status."""
        del options
        user = await user_of(p, target)
        if self.grave:
            await spare_the_last_admin(p, user["id"])
        return {"status": user["status"], "login": (user.get("profile") or {}).get("login")}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Change who is not there yet.

        Raises:
            Refused: From the user's status there is no such way.
        """
        del options
        if state["status"] in self.ends:
            return []
        if state["status"] not in self.begins:
            raise Refused(f"a user who is {state['status']} can't be changed so: {self.say}")
        return [Step(self.verb, self.say)]

    async def do(self, p: "Okta", target: Ref, step: Step) -> Json:
        """Make the call; one that another call has made unneeded is fine."""
        params = self.params if step.do == self.verb else {}
        path = f"/api/v1/users/{target.id}/lifecycle/{step.do}"
        try:
            await p.http.call("users", "POST", path, params=params)
        except Refused:
            wanted = self.ends if step.do == self.verb else self.begins
            if (await user_of(p, target))["status"] not in wanted:
                raise
        # The answer may hold a password or a link to set one.

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Go back where there is a call for it."""
        del done
        if not self.back:
            return None
        again = now["status"] in self.ends and before["status"] in self.begins
        return [Step(self.back, f"{self.back} the user")] if again else []


class SuspendUser(_Lifecycle):
    """Suspend: no new sign-in; groups and apps stay. Open sessions need `clear-sessions`."""

    name: ClassVar[str] = "suspend-user"
    verb, say, back, grave = "suspend", "suspend the user", "unsuspend", True
    begins, ends = frozenset({"ACTIVE"}), frozenset({"SUSPENDED"})


class UnsuspendUser(_Lifecycle):
    """Let a suspended user in again."""

    name: ClassVar[str] = "unsuspend-user"
    verb, say, back = "unsuspend", "unsuspend the user", "suspend"
    begins, ends = frozenset({"SUSPENDED"}), frozenset({"ACTIVE"})


class ExpirePassword(_Lifecycle):
    """Demand a new password at the next sign-in; a directory's password expires with it."""

    name: ClassVar[str] = "expire-password"
    irreversible: ClassVar[bool] = True
    verb, say = "expire_password", "expire the user's password"
    begins, ends = frozenset({"ACTIVE"}), frozenset({"PASSWORD_EXPIRED"})


class ResetPassword(_Lifecycle):
    """Void the password, end all sessions and send the user a link to set another."""

    name: ClassVar[str] = "reset-password"
    irreversible: ClassVar[bool] = True
    verb, say = "reset_password", "void the user's password and send a link to set another"
    params: ClassVar[Mapping[str, Json]] = {"sendEmail": True, "revokeSessions": True}
    begins, ends = frozenset({"ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT"}), frozenset({"RECOVERY"})


class UnlockUser(_Lifecycle):
    """Unlock a user locked out by failed sign-ins; only one whose password is Okta's."""

    name: ClassVar[str] = "unlock-user"
    irreversible: ClassVar[bool] = True
    verb, say = "unlock", "unlock the user"
    begins = frozenset({"LOCKED_OUT"})
    ends = frozenset({"ACTIVE", "PASSWORD_EXPIRED", "RECOVERY"})


class DeactivateUser(_Lifecycle):
    """Deactivate: every app takes the account away, data may be lost; activating restores none of it."""

    name: ClassVar[str] = "deactivate-user"
    irreversible: ClassVar[bool] = True
    verb, say, grave = "deactivate", "deactivate the user, taking away all apps", True
    params: ClassVar[Mapping[str, Json]] = {"sendEmail": False}
    begins = frozenset(
        {"STAGED", "PROVISIONED", "ACTIVE", "RECOVERY", "PASSWORD_EXPIRED", "LOCKED_OUT", "SUSPENDED"}
    )
    ends = frozenset({"DEPROVISIONED"})


class ClearSessions(OnUser):
    """End the user's Okta sessions and revoke the tokens of apps; sessions inside apps go on.

    Okta does not list sessions, so the log tells: a clearing of the last five minutes with no sign-in since
    counts as done.
    """

    name: ClassVar[str] = "clear-sessions"
    irreversible: ClassVar[bool] = True

    async def look(self, p: "Okta", target: Ref, options: Json) -> Json:
        """Read the latest clearing and the latest sign-in from the log."""
        del options
        user = await user_of(p, target)
        cleared = await _latest(p, f'eventType eq "user.session.clear" and target.id eq "{user["id"]}"')
        began = (
            await _latest(p, f'eventType eq "user.session.start" and actor.id eq "{user["id"]}"')
            if cleared
            else ""
        )
        return {"cleared": cleared, "began": began}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Clear unless that was just done."""
        del options
        if state["cleared"] and state["cleared"] >= state["began"]:
            return []
        return [Step("clear", "end the user's sessions and revoke its tokens")]

    async def do(self, p: "Okta", target: Ref, step: Step) -> Json:
        """End them; on a second call there is nothing to end."""
        del step
        params = {"oauthTokens": True, "forgetDevices": True}
        await p.http.call("users", "DELETE", f"/api/v1/users/{target.id}/sessions", params=params)


async def _latest(p: "Okta", condition: str) -> str:
    now = datetime.now(UTC)
    params = {
        "since": _stamp(now - LATELY), "until": _stamp(now + LATELY), "sortOrder": "DESCENDING", "limit": 1,
        "filter": condition,
    }  # fmt: skip
    found = (await p.http.call("logs", "GET", "/api/v1/logs", params=params)).json
    return str(found[0]["published"]) if found else ""


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ResetFactors(OnUser):
    """Take all second factors away; the user enrols anew at the next sign-in."""

    name: ClassVar[str] = "reset-factors"
    irreversible: ClassVar[bool] = True

    async def look(self, p: "Okta", target: Ref, options: Json) -> Json:
        """List the kinds of factors; email enrols itself again and does not count."""
        del options
        user = await user_of(p, target)
        found = (await p.http.call("users", "GET", f"/api/v1/users/{user['id']}/factors")).json
        return {"factors": sorted(one["factorType"] for one in found if one["factorType"] != "email")}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Reset if there is something to."""
        del options
        kinds = ", ".join(state["factors"])
        return [Step("reset_factors", f"take away the user's factors: {kinds}")] if kinds else []

    async def do(self, p: "Okta", target: Ref, step: Step) -> Json:
        """Reset them."""
        await p.http.call("users", "POST", f"/api/v1/users/{target.id}/lifecycle/{step.do}")

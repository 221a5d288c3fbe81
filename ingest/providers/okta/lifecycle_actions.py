"""Governance of users: what changes their status, and what ends their sessions.

Okta answers a change at once but for deactivation, which goes on behind the scenes. Source: Okta Management
API, User Lifecycle, User Sessions, User Factors.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

from ingest.provider import Json, NotAllowed, Ref, Refused, Step
from ingest.providers.okta.reads import stamp
from ingest.providers.okta.settings import Org
from ingest.providers.okta.target import ALIVE, OnUser, spare_the_last_admin, user_of

LATELY: Final = timedelta(minutes=5)


class Lifecycle(OnUser):
    """One call (`verb`, with `params`) that takes a user from some statuses to others.

    `grave` is what may lock the last administrator out.
    """

    def __init__(
        self, name: str, verb: str, say: str, begins: str, ends: str, *, grave: bool = False, **params: bool
    ) -> None:  # fmt: skip
        # One object an action, instead of one class.
        self.name, self._verb, self._say, self._grave, self._params = name, verb, say, grave, params
        self._begins, self._ends = begins.split(), ends.split()

    async def seen(self, p: Org, user: Json, options: Json) -> Json:
        """Read the user's status."""
        del options
        if self._grave and user["status"] in ALIVE:  # who can't sign in already is not lost by it
            await spare_the_last_admin(p, user["id"])
        return {"status": user["status"], "login": (user.get("profile") or {}).get("login")}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Change who is not there yet.

        Raises:
            Refused: From the user's status there is no such way.
        """
        del options
        if state["status"] in self._ends:
            return []
        if state["status"] not in self._begins:
            raise Refused(f"a user who is {state['status']} can't be changed so: {self._say}")
        return [Step(self._verb, self._say)]

    async def do(self, p: Org, target: Ref, step: Step) -> Json:
        """Make the call, whose answer may hold a password; one that another has made unneeded is fine."""
        params, wanted = (self._params, self._ends) if step.do == self._verb else ({}, self._begins)
        try:
            await p.http.call(
                "users", "POST", f"/api/v1/users/{target.id}/lifecycle/{step.do}", params=params
            )
        except (NotAllowed, Refused):
            if (await user_of(p, target))["status"] not in wanted:
                raise


class Suspension(Lifecycle):
    """To suspend and to let in again: each is the other's way back."""

    irreversible: ClassVar[bool] = False

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Go back, where it is so and was not so."""
        del done
        back = "unsuspend" if self._verb == "suspend" else "suspend"
        again = now["status"] in self._ends and before["status"] in self._begins
        return [Step(back, f"{back} the user")] if again else []


_ANY: Final = "STAGED PROVISIONED ACTIVE RECOVERY PASSWORD_EXPIRED LOCKED_OUT SUSPENDED"
LIFECYCLE: Final = (
    # No new sign-in; groups and apps stay. Open sessions need `clear-sessions`.
    Suspension("suspend-user", "suspend", "suspend the user", "ACTIVE", "SUSPENDED", grave=True),
    Suspension("unsuspend-user", "unsuspend", "unsuspend the user", "SUSPENDED", "ACTIVE"),
    # Demands a new password at the next sign-in; a directory's password expires with it.
    Lifecycle(
        "expire-password", "expire_password", "expire the user's password", "ACTIVE", "PASSWORD_EXPIRED"
    ),
    # Voids the password and ends all sessions.
    Lifecycle(
        "reset-password", "reset_password", "void the user's password and send a link to set another",
        "ACTIVE PASSWORD_EXPIRED LOCKED_OUT", "RECOVERY", sendEmail=True, revokeSessions=True,
    ),
    # Only one whose password is Okta's.
    Lifecycle("unlock-user", "unlock", "unlock the user", "LOCKED_OUT", "ACTIVE PASSWORD_EXPIRED RECOVERY"),
    # Every app takes the account away, data may be lost; activating restores none of it.
    Lifecycle(
        "deactivate-user", "deactivate", "deactivate the user, taking away all apps", _ANY, "DEPROVISIONED",
        grave=True, sendEmail=False,
    ),
)  # fmt: skip


class ClearSessions(OnUser):
    """End the user's Okta sessions and revoke the tokens of apps; sessions inside apps go on.

    Okta does not list sessions, so the log tells: a clearing of the last five minutes with no sign-in since
    counts as done.
    """

    name = "clear-sessions"
    calls: ClassVar = {
        "clear": ("users", "DELETE", "users/{user}/sessions?oauthTokens=true&forgetDevices=true")
    }

    async def seen(self, p: Org, user: Json, options: Json) -> Json:
        """Read the latest clearing and the latest sign-in from the log."""
        del options
        cleared = await _latest(p, f'eventType eq "user.session.clear" and target.id eq "{user["id"]}"')
        began = f'eventType eq "user.session.start" and actor.id eq "{user["id"]}"'
        return {"cleared": cleared, "began": await _latest(p, began) if cleared else ""}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Clear unless that was just done."""
        del options
        if state["cleared"] and state["cleared"] >= state["began"]:
            return []
        return [Step("clear", "end the user's sessions and revoke its tokens")]


async def _latest(p: Org, condition: str) -> str:
    now = datetime.now(UTC)
    span = {"since": stamp(now - LATELY), "until": stamp(now + LATELY)}
    params = {**span, "sortOrder": "DESCENDING", "limit": 1, "filter": condition}
    found = (await p.http.call("logs", "GET", "/api/v1/logs", params=params)).json
    return str(found[0]["published"]) if found else ""


class ResetFactors(OnUser):
    """Take all second factors away; the user enrols anew at the next sign-in."""

    name = "reset-factors"
    calls: ClassVar = {"reset_factors": ("users", "POST", "users/{user}/lifecycle/reset_factors")}

    async def seen(self, p: Org, user: Json, options: Json) -> Json:
        """List the kinds of factors; email enrols itself again and does not count."""
        del options
        found = (await p.http.call("users", "GET", f"/api/v1/users/{user['id']}/factors")).json
        return {"factors": sorted(one["factorType"] for one in found if one["factorType"] != "email")}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Reset if there is something to."""
        del options
        kinds = ", ".join(state["factors"])
        return [Step("reset_factors", f"take away the user's factors: {kinds}")] if kinds else []

"""Governance of apps and tokens: what was granted is taken away.

Targets are the inventory's ids: `installation:1`, `credential:2`, `token:3`. GitHub has no call that gives a
credential or a token back. An organization can't uninstall another's App by an API: an enterprise can, and an
App its own. Sources: REST API reference, "Organizations" (SAML SSO authorizations), "Personal access tokens",
"GitHub Apps", "Enterprise organization installations".
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ingest.provider import Capability, Json, Kind, Ref, Refused, Step
from ingest.providers.github.calls import change, everything, get

if TYPE_CHECKING:
    from ingest.providers.github import GitHub


class _OnApp:
    """What these actions share."""

    capability: ClassVar[Capability] = "revoke_app_permissions"
    on: ClassVar[Kind] = "app"
    irreversible: ClassVar[bool] = True
    kind: ClassVar[str] = ""

    def _number(self, target: Ref) -> int:
        kind, _, number = target.id.partition(":")
        if kind != self.kind or not number.isdecimal():
            raise Refused(f"{target.id[:80]} is no {self.kind}: its id looks like {self.kind}:123")
        return int(number)

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """There is no way back."""
        del before, now, done
        return None


def _org(p: "GitHub") -> str:
    return f"/orgs/{p.settings.organization}"


class RevokeCredential(_OnApp):
    """Take a credential's authorization for single sign-on away: it no longer reaches the organization."""

    name: ClassVar[str] = "revoke-credential"
    kind: ClassVar[str] = "credential"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Look for it among the authorizations."""
        del options
        number = self._number(target)
        found = await everything(p, f"{_org(p)}/credential-authorizations")
        one = next((one for one in found if one["credential_id"] == number), None)
        return {"id": number, "there": one is not None, "login": one["login"] if one else ""}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Revoke what is there."""
        del options
        say = f"revoke credential {state['id']} of {state['login']}"
        return [Step("revoke", say, {"id": state["id"]})] if state["there"] else []

    async def do(self, p: "GitHub", target: Ref, step: Step) -> Json:
        """Revoke it."""
        del target
        await change(p, "DELETE", f"{_org(p)}/credential-authorizations/{step.data['id']}", ok=(404,))


class RevokeToken(_OnApp):
    """Take a fine-grained token's access to the organization away; only Apps may."""

    name: ClassVar[str] = "revoke-token"
    kind: ClassVar[str] = "token"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Look for it among the grants."""
        del options
        number = self._number(target)
        if not p.settings.as_app:
            raise Refused("GitHub lets only Apps revoke fine-grained tokens: connect by a GitHub App")
        found = await everything(p, f"{_org(p)}/personal-access-tokens")
        one = next((one for one in found if one["id"] == number), None)
        return {"id": number, "there": one is not None, "login": one["owner"]["login"] if one else ""}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Revoke what is there."""
        del options
        say = f"revoke fine-grained token {state['id']} of {state['login']}"
        return [Step("revoke", say, {"id": state["id"]})] if state["there"] else []

    async def do(self, p: "GitHub", target: Ref, step: Step) -> Json:
        """Revoke it."""
        del target
        path = f"{_org(p)}/personal-access-tokens/{step.data['id']}"
        await change(p, "POST", path, {"action": "revoke"}, ok=(404,))


class SuspendApp(_OnApp):
    """Suspend an installation of the App that Sluice signs in with; GitHub lets nobody suspend another's."""

    name: ClassVar[str] = "suspend-app"
    kind: ClassVar[str] = "installation"
    irreversible: ClassVar[bool] = False

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Read whether it is suspended, by the App's own key, which works either way."""
        del options
        number = self._number(target)
        path = f"/app/installations/{number}"
        reply = await get(p, path, api="app", ok=(404,)) if p.settings.as_app else None
        if reply is None or reply.status == 404:
            raise Refused("that is not an installation of our own App: uninstall it (remove-app)")
        return {"id": number, "suspended": bool(reply.json["suspended_at"])}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Suspend what is not."""
        del options
        return self._to(state, suspended=True)

    async def do(self, p: "GitHub", target: Ref, step: Step) -> Json:
        """Suspend or resume."""
        del target
        path = f"/app/installations/{step.data['id']}/suspended"
        await change(p, step.data["method"], path, api="app")

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Let it work again."""
        del done
        return self._to(now, suspended=before["suspended"])

    def _to(self, state: Json, *, suspended: bool) -> list[Step]:
        if state["suspended"] == suspended:
            return []
        word, method = ("suspend", "PUT") if suspended else ("resume", "DELETE")
        say = f"{word} installation {state['id']} of Sluice's own App, on which this connector may depend"
        return [Step(word, say, {"id": state["id"], "method": method})]


class RemoveApp(_OnApp):
    """Uninstall an App from the organization, as an owner of its enterprise."""

    name: ClassVar[str] = "remove-app"
    kind: ClassVar[str] = "installation"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Look for it among the installations."""
        del options
        number = self._number(target)
        if not p.settings.enterprise or p.settings.as_app:
            raise Refused("needs an enterprise: set enterprise, and sign in with an enterprise owner's token")
        found = await everything(p, f"{_org(p)}/installations", "installations")
        one = next((one for one in found if one["id"] == number), None)
        return {"id": number, "there": one is not None, "app": one["app_slug"] if one else ""}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Uninstall what is there."""
        del options
        say = f"uninstall {state['app']} (installation {state['id']})"
        return [Step("uninstall", say, {"id": state["id"]})] if state["there"] else []

    async def do(self, p: "GitHub", target: Ref, step: Step) -> Json:
        """Uninstall it."""
        del target
        s = p.settings
        path = f"/enterprises/{s.enterprise}/apps/organizations/{s.organization}/installations"
        await change(p, "DELETE", f"{path}/{step.data['id']}", ok=(404,))

"""Governance of people: members removed, demoted, blocked, suspended; collaborators taken off.

A person is named by the numeric id, as the inventories have it, or by login. Membership ends at once; what
was taken is given back by an invitation, which the person has to accept. Sources: REST API reference,
"Organization members", "Outside collaborators", "Blocking users", "Collaborators", "SCIM" in an enterprise.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import quote

from ingest.provider import Capability, Json, Kind, Missing, NotAllowed, Ref, Refused, Step
from ingest.providers.github.calls import change, everything, get, graph

if TYPE_CHECKING:
    from ingest.providers.github import GitHub

_PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_IDENTITY: Final = (
    "query($slug:String!,$login:String!){enterprise(slug:$slug){ownerInfo{samlIdentityProvider{"
    "externalIdentities(first:1,login:$login){nodes{guid samlIdentity{nameId}}}}}}}"
)


class _OnUser:
    """What these actions share: who is meant, the membership, and how a step is made."""

    capability: ClassVar[Capability] = "user_governance"
    on: ClassVar[Kind] = "user"
    irreversible: ClassVar[bool] = False

    async def _login(self, p: "GitHub", target: Ref) -> str:
        """Find the login that the person has now.

        Raises:
            Missing: There is no such person.
            Refused: It is the account Sluice itself acts as.
        """
        given = str((target.data or {}).get("name") or target.id)
        if target.id.isdecimal():
            reply = await get(p, f"/user/{target.id}", ok=(404,))
            if reply.status == 404:
                reply = await get(p, f"/users/{quote(given, safe='')}", ok=(404,))
        else:
            reply = await get(p, f"/users/{quote(given, safe='')}", ok=(404,))
        found = reply.json if reply.status == 200 else {}
        if not found or (target.id.isdecimal() and str(found["id"]) != target.id):
            raise Missing(f"GitHub has no user {target.id[:80]}")
        if not p.instance.ourselves.isdisjoint({str(found["id"]), found["login"]}):
            raise Refused("that is the account Sluice itself acts as")
        return str(found["login"])

    async def _membership(self, p: "GitHub", login: str) -> Json:
        reply = await get(p, f"{_org(p)}/memberships/{login}", ok=(404,))
        if reply.status == 404:
            return {"login": login, "role": "", "state": ""}
        return {"login": login, "role": reply.json["role"], "state": reply.json["state"]}

    async def do(self, p: "GitHub", target: Ref, step: Step) -> Json:
        """Make the step's call; what is done already, or gone, counts as done."""
        del target
        data = step.data
        try:
            await change(p, data["method"], f"{_org(p)}/{data['path']}", data.get("json"), ok=(404,))
        except NotAllowed as error:
            if "not a member" in str(error):
                return  # a second call finds that the first one worked
            if "last owner" in str(error):
                raise Refused(str(error)) from error
            raise


def _org(p: "GitHub") -> str:
    return f"/orgs/{p.settings.organization}"


def _step(name: str, say: str, method: str, path: str, json: Json = None) -> Step:
    return Step(name, say, {"method": method, "path": path, "json": json})


def _invite(before: Json, now: Json) -> list[Step]:
    """Invite who was a member again, in the role of before; nobody twice."""
    if before["state"] != "active" or now["state"]:
        return []
    say = f"invite {now['login']} again as {before['role']}"
    return [_step("invite", say, "PUT", f"memberships/{now['login']}", {"role": before["role"]})]


class RemoveMember(_OnUser):
    """Remove a member from the organization, or take an invitation back; undone by an invitation."""

    name: ClassVar[str] = "remove-member"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Read the membership."""
        del options
        return await self._membership(p, await self._login(p, target))

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Remove who is a member or invited."""
        del options
        if not state["state"]:
            return []
        say = f"remove {state['login']} from the organization"
        return [_step("remove", say, "DELETE", f"memberships/{state['login']}")]

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Invite again."""
        del done
        return _invite(before, now)


class DemoteMember(_OnUser):
    """Turn a member into an outside collaborator of the repositories it works on."""

    name: ClassVar[str] = "demote-member"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Read the membership."""
        del options
        return await self._membership(p, await self._login(p, target))

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Demote who is a member."""
        del options
        if state["state"] != "active":
            return []
        say = f"make {state['login']} an outside collaborator"
        return [_step("demote", say, "PUT", f"outside_collaborators/{state['login']}")]

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Invite again."""
        del done
        return _invite(before, now)


class BlockUser(_OnUser):
    """Block somebody who is no member: no comments, no pull requests, no stars."""

    name: ClassVar[str] = "block-user"
    blocks: ClassVar[bool] = True

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Read whether the person is blocked."""
        del options
        login = await self._login(p, target)
        reply = await get(p, f"{_org(p)}/blocks/{login}", ok=(404,))
        return {"login": login, "blocked": reply.status == 204}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Change what is not so yet."""
        del options
        return self._to(state, blocked=self.blocks)

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Go back to how it was."""
        del done
        return self._to(now, blocked=before["blocked"])

    def _to(self, state: Json, *, blocked: bool) -> list[Step]:
        if state["blocked"] == blocked:
            return []
        word, method = ("block", "PUT") if blocked else ("unblock", "DELETE")
        return [_step(word, f"{word} {state['login']}", method, f"blocks/{state['login']}")]


class UnblockUser(BlockUser):
    """Let somebody who was blocked take part again."""

    name: ClassVar[str] = "unblock-user"
    blocks: ClassVar[bool] = False


class RemoveOutsider(_OnUser):
    """Take an outside collaborator off all repositories; which ones these were is not kept by GitHub."""

    name: ClassVar[str] = "remove-outside-collaborator"
    irreversible: ClassVar[bool] = True

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Look for the person among the outside collaborators."""
        del options
        login = await self._login(p, target)
        found = await everything(p, f"{_org(p)}/outside_collaborators")
        return {"login": login, "outside": any(one["login"] == login for one in found)}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Remove who is one."""
        del options
        if not state["outside"]:
            return []
        say = f"take {state['login']} off all repositories of the organization"
        return [_step("remove", say, "DELETE", f"outside_collaborators/{state['login']}")]

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> None:
        """There is no way back."""


class RemoveRepositoryCollaborator(_OnUser):
    """Take somebody off one repository (option `repo`, as owner/name); undone by an invitation to it."""

    name: ClassVar[str] = "remove-repository-collaborator"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Read what the person was given on the repository itself."""
        repo = str((options or {}).get("repo") or "")
        owner, _, name = repo.partition("/")
        if owner.lower() != p.settings.organization.lower() or not name or "/" in name or name in {".", ".."}:
            raise Refused("name the repository by the option repo, as owner/name, in this organization")
        login = await self._login(p, target)
        found = await everything(p, f"/repos/{repo}/collaborators", affiliation="direct")
        role = next((one["role_name"] for one in found if one["login"] == login), "")
        return {"login": login, "repo": repo, "role": role}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Remove who was given something."""
        del options
        say = f"take {state['login']} off {state['repo']}"
        return [Step("remove", say, {"method": "DELETE", **_seat(state)})] if state["role"] else []

    async def do(self, p: "GitHub", target: Ref, step: Step) -> Json:
        """Make the step's call on the repository."""
        del target
        await change(p, step.data["method"], step.data["path"], step.data.get("json"), ok=(404,))

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Invite to the repository with the role of before."""
        del done
        if not before["role"] or now["role"]:
            return []
        # What a role is called in lists differs from what it is called when it is given.
        given = {"read": "pull", "write": "push"}.get(before["role"], before["role"])
        say = f"invite {now['login']} to {now['repo']} with {given}"
        return [Step("invite", say, {"method": "PUT", **_seat(now), "json": {"permission": given}})]


def _seat(state: Json) -> Json:
    return {"path": f"/repos/{state['repo']}/collaborators/{state['login']}"}


class SuspendUser(_OnUser):
    """Suspend a managed user of the enterprise through SCIM; its sessions, tokens and keys stop working."""

    name: ClassVar[str] = "suspend-user"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Find the identity and read whether it is active."""
        del options
        if not p.settings.enterprise or p.settings.as_app:
            raise Refused("needs managed users: set enterprise, and sign in with an enterprise owner's token")
        login = await self._login(p, target)
        users = f"/scim/v2/enterprises/{p.settings.enterprise}/Users"
        data = await graph(p, _IDENTITY, slug=p.settings.enterprise, login=login)
        owner = (data.get("enterprise") or {}).get("ownerInfo") or {}
        nodes = ((owner.get("samlIdentityProvider") or {}).get("externalIdentities") or {}).get("nodes") or []
        if not nodes:
            raise Missing(f"{login} has no identity in the enterprise")
        found = (await get(p, f"{users}/{nodes[0]['guid']}", ok=(404,))).json
        if "id" not in (found or {}):
            wanted = f'userName eq "{(nodes[0].get("samlIdentity") or {}).get("nameId")}"'
            found = next(iter((await get(p, users, filter=wanted)).json["Resources"]), None)
        if found is None:
            raise Missing(f"{login} is not provisioned by SCIM")
        return {"login": login, "path": f"{users}/{found['id']}", "active": bool(found["active"])}

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Suspend who is active."""
        del options
        return self._to(state, active=False)

    async def do(self, p: "GitHub", target: Ref, step: Step) -> Json:
        """Set the identity's state."""
        del target
        value = {"op": "replace", "path": "active", "value": step.data["active"]}
        await change(p, "PATCH", step.data["path"], {"schemas": [_PATCH], "Operations": [value]})

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step]:
        """Let the user work again."""
        del done
        return self._to(now, active=before["active"])

    def _to(self, state: Json, *, active: bool) -> list[Step]:
        if state["active"] == active:
            return []
        word = "reactivate" if active else "suspend"
        return [Step(word, f"{word} {state['login']}", {"path": state["path"], "active": active})]

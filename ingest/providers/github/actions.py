"""What can be done in GitHub: to members and collaborators, to apps and tokens.

People are named by their number, as the inventories have it, or by login; apps by the inventory's ids:
`installation:1`, `credential:2`, `token:3`. Membership ends at once; what was taken is given back by an
invitation, which the person has to accept. A credential or token is not given back by any call. Sources: REST
API reference, "Organization members", "Outside collaborators", "Blocking users", "Collaborators", "SCIM" in
an enterprise, "Organizations" (SAML SSO authorizations), "Personal access tokens", "GitHub Apps", "Enterprise
organization installations".
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple
from urllib.parse import quote

from ingest.provider import Action, Capability, Json, Kind, Missing, NotAllowed, Ref, Refused, Step
from ingest.providers.github.calls import change, everything, get, graph, provider_of
from ingest.switches import Switch

if TYPE_CHECKING:
    from ingest.providers.github import GitHub

_IDENTITY: Final = (
    "query($slug:String!,$login:String!){enterprise(slug:$slug){ownerInfo{samlIdentityProvider{"
    "externalIdentities(first:1,login:$login){nodes{guid samlIdentity{nameId}}}}}}}"
)


class Call(NamedTuple):
    """What changes something: texts are filled in from the state; see `_Change` for the path."""

    do: str
    say: str
    method: str
    path: str
    json: Mapping[str, Json] | None = None
    api: str = "rest"

    def step(self, state: Json, value: Json) -> Step:
        """Make the step that brings a state to a value."""
        said = {**state, "value": value}
        json = self.json and {k: v.format(**said) if isinstance(v, str) else v for k, v in self.json.items()}
        data = {"api": self.api, "method": self.method, "path": self.path.format(**said), "json": json}
        return Step(self.do, self.say.format(**said), data)


class _Change(Switch["GitHub"]):
    """What all share: a step is one call, `there` to what is wanted, `back` from it.

    A path is the organization's, unless it begins with a slash.
    """

    there: ClassVar[Call]
    back: ClassVar[Call]

    def step(self, state: Json, value: Json) -> Step:
        """Make the call there, or back."""
        return (self.there if value == self.to else self.back).step(state, value)

    async def do(self, p: "GitHub", target: Ref, step: Step) -> Json:
        """Make the step's call; what is done already, or gone, counts as done."""
        del target
        api, method, path, json = (step.data[key] for key in ("api", "method", "path", "json"))
        path = path if path.startswith("/") else f"{p.settings.org}/{path}"
        try:
            await change(p, method, path, json, ok=(404,), api=api)
        except NotAllowed as error:
            if "not a member" in str(error):
                return  # a second call finds that the first one worked
            if "last owner" in str(error):
                raise Refused(str(error)) from error
            raise


class _OnUser(_Change):
    """What is done to people."""

    capability: ClassVar[Capability] = "user_governance"
    on: ClassVar[Kind] = "user"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Find the login that the person has now, and what is to be changed.

        Raises:
            Missing: There is no such person.
            Refused: It is the account Sluice itself acts as.
        """
        del options
        by_number = [f"/user/{target.id}"] if target.id.isdecimal() else []
        by_login = f"/users/{quote(str((target.data or {}).get('name') or target.id), safe='')}"
        found: Json = {}
        for path in (*by_number, by_login):
            if not found and (reply := await get(p, path, ok=(404,))).status == 200:
                found = reply.json
        if not found or (by_number and str(found["id"]) != target.id):
            raise Missing(f"GitHub has no user {target.id[:80]}")
        if not p.instance.ourselves.isdisjoint({str(found["id"]), found["login"]}):
            raise Refused("that is the account Sluice itself acts as")
        login = str(found["login"])
        return {"login": login, **await self.state(p, login)}

    async def state(self, p: "GitHub", login: str) -> Json:
        """Read more than the login."""
        del p, login
        return {}


class _Place(_OnUser):
    """A role that somebody holds somewhere is taken away; who held it is invited again, nobody twice."""

    part = "role"
    to = ""

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Invite again who held the role, and was not only invited to it."""
        held = before["role"] and before.get("state") != "pending"
        return super().undo(before, now, done) if held and not now["role"] else []


class RemoveMember(_Place):
    """Remove a member from the organization, or take an invitation back; undone by an invitation."""

    name = "remove-member"
    there = Call("remove", "remove {login} from the organization", "DELETE", "memberships/{login}")
    back = Call(
        "invite", "invite {login} again as {value}", "PUT", "memberships/{login}", {"role": "{value}"}
    )

    async def state(self, p: "GitHub", login: str) -> Json:
        """Read the membership."""
        reply = await get(p, f"{p.settings.org}/memberships/{login}", ok=(404,))
        found = reply.json if reply.status == 200 else {}
        return {"role": found.get("role", ""), "state": found.get("state", "")}


class DemoteMember(RemoveMember):
    """Turn a member into an outside collaborator of the repositories it works on."""

    name = "demote-member"
    there = Call("demote", "make {login} an outside collaborator", "PUT", "outside_collaborators/{login}")

    def wanted(self, state: Json, options: Json) -> Json:
        """Demote who is a member, not who is only invited."""
        del options
        return "" if state["state"] == "active" else state["role"]


class RemoveRepositoryCollaborator(_Place):
    """Take somebody off one repository (option `repo`, as owner/name); undone by an invitation to it."""

    name = "remove-repository-collaborator"
    there = Call("remove", "take {login} off {repo}", "DELETE", "/repos/{repo}/collaborators/{login}")
    back = Call(
        "invite", "invite {login} to {repo} with {value}", "PUT", there.path, {"permission": "{value}"}
    )

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Read what the person was given on the repository itself."""
        repo = str((options or {}).get("repo") or "")
        owner, _, name = repo.partition("/")
        if owner.lower() != p.settings.organization.lower() or not name or "/" in name or name in {".", ".."}:
            raise Refused("name the repository by the option repo, as owner/name, in this organization")
        state = await super().look(p, target, options)
        found = await everything(p, f"/repos/{repo}/collaborators", affiliation="direct")
        role = next((one["role_name"] for one in found if one["login"] == state["login"]), "")
        return {**state, "repo": repo, "role": role}

    def step(self, state: Json, value: Json) -> Step:
        """Give a role by its other name: what it is called in lists is not what it is given by."""
        return super().step(state, {"read": "pull", "write": "push"}.get(value, value))


class BlockUser(_OnUser):
    """Block somebody who is no member: no comments, no pull requests, no stars."""

    name = "block-user"
    part = "blocked"
    to = True
    there = Call("block", "block {login}", "PUT", "blocks/{login}")
    back = Call("unblock", "unblock {login}", "DELETE", "blocks/{login}")

    async def state(self, p: "GitHub", login: str) -> Json:
        """Read whether the person is blocked."""
        reply = await get(p, f"{p.settings.org}/blocks/{login}", ok=(404,))
        return {"blocked": reply.status == 204}


class UnblockUser(BlockUser):
    """Let somebody who was blocked take part again."""

    name = "unblock-user"
    to = False
    there, back = BlockUser.back, BlockUser.there


class RemoveOutsider(_OnUser):
    """Take an outside collaborator off all repositories; which ones these were is not kept by GitHub."""

    name = "remove-outside-collaborator"
    irreversible = True
    part = "outside"
    to = False
    there = Call(
        "remove", "take {login} off all repositories of the organization",
        "DELETE", "outside_collaborators/{login}",
    )  # fmt: skip

    async def state(self, p: "GitHub", login: str) -> Json:
        """Look for the person among the outside collaborators."""
        found = await everything(p, f"{p.settings.org}/outside_collaborators")
        return {"outside": any(one["login"] == login for one in found)}


def _active(value: bool) -> Json:
    operation = {"op": "replace", "path": "active", "value": value}
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}


class SuspendUser(_OnUser):
    """Suspend a managed user of the enterprise through SCIM; its sessions, tokens and keys stop working."""

    name = "suspend-user"
    part = "active"
    to = False
    there = Call("suspend", "suspend {login}", "PATCH", "{path}", _active(False))
    back = Call("reactivate", "reactivate {login}", "PATCH", "{path}", _active(True))

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Refuse where there is no enterprise, whose identities these are."""
        _enterprise(p, "managed users")
        return await super().look(p, target, options)

    async def state(self, p: "GitHub", login: str) -> Json:
        """Find the identity and read whether it is active."""
        users = f"/scim/v2/enterprises/{p.settings.enterprise}/Users"
        data = await graph(p, _IDENTITY, slug=p.settings.enterprise, login=login)
        nodes = provider_of(data).get("externalIdentities", {}).get("nodes")
        if not nodes:
            raise Missing(f"{login} has no identity in the enterprise")
        found = (await get(p, f"{users}/{nodes[0]['guid']}", ok=(404,))).json
        if "id" not in (found or {}):
            wanted = f'userName eq "{(nodes[0].get("samlIdentity") or {}).get("nameId")}"'
            found = next(iter((await get(p, users, filter=wanted)).json["Resources"]), None)
        if found is None:
            raise Missing(f"{login} is not provisioned by SCIM")
        return {"path": f"{users}/{found['id']}", "active": bool(found["active"])}


def _enterprise(p: "GitHub", needed: str) -> None:
    if not p.settings.enterprise or p.settings.as_app:
        raise Refused(f"needs {needed}: set enterprise, and sign in with an enterprise owner's token")


class _OnApp(_Change):
    """What is done to apps, credentials and tokens."""

    capability: ClassVar[Capability] = "revoke_app_permissions"
    on: ClassVar[Kind] = "app"
    kind: ClassVar[str]

    def number(self, target: Ref) -> int:
        """Read the number in a target's id."""
        kind, _, number = target.id.partition(":")
        if kind != self.kind or not number.isdecimal():
            raise Refused(f"{target.id[:80]} is no {self.kind}: its id looks like {self.kind}:123")
        return int(number)


class _Listed(_OnApp):
    """What is taken away for good, found by its number (`key`) in a list; `of` is whose it is."""

    irreversible = True
    part = "there"
    to = False
    among: ClassVar[str]
    under: ClassVar[str] = ""
    key: ClassVar[str] = "id"

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Look for it in its list."""
        del options
        number, s = self.number(target), p.settings
        found = await everything(p, f"{s.org}/{self.among}", self.under)
        one: Json = next((one for one in found if one[self.key] == number), {})
        of = one.get("login") or one.get("app_slug") or (one.get("owner") or {}).get("login", "")
        return {"id": number, "there": bool(one), "of": of, "enterprise": s.enterprise, "org": s.organization}


class RevokeCredential(_Listed):
    """Take a credential's authorization for single sign-on away: it no longer reaches the organization."""

    name = "revoke-credential"
    kind = "credential"
    among = "credential-authorizations"
    key = "credential_id"
    there = Call("revoke", "revoke credential {id} of {of}", "DELETE", f"{among}/{{id}}")


class RevokeToken(_Listed):
    """Take a fine-grained token's access to the organization away; only Apps may."""

    name = "revoke-token"
    kind = "token"
    among = "personal-access-tokens"
    there = Call(
        "revoke", "revoke fine-grained token {id} of {of}", "POST", f"{among}/{{id}}", {"action": "revoke"}
    )

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Look for it among the grants."""
        if not p.settings.as_app:
            raise Refused("GitHub lets only Apps revoke fine-grained tokens: connect by a GitHub App")
        return await super().look(p, target, options)


class RemoveApp(_Listed):
    """Uninstall an App from the organization, as an owner of its enterprise."""

    name = "remove-app"
    kind = "installation"
    among = under = "installations"
    there = Call(
        "uninstall", "uninstall {of} (installation {id})",
        "DELETE", "/enterprises/{enterprise}/apps/organizations/{org}/installations/{id}",
    )  # fmt: skip

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Look for it among the installations."""
        self.number(target)
        _enterprise(p, "an enterprise")
        return await super().look(p, target, options)


_OURS: Final = "{id} of Sluice's own App, on which this connector may depend"


class SuspendApp(_OnApp):
    """Suspend an installation of the App that Sluice signs in with; GitHub lets nobody suspend another's."""

    name = "suspend-app"
    kind = "installation"
    part = "suspended"
    to = True
    there = Call(
        "suspend", f"suspend installation {_OURS}", "PUT", "/app/installations/{id}/suspended", api="app"
    )
    back = there._replace(do="resume", say=f"resume installation {_OURS}", method="DELETE")

    async def look(self, p: "GitHub", target: Ref, options: Json) -> Json:
        """Read whether it is suspended, by the App's own key, which works either way."""
        del options
        number = self.number(target)
        path = f"/app/installations/{number}"
        reply = await get(p, path, api="app", ok=(404,)) if p.settings.as_app else None
        if reply is None or reply.status == 404:
            raise Refused("that is not an installation of our own App: uninstall it (remove-app)")
        return {"id": number, "suspended": bool(reply.json["suspended_at"])}


ACTIONS: Final[tuple[Action["GitHub"], ...]] = (
    RemoveMember(), DemoteMember(), BlockUser(), UnblockUser(), RemoveOutsider(),
    RemoveRepositoryCollaborator(), SuspendUser(), RevokeCredential(), RevokeToken(), SuspendApp(),
    RemoveApp(),
)  # fmt: skip

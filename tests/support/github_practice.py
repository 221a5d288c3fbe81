"""A simulated organization at GitHub, to act on and to be pushed by."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

from github_site import GitHubSite
from practice import Guarded, Happened, Sample, Trial, at

from ingest.provider import Delivery, Json, Kind, Ref
from ingest.providers.github.settings import Settings
from sandbox.github.seed import owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant
from sandbox.github.webhooks import Hook, signed

Find = Callable[["GitHubPractice"], Awaitable[Sample]]
OWNER = "owner"


def _signed(secret: str, at: datetime) -> Delivery:
    del at
    body = b'{"zen": "Keep it logically awesome."}'
    marks = {name.lower(): text for name, text in signed(secret, body).items()}
    named = {"x-github-event": "ping", "x-github-delivery": "0b989ba4-242f-11e5-81e1-c7b6966d2516"}
    return Delivery("POST", {**named, **marks}, {}, body)


async def _member(one: "GitHubPractice") -> Sample:
    people = [uid for uid, role in one.tenant.org.members.items() if role == "member"]
    return Ref("user", str(one.unused(people))), {}


async def _outsider(one: "GitHubPractice") -> Sample:
    return Ref("user", str(one.unused(one.tenant.org.outsiders))), {}


async def _blocked(one: "GitHubPractice") -> Sample:
    target, _ = await _outsider(one)
    one.tenant.org.blocked[int(target.id)] = None
    return target, {}


async def _collaborator(one: "GitHubPractice") -> Sample:
    org = one.tenant.org
    repo, who = one.unused(
        (repo, who)
        for repo in org.estate.ids()
        for who in org.estate.collaborators(repo)
        if who in org.outsiders
    )
    found = org.estate.get(repo)
    assert found is not None
    return Ref("user", str(who)), {"repo": f"{org.login}/{found.name}"}


def _thing(kind: Kind, uid: str) -> Find:
    async def found(one: "GitHubPractice") -> Sample:
        del one
        return Ref(kind, uid), {}

    return found


async def _credential(one: "GitHubPractice") -> Sample:
    return Ref("app", f"credential:{next(iter(one.tenant.org.credentials))}"), {}


async def _token(one: "GitHubPractice") -> Sample:
    return Ref("app", f"token:{next(iter(one.tenant.org.grants))}"), {}


async def _installation(one: "GitHubPractice") -> Sample:
    own = one.tenant.access.app.slug
    others = [each.id for each in one.tenant.org.installations.values() if each.slug != own]
    return Ref("app", f"installation:{others[0]}"), {}


def _role(state: Json) -> Json:
    return at(state, "role")


class _Acting(GitHubSite):
    """Faults strike what an App asks about itself as well."""

    async def fault(self, what: str, times: int) -> None:
        """Order it there too."""
        await super().fault(what, times)
        self.tenant.order("/app", *[self.faults[what].order] * min(times, 40))


class GitHubPractice:
    """A small organization of managed users, connected by its App and by an owner of its enterprise."""

    guarded: ClassVar[Mapping[str, Guarded]] = MappingProxyType({"changed": Guarded(_signed)})
    trials: ClassVar[Mapping[str, Trial]] = MappingProxyType(
        {
            "remove-member": Trial(_member, kept=_role),
            "demote-member": Trial(_member, kept=_role),
            "block-user": Trial(_outsider),
            "unblock-user": Trial(_blocked),
            "remove-outside-collaborator": Trial(_outsider),
            "remove-repository-collaborator": Trial(_collaborator, _outsider, _role),
            "suspend-user": Trial(
                _member, _thing("user", "acme-owner"), lambda state: at(state, "active"), OWNER
            ),
            "revoke-credential": Trial(_credential, _thing("app", "credential:x")),
            "revoke-token": Trial(_token, _thing("app", "7")),
            "suspend-app": Trial(_thing("app", "installation:31001"), _thing("app", "installation:25381")),
            "remove-app": Trial(_installation, _thing("app", "credential:1"), sign_in=OWNER),
        }
    )

    def __init__(self, tenant: GitHubTenant) -> None:
        self.tenant = tenant
        own = _Acting(tenant)
        own.settings = Settings.model_validate(
            {
                "organization": "acme", "enterprise": "acme-inc", "token": owner_token(tenant),
                "endpoints": {"rest": tenant.url},
            }
        )  # fmt: skip
        self.sites = {"": _Acting(tenant), OWNER: own}
        self._used = set[Json]()

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["GitHubPractice"]:
        """Start the tenant."""
        tenant = seed(members=40, repos=60, teams=3, outsiders=24, events=10)
        tenant.org.managed = True
        foreign = Hook(
            0, "Organization", "https://elsewhere.example/hub", tenant.clock.now(), ["issues"], "json"
        )
        tenant.webhooks.add(foreign)
        async with running(tenant):
            yield cls(tenant)

    def unused(self, among: Iterable[Json]) -> Json:
        """Give the first that was not given yet."""
        found = next(one for one in among if one not in self._used)
        self._used.add(found)
        return found

    async def changes(self) -> Json:
        """Count what the log tells."""
        return len(self.tenant.truth)

    async def happen(self) -> Happened:
        """Let somebody join a repository; the delivery is lost, and sent again as often as wanted."""
        tenant = self.tenant
        tenant.webhooks.order("lost")
        joined = ("member", "added", {"member": {"login": "octocat", "id": 5}})
        one = tenant.happen("repo.add_member", "acme-owner", user="octocat", hook=joined)
        lost = [each for each in tenant.webhooks.sent if each.guid == one.guid]

        async def send() -> list[int]:
            hooks = [hook for hook in tenant.webhooks.hooks.values() if hook.url == lost[0].url]
            sent = [tenant.webhooks.again(hook, lost[0]) for hook in hooks]
            await tenant.webhooks.drained()
            return [each.code for each in sent]

        return Happened(one.id, send)

    async def registrations(self) -> Mapping[str, str]:
        """List the organization's webhooks."""
        found = self.tenant.webhooks.hooks.values()
        return {str(one.id): one.url for one in found if one.kind == "Organization"}

    async def forget(self) -> None:
        """Drop those that lead to a receiver of ours."""
        hooks = self.tenant.webhooks.hooks
        for one in [one.id for one in hooks.values() if "/v1/github/" in one.url]:
            del hooks[one]

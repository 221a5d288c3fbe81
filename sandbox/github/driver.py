"""Keeps acting in an organisation, as its people would; what happened is in `tenant.truth`.

Example:
    driver = Driver(tenant, number=7)
    await driver.run(per_second=2.0)  # until cancelled
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from sandbox.github import seed, shapes
from sandbox.github.answers import Json
from sandbox.github.endpoints.members import join, leave
from sandbox.github.endpoints.repositories import admit, expose
from sandbox.github.endpoints.teams import add_to_team, drop_from_team
from sandbox.github.estate import FIRST, Repository
from sandbox.github.state import User
from sandbox.github.tenant import GitHubTenant
from sandbox.github.truth import Occurrence

WEIGHTS: Mapping[str, int] = {
    "sso": 8,
    "clone": 5,
    "push": 5,
    "join": 2,
    "leave": 1,
    "team": 3,
    "untie": 1,
    "role": 1,
    "collaborator": 2,
    "create repository": 2,
    "rename repository": 1,
    "publish": 1,
    "hide": 1,
    "authorize": 2,
    "approve app": 1,
    "request token": 1,
    "enterprise": 1,
}


class Driver:
    """Acts with a seeded chance.

    `lag` spreads the lateness of log entries evenly between 0 and so many seconds, so that they come out
    of order.
    """

    def __init__(
        self, tenant: GitHubTenant, *, number: int = 1, lag: float = 0.0, weights: Mapping[str, int] = WEIGHTS
    ) -> None:
        if unknown := set(weights) - set(WEIGHTS):
            raise ValueError(f"no such action: {', '.join(sorted(unknown))}")
        self._tenant, self._chance, self._lag = tenant, Random(number), lag
        self._weights = dict(weights)
        self._hired = len(tenant.org.users) + 100
        self._acts: Mapping[str, Callable[[], None]] = {
            "sso": self._sso,
            "clone": lambda: self._git("git.clone"),
            "push": self._push,
            "join": self._join,
            "leave": self._leave,
            "team": self._team,
            "untie": self._untie,
            "role": self._role,
            "collaborator": self._collaborator,
            "create repository": self._create,
            "rename repository": self._rename,
            "publish": lambda: self._expose("public"),
            "hide": lambda: self._expose("private"),
            "authorize": self._authorize,
            "approve app": self._approve,
            "request token": self._ask,
            "enterprise": self._enterprise,
        }

    def step(self, kind: str | None = None) -> list[Occurrence]:
        """Do one thing, of a kind or by chance; what came of it (nothing if it was not possible)."""
        kind = kind or self._chance.choices(list(self._weights), list(self._weights.values()))[0]
        before = len(self._tenant.truth)
        self._tenant.lag, kept = self._chance.random() * self._lag, self._tenant.lag
        try:
            self._acts[kind]()
        finally:
            self._tenant.lag = kept
        return self._tenant.truth[before:]

    async def run(self, *, per_second: float = 1.0, seconds: float | None = None) -> None:
        """Act at that rate on average, until cancelled or for so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            self.step()
            await asyncio.sleep(self._chance.expovariate(per_second))

    def _sso(self) -> None:
        one = self._someone()
        self._tenant.happen(
            "org.sso_response", one.login, operation="authentication", **self._tenant.about(one)
        )

    def _git(self, action: str) -> None:
        if repo := self._repository():
            seed.clone(self._tenant, self._someone(), repo.id, action)

    def _push(self) -> None:
        repo, one = self._repository(), self._someone()
        if repo is None:
            return
        tenant, after = self._tenant, f"{self._chance.getrandbits(160):040x}"
        before = f"{self._chance.getrandbits(160):040x}"
        commit = _commit(tenant, repo, one, after)
        payload = {
            "ref": f"refs/heads/{repo.default_branch}",
            "before": before,
            "after": after,
            "created": False,
            "deleted": False,
            "forced": False,
            "base_ref": None,
            "compare": f"{shapes.WEB}/{tenant.org.login}/{repo.name}/compare/{before[:12]}...{after[:12]}",
            "commits": [commit],
            "head_commit": commit,
            "repository": shapes.repository(tenant.url, tenant.org, repo),
            "pusher": {"name": one.login, "email": one.email},
        }
        tenant.happen(
            "git.push",
            one.login,
            git=True,
            hook=("push", "", payload),
            repository=f"{tenant.org.login}/{repo.name}",
            repository_public=repo.visibility == "public",
            transport_protocol=2,
            transport_protocol_name="ssh",
            user="",
        )

    def _join(self) -> None:
        self._hired += 1
        join(self._tenant, seed.person(self._tenant, self._chance, self._hired), seed.OWNER)

    def _leave(self) -> None:
        if len(self._tenant.org.members) > 3 and (one := self._plain()):
            leave(self._tenant, one, seed.OWNER)

    def _team(self) -> None:
        if teams := list(self._tenant.org.teams.values()):
            add_to_team(self._tenant, self._chance.choice(teams), self._someone(), seed.OWNER)

    def _untie(self) -> None:
        teams = [team for team in self._tenant.org.teams.values() if team.people]
        if teams:
            team = self._chance.choice(teams)
            one = self._tenant.org.users[self._chance.choice(list(team.people))]
            drop_from_team(self._tenant, team, one, seed.OWNER)

    def _role(self) -> None:
        if one := self._plain():
            self._tenant.org.members[one.id] = "admin"
            about = self._tenant.about(one)
            self._tenant.happen(
                "org.update_member", seed.OWNER, permission="admin", old_permission="read", **about
            )

    def _collaborator(self) -> None:
        if repo := self._repository():
            admit(
                self._tenant,
                repo,
                self._someone(),
                self._chance.choice(("read", "write", "admin")),
                seed.OWNER,
            )

    def _create(self) -> None:
        estate, tenant = self._tenant.org.estate, self._tenant
        number = max([FIRST + estate.count, *estate.changed]) + 1
        now, one = tenant.clock.now(), self._someone()
        repo = Repository(number, f"fresh-{number}", "private", now, now)
        estate.put(repo)
        shown = {"repository": shapes.repository(tenant.url, tenant.org, repo)}
        tenant.happen(
            "repo.create",
            one.login,
            operation="create",
            hook=("repository", "created", shown),
            **tenant.on(repo),
        )

    def _rename(self) -> None:
        if repo := self._repository():
            tenant, old = self._tenant, repo.name
            repo = replace(repo, name=f"{old.split('--')[0]}--{self._chance.randrange(10_000)}")
            tenant.org.estate.put(repo)
            shown = {
                "repository": shapes.repository(tenant.url, tenant.org, repo),
                "changes": {"repository": {"name": {"from": old}}},
            }
            tenant.happen(
                "repo.rename",
                seed.OWNER,
                hook=("repository", "renamed", shown),
                old_name=old,
                **tenant.on(repo),
            )

    def _expose(self, visibility: str) -> None:
        repo = self._repository()
        if repo is not None and repo.visibility != visibility:
            expose(self._tenant, repo, visibility, seed.OWNER)

    def _authorize(self) -> None:
        one, tenant = self._someone(), self._tenant
        number = 200_000 + next(tenant.numbers)
        if tenant.org.saml:
            tenant.org.credentials[number] = seed.credential(one, number, tenant.clock.now(), self._chance)
            tenant.happen(
                "org_credential_authorization.grant",
                one.login,
                operation="create",
                credential_id=number,
                **tenant.about(one),
            )

    def _approve(self) -> None:
        name = self._chance.choice(("Zapper", "Diagrammer", "Chatty"))
        self._tenant.happen(
            "org.oauth_app_access_approved",
            seed.OWNER,
            oauth_application_name=name,
            oauth_application_id=len(name) + 77,
        )

    def _ask(self) -> None:
        tenant, one = self._tenant, self._someone()
        number = 40_000 + next(tenant.numbers)
        waiting = seed.grant(tenant, one, number, tenant.clock.now(), self._chance)
        waiting["created_at"] = waiting.pop("access_granted_at")
        tenant.org.requests[number] = {"reason": "For a report", **waiting}
        payload = {
            "personal_access_token_request": {
                **waiting,
                "permissions_added": {},
                "permissions_upgraded": {},
                "permissions_result": waiting["permissions"],
                "repository_count": None,
                "repositories": None,
            }
        }
        tenant.happen(
            "personal_access_token.request_created",
            one.login,
            operation="create",
            hook=("personal_access_token_request", "created", payload),
            user_programmatic_access_name=waiting["token_name"],
            **tenant.about(one),
        )

    def _enterprise(self) -> None:
        self._tenant.happen(
            "business.update_member_repository_creation_permission", seed.OWNER, business=True
        )

    def _someone(self) -> User:
        org = self._tenant.org
        return org.users[self._chance.choice(list(org.members))]

    def _plain(self) -> User | None:
        org = self._tenant.org
        people = [one for one, role in org.members.items() if role == "member"]
        return org.users[self._chance.choice(people)] if people else None

    def _repository(self) -> Repository | None:
        ids = self._tenant.org.estate.ids()
        return self._tenant.org.estate.get(self._chance.choice(ids)) if ids else None


def _commit(tenant: GitHubTenant, repo: Repository, one: User, sha: str) -> Json:
    """A commit as a push tells it."""
    who = {"name": one.name, "email": one.email, "username": one.login}
    return {
        "id": sha,
        "tree_id": sha[::-1],
        "distinct": True,
        "message": "Tidy up",
        "timestamp": shapes.moment(tenant.clock.now()),
        "url": f"{shapes.WEB}/{tenant.org.login}/{repo.name}/commit/{sha}",
        "author": who,
        "committer": who,
        "added": [],
        "removed": [],
        "modified": ["README.md"],
    }

"""Acts as an org's people and admins would, with a seeded chance; the tenant writes the truth down.

Example:
    await Driver(tenant, number=7).run(per_second=2.0)  # until cancelled
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, TypeAlias

from sandbox.okta import ids
from sandbox.okta.records import person, stranger, thing
from sandbox.okta.tenant import Happened, OktaTenant

Json: TypeAlias = Any
WEIGHTS: Final[Mapping[str, int]] = {
    "logon": 8,
    "failed logon": 2,
    "stranger": 1,
    "app": 10,
    "logout": 3,
    "lock": 1,
    "hire": 1,
    "join group": 1,
    "leave group": 1,
    "grant role": 1,
    "assign app": 1,
    "admin console": 1,
    "policy": 1,
    "zone": 1,
    "api token": 1,
}


class Driver:
    """Does one thing at a time; `weights` say how often which."""

    def __init__(self, tenant: OktaTenant, *, number: int = 1, weights: Mapping[str, int] = WEIGHTS) -> None:
        if unknown := set(weights) - set(WEIGHTS):
            raise ValueError(f"no such action: {', '.join(sorted(unknown))}")
        self._tenant, self._chance, self._weights = tenant, Random(number), dict(weights)
        self._hired = 0
        self._acts: dict[str, Callable[[], Json]] = {
            "logon": self._logon,
            "failed logon": lambda: self._failed(person(self._user())),
            "stranger": lambda: self._failed(stranger(self._chance.choice(("j.doe", "Winter2026!", "root")))),
            "app": self._app,
            "logout": lambda: self._own("user.session.end"),
            "lock": self._lock,
            "hire": self._hire,
            "join group": lambda: self._member(join=True),
            "leave group": lambda: self._member(join=False),
            "grant role": self._role,
            "assign app": self._assign,
            "admin console": self._console,
            "policy": lambda: self._admin(
                "policy.rule.update", thing("PolicyRule", ids.make("0pr", 1), "Default")
            ),
            "zone": lambda: self._admin("zone.update", thing("NetworkZone", ids.make("nzo", 1), "Office")),
            "api token": lambda: self._admin(
                "system.api_token.create", thing("Token", ids.make("00T", 77), "ci")
            ),
        }

    async def run(self, *, per_second: float = 1.0, seconds: float | None = None) -> None:
        """Act at that rate on average, until cancelled or for so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            self.step()
            await asyncio.sleep(self._chance.expovariate(per_second))

    def step(self, kind: str | None = None) -> Happened:
        """Do one thing, of a kind or by chance."""
        kind = kind or self._chance.choices(list(self._weights), list(self._weights.values()))[0]
        event = self._acts[kind]()
        return next(one for one in reversed(self._tenant.truth) if one.id == event["uuid"])

    def _index(self) -> int:
        people = self._tenant.people
        while True:
            index = self._chance.randrange(people.size)
            if people.field(index, "status") == "ACTIVE":
                return index

    def _user(self) -> Json:
        return self._tenant.people.get(self._index())

    def _own(self, kind: str, *targets: Json, **more: Any) -> Json:
        session = f"trs{self._chance.getrandbits(64):016x}"
        return self._tenant.note(kind, person(self._user()), targets, session=session, **more)

    def _admin(self, kind: str, *targets: Json) -> Json:
        return self._tenant.note(kind, person(self._tenant.people.get(self._chance.choice((0, 2)))), targets)

    def _logon(self) -> Json:
        index, now = self._index(), self._tenant.clock.now()
        user = self._tenant.people.change(index, now, lastLogin=ids.stamp(now))
        who, session = person(user), f"trs{self._chance.getrandbits(64):016x}"
        self._tenant.note("policy.evaluate_sign_on", who, [who], result="ALLOW", session=session)
        return self._tenant.note("user.session.start", who, [who], session=session)

    def _failed(self, who: Json) -> Json:
        return self._tenant.note("user.session.start", who, result="FAILURE", reason="INVALID_CREDENTIALS")

    def _app(self) -> Json:
        index = self._chance.randrange(self._tenant.apps.size)
        return self._own("user.authentication.sso", self._instance(index))

    def _instance(self, index: int) -> Json:
        return thing("AppInstance", ids.make("0oa", index), self._tenant.apps.label(index))

    def _lock(self) -> Json:
        index = self._index()
        if index < 12:
            return self._logon()
        user = self._tenant.people.change(index, self._tenant.clock.now(), status="LOCKED_OUT")
        return self._tenant.note("user.account.lock", person(user), [person(user)], result="FAILURE")

    def _hire(self) -> Json:
        self._hired += 1
        people, login = self._tenant.people, f"new-hire{self._hired}@{self._tenant.people.domain}"
        index = people.add("Nina", f"Hire{self._hired}", login, self._tenant.clock.now(), "ACTIVE")
        return self._admin("user.lifecycle.create", person(people.get(index)))

    def _member(self, *, join: bool) -> Json:
        groups, now = self._tenant.groups, self._tenant.clock.now()
        own = [index for index in range(2, groups.size) if groups.kind(index) == "OKTA_GROUP"]
        index, user = self._chance.choice(own), self._index()
        (groups.join if join else groups.leave)(index, user, now)
        kind = f"group.user_membership.{'add' if join else 'remove'}"
        target = thing("UserGroup", ids.make("00g", index), groups.name(index))
        return self._admin(kind, person(self._tenant.people.get(user)), target)

    def _role(self) -> Json:
        user = self._user()
        held = {one["type"] for one in self._tenant.roles.of(user["id"])}
        if "REPORT_ADMIN" not in held:
            self._tenant.roles.assign(user["id"], "REPORT_ADMIN")
        return self._admin("user.account.privilege.grant", person(user))

    def _assign(self) -> Json:
        app, index = self._chance.randrange(self._tenant.apps.size), self._index()
        if self._tenant.apps.state(app, index) is None:
            self._tenant.apps.assign(app, index, "USER")
        user = person(self._tenant.people.get(index))
        return self._admin("application.user_membership.add", user, self._instance(app))

    def _console(self) -> Json:
        return self._admin(
            "user.session.access_admin_app", thing("AppInstance", ids.make("0oa", 999), "Admin Console")
        )

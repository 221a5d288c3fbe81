"""The org: all its state, what happened in it, and the levers that tests pull.

Example:
    async with running(OktaTenant(users=200)) as tenant:
        tenant.url, tenant.settings()
"""

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, TypeAlias

from sandbox.clock import Clock
from sandbox.okta import ids
from sandbox.okta.apps import Apps
from sandbox.okta.delivery import Deliveries
from sandbox.okta.faults import Faults
from sandbox.okta.groups import ADMINISTRATORS, Groups
from sandbox.okta.hooks import Hook, Hooks
from sandbox.okta.limits import Limits
from sandbox.okta.log import Log
from sandbox.okta.oauth import OAuth
from sandbox.okta.people import DAY, People
from sandbox.okta.principals import ApiTokens
from sandbox.okta.records import SYSTEM, Records, thing
from sandbox.okta.roles import Roles

Json: TypeAlias = Any
LOOSE: Mapping[str, int] = dict.fromkeys(
    (
        "/api/v1/users", "/api/v1/users/{id}", "/api/v1/groups", "/api/v1/groups/{id}", "/api/v1/apps",
        "/api/v1/apps/{id}", "/api/v1/logs", "/api/v1/eventHooks", "/api/v1", "/oauth2/v1/clients",
        "/oauth2/v1",
    ),
    1_000_000,
)  # fmt: skip
OWNER, SERVICE = 0, 1
_ROLES = {
    OWNER: "SUPER_ADMIN", SERVICE: "SUPER_ADMIN", 2: "ORG_ADMIN", 3: "USER_ADMIN", 4: "HELP_DESK_ADMIN",
    5: "READ_ONLY_ADMIN", 6: "REPORT_ADMIN", 7: "APP_ADMIN", 8: "CUSTOM",
}  # fmt: skip


class Happened(NamedTuple):
    """One occurrence: `id` is the log event's uuid, `at` when it happened, `seen` when it can be polled."""

    id: str
    at: float
    seen: float
    kind: str
    actor: str
    targets: tuple[str, ...]


class OktaTenant:
    """An org of `users` people; the same seed gives the same one. `limits` overrides sizes of buckets.

    `index_lag` is how far user search is behind, `late` a chance and a delay (s) of late log events,
    `latency` what each call takes at least (s). User 0 is the super admin, user 1 owns the API token.
    """

    def __init__(
        self,
        *,
        users: int = 50,
        groups: int = 0,
        apps: int = 9,
        seed: int = 1,
        clock: Clock | None = None,
        limits: Mapping[str, int] | None = None,
        index_lag: float = 0.0,
        late: tuple[float, float] = (0.0, 0.0),
        latency: float = 0.0,
        name: str = "acme",
    ) -> None:
        self.clock, self.name, self.url, self.seed = clock or Clock(), name, "", seed
        self.late, self.latency, self.push_every = late, latency, 0.2
        self.chance = Random(seed)
        now = self.clock.now
        self.people = People(seed, max(12, users), now() - 400 * DAY, f"{name}.example.com")
        self.people.lag = index_lag
        self.groups = Groups(self.people, groups or min(2000, 5 + users // 50))
        self.apps, self.roles = Apps(self.people, apps), Roles(now)
        self.tokens, self.limits, self.faults = ApiTokens(self.people, now), Limits(now, limits), Faults()
        self.records, self.log = Records(Random(seed + 1)), Log(now)
        self.hooks = Hooks(now)
        self.deliveries = Deliveries(self.hooks, now)
        self.deliveries.failed = self._undelivered
        self.oauth = OAuth(self)
        self.limits.violated = self._violated
        self.transition = 2.0
        self._due: list[tuple[float, Callable[[], None]]] = []
        self.truth: deque[Happened] = deque(maxlen=1_000_000)
        self.secrets: set[str] = set()
        self.searches: dict[tuple[str, str, str], tuple[float, array[int]]] = {}
        for index, role in _ROLES.items():
            self.roles.assign(ids.make("00u", index), role)
        self.roles.assign(ids.make("00g", ADMINISTRATORS), "HELP_DESK_ADMIN", "GROUP")
        self.api_token = self.issue_token("sluice")

    @property
    def id(self) -> str:
        """The org's id."""
        return ids.make("00o", self.seed)

    def issue_token(self, name: str, owner: int = SERVICE, *, value: str = "") -> str:
        """Give a user an API token; returns its value."""
        value = value or f"00{self.chance.getrandbits(230):040x}"[:42]
        self.tokens.issue(value, name, owner)
        self.secrets.add(value)
        return value

    def settings(
        self, *, oauth: bool = False, dpop: bool = False, scopes: Sequence[str] = ()
    ) -> dict[str, Json]:
        """What a connector is given: by API token, or by a service app made for it (`oauth`, `dpop`)."""
        where: dict[str, Json] = {"domain": f"{self.name}.okta.com", "endpoints": {"okta": self.url}}
        if not (oauth or dpop):
            return {**where, "api_token": self.api_token}
        app = self.oauth.register(f"service-{dpop}", scopes=scopes, dpop=dpop)
        return {
            **where,
            "client_id": app.id,
            "private_key": app.private_key,
            "key_id": app.key_id,
            "dpop": dpop,
        }

    def issued(self) -> frozenset[str]:
        """Every secret given out so far: tokens, keys, temporary passwords, hooks' header values."""
        return frozenset(self.secrets) | {hook.secret for hook in self.hooks.all.values() if hook.secret}

    def order(self, path: str, *faults: str, method: str = "") -> None:
        """Order faults (see `faults.NAMES`) for the next calls whose path begins so."""
        self.faults.order(path, *faults, method=method)

    def note(
        self,
        kind: str,
        actor: Json = None,
        targets: Sequence[Json] = (),
        *,
        ago: float = 0.0,
        late: float | None = None,
        **more: Any,
    ) -> Json:
        """Let something have happened: log, hooks and truth know of it. Returns the event.

        `ago`: seconds since it happened; `late`: seconds until it can be polled, by chance when not given.
        """
        at = self.clock.now() - ago
        event = self.records.make(kind, at, actor=actor or SYSTEM, targets=targets, **more)
        share, longest = self.late
        if late is None:
            late = self.chance.uniform(0, longest) if self.chance.random() < share else 0.0
        self.log.add(event, late=late)
        self.deliveries.put(event)
        self._remember(event, at, self.clock.now() + late)
        return event

    def recall(
        self, kind: str, actor: Json, targets: Sequence[Json] = (), *, ago: float, **more: Any
    ) -> Json:
        """Write history: persisted when it happened, pushed to nobody. Oldest first, before any read."""
        at = self.clock.now() - ago
        event = self.records.make(kind, at, actor=actor, targets=targets, **more)
        self.log.past(event)
        self._remember(event, at, at)
        return event

    def _remember(self, event: Json, at: float, seen: float) -> None:
        targets = tuple(one["id"] for one in event["target"] or ())
        self.truth.append(
            Happened(event["uuid"], at, seen, event["eventType"], event["actor"]["id"], targets)
        )

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something when that much of the org's time has passed, at the next call then."""
        self._due.append((self.clock.now() + seconds, act))

    def settle(self) -> None:
        """Do what is due."""
        due = [one for one in self._due if one[0] <= self.clock.now()]
        self._due = [one for one in self._due if one not in due]
        for _, act in due:
            act()

    def _violated(self, bucket: str) -> None:
        if bucket == "concurrency":
            self.note("core.concurrency.org.limit.violation", result="DENY")
            return
        self.note(
            "system.org.rate_limit.violation", None, [thing("URL Pattern", bucket, bucket)], result="DENY"
        )

    def forget_cursors(self) -> None:
        """Let log cursors issued so far be refused."""
        self.log.stale = self.clock.now() + 0.001

    def _undelivered(self, hook: Hook, status: int) -> None:
        target = thing("EventHook", hook.shown["id"], hook.shown["name"])
        self.note(
            "event_hook.delivery",
            None,
            [target],
            result="FAILURE",
            reason=f"HTTP {status}" if status else "timeout",
        )

    async def push(self) -> None:
        """Deliver to the hooks for as long as the tenant runs; `push_every` 0 leaves that to `deliver`."""
        while True:
            await asyncio.sleep(self.push_every or 0.2)
            if self.push_every:
                await self.deliveries.flush()

    async def deliver(self) -> int:
        """Send what waits for the hooks, at once; how many requests."""
        return await self.deliveries.flush()

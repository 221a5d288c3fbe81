"""A simulated Okta org, to act on and to be pushed by."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar
from zlib import crc32

import orjson
from okta_site import OktaSite
from practice import Guarded, Happened, Sample, Trial

from ingest.provider import Answer, Delivery, Json, Ref
from sandbox.okta import ids
from sandbox.okta.records import person
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant

Find = Callable[["OktaPractice"], Awaitable[Sample]]
_CHALLENGE = Delivery("GET", {"x-okta-verification-challenge": "dQw4w9WgXcQ"}, {}, b"")
_JSON = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}


_FOREIGN = {
    "name": "somebody else's", "events": {"type": "EVENT_TYPE", "items": ["user.session.start"]},
    "channel": {"type": "HTTP", "version": "1.0.0", "config": {"uri": "https://elsewhere.example/okta"}},
}  # fmt: skip


def _signed(secret: str, at: datetime) -> Delivery:
    del at
    body = orjson.dumps({"eventType": "com.okta.event_hook", "data": {"events": []}})
    return Delivery("POST", {"authorization": secret}, {}, body)


def _who_is(status: str) -> Find:
    async def found(one: "OktaPractice") -> Sample:
        return one.user(status), {}

    return found


def _in_group(number: int) -> Find:
    async def found(one: "OktaPractice") -> Sample:
        members = set(one.tenant.groups.members(number))
        return one.user(among=members.__contains__), {"group": one.tenant.groups.get(number)["id"]}

    return found


async def _admin(one: "OktaPractice") -> Sample:
    target = one.user()
    one.tenant.roles.assign(target.id, "REPORT_ADMIN")
    return target, {}


async def _by_group(one: "OktaPractice") -> Sample:
    return one.name(9), {}


async def _consenting(one: "OktaPractice") -> Sample:
    return one.user(among=lambda who: bool(one.tenant.apps.grants(who))), {}


def _assigned(how: str) -> Find:
    async def found(one: "OktaPractice") -> Sample:
        target = one.user(among=lambda who: one.tenant.apps.state(0, who) == how)
        return target, {"app": ids.make("0oa", 0)}

    return found


async def _with_factors(one: "OktaPractice") -> Sample:
    return one.user(among=lambda who: bool(crc32(f"factors {who}".encode()) % 3)), {}


class OktaPractice:
    """A small org under loose limits."""

    guarded: ClassVar[Mapping[str, Guarded]] = MappingProxyType(
        {
            "events": Guarded(
                _signed, [(_CHALLENGE, Answer(200, b'{"verification":"dQw4w9WgXcQ"}', _JSON))],
                covers_body=False,
            )
        }
    )  # fmt: skip
    trials: ClassVar[Mapping[str, Trial]] = MappingProxyType(
        {
            "suspend-user": Trial(_who_is("ACTIVE"), _who_is("STAGED")),
            "unsuspend-user": Trial(_who_is("SUSPENDED"), _who_is("LOCKED_OUT")),
            "expire-password": Trial(_who_is("ACTIVE"), _who_is("SUSPENDED")),
            "reset-password": Trial(_who_is("ACTIVE"), _who_is("DEPROVISIONED")),
            "unlock-user": Trial(_who_is("LOCKED_OUT"), _who_is("SUSPENDED")),
            "deactivate-user": Trial(_who_is("ACTIVE")),
            "clear-sessions": Trial(_who_is("ACTIVE")),
            "reset-factors": Trial(_with_factors),
            "remove-from-group": Trial(_in_group(2), _in_group(4)),
            "remove-admin-role": Trial(
                _admin, _by_group, lambda state: [one["type"] for one in state["roles"]]
            ),
            "revoke-grants": Trial(_consenting),
            "unassign-app": Trial(_assigned("USER"), _assigned("GROUP")),
        }
    )

    def __init__(self, tenant: OktaTenant) -> None:
        self.tenant, self.sites = tenant, {"": OktaSite(tenant)}
        self._unused = list(range(12, tenant.people.size))

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["OktaPractice"]:
        """Start the tenant, which pushes when it is told to."""
        async with running(OktaTenant(users=200, groups=10, limits=LOOSE)) as tenant:
            tenant.push_every = 0
            seed_history(tenant, events=20)
            tenant.hooks.create(_FOREIGN, "00u1")
            yield cls(tenant)

    def user(self, status: str = "ACTIVE", among: Callable[[int], bool] = lambda _: True) -> Ref:
        """Put somebody who was not used yet into a status, and name them."""
        number = next(one for one in self._unused if among(one))
        self._unused.remove(number)
        self.tenant.people.change(number, self.tenant.clock.now(), status=status)
        return self.name(number)

    def name(self, number: int) -> Ref:
        """Name somebody."""
        return Ref("user", str(self.tenant.people.get(number)["id"]))

    async def changes(self) -> Json:
        """Count what the log tells."""
        return len(self.tenant.truth)

    async def happen(self) -> Happened:
        """Let somebody sign in; the first sending is the one that waits already."""
        event = self.tenant.note("user.session.start", person(self.tenant.people.get(25)))
        waits, sent = [True], self.tenant.deliveries.sent

        async def send() -> list[int]:
            if not waits:
                self.tenant.deliveries.put(event)
            waits.clear()
            before = len(sent)
            await self.tenant.deliver()
            return [one.status for one in list(sent)[before:]]

        return Happened(event["uuid"], send)

    async def registrations(self) -> Mapping[str, str]:
        """List the event hooks."""
        found = self.tenant.hooks.all.values()
        return {one.shown["id"]: one.shown["channel"]["config"]["uri"] for one in found}

    async def forget(self) -> None:
        """Drop the event hooks that are called Sluice."""
        hooks = self.tenant.hooks.all
        for name in [name for name, one in hooks.items() if one.shown["name"].startswith("Sluice")]:
            del hooks[name]

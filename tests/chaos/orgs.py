"""The tenants' two kinds as a run sees them: an Okta org, a GitHub organisation."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from random import Random
from typing import Any

from sandbox.github.driver import Driver as GitHubDriver
from sandbox.github.seed import connect
from sandbox.github.seed import seed as seed_github
from sandbox.github.tenant import GitHubTenant
from sandbox.okta.driver import Driver as OktaDriver
from sandbox.okta.paging import unseal
from sandbox.okta.tenant import OktaTenant
from tests.chaos.judge import Occurrence


class Okta:
    """An org that pushes and is polled."""

    provider = "okta"

    def __init__(self, name: str, number: int) -> None:
        self.name, self._number = name, number
        self.tenant = OktaTenant(users=60, groups=8, seed=number, late=(0.2, 2.0), name=name)

    def settings(self) -> Mapping[str, Any]:
        """By a service app's key."""
        return self.tenant.settings(oauth=True)

    async def drive(self, per_second: float) -> None:
        """Act."""
        await OktaDriver(self.tenant, number=self._number).run(per_second=per_second)

    def truth(self) -> Iterable[Occurrence]:
        """Every event of the system log; those that a delivery brought are told apart."""
        # Whatever the answer was, it may be stored: only what was lost on the way (-1) surely is not.
        arrived = (one for one in list(self.tenant.deliveries.sent) if one.status != -1)
        pushed = {uuid for one in arrived for uuid in one.uuids}
        return [
            Occurrence(one.id, self.name, one.at, one.seen, one.id in pushed) for one in self.tenant.truth
        ]

    def recent(self, since: float) -> list[str]:
        """From the newest back."""
        return [one.id for one in takewhile(lambda one: one.at > since, reversed(self.tenant.truth))]

    def log(self) -> list[str]:
        """The order of persistence, which is the order of polls."""
        return [row.event["uuid"] for row in self.tenant.log.rows()]

    def reached(self, position: Any) -> int:
        """The position holds the address of the next page, whose cursor we can open."""
        onward = str((position or {}).get("next") or "")
        _, _, after = onward.partition("after=")
        read = unseal(after.partition("&")[0]) if after else None
        return int(read[2]) if read and read[0] == "poll" else 0

    def order(self, *faults: str) -> None:
        """Of the management API."""
        self.tenant.order("/api/v1/", *faults)

    def waiting(self) -> int:
        """Those of the org."""
        return len(self.tenant.faults._waiting)

    def calm(self) -> None:
        """All of them."""
        self.tenant.faults.clear()

    def expire(self) -> int:
        """As if an admin had revoked them."""
        return self.tenant.oauth.end_tokens()

    def misdeliver(self, chance: Random) -> None:
        """Some batches never arrive, some twice."""
        self.tenant.deliveries.lose(chance.randint(1, 4))
        self.tenant.deliveries.repeat(chance.randint(1, 4))

    def throttles(self) -> Sequence[str]:
        """Its 429."""
        return ("429",)


class GitHub:
    """An organisation whose webhooks nudge, and whose audit log is polled."""

    provider = "github"

    def __init__(self, name: str, number: int) -> None:
        self.name, self._number = name, number
        tenant = GitHubTenant(organization=name, enterprise=f"{name}-inc")
        tenant.org.id += number
        self.tenant = seed_github(tenant, number=number, members=30, repos=20, teams=4, events=0)

    def settings(self) -> Mapping[str, Any]:
        """By an App's installation."""
        url = self.tenant.url
        own = {"enterprise": "", "endpoints": {"rest": url, "app": url, "graphql": url}}
        return {**connect(self.tenant), **own}

    async def drive(self, per_second: float) -> None:
        """Act, at a fourth of the rate: each poll reads the last half hour of the log again."""
        await GitHubDriver(self.tenant, number=self._number, lag=2.0).run(per_second=per_second / 4)

    def truth(self) -> Iterable[Occurrence]:
        """What the organisation's audit log has."""
        return [
            Occurrence(one.id, self.name, one.time, one.visible)
            for one in self.tenant.truth
            if one.id and not one.business
        ]

    def recent(self, since: float) -> list[str]:
        """From the newest back, as far as the organisation's audit log has it."""
        newest = takewhile(lambda one: one.time > since, reversed(self.tenant.truth))
        return [one.id for one in newest if one.id and not one.business]

    def log(self) -> list[str]:
        """It is searched by time, and re-read: a cursor leaves nothing behind for good."""
        return []

    def reached(self, position: Any) -> int:
        """Nothing."""
        del position
        return 0

    def order(self, *faults: str) -> None:
        """Of everything about the organisation."""
        self.tenant.order("/orgs/", *faults)

    def waiting(self) -> int:
        """Those of the organisation."""
        return len(self.tenant.faults.waiting)

    def calm(self) -> None:
        """All of them."""
        faults = self.tenant.faults
        faults.waiting.clear()
        faults.release.set()
        faults.release = asyncio.Event()

    def expire(self) -> int:
        """All installations' tokens."""
        count = len(self.tenant.access._tokens)
        self.tenant.access.revoke_all()
        return count

    def misdeliver(self, chance: Random) -> None:
        """Some are lost, some arrive twice, some with a wrong signature."""
        self.tenant.webhooks.order(*chance.choices(("lost", "silent", "twice", "forged"), k=4))

    def throttles(self) -> Sequence[str]:
        """In each of its dialects."""
        return ("429", "403 secondary", "403 rate")

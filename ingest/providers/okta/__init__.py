"""Okta: an org's users, groups and admin roles, its System Log, and what can be done about users."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import orjson

from ingest.handshakes import header_challenge
from ingest.provider import (
    Api,
    BadRecord,
    Delivery,
    Hooked,
    Instance,
    NotAllowed,
    Provider,
    Pushed,
    Reply,
    Retry,
    SignInAgain,
    feed,
    hook,
)
from ingest.providers.okta import inventory, reads
from ingest.providers.okta.actions import ACTIONS
from ingest.providers.okta.hooks import EventHooks
from ingest.providers.okta.probe import read_grants
from ingest.providers.okta.settings import Settings
from ingest.signatures import Guard, SharedSecret

GUARD: Final = Guard(
    SharedSecret(), handshakes=(header_challenge("x-okta-verification-challenge", "verification"),)
)
"""Deliveries are not signed: the registered secret comes as it is, in Authorization."""
CROWDED: Final = 1.0
"""Seconds until a place among the 75 calls at once is free; the reset that Okta names is minutes off."""


class Okta(Provider[Settings]):
    """Okta: accounts, groups, roles; sign-ins, user and admin activity; governance of users."""

    name = "okta"
    title = "Okta"
    vendor = "Okta"
    settings_type = Settings
    account_type = "Okta org"
    actions = ACTIONS
    subscriptions = (EventHooks(),)
    probe = read_grants

    def apis(self) -> Mapping[str, Api]:
        """One address with six budgets."""
        return self.settings.apis()

    async def identify(self) -> Instance:
        """Ask the org for its id, which no permission is needed for, and then who we are there."""
        org = (await self.http.call("okta", "GET", "/.well-known/okta-organization")).json
        if self.settings.client_id:
            me = self.settings.client_id
            named = await self.http.call("okta", "GET", "/api/v1/org", ok=(403,))
            name = str((named.json or {}).get("companyName") or "")
        else:
            # Not every role may read itself; that it is told so proves the token all the same.
            reply = await self.http.call("users", "GET", "/api/v1/users/me", ok=(403,))
            me, name = (reply.json["id"] if reply.status == 200 else ""), ""
        return Instance(str(org["id"]), name or self.settings.domain, frozenset(filter(None, [me])))

    def ruling(self, reply: Reply) -> Exception | None:
        """Translate Okta's error codes; a limit of 0 is the one on calls at once."""
        code = reply.json.get("errorCode") if isinstance(reply.json, dict) and reply.status >= 400 else None
        if reply.status == 429 or code == "E0000047":
            if min(_numbers(reply, "x-rate-limit-limit"), default=1.0) == 0:
                return Retry("too many calls at once", CROWDED, everywhere=True)
            left = _until_reset(reply)
            return Retry("the rate limit is used up", (60.0 if left is None else left) + 1, bucket="calls")
        if code == "E0000005":
            # Comes at random on later pages of an app's reads; once more tells.
            return SignInAgain("invalid session") if self.settings.client_id else Retry("invalid session")
        if code == "E0000006":
            return NotAllowed("Okta says that the role or the scopes do not suffice (E0000006)")
        return None

    def quota(self, reply: Reply) -> Mapping[str, tuple[float, float | None]]:
        """Read what is left; nested limits name several, of which the least counts."""
        left, limits = _numbers(reply, "x-rate-limit-remaining"), _numbers(reply, "x-rate-limit-limit")
        if not left or 0 in limits:
            return {}
        return {"calls": (min(left), _until_reset(reply))}

    users = feed("accounts", to=inventory.record, every=timedelta(hours=1))(reads.users)
    log = feed(
        "logons", "user_activity", "admin_activity", to=inventory.record, every=timedelta(seconds=10),
        lookback=timedelta(days=60), repeats=timedelta(hours=24),
    )(reads.log)  # fmt: skip
    groups = feed("groups", to=inventory.record, every=timedelta(hours=2))(reads.groups)
    privileges = feed("privileges", to=inventory.record, every=timedelta(hours=2))(reads.privileges)

    @hook(GUARD)
    def events(self, delivery: Delivery) -> Iterable[Hooked]:
        """A delivery carries events as the log has them, several at a time."""
        try:
            body = orjson.loads(delivery.body)
        except orjson.JSONDecodeError as error:
            raise BadRecord("no event hook's body: not JSON") from error
        return [Pushed("log", inventory.pushed(body))]


def _numbers(reply: Reply, header: str) -> list[float]:
    """Read a header that may have come several times."""
    return [float(word) for word in reply.headers.get(header, "").split(",") if word.strip().isdigit()]


def _until_reset(reply: Reply) -> float | None:
    """Measure the reset against the reply's own date, so that a wrong clock does no harm; None: unsaid."""
    resets = _numbers(reply, "x-rate-limit-reset")
    try:
        now = parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return None
    return min(max(max(resets) - now, 0.0), 300.0) if resets else None

"""Fills an org's past: what its people did in the days before, in order, deterministic from a number."""

from random import Random

from sandbox.okta import ids
from sandbox.okta.people import DAY
from sandbox.okta.records import person, stranger, thing
from sandbox.okta.tenant import OktaTenant

_DAILY = (
    "user.session.start", "user.session.start", "user.authentication.sso", "user.authentication.sso",
    "user.authentication.sso", "user.authentication.auth_via_mfa", "policy.evaluate_sign_on",
    "user.session.end",
)  # fmt: skip
_RARE = (
    "user.session.access_admin_app", "user.lifecycle.create", "group.user_membership.add",
    "user.account.lock",
    "user.account.privilege.grant", "application.user_membership.add", "policy.rule.update", "zone.update",
    "system.api_token.create", "user.account.update_password", "security.threat.detected", "failed login",
)  # fmt: skip


def seed_history(tenant: OktaTenant, events: int = 200, *, days: float = 30.0, number: int = 1) -> None:
    """Write so many past events, spread over the days up to now. Call it before anything reads the log."""
    chance = Random(number)
    for place in range(events):
        ago = days * DAY * (1 - (place + chance.random()) / events)
        kind = chance.choice(_RARE if chance.random() < 0.15 else _DAILY)
        recall(tenant, chance, kind, ago)


def recall(tenant: OktaTenant, chance: Random, kind: str, ago: float) -> None:
    """Write one past event of a kind."""
    people = tenant.people
    user = person(people.get(chance.randrange(people.seeded)))
    session = f"trs{chance.getrandbits(64):016x}"
    if kind == "failed login":
        typed = stranger(chance.choice(("j.doe", "Winter2026!", "root")))
        tenant.recall("user.session.start", typed, ago=ago, result="FAILURE", reason="VERIFICATION_ERROR")
    elif kind == "user.authentication.sso":
        index = chance.randrange(tenant.apps.size)
        target = thing("AppInstance", ids.make("0oa", index), tenant.apps.label(index))
        tenant.recall(kind, user, [target, {**user, "type": "AppUser"}], ago=ago, session=session)
    elif kind in _DAILY:
        tenant.recall(kind, user, [user], ago=ago, session=session)
    else:
        admin = person(people.get(chance.choice((0, 2, 3))))
        targets = [user, _other(tenant, chance, kind)]
        tenant.recall(kind, admin, [one for one in targets if one], ago=ago, session=session)


def _other(tenant: OktaTenant, chance: Random, kind: str) -> dict[str, object] | None:
    group, app = chance.randrange(tenant.groups.size), chance.randrange(tenant.apps.size)
    made = {
        "group": thing("UserGroup", ids.make("00g", group), tenant.groups.name(group)),
        "application": thing("AppInstance", ids.make("0oa", app), tenant.apps.label(app)),
        "policy": thing("PolicyRule", ids.make("0pr", 1), "Default rule"),
        "zone": thing("NetworkZone", ids.make("nzo", 1), "Office"),
        "system": thing("Token", ids.make("00T", 99), "old script"),
    }
    role = thing("ROLE", ids.make("ra1", 999), "Read-only Administrator")
    return role if ".privilege." in kind else made.get(kind.partition(".")[0])

"""An action through the real governance: planned, done, verified, taken back, refused."""

from typing import Any

import pytest
import rig
from core import Core, Process
from pydantic import SecretStr
from tenants import ToySite
from toy.provider import ToySettings
from toy.tenant import SECRET

from consumers.governance.asking import act, undo
from consumers.governance.outcomes import Outcome, told
from schemas.control import Command, Target, Wish

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]


async def outcome(core: Core, wish: Wish, command: Command) -> Outcome:
    """Send a command and wait for what becomes of it."""
    await core.command(wish, command)
    found: list[Outcome] = []

    async def met() -> bool:
        read = [told(one) for one in await core.values("outcomes")]
        found[:] = [one for one in read if one.command == command.id]
        return bool(found)

    await rig.until(met, every=0.1)
    assert len(found) == 1
    return found[0]


def user(toy: ToySite, name: str) -> Target:
    """Find a user."""
    return Target(kind="user", id=next(uid for uid, one in toy.tenant.users.items() if one["name"] == name))


async def test_suspended_and_back(core: Core, toy: ToySite, official: Any) -> None:
    """A dry run changes nothing, the second call does nothing, undo restores, a refusal is an outcome."""
    ann, changes = user(toy, "ann"), len(toy.tenant.trail)
    wish = await core.connect("acting", "toy", toy.settings)
    async with Process(core, governing=True):
        await core.reached(wish, "running")
        dry = await outcome(core, wish, act("acting", "suspend", ann))
        assert (dry.state, dry.steps) == ("planned", ("suspend the user",))
        assert len(toy.tenant.trail) == changes

        do = act("acting", "suspend", ann, dry_run=False)
        assert (await outcome(core, wish, do)).state == "done"
        assert toy.tenant.users[ann.id]["status"] == "suspended"
        again = await outcome(core, wish, act("acting", "suspend", ann, dry_run=False))
        assert again.state == "already"
        assert len(toy.tenant.trail) == changes + 1

        assert (await outcome(core, wish, undo("acting", do.id))).state == "undone"
        assert toy.tenant.users[ann.id]["status"] == "active"

        refused = await outcome(core, wish, act("acting", "suspend", user(toy, "root"), dry_run=False))
        assert not refused.good
        assert "last admin" in refused.why
        nobody = act("acting", "suspend", Target(kind="user", id="nobody"), dry_run=False)
        assert not (await outcome(core, wish, nobody)).good
    for made in await core.events("outcomes"):
        assert official(made) == []


async def test_an_action_of_a_provider_that_fails(core: Core, toy: ToySite) -> None:
    """Faults that pass are waited out; what the provider forbids is an outcome with the reason."""
    bob = user(toy, "bob")
    wish = await core.connect("failing", "toy", toy.settings)
    async with Process(core, governing=True):
        await core.reached(wish, "running")
        toy.tenant.order(f"/users/{bob.id}", "500", "html")
        assert (await outcome(core, wish, act("failing", "suspend", bob, dry_run=False))).state == "done"
        toy.tenant.order(f"/users/{bob.id}", *["403"] * 3)
        denied = await outcome(core, wish, act("failing", "suspend", bob, dry_run=False))
    assert not denied.good
    assert "toy-access" not in denied.why
    assert toy.tenant.users[bob.id]["status"] == "suspended"


async def test_our_own_action_comes_back_once(core: Core, toy: ToySite) -> None:
    """The audit trail shows our action as an event like any other, once."""
    cid = user(toy, "cid")
    wish = await core.connect("echo", "toy", toy.settings)
    async with Process(core, governing=True):
        await core.reached(wish, "running")
        before = set(await core.published(1, "activities"))
        await outcome(core, wish, act("echo", "suspend", cid, dry_run=False))
        record = toy.tenant.trail[-1][1]
        assert record["id"] not in before
        for _ in range(2):
            await core.nudge(wish, "audit")
            await core.settled(wish)

        async def met() -> bool:
            return record["id"] in await core.published(1, "activities")

        await rig.until(met, every=0.1)
        assert (await core.published(1, "activities"))[record["id"]] == 1


async def test_an_action_with_a_consent(core: Core, toy: ToySite) -> None:
    """Governance acts with the admin's consent that the owner keeps, and never uses its refresh token up."""
    dan = user(toy, "dan")
    toy.tenant.refresh.add("toy-refresh-first")
    settings = ToySettings(url=toy.tenant.url, client_secret=SecretStr(SECRET), consent=True)
    given = {"access": "", "refresh": "toy-refresh-first", "obtained_at": 0.0, "expires_at": 1.0}
    wish = await core.connect("consent", "toy", settings, given)
    async with Process(core, governing=True):
        await core.reached(wish, "running")
        refreshed = len(toy.tenant.used)
        done = await outcome(core, wish, act("consent", "suspend", dan, dry_run=False))
        assert (done.state, done.why) == ("done", "")
        assert len(toy.tenant.used) == refreshed

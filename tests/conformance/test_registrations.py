"""Registrations in the real core on the real Kafka, against the toy: live state, whatever happens to them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import orjson
import pytest
import pytest_asyncio
import rig
from core import Core
from lives import Shifted, life, passing, receiving
from prometheus_client import REGISTRY
from tenants import PAST, ToySite, fill
from toy.provider import Toy
from toy.tenant import Tenant, running

from ingest.webhooks import REFUSED
from schemas.control import Registration, Wish
from sluice.commands.connectors import describe
from sluice.operate import View

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]
TOPICS = ("activities", "logons")
URL = "https://sluice.example"
HOUR, DAY = 3600.0, 86_400.0


class Manual(Toy):
    """The toy as if it had no way to register but its console."""

    subscriptions = ()


@pytest.fixture
def clock() -> Shifted:
    """Give a time that core and tenant share."""
    return Shifted()


@pytest_asyncio.fixture(loop_scope="session")
async def site(clock: Shifted) -> AsyncIterator[ToySite]:
    """Give a toy on that time."""
    async with running(Tenant(clock=clock.seconds)) as tenant:
        fill(tenant)
        yield ToySite(tenant)


@pytest_asyncio.fixture(loop_scope="session")
async def public(core: Core) -> Core:
    """Give a deployment that providers can reach."""
    core.public_url = URL
    return core


async def stored(core: Core) -> Registration | None:
    """Read what is durable of the one registration there is."""
    found = rig.latest(await rig.read(core.cluster, "subscriptions"))
    assert len(found) <= 1
    return next((Registration.model_validate(one) for one in found.values()), None)


async def known(
    core: Core, clock: Shifted | None = None, step: float = 40.0, **wanted: object
) -> Registration:
    """Wait until the stored registration is so; with a clock, time passes meanwhile."""
    last: list[Registration] = []

    async def met() -> bool:
        if clock is not None:
            clock.shift += step
        one = await stored(core)
        last[:] = [one] if one is not None else []
        return one is not None and all(getattr(one, name) == value for name, value in wanted.items())

    try:
        await rig.until(met, every=0.1)
    except AssertionError:
        raise AssertionError(f"{wanted} is not so of {last}") from None
    return last[0]


async def ready(core: Core, site: ToySite) -> Wish:
    """Connect, and wait until the past is published and the push is registered."""
    wish = await core.connect("kept", "toy", site.settings)
    await core.published(PAST, *TOPICS)
    await core.reached(wish, "running")
    await known(core, state="active")
    return wish


def recovered() -> float:
    """Read the metric."""
    labels = {"provider": "toy", "feed": "activity"}
    return REGISTRY.get_sample_value("sluice_events_recovered_total", labels) or 0.0


async def shown(core: Core) -> dict[str, object]:
    """Read what `sluice status kept --json` shows of the registration."""
    view = View(core.cluster)
    await view.read()
    told = describe(view, "kept")
    assert len(told["registrations"]) == 1
    one: dict[str, object] = told["registrations"][0]
    return one


async def test_it_is_durable_before_the_provider_is_asked(
    public: Core, site: ToySite, clock: Shifted
) -> None:
    """Id, address and sealed secret are committed when the provider looks; the secret is nowhere in clear."""
    seen: list[Registration | None] = []

    async def look(_name: str, _asked: object) -> None:
        seen.append(await stored(public))

    site.tenant.before_register = look
    async with life(public, clock):
        wish = await ready(public, site)
    (asked,) = [body for call, _, body in site.tenant.hook_calls if call == "create"]
    (before,) = seen
    assert before is not None
    assert (before.state, before.id, before.address) == ("wanted", asked["id"], asked["address"])
    assert before.address == f"{URL}/v1/toy/changed/{before.id}"
    assert len(bytes.fromhex(before.id)) == 16
    sealed = before.accepted()[before.id]
    assert public.keyring.open(sealed, f"kept/{wish.incarnation}") == asked["secret"]
    for topic in public.cluster.counts:
        for one in await rig.read(public.cluster, topic):
            assert asked["secret"].encode() not in (one.value() or b"")


async def test_every_receiver_knows_it_before_the_provider(core: Core, site: ToySite, clock: Shifted) -> None:
    """The provider delivers while it is being asked to register: taken. Later a former address is too."""
    tenant, answers = site.tenant, list[list[int]]()

    async def deliver(name: str, asked: dict[str, object]) -> None:
        others, tenant.hooks = tenant.hooks, {name: asked}
        answers.append(await tenant.push(tenant.act()))
        tenant.hooks = others

    tenant.before_register, tenant.hooks_last = deliver, False
    async with receiving(core) as core.public_url, life(core, clock):
        await ready(core, site)
        assert answers == [[200]]
        (first,) = tenant.hooks.values()
        await passing(clock, 37 * DAY, lambda: _count(site, "renew") >= 1)
        await passing(clock, 400, lambda: len(tenant.hooks) == 2)
        then, clock.shift = clock.shift, 0.0  # what is signed must be of now
        assert await tenant.push(tenant.act()) == [200, 200]
        assert await tenant.push(tenant.act(), secret="a guess") == [REFUSED.status] * 2
        clock.shift = then
        await passing(clock, 0.5 * HOUR, lambda: len(tenant.hooks) == 1)
        await known(core, former=None)
        clock.shift, tenant.hooks = 0.0, {"": first}
        assert await tenant.push(tenant.act()) == [REFUSED.status]
    found = await core.published(PAST + 2, *TOPICS)
    assert set(found.values()) == {1}


async def test_a_process_that_dies_while_it_registers(public: Core, site: ToySite, clock: Shifted) -> None:
    """The provider has it, we don't know: the next owner asks its list first, and registers no second one."""
    reached = asyncio.Event()

    async def hang(name: str, asked: dict[str, object]) -> None:
        site.tenant.hooks[name] = {**asked, "state": "active"}
        reached.set()
        await asyncio.Event().wait()

    site.tenant.before_register = hang
    wish = await public.connect("kept", "toy", site.settings)
    async with life(public, clock) as ownership:
        await asyncio.wait_for(reached.wait(), 20)
        for tenure, _ in ownership._tenures.values():
            tenure.pause()
    site.tenant.before_register = None
    (made,) = site.tenant.hooks
    async with life(public, clock):
        await public.reached(wish, "running")
        found = await known(public, state="active")
    assert found.id == made
    assert [call for call, _, _ in site.tenant.hook_calls] == ["create"]


async def test_two_processes_register_once(public: Core, site: ToySite, clock: Shifted) -> None:
    """A second process joins, then the first one leaves and hands over: one call in all."""
    async with AsyncExitStack() as second:
        async with life(public, clock):
            wish = await ready(public, site)
            owner = (await public.statuses("kept"))[-1].owner
            await second.enter_async_context(life(public, clock))
            clock.shift += 1000
        await public.nudge(wish, "activity")
        await public.settled(wish)
        clock.shift += 1000

        async def taken_over() -> bool:
            return (await public.statuses("kept"))[-1].owner != owner

        await rig.until(taken_over, every=0.1)
        asked = len(site.tenant.calls)
        await passing(clock, 1000, lambda: "/hooks" in {path for _, path in site.tenant.calls[asked:]})
    assert [call for call, _, _ in site.tenant.hook_calls] == ["create"]


@pytest.mark.parametrize("what", ["vanished", "turned away", "switched off"])
async def test_what_the_provider_lists_is_repaired(
    public: Core, site: ToySite, clock: Shifted, what: str
) -> None:
    """Deleted, sent to a stranger's address, or off: with the next check it delivers to us again."""
    tenant = site.tenant
    async with life(public, clock):
        await ready(public, site)
        (first,) = tenant.hooks
        match what:
            case "vanished":
                tenant.hooks.clear()
            case "turned away":
                tenant.hooks[first]["address"] = "https://stranger.example/"
            case _:
                tenant.hooks[first]["state"] = "off"

        def well() -> bool:
            return [
                (one["state"], one["address"].startswith(f"{URL}/v1/toy/")) for one in tenant.hooks.values()
            ] == [("active", True)]

        await passing(clock, 400, well)
    assert (first in tenant.hooks) is (what != "turned away")


async def test_it_is_renewed_before_it_ends(public: Core, site: ToySite, clock: Shifted) -> None:
    """A registration of a day is prolonged around noon; three days later it is still the same."""
    tenant = site.tenant
    async with life(public, clock):
        await ready(public, site)
        (first,) = tenant.hooks
        for renewals in range(1, 6):
            clock.shift += 0.62 * DAY
            await passing(clock, 400, lambda n=renewals: _count(site, "renew") >= n)  # type: ignore[misc]
            await rig.until(lambda: first in tenant._living())
        left = REGISTRY.get_sample_value("sluice_subscription_expires_seconds", {"provider": "toy"})
    assert left is not None
    assert 0.3 * DAY < left <= DAY
    assert list(tenant.hooks) == [first]


def _count(site: ToySite, call: str) -> int:
    return sum(1 for one, _, _ in site.tenant.hook_calls if one == call)


async def test_a_verification_that_fails_shows_until_it_works(
    public: Core, site: ToySite, clock: Shifted
) -> None:
    """Made but not verified: degraded with the reason, tried again, no pile of registrations."""
    site.tenant.verifies = False
    async with life(public, clock):
        wish = await public.connect("kept", "toy", site.settings)
        await known(public, healthy=False, state="active")
        status = await public.reached(wish, "degraded")
        assert "verify" in status.why
        one = await shown(public)
        assert one["state"] == "unverified"
        assert "receiver" in str(one["fix"])
        site.tenant.verifies = True
        await known(public, clock, 400, healthy=True, why="")
        await public.reached(wish, "running")
    assert len(site.tenant.hooks) == 1


async def test_the_secret_is_replaced_in_time(public: Core, site: ToySite, clock: Shifted) -> None:
    """After weeks a fresh address and secret work beside the old ones, which go an hour later."""
    tenant = site.tenant
    tenant.hooks_last = False
    async with life(public, clock):
        await ready(public, site)
        (first,) = tenant.hooks
        await passing(clock, 37 * DAY, lambda: _count(site, "renew") >= 1)
        await passing(clock, 400, lambda: len(tenant.hooks) == 2)
        (fresh,) = set(tenant.hooks) - {first}
        found = await known(public, id=fresh, state="active")
        assert set(found.accepted()) == {first, fresh}
        assert tenant.hooks[fresh]["secret"] != tenant.hooks[first]["secret"]
        await passing(clock, 1.2 * HOUR, lambda: list(tenant.hooks) == [fresh])
        assert set((await known(public, former=None)).accepted()) == {fresh}


async def test_a_new_public_address_reaches_the_provider(public: Core, site: ToySite, clock: Shifted) -> None:
    """The next life has another SLUICE_PUBLIC_URL: registered there, the old one is taken away."""
    async with life(public, clock):
        wish = await ready(public, site)
        (first,) = site.tenant.hooks
    public.public_url = "https://moved.example"
    async with life(public, clock):
        await public.reached(wish, "running")
        await rig.until(lambda: len(site.tenant.hooks) == 2)
        await passing(clock, 1.2 * HOUR, lambda: len(site.tenant.hooks) == 1)
    ((name, one),) = site.tenant.hooks.items()
    assert name != first
    assert one["address"] == f"https://moved.example/v1/toy/changed/{name}"


async def test_disable_takes_it_away_and_enable_brings_it_back(
    public: Core, site: ToySite, clock: Shifted
) -> None:
    """A provider that is out of order meanwhile is asked again until it is gone there."""
    tenant = site.tenant
    async with life(public, clock):
        wish = await ready(public, site)
        tenant.order("/hooks", *["500"] * 40)
        off = await public.change(wish, enabled=False)
        await public.reached(off, "disabled")
        found = await known(public, clock, 200, state="removing")
        assert "still registered" in found.why
        assert len(tenant.hooks) == 1
        tenant.faults.clear()
        await passing(clock, 400, lambda: not tenant.hooks)

        async def gone() -> bool:
            return await stored(public) is None

        await rig.until(gone)
        on = await public.change(off, enabled=True)
        await public.reached(on, "running")
        await known(public, state="active")
        assert len(tenant.hooks) == 1
        last = await public.change(on, removing=True)
        await public.reached(last, "removed")
    assert tenant.hooks == {}


async def test_what_a_hook_says_of_it(public: Core, site: ToySite, clock: Shifted) -> None:
    """A delivery that says the registration ends has it renewed at once, with the hook's own word."""
    async with life(public, clock):
        wish = await ready(public, site)
        (name,) = site.tenant.hooks
        await public.deliver(wish, "changed", orjson.dumps({"ended": name}))
        await rig.until(lambda: _count(site, "renew") == 1)
    assert [body["how"] for call, _, body in site.tenant.hook_calls if call == "renew"] == ["ended"]


async def test_unlikely_silence(public: Core, site: ToySite, clock: Shifted) -> None:
    """The poll keeps finding what nobody pushed: counted, shown, reported, made anew until one comes."""
    tenant, before = site.tenant, recovered()
    async with life(public, clock):
        wish = await ready(public, site)
        (first,) = tenant.hooks
        clock.shift += 600
        for _ in range(3):
            tenant.act()
        await public.nudge(wish, "activity")
        await public.published(PAST + 3, *TOPICS)
        assert recovered() == before
        await passing(clock, 200, lambda: len(tenant.hooks) == 1 and first not in tenant.hooks)
        found = await known(public, recovered=3, missed=0, again=1, former=None)
        assert found.suspect
        assert recovered() == before + 3
        one = await shown(public)
        assert (one["state"], one["recovered"]) == ("suspect", 3)
        assert "reach the receiver" in str(one["fix"])
        told = [event["message"] for event in await public.events("health")]
        assert "kept: suspect" in told

        record = tenant.act()
        await public.deliver(wish, "changed", orjson.dumps({"entries": [record]}))
        await public.settled(wish)
        found = await known(public, clock, 60, suspect=0, again=0, recovered=3)
        assert found.delivered
        assert (await shown(public))["state"] == "active"
    assert [call for call, _, _ in tenant.hook_calls] == ["create", "create", "remove"]


async def test_a_lost_delivery_is_counted_and_a_late_one_is_not(
    public: Core, site: ToySite, clock: Shifted
) -> None:
    """Of two occurrences the poll found first one is pushed a minute later; the other one never."""
    before = recovered()
    async with life(public, clock):
        wish = await ready(public, site)
        clock.shift += 600
        late, _lost = site.tenant.act(), site.tenant.act("logout")
        await public.nudge(wish, "activity")
        await public.published(PAST + 2, *TOPICS)
        clock.shift += 60
        await public.deliver(wish, "changed", orjson.dumps({"entries": [late]}))
        await public.settled(wish)
        await known(public, clock, 120, recovered=1, suspect=0)
        found = await public.published(PAST + 2, *TOPICS)
    assert recovered() == before + 1
    assert set(found.values()) == {1}


async def test_what_came_before_it_or_by_push_is_not_counted(
    public: Core, site: ToySite, clock: Shifted
) -> None:
    """A back-fill accuses nobody, nor does a poll that finds what was pushed."""
    before = recovered()
    async with life(public, clock):
        wish = await ready(public, site)
        clock.shift += 600
        records = [site.tenant.act() for _ in range(5)]
        await public.deliver(wish, "changed", orjson.dumps({"entries": records}))
        await public.settled(wish)
        await public.nudge(wish, "activity")
        await public.settled(wish)
        asked = len(site.tenant.calls)
        await passing(clock, 400, lambda: [path for _, path in site.tenant.calls[asked:]].count("/hooks") > 1)
        found = await known(public, recovered=0, suspect=0)
    assert found.delivered
    assert recovered() == before


async def test_a_hook_to_register_by_hand(public: Core, site: ToySite, clock: Shifted) -> None:
    """Its address is shown, with the secret only when asked for; it outlives disable; deliveries show."""
    core = Core(public.cluster, {"toy": Manual}, URL)
    async with life(core, clock):
        wish = await ready(core, site)
        one = await shown(core)
        found = await known(core, manual=True)
        assert one["address"] == found.address == f"{URL}/v1/toy/changed/{found.id}"
        assert (one["state"], "secret" in one) == ("by hand", False)
        assert "register the address" in str(one["fix"])
        view = View(core.cluster)
        await view.read()
        secret = describe(view, "kept", core.keyring)["registrations"][0]["secret"]
        assert secret == core.keyring.open(found.sealed, f"kept/{wish.incarnation}")
        off = await core.change(wish, enabled=False)
        await core.reached(off, "disabled")
        on = await core.change(off, enabled=True)
        await core.reached(on, "running")
        await core.deliver(on, "changed", orjson.dumps({"entries": [site.tenant.act()]}))
        await core.settled(on)
        again = await known(core, clock, 60, id=found.id, why="")

        async def delivered() -> bool:
            return bool((await shown(core))["delivered"])

        await rig.until(delivered, every=0.1)
        assert again.address == found.address
        assert (await shown(core))["fix"] == ""
    assert site.tenant.hook_calls == []

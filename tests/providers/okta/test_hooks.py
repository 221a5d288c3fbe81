"""Event hooks: the guard of the address, what a delivery carries, and registrations from birth to end."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ingest.provider import Axis, BadRecord, Delivery, Page, Pushed, Refused, Registered, Wanted
from ingest.providers.okta import GUARD, Okta
from ingest.providers.okta.hooks import ALWAYS, CHUNKS, ELIGIBLE, MOST_TYPES, EventHooks, chunks, hook_axes
from sandbox.okta.records import person

Org: TypeAlias = Any
NOW = datetime(2026, 11, 22, tzinfo=UTC)
SECRET = "a-registered-secret"


def no_keys(address: str) -> bytes:
    """There are no public keys."""
    raise AssertionError(address)


class Address:
    """What the receiver is to Okta: it shakes hands, checks the secret, and keeps what came."""

    def __init__(self) -> None:
        self.secrets, self.kept, self.up, self.url = [SECRET], list[Delivery](), True, ""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as the receiver does."""
        if not self.up:
            return web.Response(status=503)
        headers = {name.lower(): text for name, text in request.headers.items()}
        delivery = Delivery(request.method, headers, {}, await request.read())
        shaken = GUARD.handshake(delivery, self.secrets)
        if shaken is not None:
            return web.Response(status=shaken.status, body=shaken.body, headers=dict(shaken.headers))
        if not GUARD.verify(delivery, self.secrets, no_keys, NOW):
            return web.Response(status=401)
        self.kept.append(delivery)
        return web.Response(status=GUARD.ok.status, body=GUARD.ok.body)


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    """Serve an address."""
    made, app = Address(), web.Application()
    app.router.add_route("*", "/{tail:.*}", made.answer)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/v1/okta/events/1"))
        yield made


def wanted(address: Address, uid: str = "reg1", secret: str = SECRET, axis: str = "") -> Wanted:
    """Want a registration."""
    return Wanted(uid, address.url, secret, Axis(axis), NOW)


async def listed(org: Org) -> dict[str, Registered]:
    """List the registrations."""

    async def found() -> list[Registered]:
        return [one async for one in EventHooks().listed(org.provider)]

    return {one.id: one for one in await org.run(found())}


def challenge(method: str, **headers: str) -> Delivery:
    """Make a challenge."""
    return Delivery(method, {name.replace("_", "-"): text for name, text in headers.items()}, {}, b"")


@pytest.mark.parametrize(
    "delivery",
    [challenge("POST", x_okta_verification_challenge="v"), challenge("GET"),
     challenge("GET", x_okta_verification_challenge=""),
     challenge("GET", x_okta_verification_challenge="v" * 100_000)],
)  # fmt: skip
def test_what_is_no_challenge_is_not_answered(delivery: Delivery) -> None:
    """A delivery with that header is still to be verified, and nobody's megabytes are echoed."""
    assert GUARD.handshake(delivery, [SECRET]) is None


@pytest.mark.parametrize(
    ("sent", "secrets", "good"),
    [(SECRET, [SECRET], True), (SECRET, ["newer", SECRET], True), ("", [SECRET], False),
     ("wrong", [SECRET], False), (f"Bearer {SECRET}", [SECRET], False), (SECRET.upper(), [SECRET], False),
     (SECRET, [], False), ("", [""], False)],
)  # fmt: skip
def test_the_secret_comes_as_it_is(sent: str, secrets: list[str], good: bool) -> None:
    """Old and new secrets count during a rotation; anything else is not Okta."""
    delivery = Delivery("POST", {"authorization": sent}, {}, b"{}")
    assert GUARD.verify(delivery, secrets, no_keys, NOW) is good


def hook_of(okta: Okta) -> Callable[[Delivery], list[Pushed]]:
    """Give the hook."""
    return okta.events  # type: ignore[return-value]  # nothing else comes from it


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b'{"data": null}', b'{"data": {"events": {}}}', b"\xff\xfe"]
)
async def test_a_body_that_is_none_is_a_bad_record(org: Org, body: bytes) -> None:
    """A delivery nobody can use ends in a dead letter, not a crash."""
    with pytest.raises(BadRecord):
        org.provider.events(Delivery("POST", {}, {}, body))


async def test_a_delivery_gives_the_records_the_log_gives(org: Org, address: Address) -> None:
    """Pushed and polled, an event is the same record for the same feed, so both have one id."""
    await org.run(EventHooks().create(org.provider, wanted(address)))
    org.tenant.clock.advance(3600)
    ann = person(org.tenant.people.get(20))
    made = [org.tenant.note(kind, ann, [ann]) for kind in ("user.session.start", "user.lifecycle.suspend")]
    org.tenant.note("zone.update", ann)
    await org.tenant.deliver()
    org.tenant.clock.advance(1)
    pushed = [one for delivery in address.kept for one in hook_of(org.provider)(delivery)]
    assert {one.feed for one in pushed} == {"log"}
    records = [record for one in pushed for record in one.records]
    assert [one["uuid"] for one in records] == [one["uuid"] for one in made]
    polled = org.one.events("log", (await org.one.read("log"))[0].pages)
    ids = {one["metadata"]["original_event_uid"]: one["metadata"]["uid"] for one in polled}
    for event in org.one.events("log", [Page(records)]):
        assert ids[event["metadata"]["original_event_uid"]] == event["metadata"]["uid"]


async def test_a_registration_is_made_once(org: Org, address: Address) -> None:
    """Created again with the same wish, there is one hook still, verified and listed by our id."""
    for _ in range(2):
        made = await org.run(EventHooks().create(org.provider, wanted(address)))
    assert made.id == "reg1"
    (hook,) = org.tenant.hooks.all.values()
    assert (hook.shown["status"], hook.shown["verificationStatus"]) == ("ACTIVE", "VERIFIED")
    assert set(hook.shown["events"]["items"]) >= ALWAYS
    assert hook.shown["channel"]["config"]["uri"] == address.url
    assert hook.secret == SECRET
    assert (await listed(org))["reg1"].healthy


async def test_an_address_that_does_not_answer_is_said(org: Org, address: Address) -> None:
    """The reason reaches the operator; when it answers, the same registration is repaired."""
    address.up = False
    with pytest.raises(Refused, match="could not verify"):
        await org.run(EventHooks().create(org.provider, wanted(address)))
    assert not (await listed(org))["reg1"].healthy
    address.up = True
    await org.run(EventHooks().create(org.provider, wanted(address)))
    assert (await listed(org))["reg1"].healthy
    assert len(org.tenant.hooks.all) == 1


@pytest.mark.parametrize("broken", ["off", "types"])
async def test_a_hook_that_somebody_changed_is_repaired(org: Org, address: Address, broken: str) -> None:
    """Switched off, or robbed of its types, it is not healthy; creating it again mends it."""
    made = await org.run(EventHooks().create(org.provider, wanted(address)))
    hook = org.tenant.hooks.all[made.data["hook"]]
    if broken == "off":
        await org.run(
            org.one.client.call(
                "okta", "POST", f"/api/v1/eventHooks/{made.data['hook']}/lifecycle/deactivate"
            )
        )
    else:
        hook.shown["events"]["items"] = ["user.session.start"]
    assert not (await listed(org))["reg1"].healthy
    await org.run(EventHooks().create(org.provider, wanted(address)))
    assert (await listed(org))["reg1"].healthy


async def test_a_rotation_is_a_hook_beside_the_other(org: Org, address: Address) -> None:
    """A fresh id and secret make a second hook; then the former one goes, and nobody else's."""
    foreign = {
        "name": "somebody else's", "events": {"type": "EVENT_TYPE", "items": ["user.session.start"]},
        "channel": {"type": "HTTP", "version": "1.0.0", "config": {"uri": address.url}},
    }  # fmt: skip
    await org.run(org.one.client.call("okta", "POST", "/api/v1/eventHooks", json=foreign))
    old = await org.run(EventHooks().create(org.provider, wanted(address)))
    address.secrets.insert(0, "the new one")
    await org.run(EventHooks().create(org.provider, wanted(address, "reg2", "the new one")))
    assert set(await listed(org)) == {"reg1", "reg2"}
    for _ in range(2):
        await org.run(EventHooks().remove(org.provider, old))
    assert set(await listed(org)) == {"reg2"}
    assert "somebody else's" in [one.shown["name"] for one in org.tenant.hooks.all.values()]


async def test_a_registration_known_by_its_wish_alone_is_removed(org: Org, address: Address) -> None:
    """After a crash between wish and answer only our id is known; that is enough."""
    await org.run(EventHooks().create(org.provider, wanted(address)))
    await org.run(EventHooks().remove(org.provider, Registered("reg1")))
    assert await listed(org) == {}
    await org.run(EventHooks().remove(org.provider, Registered("never made")))


async def test_without_permission_nothing_is_registered(connect: Any, address: Address) -> None:
    """The missing permission is told as such, and the log is polled all the same."""
    org = await connect({"oauth": True, "scopes": ["okta.logs.read"]})
    with pytest.raises(Exception, match="403"):
        await org.run(EventHooks().create(org.provider, wanted(address)))
    assert org.tenant.hooks.all == {}


def test_types_are_spread_over_hooks() -> None:
    """No hook has more types than Okta takes; what matters most is in the first, whose key is empty."""
    assert set(CHUNKS[""]) >= ALWAYS
    many = chunks([*ELIGIBLE, *(f"new.type.{number}" for number in range(400))])
    assert list(many) == ["", "1", "2"]
    assert all(len(each) <= MOST_TYPES for each in many.values())
    assert len({one for each in many.values() for one in each}) == len(ELIGIBLE) + 400


async def test_axes_are_the_hooks(org: Org) -> None:
    """There is an axis for each hook that is needed."""
    assert [axis.key async for axis in hook_axes(org.provider)] == list(CHUNKS)


def test_what_a_hook_should_have_brought() -> None:
    """Only types that every org delivers count as missed when a poll finds them first."""
    kind = EventHooks()
    assert kind.expects({"metadata": {"event_code": "user.session.start"}})
    assert not kind.expects({"metadata": {"event_code": "user.session.access_admin_app"}})
    assert not kind.expects({"metadata": {}})

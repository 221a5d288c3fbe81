"""Event hooks and the log in the real core on the real Kafka: an occurrence is published once."""

import orjson
import pytest
import rig
from core import Core, Process
from okta_site import OktaSite

from sandbox.okta.records import person
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running
from sandbox.okta.tenant import OktaTenant
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
TOPICS = ("activities", "logons")
PAST = 20


@pytest.mark.parametrize("first", ["push", "poll"])
async def test_pushed_and_polled(kafka: Broker, topic_prefix: str, first: str) -> None:
    """Whichever way an event comes first, the other adds nothing; a redelivery adds nothing either."""
    core = Core(await rig.topics(kafka.bootstrap, topic_prefix), {"okta": OktaSite.kind})
    async with running(OktaTenant(users=20, groups=5)) as tenant:
        seed_history(tenant, events=PAST)
        wish = await core.connect("pushed", "okta", OktaSite(tenant).settings)
        async with Process(core):
            await core.published(PAST, *TOPICS)
            await core.reached(wish, "running")
            events = [tenant.note(kind, person(tenant.people.get(15))) for kind in
                      ("user.session.start", "user.session.end")]  # fmt: skip
            tenant.clock.advance(1)
            body = orjson.dumps({"eventType": "com.okta.event_hook", "data": {"events": events}})
            if first == "poll":
                await core.nudge(wish, "log")
                await core.published(PAST + 2, *TOPICS)
            for _ in range(2):
                await core.deliver(wish, "events", body)
            await core.published(PAST + 2, *TOPICS)
            await core.nudge(wish, "log")
            await core.settled(wish)
            found = await core.published(PAST + 2, *TOPICS)
    assert {found[one["uuid"]] for one in events} == {1}
    assert set(found.values()) == {1}

"""An admin's consent whose refresh tokens work once: durable before they are used, whoever dies and when."""

from typing import Any

import pytest
import rig
from core import Core, Process
from pydantic import SecretStr
from tenants import PAST, ToySite
from toy.provider import ToySettings
from toy.tenant import SECRET

from ingest.producing import Outgoing
from ingest.windows import now_ms
from schemas.control import Token, Wish

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
TOPICS = ("activities", "logons")


async def consented(core: Core, toy: ToySite) -> Wish:
    """Connect as `connect` does after the admin consented: with tokens that are used up soon."""
    toy.tenant.refresh.add("toy-refresh-first")
    settings = ToySettings(url=toy.tenant.url, client_secret=SecretStr(SECRET), consent=True)
    given = {"access": "", "refresh": "toy-refresh-first", "obtained_at": 0.0, "expires_at": 1.0}
    return await core.connect("consent", "toy", settings, given)


async def kept(core: Core) -> list[tuple[str, str]]:
    """Read what custody stored, in order: what for, and the refresh token."""
    found = [Token.load(one) for one in await core.values("credentials")]
    return [
        (one.intent, core.keyring.open(one.sealed, f"consent/{one.incarnation}")["refresh"]) for one in found
    ]


async def test_tokens_are_durable_before_they_are_used(core: Core, toy: ToySite) -> None:
    """Each refresh is noted, then its result stored; the next life goes on with the newest."""
    async with Process(core):
        wish = await consented(core, toy)
        await core.published(PAST, *TOPICS)
        await core.reached(wish, "running")
    first = await kept(core)
    assert [intent for intent, _ in first] == ["refresh", ""]
    assert first[0][1] == "toy-refresh-first"
    assert {first[1][1]} == toy.tenant.refresh

    toy.tenant.tokens.clear()
    toy.tenant.act()
    async with Process(core):
        await core.published(PAST + 1, *TOPICS)
        await core.reached(wish, "running")
    second = await kept(core)
    assert [intent for intent, _ in second[2:]] == ["refresh", ""]
    assert {second[-1][1]} == toy.tenant.refresh
    assert second[2][1] == first[1][1]


@pytest.mark.parametrize("grace", [600.0, 0.0], ids=["within the grace", "without grace"])
async def test_a_crash_between_intend_and_save(core: Core, toy: ToySite, grace: float) -> None:
    """The next owner finds the note, tries the old token once, and goes on or says what to do."""
    toy.tenant.grace = grace
    token = await half_done(core, toy)
    async with Process(core):
        if grace:
            await core.published(PAST, *TOPICS)
            await core.reached(token, "running")
            assert (await kept(core))[-1][0] == ""
        else:
            status = await core.reached(token, "degraded")
            assert "consent" in status.why
            assert "toy-refresh" not in status.why


async def half_done(core: Core, toy: ToySite) -> Wish:
    """Leave behind what a crash leaves: the note is durable, the old token used up, the new one lost."""
    wish = await consented(core, toy)
    secret = {"access": "", "refresh": "toy-refresh-first", "obtained_at": 0.0, "expires_at": 1.0}
    noted = Token(
        incarnation=wish.incarnation, generation=wish.generation, intent="refresh", at=now_ms(),
        sealed=core.keyring.seal(secret, f"consent/{wish.incarnation}"),
    )  # fmt: skip
    await rig.store(core.cluster, Outgoing("credentials", 0, b"consent", noted.dump()))
    toy.tenant.refresh.clear()
    toy.tenant.used["toy-refresh-first"] = toy.tenant.clock()
    return wish


async def test_a_consent_given_anew_takes_over(core: Core, toy: ToySite) -> None:
    """After a refused consent the admin consents again: the newer tokens are used, the older forgotten."""
    wish = await half_done(core, toy)
    async with Process(core):
        await core.reached(wish, "degraded")
        toy.tenant.refresh.add("toy-refresh-anew")
        given = {"access": "", "refresh": "toy-refresh-anew", "obtained_at": 0.0, "expires_at": 1.0}
        secret: dict[str, Any] = {"client_secret": SECRET, "@tokens": given}
        sealed = core.keyring.seal(secret, f"consent/{wish.incarnation}")
        again = await core.change(wish, generation=2, sealed=sealed)
        await core.published(PAST, *TOPICS)
        await core.reached(again, "running")
    assert {(await kept(core))[-1][1]} == toy.tenant.refresh


async def test_a_consented_connector_is_taken_away(core: Core, toy: ToySite) -> None:
    """Disconnecting signs in with the consent too: no registration stays at the provider."""
    core.public_url = "https://sluice.example"
    async with Process(core):
        wish = await consented(core, toy)
        await core.reached(wish, "running")
        await rig.until(lambda: len(toy.tenant.hooks) == 1)
        gone = await core.change(wish, removing=True)
        await core.reached(gone, "removed")
    assert toy.tenant.hooks == {}

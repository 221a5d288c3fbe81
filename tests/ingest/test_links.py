"""Links: settings put together, the consent that is needed, one sign-in for one link."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from toy.provider import Toy, ToySettings
from toy.tenant import SECRET, Tenant, running

from ingest.config import ConfigError
from ingest.credentials import Keyring
from ingest.custody import TOKENS, NewTokens, sealable
from ingest.errors import Misconfigured
from ingest.links import Links
from ingest.provider import Instance, Provider
from ingest.token_endpoint import TokenSet
from schemas.control import Wish

KINDS: Mapping[str, type[Provider[Any]]] = {"toy": Toy}
KEYRING = Keyring([b"k" * 32])
SETTINGS = ToySettings(url="http://127.0.0.1:1", client_secret=SecretStr(SECRET))


def wish(secret: Mapping[str, Any], **settings: Any) -> Wish:
    """Make a wish whose secrets are sealed."""
    sealed = KEYRING.seal(dict(secret), "c/i")
    plain = {"url": "http://127.0.0.1:1", **settings}
    return Wish(name="c", provider="toy", partition=0, incarnation="i", settings=plain, sealed=sealed)


def test_settings_are_put_together() -> None:
    """Sealed tokens are no setting; what does not fit any more is named, its value is not shown."""
    links = Links(KEYRING, KINDS)
    sealed = {"client_secret": SECRET, TOKENS: sealable(TokenSet("a", "r"))}
    assert links.settings(wish(sealed)) == SETTINGS
    with pytest.raises(Misconfigured, match="there is no provider 'box'; known are: toy"):
        links.kind("box")
    with pytest.raises(Misconfigured, match="settings of c can't be used: client_id") as caught:
        links.settings(wish(sealed, client_id={"secret": "planted"}))
    assert "planted" not in str(caught.value)
    with pytest.raises(Misconfigured, match="damaged or belongs elsewhere"):
        links.settings(wish(sealed).model_copy(update={"incarnation": "j"}))


def test_the_consent_that_is_needed() -> None:
    """It is that of the sign-in the settings choose."""
    links = Links(KEYRING, KINDS)
    assert links.consent("toy", SETTINGS) is None
    needed = links.consent("toy", SETTINGS.model_copy(update={"consent": True}))
    assert needed
    assert (needed.authorize, needed.rotates) == ("http://127.0.0.1:1/oauth/authorize", True)


async def test_a_link_knows_whom_it_leads_to() -> None:
    """It asks who it is, unless that is known; a consent's tokens are renewed in the custody given."""
    async with running(Tenant()) as tenant:
        settings = SETTINGS.model_copy(update={"url": tenant.url})
        links = Links(KEYRING, KINDS)
        async with links.bare("toy", settings, "c") as link:
            assert link.instance.id == link.provider.instance.id == "toy-1"
        async with links.bare("toy", settings, "c", Instance("known")) as link:
            assert link.instance.id == "known"
        tenant.refresh.add("r0")
        custody = NewTokens(TokenSet("", "r0", 0.0, 1.0))
        consented = settings.model_copy(update={"consent": True})
        async with links.bare("toy", consented, "c", custody=custody) as link:
            assert link.instance.id == "toy-1"
        assert {custody.tokens.refresh} == tenant.refresh != {"r0"}
        with pytest.raises(Misconfigured, match="connect it again"):
            async with links.bare("toy", consented, "c"):
                raise AssertionError


async def test_the_ca_file_is_for_every_link(tmp_path: Path) -> None:
    """One that can't be read is told before anyone is called."""
    links = Links(KEYRING, KINDS, ca_file=tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="SLUICE_CA_FILE"):
        async with links.bare("toy", SETTINGS, "c"):
            raise AssertionError

"""Which tokens are the newest: the owner's, or those that came with the wish."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from ingest.credentials import Keyring, SealError
from ingest.custody import TOKENS, OwnedTokens, sealable
from ingest.feeds import Clock
from ingest.publish import Committer, Unit
from ingest.state import PartitionState
from ingest.token_endpoint import TokenSet
from schemas.control import Token, Wish

OLD, NEW = b"o" * 32, b"n" * 32
CONSENTED = TokenSet("a0", "r0", 1.0, 3601.0)
RENEWED = TokenSet("a1", "r1", 2.0, math.inf)


def wish(keyring: Keyring, tokens: TokenSet | None = CONSENTED, **more: Any) -> Wish:
    """Make a connector's wish that carries what an admin consented to."""
    sealed = keyring.seal({"client_secret": "s", **({TOKENS: sealable(tokens)} if tokens else {})}, "c/i")
    return Wish(name="c", provider="toy", partition=0, incarnation="i", sealed=sealed, **more)


def custody(made: Wish, keyring: Keyring, kept: list[Token]) -> OwnedTokens:
    """Make the owner's custody, its storage a list."""
    state = SimpleNamespace(token=kept[-1] if kept else None)

    def record(topic: str, of: Any, key: bytes, value: Token) -> Token:
        assert (topic, of) == ("credentials", state)
        return value

    async def commit(unit: Unit) -> None:
        kept.extend(unit.records)  # type: ignore[arg-type] # what `record` gave
        for note in unit.committed:
            note()

    partition: PartitionState = SimpleNamespace(of=lambda _: state, record=record)  # type: ignore[assignment]
    committer: Committer = SimpleNamespace(commit=commit)  # type: ignore[assignment]
    clock: Clock = SimpleNamespace(now=lambda: 7)
    return OwnedTokens(made, partition, committer, keyring, clock)


async def renewed(keyring: Keyring) -> list[Token]:
    """Renew once what was consented to."""
    kept: list[Token] = []
    owned = custody(wish(keyring), keyring, kept)
    assert await owned.load() == CONSENTED
    await owned.intend(CONSENTED)
    await owned.save(RENEWED)
    loaded = await owned.load()
    assert loaded
    assert (loaded.access, loaded.refresh, loaded.expires_at) == ("a1", "r1", 1e18)
    assert [one.intent for one in kept] == ["refresh", ""]
    return kept


async def refresh_token(keyring: Keyring, made: Wish, kept: list[Token]) -> str | None:
    """Load what is the newest now."""
    found = await custody(made, keyring, kept).load()
    return found.refresh if found else None


async def test_a_wish_changed_keeps_the_owners_tokens() -> None:
    """Another client secret, or settings sealed anew with another key, are no new consent."""
    kept = await renewed(Keyring([OLD]))
    both = Keyring([NEW, OLD])
    assert await refresh_token(both, wish(both, generation=2), kept) == "r1"
    assert await refresh_token(both, wish(both, None, generation=1), kept) == "r1"


async def test_a_consent_given_anew_wins() -> None:
    """The tokens of a new consent replace the owner's, even those that no key opens any more."""
    kept = await renewed(Keyring([OLD]))
    again = TokenSet("a9", "r9", 9.0, 10.0)
    for keys in ([NEW, OLD], [NEW]):
        keyring = Keyring(keys)
        assert await refresh_token(keyring, wish(keyring, again, generation=2), kept) == "r9"
    with pytest.raises(SealError):
        await refresh_token(Keyring([NEW]), wish(Keyring([NEW])), kept)


async def test_without_any_consent() -> None:
    """There is nothing to load."""
    keyring = Keyring([NEW])
    assert await refresh_token(keyring, wish(keyring, None), []) is None

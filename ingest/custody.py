"""Tokens that a consent gave, kept by the connector's owner alone: durable before they are used.

A refresh token that works once is used up by asking for the next: that is noted first, in a transaction of
its own, and what came of it stored before anyone uses it. Whoever finds the note without a result tries the
old token once, within the provider's grace.
"""

import asyncio
from typing import Any

from ingest.credentials import Keyring
from ingest.errors import Retry
from ingest.feeds import Clock
from ingest.publish import Committer, Unit
from ingest.signin import TokenSet
from ingest.state import PartitionState, key
from schemas.control import Token, Wish

TOKENS = "@tokens"
"""Where a wish's sealed settings carry the tokens that `connect` got."""
_ATTEMPTS = 5


class OwnedTokens:
    """Custody of one connector's tokens on the topic `credentials`."""

    def __init__(
        self, wish: Wish, partition: PartitionState, committer: Committer, keyring: Keyring, clock: Clock
    ) -> None:
        self._wish, self._partition, self._state = wish, partition, partition.of(wish)
        self._committer, self._keyring, self._clock = committer, keyring, clock

    async def load(self) -> TokenSet | None:
        """Read the newest: the owner's, unless an operator consented anew since."""
        wish, held = self._wish, self._state.token
        if held is not None and held.generation >= wish.generation:
            return TokenSet(**self._keyring.open(held.sealed, _bound(wish)))
        given = wished_tokens(self._keyring, wish)
        return TokenSet(**given) if given else None

    async def intend(self, tokens: TokenSet) -> None:
        """Note that a refresh is about to use these up."""
        await self._store(tokens, "refresh")

    async def save(self, tokens: TokenSet) -> None:
        """Store what came of it; tried again, as it can't be had twice.

        Raises:
            Retry: It can't be stored.
        """
        for attempt in range(_ATTEMPTS):
            try:
                await self._store(tokens, "")
            except TimeoutError:
                await asyncio.sleep(0.2 * 2**attempt)
            else:
                return
        raise Retry("the renewed consent can't be stored")

    async def _store(self, tokens: TokenSet, intent: str) -> None:
        wish = self._wish
        sealed = self._keyring.seal(
            {
                "access": tokens.access,
                "refresh": tokens.refresh,
                "obtained_at": tokens.obtained_at,
                "expires_at": min(tokens.expires_at, 1e18),
            },
            _bound(wish),
        )
        made = Token(
            incarnation=wish.incarnation, generation=wish.generation, sealed=sealed, intent=intent,
            at=self._clock.now(),
        )  # fmt: skip

        def note() -> None:
            self._state.token = made

        record = self._partition.record("credentials", self._state, key(wish.name), made)
        await self._committer.commit(Unit([record], [note]))


def wished_tokens(keyring: Keyring, wish: Wish) -> dict[str, Any] | None:
    """Take the tokens out of a wish's sealed settings."""
    secret = keyring.open(wish.sealed, _bound(wish)) if wish.sealed else {}
    found: dict[str, Any] | None = secret.get(TOKENS)
    return found


def _bound(wish: Wish) -> str:
    return f"{wish.name}/{wish.incarnation}"

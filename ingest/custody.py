"""Tokens that a consent gave, kept by the connector's owner alone: durable before they are used.

A refresh token that works once is used up by asking for the next: that is noted first, in a transaction of
its own, and what came of it stored before anyone uses it. Whoever finds the note without a result tries the
old token once, within the provider's grace.
"""

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from ingest.cluster import Cluster
from ingest.consuming import Incoming, Place, read_to_end
from ingest.credentials import Keyring, SealError
from ingest.errors import Retry
from ingest.feeds import Clock
from ingest.publish import Committer, Unit
from ingest.state import PartitionState, key
from ingest.token_endpoint import TokenSet
from schemas.control import Token, Wish

TOKENS = "@tokens"
"""Where a wish's sealed settings carry the tokens that `connect` got."""
_OF = "of"
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
        return _newest(self._keyring, self._wish, self._state.token)

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
        given = wished_tokens(self._keyring, wish)
        sealed = self._keyring.seal({**sealable(tokens), _OF: _lineage(given)}, _bound(wish))
        made = Token(
            incarnation=wish.incarnation, generation=wish.generation, sealed=sealed, intent=intent,
            at=self._clock.now(),
        )  # fmt: skip

        def note() -> None:
            self._state.token = made

        record = self._partition.record("credentials", self._state, key(wish.name), made)
        await self._committer.commit(Unit([record], [note]))


class BorrowedTokens:
    """The owner's tokens for everybody else: read from the topic, never used up."""

    def __init__(self, cluster: Cluster, keyring: Keyring, wish: Wish) -> None:
        self._cluster, self._keyring, self._wish = cluster, keyring, wish

    async def load(self) -> TokenSet | None:
        """Read the newest.

        Raises:
            UnreadableError: Kafka does not answer.
        """
        wish, found = self._wish, list[Token]()

        def take(record: Incoming) -> None:
            if record.key == key(wish.name) and record.value is not None:
                found[:] = [Token.load(record.value)]

        await read_to_end(self._cluster, [Place("credentials", wish.partition)], take)
        mine = found[0] if found and found[0].incarnation == wish.incarnation else None
        return _newest(self._keyring, wish, mine)

    async def intend(self, tokens: TokenSet) -> None:
        """Leave a token that works once to the owner, who renews it while it reads.

        Raises:
            Retry: Always.
        """
        del tokens
        raise Retry(f"the owner of {self._wish.name} renews its sign-in", 2.0)

    async def save(self, tokens: TokenSet) -> None:
        """Keep nothing: what can be renewed again and again needs no keeping."""


class NewTokens:
    """Custody of what an admin has just consented to, until it is stored with the wish."""

    def __init__(self, tokens: TokenSet) -> None:
        self.tokens = tokens

    async def load(self) -> TokenSet | None:
        """Give the newest."""
        return self.tokens

    async def intend(self, tokens: TokenSet) -> None:
        """Note nothing: whoever fails here asks the admin again."""

    async def save(self, tokens: TokenSet) -> None:
        """Take what came of a refresh."""
        self.tokens = tokens


def sealable(tokens: TokenSet) -> dict[str, Any]:
    """Give tokens the form in which they are sealed."""
    return {
        "access": tokens.access,
        "refresh": tokens.refresh,
        "obtained_at": tokens.obtained_at,
        "expires_at": min(tokens.expires_at, 1e18),
    }


def _newest(keyring: Keyring, wish: Wish, held: Token | None) -> TokenSet | None:
    """Choose the owner's tokens if the wish is no newer, or still carries those they stem from.

    A wish is newer for any secret that was changed, or only sealed anew; a consent given anew has others.
    """
    given = wished_tokens(keyring, wish)
    if held is not None:
        current = held.generation >= wish.generation
        try:
            kept = keyring.open(held.sealed, _bound(wish))
        except SealError:
            if current:
                raise
        else:
            if kept.pop(_OF, None) == _lineage(given) or current:
                return TokenSet(**kept)
    return TokenSet(**given) if given else None


def _lineage(given: Mapping[str, Any] | None) -> str:
    """Name a consent by the tokens it began with, telling nothing of them."""
    return sha256(f"{given['access']} {given['refresh']}".encode()).hexdigest() if given else ""


def wished_tokens(keyring: Keyring, wish: Wish) -> dict[str, Any] | None:
    """Take the tokens out of a wish's sealed settings."""
    secret = keyring.open(wish.sealed, _bound(wish)) if wish.sealed else {}
    found: dict[str, Any] | None = secret.get(TOKENS)
    return found


def _bound(wish: Wish) -> str:
    return f"{wish.name}/{wish.incarnation}"

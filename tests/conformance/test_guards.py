"""The guard of every hook of every provider: what it answers first, what it takes, and what not."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from practice import Guarded
from sites import PRACTICES, SITES

from ingest.provider import Delivery, Scheme

Guard: TypeAlias = tuple[Guarded, Scheme]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECRET, OLDER, STRANGE = "8f14e45fceea167a5a36dedd4bea2543", "an older one", "a stranger's"


def no_keys(address: str) -> bytes:
    """Fetch nothing: these guards rest on secrets."""
    raise AssertionError(address)


def taken(scheme: Scheme, delivery: Delivery, *secrets: str, now: datetime = NOW) -> bool:
    """Ask the guard."""
    return scheme.verify(delivery, secrets, no_keys, now)


def test_each_challenge_is_answered(guard: Guard) -> None:
    """The provider hears what it waits for; no delivery is taken for a challenge."""
    guarded, scheme = guard
    for challenge, answer in guarded.challenges:
        for secrets in ([], [SECRET]):
            assert scheme.handshake(challenge, secrets) == answer
    assert scheme.handshake(guarded.signed(SECRET, NOW), [SECRET]) is None


def test_a_good_delivery_is_taken(guard: Guard) -> None:
    """By the present secret, and while a rotation lasts by the one before it."""
    guarded, scheme = guard
    assert taken(scheme, guarded.signed(SECRET, NOW), SECRET)
    assert taken(scheme, guarded.signed(OLDER, NOW), SECRET, OLDER)


def test_a_bad_or_missing_proof_is_refused(guard: Guard) -> None:
    """A stranger's secret, the old one once it has gone, no secret at all, a header left out or cut."""
    guarded, scheme = guard
    good = guarded.signed(SECRET, NOW)
    assert not taken(scheme, guarded.signed(STRANGE, NOW), SECRET)
    assert not taken(scheme, guarded.signed(OLDER, NOW), SECRET)
    assert not taken(scheme, good)
    assert not taken(scheme, guarded.signed("", NOW), "")
    assert not taken(scheme, good._replace(headers={}), SECRET)
    proofs = [name for name, text in good.headers.items() if not taken(scheme, _with(good, name, ""), SECRET)]
    assert proofs
    for name in proofs:
        text = good.headers[name]
        for wrong in (text[:-1], text + "0", text[::-1], "é" + text, "\udcff"):
            assert not taken(scheme, _with(good, name, wrong), SECRET), name


def _with(delivery: Delivery, name: str, text: str) -> Delivery:
    return delivery._replace(headers={**delivery.headers, name: text})


def test_another_body_is_refused_where_the_body_is_signed(guard: Guard) -> None:
    """A proof over the body holds for that body alone; one beside it says nothing about it."""
    guarded, scheme = guard
    good = guarded.signed(SECRET, NOW)
    for body in (b"", good.body + b" ", good.body[:-1]):
        assert taken(scheme, good._replace(body=body), SECRET) is not guarded.covers_body


def test_a_stale_delivery_is_treated_as_declared(guard: Guard) -> None:
    """Where the time is signed, one from long ago or far ahead is refused; elsewhere it stays good."""
    guarded, scheme = guard
    for direction in (-1, 1):
        for share, fresh in ((0.9, True), (1.1, guarded.until is None), (100.0, guarded.until is None)):
            sent = NOW + direction * timedelta(seconds=share * (guarded.until or 300))
            assert taken(scheme, guarded.signed(SECRET, sent), SECRET) is fresh


def test_a_replayed_delivery_is_known_by_its_id(guard: Guard) -> None:
    """What is sent again has the id of the first time; without one of its own the core hashes the body."""
    guarded, scheme = guard
    first, again = (scheme.delivery_id(guarded.signed(secret, NOW)) for secret in (SECRET, OLDER))
    assert first == again
    assert first is None or first


def test_no_secret_of_the_sender_is_stored(guard: Guard) -> None:
    """A header that is the secret itself is among those that are never stored."""
    guarded, scheme = guard
    for name, text in guarded.signed(SECRET, NOW).headers.items():
        assert SECRET not in text or name in scheme.conceals


@pytest.mark.parametrize("name", sorted(name for name, one in PRACTICES.items() if one.guarded))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD"]),
    headers=st.dictionaries(st.text(max_size=30), st.text(max_size=60), max_size=4),
    query=st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=2),
    body=st.binary(max_size=200),
)
def test_a_strangers_noise_is_refused(
    name: str, method: str, headers: dict[str, str], query: dict[str, str], body: bytes
) -> None:
    """Whatever it is, it is neither taken nor a crash."""
    for hook in SITES[name].kind.hooks().values():
        noise = Delivery(method, headers, query, body)
        hook.scheme.handshake(noise, [SECRET])
        hook.scheme.delivery_id(noise)
        assert not taken(hook.scheme, noise, SECRET)

"""Millions of hashes behave as a set and a dict would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.hashes import HashMap, HashSet, from_hex, pack, unpack

WORD = st.integers(0, 2**64 - 1)
FEW = st.one_of(WORD, st.integers(0, 40))


@given(st.lists(FEW, max_size=50), st.lists(FEW, max_size=80))
def test_a_hash_set_is_a_set(first: list[int], added: list[int]) -> None:
    """What was given or added is in it once, and comes out sorted."""
    ours, model = HashSet(first), set(first)
    for key in added:
        ours.add(key)
        model.add(key)
        assert key in ours
        assert len(ours) == len(model)
    assert list(ours) == sorted(model)
    assert all((key in ours) == (key in model) for key in range(41))


@pytest.mark.parametrize("count", [5_000, 150_000])
def test_a_hash_set_stays_a_set_over_merges(count: int) -> None:
    """Newcomers that are merged on the way, and a large set's split, change nothing but the storage."""
    keys = [number * 0x9E3779B97F4A7C15 % 2**64 for number in range(count)]
    ours = HashSet()
    ours.update([*keys, *keys])
    assert len(ours) == count
    assert all(key in ours for key in keys)
    assert list(ours) == sorted(keys)
    assert (1 in ours) == (1 in keys)


PUT = st.tuples(FEW, st.one_of(st.none(), WORD))


@given(st.lists(PUT, max_size=200))
def test_a_hash_map_is_a_dict(puts: list[tuple[int, int | None]]) -> None:
    """Values are found, overwritten and removed by None, also with all keys in one shard."""
    ours, model = HashMap(), dict[int, int]()
    for number, (key, value) in enumerate(puts):
        ours.put(key, value)
        if value is None:
            model.pop(key, None)
        else:
            model[key] = value
        assert ours.get(key) == model.get(key)
        if number % 17 == 0:
            assert len(ours) == len(model)
    assert len(ours) == len(model)
    assert {key: ours.get(key) for key, _ in puts} == {key: model.get(key) for key, _ in puts}


def test_a_hash_map_over_many_merges() -> None:
    """Removed keys stay away and come back as others, over merges of their shard."""
    ours = HashMap()
    for round_ in range(4):
        for key in range(400):
            ours.put(key, None if key % 3 == round_ % 3 else key + round_)
    assert [ours.get(key) for key in range(400)] == [None if k % 3 == 0 else k + 3 for k in range(400)]
    assert len(ours) == sum(1 for key in range(400) if key % 3)


@given(st.lists(WORD))
def test_packing_is_eight_bytes_a_hash(keys: list[int]) -> None:
    """Written little-endian, eight bytes each, and read back the same."""
    assert pack(keys) == b"".join(key.to_bytes(8, "little") for key in keys)
    assert list(unpack(pack(keys))) == keys


def test_half_a_hash_is_refused() -> None:
    """Bytes that are no whole hashes are an error, never rounded."""
    with pytest.raises(ValueError, match="multiple"):
        unpack(b"123456789")


def test_a_uid_becomes_its_first_eight_bytes() -> None:
    """The hash is the uid's first sixteen hex digits."""
    assert from_hex("00000000000000ff" + "f" * 16) == 255

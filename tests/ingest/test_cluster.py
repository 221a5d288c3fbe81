"""Names, partitions and connection arguments, without a broker."""

import pytest
from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from ingest.cluster import Cluster, murmur2, spread
from ingest.config import Config
from ingest.errors import Misconfigured


def cluster(**more: object) -> Cluster:
    """Make a cluster that is never called."""
    return Cluster(Config(kafka="127.0.0.1:1", prefix="p.", **more))  # type: ignore[arg-type]


@given(st.binary(max_size=300))
def test_murmur2_is_javas(data: bytes) -> None:
    """Keys hash as in aiokafka's port of the Java client (the sign bit is masked by the partitioner)."""
    assert murmur2(data) & 0x7FFFFFFF == reference(data) & 0x7FFFFFFF


@pytest.mark.parametrize(
    ("key", "expected"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
     (b"a-little-bit-longer-string", -1486304829),
     (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
     (b"abc", 479470107)],
)  # fmt: skip
def test_murmur2_of_kafkas_own_test(key: bytes, expected: int) -> None:
    """The vectors of Apache Kafka's UtilsTest.testMurmur2."""
    assert murmur2(key) == expected % 2**32


@given(st.lists(st.binary(max_size=20)), st.integers(1, 100))
def test_a_key_keeps_its_partition(keys: list[bytes], count: int) -> None:
    """Whether remembered or computed, a key goes where aiokafka's formula puts it."""
    made = cluster()
    made.counts["files"] = count
    for key in keys + keys:
        assert made.partition("files", key) == (reference(key) & 0x7FFFFFFF) % count


def test_names_carry_the_prefix_once() -> None:
    """A topic's name is prefixed, and bared again."""
    made = cluster()
    assert made.name("files") == "p.files"
    assert made.bare("p.files") == "files"


def test_new_connectors_go_where_few_are() -> None:
    """Only partitions with the fewest connectors are chosen, always the same for a name."""
    names = [f"connector-{n}" for n in range(60)]
    assert {spread(name, range(4), [0, 0, 1, 2, 99]) for name in names} == {3}
    assert {spread(name, range(3), []) for name in names} == {0, 1, 2}
    assert [spread(name, range(9), []) for name in names] == [spread(name, range(9), []) for name in names]


def test_arguments_for_sasl_carry_the_password_only_there() -> None:
    """The password reaches the client's arguments and no repr of ours."""
    made = cluster(
        kafka_security="SASL_PLAINTEXT", kafka_username="u", kafka_password="canary-pw",
        kafka_mechanism="SCRAM-SHA-256",
    )  # fmt: skip
    arguments = made.arguments("x")
    assert arguments["sasl_plain_password"] == "canary-pw"
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-256"
    assert "canary-pw" not in f"{made!r} {made.config!r}"


async def test_a_cluster_that_is_away_is_named() -> None:
    """Nobody listens there: the error names the address and the settings to check."""
    with pytest.raises(Misconfigured, match=r"127\.0\.0\.1:1 does not answer.*SLUICE_KAFKA"):
        await cluster().admin()

"""The embedded Kafka, for real: it serves both client libraries, outlives nobody, and says what is wrong."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st

from sluice.broker import Broker, BrokerError, embedded
from sluice.broker_folder import KEEP_LOG, Stamp, escaped, prepare
from sluice.java import LOCK, class_path, find_java, read_lock

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]


async def make_topic(bootstrap: str, name: str) -> str:
    """Create a topic of one partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()
    return name


async def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    """Send values, each acknowledged."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Read as many committed values as are asked for, from the start."""
    settings = {"auto_offset_reset": "earliest", "isolation_level": "read_committed"}
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, **settings) as consumer:
        async with asyncio.timeout(15):
            return [(await consumer.getone()).value for _ in range(count)]


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Poll for something outside this process."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 another process cannot set an event
            await asyncio.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether no process has this pid (a zombie still has it)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_aiokafka_reads_what_it_wrote(kafka: Broker, topic_prefix: str) -> None:
    """A record sent with aiokafka comes back."""
    topic = await make_topic(kafka.bootstrap, topic_prefix + "plain")
    await produce(kafka.bootstrap, topic, b"one", b"two")
    assert await consume(kafka.bootstrap, topic, 2) == [b"one", b"two"]


async def test_confluent_kafka_reads_what_it_wrote(kafka: Broker, topic_prefix: str) -> None:
    """A record of 1 MiB sent with librdkafka comes back: a second client, a large message."""
    topic = await make_topic(kafka.bootstrap, topic_prefix + "rd")
    size = 1024 * 1024
    settings = {"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 2 * size}
    producer = confluent_kafka.Producer(settings | {"compression.type": "zstd"})
    producer.produce(topic, os.urandom(size))
    assert await asyncio.to_thread(producer.flush, 15) == 0
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        record = await asyncio.to_thread(consumer.poll, 15)
        assert record is not None
        assert record.error() is None
        assert len(record.value() or b"") == size
    finally:
        consumer.close()


async def test_only_a_committed_transaction_is_read(kafka: Broker, topic_prefix: str) -> None:
    """A read-committed reader sees the committed transaction and not the aborted one before it."""
    topic = await make_topic(kafka.bootstrap, topic_prefix + "tx")
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed")
    assert await consume(kafka.bootstrap, topic, 1) == [b"committed"]


async def test_an_abandoned_transaction_holds_readers_back_for_seconds_only(
    kafka: Broker, topic_prefix: str
) -> None:
    """A transaction left open for its 1 s is aborted within the next second or two, not in ten."""
    topic = await make_topic(kafka.bootstrap, topic_prefix + "open")
    settings = {"transactional_id": topic, "transaction_timeout_ms": 1000}
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, **settings) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"never committed")
        await produce(kafka.bootstrap, topic, b"plain")
        began = time.monotonic()
        assert await consume(kafka.bootstrap, topic, 1) == [b"plain"]
        assert time.monotonic() - began < 5


async def test_a_killed_broker_comes_back_with_its_records(tmp_path: Path) -> None:
    """After kill and restart, address and acknowledged records are the same, beside another broker's."""
    async with embedded(tmp_path / "a comma-free näme") as broker:
        topic = await make_topic(broker.bootstrap, "kept")
        await produce(broker.bootstrap, topic, b"before")
        before, pid = broker.bootstrap, broker.pid
        await broker.kill()
        assert gone(pid)
        assert not broker.running
        await broker.start()
        assert broker.bootstrap == before
        assert await consume(broker.bootstrap, topic, 1) == [b"before"]
        async with AIOKafkaProducer(bootstrap_servers=before) as producer:
            broker.freeze()
            sent = asyncio.ensure_future(producer.send_and_wait(topic, b"thawed"))
            assert not (await asyncio.wait([sent], timeout=0.5))[0]
            broker.thaw()
            await asyncio.wait_for(sent, 15)
        assert await consume(broker.bootstrap, topic, 2) == [b"before", b"thawed"]


async def test_two_side_by_side_and_one_folder_for_one_only(
    kafka: Broker, topic_prefix: str, tmp_path: Path
) -> None:
    """A second broker has records of its own; a third on its folder is refused, the holder's pid named."""
    async with embedded(tmp_path / "mine") as second:
        assert second.bootstrap != kafka.bootstrap
        for broker in (kafka, second):
            topic = await make_topic(broker.bootstrap, topic_prefix + "same")
            await produce(broker.bootstrap, topic, broker.bootstrap.encode())
        for broker in (kafka, second):
            assert await consume(broker.bootstrap, topic, 1) == [broker.bootstrap.encode()]
        with pytest.raises(BrokerError, match=rf"in use by process {os.getpid()}\b.*another folder"):
            await Broker(tmp_path / "mine").start()
        assert second.running


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
async def test_kafka_ends_when_its_parent_is_killed(tmp_path: Path, frozen: bool) -> None:
    """Kill -9 of the parent leaves no JVM and no temporary folder, even when Kafka is frozen."""
    program = (
        "import asyncio\nfrom sluice.broker import embedded\n"
        "async def main():\n async with embedded() as b:\n"
        "  print(b.pid, b.data, flush=True)\n  await asyncio.sleep(60)\nasyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    pid, data = (await asyncio.wait_for(parent.stdout.readline(), 60)).decode().split()
    assert not gone(int(pid))
    if frozen:
        os.kill(int(pid), signal.SIGSTOP)
    parent.kill()
    await parent.wait()
    await until(lambda: gone(int(pid)) and not Path(data).exists(), 15)


async def test_what_a_dying_broker_said_is_in_the_error(tmp_path: Path) -> None:
    """A setting that Kafka refuses ends in an error with Kafka's own words and the log's place."""
    with pytest.raises(BrokerError, match=r"(?s)whole log is .*broker\.log.*num\.io\.threads"):
        async with embedded(tmp_path / "data", properties={"num.io.threads": "minus one"}):
            pass


async def test_watch_tells_of_a_death(tmp_path: Path) -> None:
    """Whoever watches a broker learns that it has ended, and where its log is."""
    async with embedded(tmp_path / "data") as broker:
        watching = asyncio.ensure_future(broker.watch())
        os.kill(broker.pid, signal.SIGKILL)
        with pytest.raises(BrokerError, match=r"broker\.log.*\n"):
            await asyncio.wait_for(watching, 10)


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """Cancelling a start ends the process and frees the folder."""
    broker = Broker(tmp_path / "data")
    starting = asyncio.ensure_future(broker.start())
    await until(lambda: broker.pid > 0, 15)
    pid = broker.pid
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    await until(lambda: gone(pid), 5)
    with pytest.raises(BrokerError, match="does not run"):
        broker.freeze()


async def test_a_start_out_of_time_says_so(tmp_path: Path) -> None:
    """A start that takes too long names the time it had."""
    with pytest.raises(BrokerError, match=r"did not answer on 127\.0\.0\.1:\d+ within 0\.1 s"):
        await Broker(tmp_path, timeout=0.1).start()


async def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    """A fixed port on which somebody listens is refused before anything starts."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=rf"Port {port} .* is taken.*choose another"):
            await Broker(tmp_path / "data", port=port).start()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: (data / "thesis.doc").touch(), "none that says"),
        (lambda data: (data / "sluice.json").write_text("{"), "cannot be read"),
        (lambda data: (data / "sluice.json").write_text('{"format": 1}'), "cannot be read"),
        (lambda data: stamped(data, format=2), "format 2"),
        (lambda data: stamped(data, kafka="4.10.0"), r"Kafka 4\.10\.0 wrote it"),
        (lambda data: stamped(data, cluster="elsewhere"), "the cluster other, not elsewhere"),
    ],
)
async def test_a_foreign_folder_is_untouched(tmp_path: Path, spoil: Callable[[Path], None], why: str) -> None:
    """A folder that is not ours, damaged, of another format, later Kafka or other cluster is left alone."""
    spoil(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(BrokerError, match=f"{why}.*(?s:.*)Choose another folder"):
        await Broker(tmp_path).start()
    assert contents(tmp_path) == before


def contents(data: Path) -> dict[Path, bytes]:
    """Read all files of a folder but our own lock."""
    return {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and path.name != "lock"}


def stamped(data: Path, **changed: str | int) -> None:
    """Give a folder a stamp that differs in one point, and records of the cluster `other`."""
    stamp = dataclasses.asdict(Stamp.new()) | changed
    (data / "sluice.json").write_text(json.dumps(stamp))
    (data / "records").mkdir()
    (data / "records" / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=1\n")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A data folder below a file ends in a clear error."""
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match=r"cannot be used: Not a directory\. Choose another"):
        asyncio.run(Broker(tmp_path / "file" / "data").start())


def fake_java(home: Path, version: str) -> None:
    """Write a java that only tells its version, as OpenJDK does: on standard error."""
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n")
    java.chmod(0o755)


@pytest.mark.parametrize(("version", "major"), [("1.8.0_402", 8), ("11.0.22", 11), ("16", 16)])
def test_an_old_java_is_refused(tmp_path: Path, version: str, major: int) -> None:
    """JAVA_HOME with an older Java is named with its version and with both ways out."""
    fake_java(tmp_path, version)
    with pytest.raises(BrokerError, match=rf"is Java {major}; Kafka needs Java 17 .*Unset JAVA_HOME"):
        find_java({"JAVA_HOME": str(tmp_path)})


def test_which_java_is_taken(tmp_path: Path) -> None:
    """JAVA_HOME wins if it is new enough, the bundled runtime serves without it; nowhere is told."""
    fake_java(tmp_path / "new", "17.0.15")
    assert find_java({"JAVA_HOME": str(tmp_path / "new")}) == tmp_path / "new" / "bin" / "java"
    assert find_java({}).exists()
    with pytest.raises(BrokerError, match="does not run"):
        find_java({"JAVA_HOME": str(tmp_path / "nowhere")})


def test_a_jar_that_differs_from_the_lock_is_refused(tmp_path: Path) -> None:
    """A cached jar of other bytes is named with both checksums."""
    (tmp_path / "some-1.0.jar").write_bytes(b"abc")
    lock = tmp_path / "kafka.lock"
    lock.write_text(f"# comment\n\ngroup:some:1.0 {'0' * 64}\n")
    # The SHA-256 of "abc" is the first example of FIPS 180-2, appendix B.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(BrokerError, match=rf"some-1\.0\.jar is not .*{digest}, not 0{{64}}; delete it"):
        class_path(lock, tmp_path)
    lock.write_text(f"group:some:1.0 {digest}\n")
    assert class_path(lock, tmp_path) == str(tmp_path / "some-1.0.jar")


@pytest.mark.parametrize(
    "text", ["", "# only a comment", "a:b 00", "a:b:1 xyz", f"../a:b:1 {'0' * 64}", 3 * f"a:b:1 {'0' * 64}\n"]
)
def test_a_damaged_lock_is_refused(text: str) -> None:
    """An empty, malformed, path-climbing or doubled lock says how to make it anew."""
    with pytest.raises(BrokerError, match=r"python -m sluice\.broker lock"):
        read_lock(text)


def test_the_lock_has_kafka_and_a_logger() -> None:
    """The lock in the repository reads, and holds the broker and something that writes its log."""
    coordinates = [jar.coordinate for jar in read_lock(LOCK.read_text())]
    assert any(each.startswith("org.apache.kafka:kafka_2.13:4.2.") for each in coordinates)
    assert any(each.startswith("org.slf4j:slf4j-simple:1.7.") for each in coordinates)


def test_no_network_at_the_first_start_is_told(tmp_path: Path) -> None:
    """Without the jars and without a way to them, the error names the ways out."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom sluice.java import *\n"
        "try: class_path(cache=Path(sys.argv[1]))\nexcept BrokerError as error: print(error)"
    )
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9") | {
        "NO_PROXY": "",
        "no_proxy": "",
    }
    told = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        env=os.environ | nowhere,
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert b"Check the network" in told.stdout
    assert b"SLUICE_KAFKA" in told.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_long_log_is_moved_aside(tmp_path: Path) -> None:
    """A start keeps one older log and begins a new one once the old has passed its size."""
    with (tmp_path / "broker.log").open("wb") as log:
        log.truncate(KEEP_LOG + 1)
    prepare(tmp_path, Stamp.new(), {})
    assert (tmp_path / "broker.log").stat().st_size == 0
    assert (tmp_path / "broker.log.1").stat().st_size == KEEP_LOG + 1


def properties_read(text: str) -> str:
    """Read one escaped text by the rules of java.util.Properties.load."""
    return text.removeprefix("\\" if text.startswith("\\ ") else "").encode("ascii").decode("unicode_escape")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_settings_survive_java_properties(text: str) -> None:
    """Any text, written by us and read by the rules of Java's Properties, is the same text."""
    read = properties_read(escaped(text))
    assert read.encode("utf-16", "surrogatepass").decode("utf-16") == text

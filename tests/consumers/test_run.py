"""The exactly-once runner on the real Kafka: out-of-order ends, holes, two lanes, poison, hand-overs."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from rig import latest, limit, read, store, topics, until

from consumers.run import Job, Spec, consumer
from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming
from ingest.errors import Retry
from ingest.producing import Outgoing, Transactions
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
SPEC = Spec("scan", ("scan-live", "scan-backlog"), "scans", {"scan-live": 8, "scan-backlog": 4})


class Bench:
    """What the jobs of a test share: who is under way, who is kept waiting, what was handled."""

    def __init__(self) -> None:
        self.handled: list[tuple[str, str]] = []
        self.under_way: set[str] = set()
        self.together: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.closed_by_default = False
        self.fails: dict[str, list[Exception]] = {}
        self.pad = 0

    def hold(self, *names: str) -> None:
        """Keep records waiting."""
        for name in names:
            self.gates[name] = asyncio.Event()

    def go(self) -> None:
        """Let all go."""
        self.closed_by_default = False
        for gate in self.gates.values():
            gate.set()


class Scan:
    """Writes one finding a record."""

    def __init__(self, bench: Bench, partition: int) -> None:
        self._bench, self._partition = bench, partition

    def take(self, record: Incoming) -> None:
        """Nothing is kept."""

    def ready(self, commit: object) -> None:
        """Nothing is written beforehand."""

    async def handle(self, record: Incoming) -> Sequence[Outgoing]:
        """Wait for the gate, then tell which record it was."""
        bench, key = self._bench, record.key.decode()
        name = (record.value or b"").split(b"|")[0].decode()
        if key in bench.under_way:
            bench.together.append(key)
        bench.under_way.add(key)
        try:
            if bench.closed_by_default and name not in bench.gates:
                bench.hold(name)
            if name in bench.gates:
                await bench.gates[name].wait()
            await asyncio.sleep(0)
            if bench.fails.get(name):
                raise bench.fails[name].pop(0)
        finally:
            bench.under_way.discard(key)
        bench.handled.append((record.topic, name))
        return [Outgoing("findings", record.partition, b"k", name.encode() + os.urandom(bench.pad))]

    def committed(self, record: Incoming) -> None:
        """Nothing is remembered."""

    async def close(self) -> None:
        """Nothing to give back."""


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(kafka: Broker, topic_prefix: str) -> Cluster:
    """Give topics of the test's own, one partition each."""
    return await topics(kafka.bootstrap, topic_prefix, partitions=1)


@asynccontextmanager
async def running(cluster: Cluster, bench: Bench, spec: Spec = SPEC) -> AsyncIterator[Callable[[], None]]:
    """Run a consumer; what is given back makes its end a crash: nothing is committed any more."""
    follower = Follower(cluster)
    await follower.start()

    def make(partition: int) -> Job:
        return Scan(bench, partition)

    owned = consumer(cluster, spec, follower, make)
    task = asyncio.create_task(owned.run())

    def crash() -> None:
        for run, _ in owned._tenures.values():
            committer = run._committer  # type: ignore[attr-defined]
            assert committer is not None
            committer._fail(RuntimeError("crash"))

    try:
        yield crash
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await follower.stop()


def wanted(count: int, topic: str = "scan-live", start: int = 0, pad: int = 0) -> list[Outgoing]:
    """Make records to handle; each has a key of its own."""
    return [
        Outgoing(topic, 0, b"f%d" % number, b"%d|" % number + os.urandom(pad))
        for number in range(start, start + count)
    ]


async def findings(cluster: Cluster) -> list[str]:
    """Read the results."""
    return [(one.value() or b"").decode() for one in await read(cluster, "findings")]


async def found(cluster: Cluster, count: int) -> None:
    """Wait for so many results."""

    async def met() -> bool:
        return len(await findings(cluster)) >= count

    await until(met)


def numbers(*spans: range) -> list[str]:
    """Name records, sorted as the judge's list is."""
    return sorted(str(number) for span in spans for number in span)


async def position(cluster: Cluster, lane: str = "scan-live") -> dict[str, object]:
    """Read a lane's position."""
    table = latest(await read(cluster, "scans"))
    found: dict[str, object] = table.get(f"@position/{lane}", {})
    return found


async def test_each_record_once_over_three_lives(cluster: Cluster) -> None:
    """A thousand records over three clean lives: one result each, the position at the end."""
    await store(cluster, *wanted(1000))
    bench = Bench()
    for count in (300, 600, 1000):
        async with running(cluster, bench):
            await found(cluster, count)

    assert sorted(await findings(cluster)) == numbers(range(1000))
    assert (await position(cluster))["offset"] == 1000


@pytest.mark.parametrize("crash", [False, True], ids=["clean", "crash"])
async def test_an_end_with_holes(cluster: Cluster, crash: bool) -> None:
    """What ended out of order is not done again, what was open is: the bitmap says which."""
    await store(cluster, *wanted(200))
    bench = Bench()
    bench.hold("0", "3", "50", "199")
    async with running(cluster, bench) as fall:
        await found(cluster, 196)
        if crash:
            fall()
    before = len(bench.handled)
    bench.go()
    await store(cluster, *wanted(200, start=200))
    async with running(cluster, bench):
        await found(cluster, 400)

    assert before == 196
    assert sorted(await findings(cluster)) == numbers(range(400))
    assert len(bench.handled) == 400


async def test_holes_read_back_in_pieces(cluster: Cluster) -> None:
    """Large records come back in several fetches; a late one that is done passes over none before it."""
    for each in wanted(12, pad=900_000):
        await store(cluster, each)
    bench = Bench()
    bench.hold(*(str(number) for number in range(12) if number != 7))
    async with running(cluster, bench, _wide()):
        await found(cluster, 1)
    bench.go()
    async with running(cluster, bench):
        await found(cluster, 12)

    assert sorted(await findings(cluster)) == numbers(range(12))


def _wide() -> Spec:
    return Spec("scan", SPEC.lanes, SPEC.state, {"scan-live": 12, "scan-backlog": 1})


async def test_a_full_window_waits_for_its_first_record(cluster: Cluster) -> None:
    """Beyond the window nothing is begun while the first record is open; then all the rest follows."""
    await store(cluster, *wanted(700))
    bench = Bench()
    bench.hold("0")
    async with running(cluster, bench):
        await found(cluster, 255)
        stuck = len(bench.handled)
        bench.go()
        await found(cluster, 700)

    assert stuck == 255
    assert sorted(await findings(cluster)) == numbers(range(700))


async def test_one_file_in_both_lanes(cluster: Cluster) -> None:
    """The same file is never under way twice, whichever lane asks; each request has its result once."""
    spec = Spec("scan", SPEC.lanes, SPEC.state, {"scan-live": 1, "scan-backlog": 1})
    both = [
        Outgoing(lane, 0, b"f%d" % (number % 3), f"{lane}-{number}|".encode())
        for number in range(60)
        for lane in SPEC.lanes
    ]
    await store(cluster, *both)
    bench = Bench()
    async with running(cluster, bench, spec):
        await found(cluster, 120)

    assert bench.together == []
    assert sorted(await findings(cluster)) == sorted(f"{lane}-{n}" for lane in SPEC.lanes for n in range(60))


async def test_live_goes_on_while_the_backlog_is_stuck(cluster: Cluster) -> None:
    """A full backlog lane does not hold the live lane up."""
    backlog = [Outgoing("scan-backlog", 0, b"b%d" % n, b"b%d|" % n) for n in range(300)]
    bench = Bench()
    bench.hold(*(f"b{number}" for number in range(300)))
    await store(cluster, *backlog)
    async with running(cluster, bench):
        await store(cluster, *wanted(50))
        await found(cluster, 50)
        live = await findings(cluster)
        bench.go()
        await found(cluster, 350)

    assert sorted(live) == numbers(range(50))


async def test_a_retry_and_a_failure(cluster: Cluster) -> None:
    """A provider that asks for patience is asked again; what can't be handled is a dead letter; both once."""
    bench = Bench()
    bench.fails = {"1": [Retry("wait", after=0.0)] * 3, "2": [ValueError("no")]}
    await store(cluster, *wanted(4))
    async with running(cluster, bench):
        await found(cluster, 3)

        async def met() -> bool:
            return len(await read(cluster, "dead-letters")) == 1

        await until(met)
    (letter,) = latest(await read(cluster, "dead-letters")).values()

    assert sorted(await findings(cluster)) == ["0", "1", "3"]
    assert (letter["reason"], letter["topic"]) == ("handling-failed", "scan-live")


async def test_refused_results_are_dead_letters_each(cluster: Cluster) -> None:
    """Results the broker refuses are letters of their own, in the transaction of the position."""
    await limit(cluster, "findings", 4_000)
    bench = Bench()
    bench.pad = 8_000
    await store(cluster, *wanted(3))
    async with running(cluster, bench):

        async def met() -> bool:
            return len(latest(await read(cluster, "dead-letters"))) == 3

        await until(met)
    letters = latest(await read(cluster, "dead-letters")).values()

    assert {letter["reason"] for letter in letters} == {"refused"}
    assert await read(cluster, "findings") == []


async def test_a_fence_in_the_same_process_makes_no_poison(cluster: Cluster) -> None:
    """A record under way while the producer is lost four times is handled in the end, not blamed."""
    bench = Bench()
    bench.hold("0")
    await store(cluster, *wanted(5))
    async with running(cluster, bench):
        await found(cluster, 4)
        for number in range(4):
            usurper = Transactions(cluster, "scan-0")
            await usurper.start()
            await usurper.stop()
            await store(cluster, *wanted(1, start=10 + number))
            await found(cluster, 5 + number)
        bench.go()
        await found(cluster, 9)

    assert sorted(await findings(cluster)) == numbers(range(5), range(10, 14))
    assert await read(cluster, "dead-letters") == []


async def test_a_move_between_processes_makes_no_poison(cluster: Cluster) -> None:
    """A slow record that is handed over five times is handled in the end, once."""
    bench = Bench()
    bench.hold("0")
    await store(cluster, *wanted(3))
    for _ in range(5):
        async with running(cluster, bench):
            await until(lambda: "f0" in bench.under_way)
    bench.go()
    async with running(cluster, bench):
        await found(cluster, 3)

    assert sorted(await findings(cluster)) == numbers(range(3))
    assert await read(cluster, "dead-letters") == []


_CHILD = Path(__file__).parents[1] / "kafka" / "poison.py"


@pytest.mark.chaos
async def test_poison_that_ends_the_process(cluster: Cluster) -> None:
    """A record that ends the process three times is a dead letter; its neighbours are handled, once each."""
    records = [Outgoing("scan-live", 0, b"f%d" % n, b"POISON" if n == 5 else b"%d|" % n) for n in range(20)]
    slow = [Outgoing("scan-backlog", 0, b"s", b"SLOW")]
    await store(cluster, *records, *slow)
    codes = []
    environment = {**os.environ, "SLUICE_KAFKA": cluster.bootstrap, "SLUICE_PREFIX": cluster.config.prefix}
    environment |= {"SLUICE_PARTITIONS": "1", "SLUICE_SESSION_SECONDS": "1", "SLUICE_REPLICATION": "1"}
    for _ in range(6):
        child = await asyncio.create_subprocess_exec(sys.executable, str(_CHILD), "21", env=environment)
        codes.append(await asyncio.wait_for(child.wait(), 30))
        if codes[-1] == 0:
            break
    letters = latest(await read(cluster, "dead-letters"))

    assert codes == [-signal.SIGKILL] * 3 + [0]
    assert [one["reason"] for one in letters.values()] == ["poison"]
    assert sorted(await findings(cluster)) == sorted([*numbers(range(5), range(6, 20)), "SLOW"])

"""How fast others bring the same log to the same Kafka: one local API, one broker, one run.

A System Log of Okta's (`lab/logapi.py`) is read to its end by the product, by plain scripts, and by what
others built for such logs: Airbyte's CDK, the Singer SDK, dlt, Grove. Each is started on one core, Kafka and
the API are on the others; what an empty log costs (interpreters, imports, connections) is taken off. The
others pass records on raw, commit them in transactions of 1,000 on librdkafka, and neither map, check nor
de-duplicate them.
Needs what `peers/requirements*.txt` pin, in environments of their own: ``--setup`` makes them (about 1 GB).
Run: ``python benchmarks/peers.py --setup``, then without; ``--json`` prints one JSON document.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from lab import rig
from lab.logapi import PAGE

from ingest.cluster import Cluster

FOLDER: Final = Path(__file__).parent
PEERS: Final = FOLDER / "peers"
ENVIRONMENTS: Final = FOLDER.parent / ".venv-peers"
PARTITIONS: Final = 8


class Contestant(NamedTuple):
    """What is run: commands piped into each other; `{api}`, `{kafka}`, `{topic}` stand for what they are."""

    name: str
    does: str
    package: str
    commands: Sequence[str]
    environment: str = ""

    @property
    def python(self) -> str:
        """Name its interpreter."""
        return str(ENVIRONMENTS / self.environment / "bin" / "python") if self.environment else sys.executable

    @property
    def ready(self) -> bool:
        """Tell whether its environment was made."""
        return Path(self.python).exists()


RAW: Final = "raw, commits"
WHOLE: Final = "maps, checks, de-duplicates, commits with its place"
MAPPED: Final = "maps, commits"
PLAIN: Final = "plain.py {api} {kafka} {topic}"
RDKAFKA: Final = f"{PLAIN} --client confluent"
LOADER: Final = "loader.py {kafka} {topic}"
CONTESTANTS: Final = (
    Contestant("sluice", WHOLE, "sluice", ["sluice_okta.py {api} {kafka} {topic}."]),
    Contestant("plain aiokafka", RAW, "aiokafka", [PLAIN]),
    Contestant("plain aiokafka, mapped", MAPPED, "aiokafka", [f"{PLAIN} --mapped"]),
    Contestant("plain librdkafka", RAW, "confluent-kafka", [RDKAFKA]),
    Contestant("plain librdkafka, mapped", MAPPED, "confluent-kafka", [f"{RDKAFKA} --mapped"]),
    Contestant("Airbyte CDK", RAW, "airbyte-cdk", ["airbyte.py {api}", LOADER], "peers"),
    Contestant("Singer SDK", RAW, "singer-sdk", ["singer.py {api}", LOADER], "peers"),
    Contestant("dlt", RAW, "dlt", ["dlt_pipeline.py {api} {kafka} {topic}"], "peers"),
    Contestant("Grove", RAW, "grove", ["grove_okta.py {api} {kafka} {topic}"], "grove"),
)


def setup() -> None:
    """Make the environments of the others."""
    for name, pinned in (("peers", "requirements.txt"), ("grove", "requirements-grove.txt")):
        where = ENVIRONMENTS / name
        subprocess.run([sys.executable, "-m", "venv", where], check=True)
        install = [where / "bin" / "pip", "install", "--quiet", "--require-hashes", "-r", PEERS / pinned]
        subprocess.run(install, check=True)


def version(one: Contestant) -> str:
    """Tell which version is run."""
    asked = f"from importlib.metadata import version; print(version({one.package!r}))"
    told = subprocess.run([one.python, "-c", asked], capture_output=True, text=True, check=True)
    return told.stdout.strip()


@asynccontextmanager
async def log(pages: int) -> AsyncIterator[str]:
    """Serve a log, on the cores that Kafka has."""
    api = await asyncio.create_subprocess_exec(
        sys.executable, str(FOLDER / "lab" / "logapi.py"), str(pages),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(FOLDER.parent)},
    )  # fmt: skip
    assert api.stdout is not None
    assert api.stdin is not None
    try:
        port = int(await api.stdout.readline())
        rig.pin(api.pid, rig.cores()[1])
        yield f"http://127.0.0.1:{port}"
    finally:
        api.stdin.close()
        await api.wait()


def run(one: Contestant, api: str, kafka: str, topic: str) -> tuple[float, float]:
    """Run a contestant to its end; give the seconds it took, and those of CPU of all its processes.

    Raises:
        RuntimeError: It failed; its last words are in it.
    """
    ours = {"PYTHONPATH": os.pathsep.join((str(FOLDER.parent), str(FOLDER)))}
    began, spent = time.perf_counter(), os.times()
    running: list[subprocess.Popen[bytes]] = []
    with TemporaryFile() as said:
        for number, command in enumerate(one.commands, 1):
            script, *words = command.format(api=api, kafka=kafka, topic=topic).split()
            before = running[-1].stdout if running else None
            running.append(
                subprocess.Popen(
                    [one.python, str(PEERS / script), *words], stderr=said,
                    stdin=before or subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL if number == len(one.commands) else subprocess.PIPE,
                    env=os.environ | ({} if one.environment else ours),
                )
            )  # fmt: skip
            if before is not None:
                before.close()
        failed = [process.wait() for process in running]
        took, after = time.perf_counter() - began, os.times()
        if any(failed):
            said.seek(0)
            raise RuntimeError(f"{one.name} failed: {said.read()[-1500:].decode(errors='replace')}")
    return took, sum(after[2:4]) - sum(spent[2:4])


def stored(kafka: str, topic: str) -> int:
    """Count what a read-committed reader finds in a topic."""
    reader = Consumer(
        {"bootstrap.servers": kafka, "group.id": "judge", "isolation.level": "read_committed",
         "enable.auto.commit": False, "enable.partition.eof": True}
    )  # fmt: skip
    reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    count, left = 0, PARTITIONS
    while left:
        for message in reader.consume(1000, 10.0):
            if message.error():
                left -= 1
            else:
                count += 1
    reader.close()
    return count


async def topics_for(one: Contestant, cluster: Cluster, number: int) -> tuple[str, list[str]]:
    """Make what a contestant writes to; give its name for it, and the topics to count in."""
    if one.name == "sluice":
        own = await rig.deployed(cluster.bootstrap, PARTITIONS, f"sluice{number}.")
        return f"sluice{number}", [own.name("logons"), own.name("activities")]
    topic = f"{one.name.replace(' ', '-').replace(',', '')}-{number}"
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        await asyncio.to_thread(made.result, 20)
    return topic, [topic]


async def contest(
    one: Contestant, cluster: Cluster, apis: tuple[str, str], pages: int, rounds: int
) -> dict[str, Any]:
    """Measure one contestant; the best of some rounds, less the best of as many empty ones."""
    kafka, full, empty = cluster.bootstrap, [], []
    for number in range(rounds):
        topic, counted = await topics_for(one, cluster, number)
        empty.append(await asyncio.to_thread(run, one, apis[0], kafka, topic))
        full.append(await asyncio.to_thread(run, one, apis[1], kafka, topic))
        found = sum([await asyncio.to_thread(stored, kafka, each) for each in counted])
        if found != pages * PAGE:
            raise RuntimeError(f"{one.name} stored {found} events of {pages * PAGE}")
    wall, cpu = (min(each[n] for each in full) - min(each[n] for each in empty) for n in (0, 1))
    return {
        "by": one.name, "version": version(one), "does": one.does,
        "events/s of wall": pages * PAGE / wall, "events/s of CPU": pages * PAGE / cpu,
        "µs of CPU an event": cpu / pages / PAGE * 1e6, "start, s": min(each[0] for each in empty),
    }  # fmt: skip


async def measure(pages: int, rounds: int, only: Sequence[str]) -> dict[str, Any]:
    """Run them one after the other."""
    chosen = [one for one in CONTESTANTS if not only or one.name in only]
    if not all(one.ready for one in chosen):
        raise SystemExit("run `python benchmarks/peers.py --setup` first, or choose with --only")
    async with rig.kafka(PARTITIONS) as cluster, log(0) as empty, log(pages) as full:
        rows = [await contest(one, cluster, (empty, full), pages, rounds) for one in chosen]
    return {"events of a run": pages * PAGE, "rounds, the best counts": rounds, "rates": rows}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="print one JSON document")
    options.add_argument("--quick", action="store_true", help="only see that it works, without the others")
    options.add_argument("--setup", action="store_true", help="make the environments of the others, and end")
    options.add_argument("--only", nargs="+", default=[], choices=[one.name for one in CONTESTANTS])
    options.add_argument("--pages", type=int, default=100, help="of 1,000 events")
    options.add_argument("--rounds", type=int, default=2)
    chosen = options.parse_args()
    if chosen.setup:
        setup()
        return
    pages, rounds = (2, 1) if chosen.quick else (chosen.pages, chosen.rounds)
    only = ["sluice", "plain librdkafka"] if chosen.quick else chosen.only
    rig.show(rig.run(measure(pages, rounds, only)), ("rates",), as_json=chosen.json)


if __name__ == "__main__":
    main()

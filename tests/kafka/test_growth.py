"""More partitions while connectors live, and topics that are not as they should be: said at the start."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytest
import rig
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from bench import Bench, World
from rig import ids, until

from ingest.cluster import Cluster, spread
from ingest.errors import Misconfigured
from schemas.control import Wish
from schemas.topics import TOPICS, fits, settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]
OWNED = {name for name, row in TOPICS.items() if row.spread == "owner"}


async def sluice(cluster: Cluster, *arguments: str) -> tuple[int, str, str]:
    """Call the command line as its users do."""
    config = cluster.config
    environment = {
        **os.environ, "SLUICE_KAFKA": cluster.bootstrap, "SLUICE_PREFIX": config.prefix,
        "SLUICE_KEY": config.key.get_secret_value(), "SLUICE_REPLICATION": "1", "NO_COLOR": "1",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sluice", *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def anew(cluster: Cluster) -> Cluster:
    """Look at the cluster as a process that starts now."""
    made = Cluster(cluster.config)
    await made.learn()
    return made


async def enlarge(cluster: Cluster, **topics: int) -> None:
    """Add partitions behind the product's back."""
    admin = await cluster.admin()
    try:
        for name, count in topics.items():
            await admin.create_partitions({cluster.name(name.replace("_", "-")): NewPartitions(count)})
    finally:
        await admin.close()

    async def known() -> bool:
        await cluster.count()
        return all(cluster.counts[name.replace("_", "-")] == count for name, count in topics.items())

    await until(known)
    await cluster.ready()


async def alter(cluster: Cluster, topic: str, changes: Mapping[str, str]) -> None:
    """Set a topic's settings to those of the table but for some."""
    configs = {**settings(TOPICS[topic], 1), **changes}
    admin = await cluster.admin()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, cluster.name(topic), configs=configs)
        await admin.alter_configs([resource])

        async def known() -> bool:
            (reply,) = await admin.describe_configs([ConfigResource(resource.resource_type, resource.name)])
            found = {entry[0]: entry[1] for entry in reply.resources[0][4]}
            return all(found[name] == value for name, value in configs.items())

        await until(known)
    finally:
        await admin.close()


async def test_growing_moves_nobody(cluster: Cluster, world: World, bench: Any, read: Any) -> None:
    """Under load, by the command and a rolling restart: all stay where they were, new ones use the new."""
    world.page = 20
    for name, partition in (("a", 0), ("b", 1)):
        await bench.wish(name, partition=partition)
    feeding = asyncio.create_task(_feed(world))
    async with bench.process():
        await until(lambda: _more(cluster, 40))
        code, out, err = await sluice(cluster, "topics", "grow", "4", "--yes")
        assert (code, out) == (0, "done: set SLUICE_PARTITIONS=4, then restart all roles one by one\n")
        assert f"{cluster.name('inbox')}: 2 -> 4" in err
        await cluster.ready()
        grown = await anew(cluster)
        later = Bench(grown, world, key=bytes(32))
        async with later.process() as second:
            await until(lambda: any(held.started.is_set() for held, _ in second.ownership._tenures.values()))
    # The old process is gone; what follows is the restarted one.
    wishes = [Wish.load(one.value() or b"") for one in await read("connectors")]
    taken = [one.partition for one in wishes]
    new = spread("c", range(grown.owners), taken)
    async with later.process() as last:
        await later.wish("c", partition=new)
        await until(lambda: len(last.ownership._tenures) == 4 and not last.ownership.waiting())
        feeding.cancel()
        total = len(world.log)
        await until(lambda: _more(grown, 3 * total))
    found = await rig.read(grown, "activities")
    by_name = {
        name: sorted(ids([one for one in found if f"/i-{name}/".encode() in (one.key() or b"")]), key=int)
        for name in "abc"
    }

    assert new in {2, 3}
    assert {one.name: one.partition for one in wishes} == {"a": 0, "b": 1}
    assert by_name == {name: [str(number) for number in range(total)] for name in "abc"}
    assert {name for name, count in grown.counts.items() if count == 4} == OWNED
    assert {count for name, count in grown.counts.items() if TOPICS[name].spread == "entity"} == {2}


async def _feed(world: World) -> None:
    while True:
        now = int(time.time() * 1000)
        start = len(world.log)
        world.log += [{"id": number, "time": now, "who": "u1"} for number in range(start, start + 5)]
        await asyncio.sleep(0.05)


async def _more(cluster: Cluster, count: int) -> bool:
    return len(await rig.read(cluster, "activities")) >= count


async def test_a_half_grown_deployment_is_refused(cluster: Cluster) -> None:
    """State of other partitions than the inbox has: what, how many, and the command that mends it."""
    await enlarge(cluster, cursors=3)
    with pytest.raises(Misconfigured) as refused:
        await Cluster(cluster.config).learn()
    code, out, err = await sluice(cluster, "status")
    assert (code, out) == (1, "")
    assert str(refused.value) in err

    assert str(refused.value) == (
        f"{cluster.name('cursors')} (3) must have as many partitions as {cluster.name('inbox')} (2): "
        "bring all to the same with `sluice topics grow 3`"
    )
    assert (await sluice(cluster, "topics", "grow", "2", "--yes"))[0] == 1
    code, out, _ = await sluice(cluster, "topics", "grow", "3", "--yes", "--json")
    assert code == 0
    assert set(json.loads(out)["grown"]) == {cluster.name(name) for name in OWNED - {"cursors"}}
    await cluster.ready()
    assert (await anew(cluster)).owners == 3
    assert (await sluice(cluster, "topics", "grow", "3"))[:2] == (0, "they have as many\n")


@pytest.mark.parametrize(
    ("more", "why"),
    [({"scans": 3}, "must have equally many partitions"), ({"findings": 3}, "must not have more partitions")],
)
async def test_topics_by_key_that_grew_are_refused(cluster: Cluster, more: dict[str, int], why: str) -> None:
    """A file's requests and its scans in different partitions, or events that no owner would work on."""
    await enlarge(cluster, **more)
    with pytest.raises(Misconfigured, match=why):
        await Cluster(cluster.config).learn()


async def test_grow_asks(cluster: Cluster) -> None:
    """Off a terminal nothing is done without a yes; less than there is can't be had."""
    code, out, err = await sluice(cluster, "topics", "grow", "4")
    assert (code, out) == (2, "")
    assert f"{cluster.name('seen')}: 2 -> 4" in err
    code, _, err = await sluice(cluster, "topics", "grow", "1", "--yes")
    assert code == 1
    assert "there are 2 partitions already" in err
    assert (await anew(cluster)).owners == 2


@pytest.mark.parametrize(
    ("topic", "found"), [("cursors", "delete"), ("inbox", "compact"), ("files", "compact,delete")]
)
async def test_a_setting_that_loses_records_stops_the_start(cluster: Cluster, topic: str, found: str) -> None:
    """Topic, setting, is and should, and the command that sets it: at the start, and in `doctor`."""
    await alter(cluster, topic, {"cleanup.policy": found})
    should = TOPICS[topic].config["cleanup.policy"]
    told = f"{cluster.name(topic)}: cleanup.policy is {found}, should be {should}"
    with pytest.raises(Misconfigured) as refused:
        await Cluster(cluster.config).learn()
    _, out, _ = await sluice(cluster, "doctor")
    code, rows, _ = await sluice(cluster, "topics", "check", "--json")

    assert str(refused.value) == (
        f"{told}; records would be lost. Set it: kafka-configs.sh --alter --entity-type topics "
        f"--entity-name {cluster.name(topic)} --add-config 'cleanup.policy=[{should}]'"
    )
    assert told in out
    assert code == 1
    assert json.loads(rows) == [
        {"topic": cluster.name(topic), "setting": "cleanup.policy", "wanted": should, "found": found}
    ]


async def test_other_settings_are_told_and_run(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """What only costs is a warning with the same words; what is kept longer is nobody's business."""
    await alter(cluster, "inbox", {"retention.ms": "1000", "max.message.bytes": "1000"})
    await alter(cluster, "activities", {"retention.ms": "-1"})
    await alter(cluster, "files", {"delete.retention.ms": "9999999999"})
    capsys.readouterr()
    await anew(cluster)
    lines = [line for line in capsys.readouterr().out.splitlines() if "differs" in line]

    assert len(lines) == 2
    for setting, found, should in (("retention.ms", 1000, 604800000), ("max.message.bytes", 1000, 1100000)):
        (line,) = (each for each in lines if f"setting={setting}" in each)
        for part in (f"topic={cluster.name('inbox')}", f"found={found}", f"should={should}"):
            assert part in line


def test_what_counts_as_a_difference() -> None:
    """Order in a list and more than wanted do not; two of three brokers have what is acknowledged."""
    assert fits("cleanup.policy", "compact,delete", "delete,compact")
    assert not fits("cleanup.policy", "compact", "compact,delete")
    assert fits("retention.ms", "5", "-1")
    assert fits("retention.ms", "5", "6")
    assert not fits("retention.ms", "5", "4")
    assert not fits("max.message.bytes", "5", "")
    assert settings(TOPICS["inbox"], 3)["min.insync.replicas"] == "2"
    assert "min.insync.replicas" not in settings(TOPICS["inbox"], 1)

"""Records that an earlier release stored: today's readers know them, lose nothing, and refuse later ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import rig
from bench import Bench, World
from hypothesis import given
from hypothesis import strategies as st
from rig import ids, latest, store, until

import consumers.lanes  # noqa: F401 its records count among the subclasses
from ingest import metrics
from ingest.cluster import Cluster
from ingest.consuming import Incoming
from ingest.errors import Misconfigured
from ingest.producing import Outgoing
from ingest.state import PartitionState
from ingest.windows import now_ms
from schemas.control import Record, UnreadableRecordError
from schemas.envelope import parse

FOLDER = Path(__file__).parents[1] / "fixtures" / "v1"
STORED = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
LIVED = [json.loads(line) for line in (FOLDER / "deployment.jsonl").read_text("utf-8").splitlines()]
AT = 1_767_225_600_000
FLEETING = {"QuotaAsk", "QuotaGrant"}
"""Shares of a quota are good for seconds, and asked for anew."""
KINDS = {kind.__name__: kind for kind in Record.__subclasses__()}


def loaded(name: str, **more: Any) -> tuple[Record, dict[str, Any]]:
    """Read a stored record, with more fields if wanted; give it and what it meant when it was stored."""
    one = STORED[name]
    value = one["value"].encode()
    if more:
        value = orjson.dumps({**orjson.loads(value), **more})
    return KINDS[one["kind"]].load(value), one["means"]


def test_every_kind_is_stored() -> None:
    """No control record that is kept is without a fixture of the first format."""
    ours = {name for name, kind in KINDS.items() if kind.__module__.startswith(("schemas.", "consumers."))}

    assert {one["kind"] for one in STORED.values()} == ours - FLEETING


@pytest.mark.parametrize("name", STORED)
def test_it_means_what_it_meant(name: str) -> None:
    """Every field reads as then, also what was left out: a default that changed would change the past."""
    record, means = loaded(name)

    now = record.model_dump(mode="json")
    assert {field: now.get(field) for field in means} == means


UNKNOWN = st.dictionaries(
    st.from_regex("x_[a-z]{1,8}", fullmatch=True),
    st.integers(-(2**63), 2**63) | st.text() | st.dictionaries(st.text(max_size=3), st.none()),
)


@given(st.sampled_from(sorted(STORED)), UNKNOWN)
def test_unknown_fields_survive_a_rewrite(name: str, more: dict[str, Any]) -> None:
    """What a later release adds to a record is still there after this one has changed the record."""
    record, means = loaded(name, **more)

    changed, was = next(pair for pair in means.items() if isinstance(pair[1], str | int) and pair[0] != "v")
    other = f"not {was}" if isinstance(was, str) else was + 77
    written = orjson.loads(record.model_copy(update={changed: other}).dump())
    assert {field: written.get(field) for field in more} == more
    assert written[changed] == other


@pytest.mark.parametrize("name", STORED)
def test_a_later_version_is_refused(name: str) -> None:
    """A record of version 2 ends in words that say what to do."""
    with pytest.raises(UnreadableRecordError, match="of version 2; this release reads up to 1: upgrade"):
        loaded(name, v=2)


def test_envelopes_are_read() -> None:
    """Headers of public records say what they said, of deletions as well."""
    found = [one for one in LIVED if one["headers"] and one["topic"] in {"activities", "files"}]
    read = [parse([(name, value.encode()) for name, value in one["headers"]]) for one in found]

    assert len(read) == 13
    assert {(one.tenant, one.provider, one.instance) for one in read} == {("acme", "registering", "i-prod")}
    assert {one.type for one in read} == {
        "ocsf.api_activity.create", "ocsf.cloud_resources_inventory_info.collect",
    }  # fmt: skip


def incoming() -> Iterator[Incoming]:
    """Give the stored deployment as it is read back."""
    for offset, one in enumerate(LIVED):
        value = None if one["value"] is None else one["value"].encode()
        yield Incoming(one["topic"], one["partition"], offset, one["key"].encode(), value, (), AT)


def test_a_stored_state_is_whole() -> None:
    """Cursors, seen, members, registration and inbox position of a deployment are as it left them."""
    state = PartitionState(1)
    topics = {place.topic for place in state.places()}
    for record in incoming():
        if record.topic in topics:
            state.take(record)
    state.settle()
    mine = state.connectors["prod"]

    assert state.unreadable == ""
    assert state.inbox.offset == 1
    assert {place: cursor.position for place, cursor in mine.cursors.items()} == {
        ("log", ""): 8, ("window", ""): None, ("files", ""): None,
    }  # fmt: skip
    assert len(mine.seen) == 12  # eleven occurrences, and the dead letter, which is one too
    assert mine.inventory.count("files") == 2
    assert [one.state for one in mine.registrations.values()] == ["active"]
    assert mine.status is not None
    assert mine.status.state == "running"


@pytest.mark.kafka
async def test_a_take_over_from_the_first_release(cluster: Cluster, read: Any) -> None:
    """On topics as the first release left them nothing is published again, and everything goes on."""
    stored = [
        Outgoing(one["topic"], one["partition"], one["key"].encode(),
                 None if one["value"] is None else one["value"].encode(),
                 [(name, value.encode()) for name, value in one["headers"]])
        for one in LIVED
    ]  # fmt: skip
    for record in stored:
        await store(cluster, record)
    world = World(
        log=[{"id": number, "time": AT + number, "who": "u1", "bad": number == 3} for number in range(8)],
        files={"f1": "a"}, late=[{"id": f"w{number}", "time": AT - number * 1000} for number in range(3)],
    )  # fmt: skip
    bench = Bench(cluster, world, key=bytes(range(32)))
    bench.clock.shift = AT + 60_000 - now_ms()
    made = {one["key"]: orjson.loads(one["value"]) for one in LIVED if one["topic"] == "subscriptions"}
    world.registered[made["prod/Callback/"]["id"]] = {"address": "as it was"}
    before = sorted(ids(await read("activities")))
    async with bench.process():
        await until(lambda: world.reads > 2)
        world.log.append({"id": 8, "time": AT + 30_000, "who": "u1"})
        await until(lambda: _count(cluster, "activities", len(before) + 1))
        await until(lambda: _table(cluster, "files", {"f1"}))

    assert sorted(ids(await read("activities"))) == sorted([*before, "8"])
    assert world.calls == []
    assert list(world.registered) == [made["prod/Callback/"]["id"]]


async def _count(cluster: Cluster, topic: str, wanted: int) -> bool:
    return len(await rig.read(cluster, topic)) == wanted


async def _table(cluster: Cluster, topic: str, wanted: set[str]) -> bool:
    found = latest(await rig.read(cluster, topic))
    return {name.split("/", 3)[3] for name in found} == wanted


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("topic", "raw"),
    [("cursors", b"new/log/"), ("cursors", b"@inbox/0"), ("seen", b"new/0"), ("members", b"new/files//1/1"),
     ("subscriptions", b"new/Callback/"), ("credentials", b"new")],
)  # fmt: skip
async def test_a_later_release_keeps_its_partition(
    bench: Any, world: World, read: Any, topic: str, raw: bytes
) -> None:
    """State of version 2 leaves its partition unowned, said so, while the others run; nothing is written."""
    world.log = [{"id": number, "time": AT, "who": "u1"} for number in range(5)]
    await bench.wish("new", partition=0)
    await bench.wish("old", partition=1)
    value = orjson.dumps({"v": 2, "incarnation": "1", "all": "different"})
    await store(bench.cluster, Outgoing(topic, 0, raw, value))
    async with bench.process() as process:
        await until(lambda: _count(bench.cluster, "activities", 5))
        held, _ = process.ownership._tenures[0]
        with pytest.raises(
            Misconfigured, match=rf"can't read all of the state: {topic} .* reads up to 1: upgrade"
        ):
            await held.run()
        await until(lambda: "upgrade" in process.ownership.waiting())
        waiting = process.ownership.waiting()
        running = metrics.owned.labels("ingest")._value.get()
    keys = {one.key() for one in await read("activities")}

    assert waiting.startswith("taking over partitions 0; 0: this release can't read all of the state")
    assert running == 1
    assert keys == {b"default/plain/i-old/u1"}
    assert [one.value() for one in await read(topic) if one.partition() == 0] == [value]

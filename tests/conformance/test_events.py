"""Every event has an id of its own and fits the official schema; a hostile record costs itself alone."""

import copy
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from reading import Connected, all_pages

from ingest.mapping import Prepared, Source
from ingest.provider import Feed, Json
from schemas.topics import TOPICS, is_inventory, topic_of
from schemas.validation import encode, validate

DEEP: Json = []
for _ in range(200):
    DEEP = [DEEP]
HOSTILE: tuple[Json, ...] = (
    {}, None, [], "", 0, True, "a text", [[]], [{}], {"": None}, {"id": None}, {"records": []}, 2**70,
    float("nan"), "\ud800", {"\x00": "\x00"}, DEEP, {"id": DEEP}, {"id": "x" * 2_000_000},
)  # fmt: skip
WRONG: tuple[Json, ...] = (None, {}, [], "", -1, 2**63, True, "\x00\ud800", [None], {"a": {"b": DEEP}})
MUTATED = 12
"""Records of a feed that are spoilt in all their fields."""


async def test_ids_are_unique(reader: tuple[Connected, str]) -> None:
    """No two records of a feed have one id; of an inventory each entity comes once."""
    one, name = reader
    events = one.events(name, all_pages(await one.once(name)))
    ids = Counter(made["metadata"]["uid"] for made in events)
    assert [found for found, count in ids.items() if count > 1] == []
    if one.feed(name).reads_all:
        entities = Counter(made["metadata"]["original_event_uid"] for made in events)
        assert [found for found, count in entities.items() if count > 1] == []


async def test_every_event_fits_the_official_schema(
    reader: tuple[Connected, str], official: Callable[[Any], list[str]]
) -> None:
    """A well-kept tenant's records all map, fit OCSF's schema and ours, and have a topic."""
    one, name = reader
    judged = 0
    for made in one.events(name, all_pages(await one.once(name))):
        assert official(made) == []
        encode(validate(made))
        assert topic_of(made) in TOPICS
        judged += 1
    assert judged


async def test_a_full_read_fills_one_inventory(reader: tuple[Connected, str]) -> None:
    """A full read yields one inventory's entities, a feed of occurrences what it says it covers."""
    one, name = reader
    topics = {topic_of(made) for made in one.events(name, all_pages(await one.once(name)))}
    if one.feed(name).reads_all:
        assert len(topics) == 1
        assert all(is_inventory(topic) for topic in topics)


def spoilt(record: Json) -> Iterator[Json]:
    """Spoil a record: each field, two levels deep, missing or of another type."""
    if not isinstance(record, dict):
        return
    for name, value in record.items():
        for wrong in WRONG:
            yield {**record, name: wrong}
        yield {key: one for key, one in record.items() if key != name}
        if isinstance(value, dict):
            for inner in value:
                for wrong in WRONG:
                    made = copy.deepcopy(record)
                    made[name][inner] = wrong
                    yield made


async def bad_records(one: Connected, name: str) -> list[tuple[str, Json]]:
    """List spoilt records of a feed with the mapper they are for."""
    feed = one.feed(name)
    made = [(mapper, record) for mapper in feed.to for record in HOSTILE]
    seen: set[tuple[str, ...]] = set()
    for page in all_pages(await one.once(name)):
        for record in page.records:
            shape = tuple(sorted(record)) if isinstance(record, dict) else ()
            if shape in seen or len(seen) >= MUTATED:
                continue
            seen.add(shape)
            made += [(page.mapper, bad) for bad in spoilt(record)]
    return made


def prepared(one: Connected, feed: Feed, mapper: str, record: Json) -> Prepared:
    """Prepare one record as the core does."""
    return one.preparation().prepare([record], Source(feed.name, "", feed.to[mapper], mapper))


async def test_a_hostile_record_costs_itself_alone(
    reader: tuple[Connected, str], official: Callable[[Any], list[str]]
) -> None:
    """Whatever is in a record, its mapping ends soon: in events that fit, or in one dead letter."""
    one, name = reader
    feed, odd = one.feed(name), set[str]()
    for mapper, record in await bad_records(one, name):
        began = time.monotonic()
        made = prepared(one, feed, mapper, record)
        assert time.monotonic() - began < 2.0
        for out in made.records:
            if out.value is None or out.topic not in TOPICS or TOPICS[out.topic].role != "public":
                continue
            event = orjson.loads(out.value)
            odd.update(f"{complaint} in {out.topic}"[:160] for complaint in official(event))
    assert sorted(odd)[:10] == []


async def test_a_bad_record_does_not_cost_its_neighbours(reader: tuple[Connected, str]) -> None:
    """Between two bad records a good one goes out as if it were alone."""
    one, name = reader
    feed = one.feed(name)
    page = next(page for page in all_pages(await one.once(name)) if page.records)
    source = Source(feed.name, "", feed.to[page.mapper], page.mapper)

    alone = one.preparation().prepare(page.records, source)
    amid = one.preparation().prepare([None, *page.records, {"id": DEEP}], source)

    assert alone.letters == 0
    assert amid.letters == 2
    assert topics(amid) == topics(alone)


def topics(made: Prepared) -> list[str]:
    """Name where records go, dead letters apart."""
    return [out.topic for out in made.records if out.topic not in {"dead-letters", "health"}]


async def test_mappers_do_not_change_their_record(reader: tuple[Connected, str]) -> None:
    """A mapper leaves the record as it was: a dead letter holds it as the provider sent it."""
    one, name = reader
    for page in all_pages(await one.once(name))[:3]:
        for record in page.records[:20]:
            before = orjson.dumps(record, default=str)
            prepared(one, one.feed(name), page.mapper, record)
            assert orjson.dumps(record, default=str) == before

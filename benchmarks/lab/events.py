"""The records of a trail file as the product makes them of it, for benchmarks that need them ready."""

from collections.abc import Sequence
from typing import Final

from ingest.cluster import Cluster
from ingest.producing import Outgoing
from ingest.providers.aws import Aws
from ingest.providers.aws.events import trail_record
from ingest.providers.aws.trail import unpack
from ingest.reads import Event, Instance
from lab.records import ACCOUNT
from schemas.envelope import headers
from schemas.events import Origin, entity_of, stamp
from schemas.topics import topic_of
from schemas.validation import encode

HERE: Final = Instance(ACCOUNT)
ORIGIN: Final = Origin(
    tenant="acme", provider="aws", instance=ACCOUNT, account_type_id=10,
    product={"name": Aws.title, "vendor_name": Aws.vendor},
)  # fmt: skip


def mapped(packed: bytes) -> list[Event]:
    """Map a file's records."""
    return [event for record in unpack(packed) for event in trail_record(record, HERE)]


def stamped(events: Sequence[Event]) -> list[Event]:
    """Stamp events."""
    return [stamp(event, ORIGIN, 1) for event in events]


def outgoing(cluster: Cluster, events: Sequence[Event]) -> list[Outgoing]:
    """Make records of stamped events."""
    made = []
    for event in events:
        topic, entity = topic_of(event), entity_of(event)
        key = ORIGIN.key(entity).encode()
        head = headers(event, ORIGIN, topic=topic, entity=entity)
        made.append(Outgoing(topic, cluster.partition(topic, key), key, encode(event), head))
    return made


def made(cluster: Cluster, packed: bytes) -> list[Outgoing]:
    """Make a file's records."""
    return outgoing(cluster, stamped(mapped(packed)))

"""More partitions for the owners' topics: the one way to grow that moves nobody.

A connector's partition is stored in its wish, so those that are connected stay where they are. Topics spread
by the hash of their key are left alone: their keys would move, and an inventory would show entities twice.
"""

from aiokafka.admin import NewPartitions
from aiokafka.errors import KafkaError

from ingest.cluster import Cluster
from ingest.errors import Misconfigured
from schemas.topics import TOPICS


async def plan(cluster: Cluster, count: int) -> dict[str, int]:
    """Tell which topics get more partitions, and how many each has; `inbox`, whose group follows, is last.

    Raises:
        Misconfigured: Topics are missing, or one has more than that already.
    """
    await cluster.count()
    owned = [row.name for row in TOPICS.values() if row.spread == "owner"]
    if missing := set(owned) - set(cluster.counts):
        raise Misconfigured(f"topics are missing ({', '.join(sorted(missing))}): `sluice topics create`")
    most = max(cluster.counts[name] for name in owned)
    if count < most:
        raise Misconfigured(f"there are {most} partitions already, and Kafka takes none away")
    short = [name for name in owned if cluster.counts[name] < count]
    return {name: cluster.counts[name] for name in sorted(short, key="inbox".__eq__)}


async def grow(cluster: Cluster, count: int) -> None:
    """Give them that many, one topic after another; cut off, it goes on where it was when run again.

    Raises:
        Misconfigured: Kafka refuses.
    """
    wanted = await plan(cluster, count)
    admin = await cluster.admin()
    try:
        for name in wanted:
            await admin.create_partitions({cluster.name(name): NewPartitions(count)}, timeout_ms=30_000)
    except KafkaError as error:
        raise Misconfigured(
            f"Kafka refuses more partitions ({type(error).__name__}): this user needs Alter on topics "
            f"{cluster.config.prefix}*; then run it again"
        ) from None
    finally:
        await admin.close()

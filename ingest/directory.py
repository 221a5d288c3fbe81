"""Who is connected: all wishes, read whole and followed, for processes that don't own their partition."""

from collections.abc import Callable

import structlog

from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Place, read_to_end
from schemas.control import UnreadableRecordError, Wish

_log = structlog.get_logger(part="directory")


class Directory:
    """The connectors of the deployment by name."""

    def __init__(self, cluster: Cluster, follower: Follower) -> None:
        self._cluster, self._follower = cluster, follower
        self.wishes: dict[str, Wish] = {}
        self._listeners: list[Callable[[str], None]] = []

    async def start(self) -> None:
        """Read all wishes to their end, then follow them.

        Raises:
            UnreadableError: Kafka does not answer; not ready is not the same as empty.
        """
        places = [Place("connectors", number) for number in range(self._cluster.owners)]
        ends = await read_to_end(self._cluster, places, self._take)
        for place in places:
            self._follower.follow(place, ends.get(place, 0), self._deliver)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Have a function called with the name of each connector that changes."""
        self._listeners.append(listener)

    def elsewhere(self, provider: str, name: str) -> frozenset[str]:
        """Name the instances of a provider that other connectors than this one are connected to."""
        return frozenset(
            wish.instance
            for wish in self.wishes.values()
            if wish.provider == provider and wish.name != name and wish.instance
            and wish.enabled and not wish.removing
        )  # fmt: skip

    def _deliver(self, records: list[Incoming]) -> None:
        for record in records:
            self._take(record)
            for listener in self._listeners:
                listener(record.key.decode("utf-8", "replace"))

    def _take(self, record: Incoming) -> None:
        name = record.key.decode("utf-8", "replace")
        if record.value is None:
            self.wishes.pop(name, None)
            return
        try:
            self.wishes[name] = Wish.load(record.value)
        except UnreadableRecordError as error:
            _log.warning("wish passed over", connector=name, why=str(error))

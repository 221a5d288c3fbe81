"""The policies of the deployment: read whole, then followed."""

import structlog

from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Place, read_to_end
from ingest.producing import Outgoing
from schemas.control import Policy, UnreadableRecordError

_PLACE = Place("policies", 0)
_log = structlog.get_logger(part="policies")


class Book:
    """The policies by name, in the order of their names."""

    def __init__(self) -> None:
        self.policies: dict[str, Policy] = {}

    async def start(self, cluster: Cluster, follower: Follower) -> None:
        """Read all to the end, then follow them.

        Raises:
            UnreadableError: Kafka does not answer; not ready is not the same as empty.
        """
        ends = await read_to_end(cluster, [_PLACE], self.take)
        follower.follow(_PLACE, ends.get(_PLACE, 0), self._deliver)

    def _deliver(self, records: list[Incoming]) -> None:
        for record in records:
            self.take(record)

    def take(self, record: Incoming) -> None:
        """Take in one policy; a damaged one, or one of a newer release, is switched off with a warning."""
        name = record.key.decode("utf-8", "replace")
        self.policies.pop(name, None)
        if record.value is None:
            return
        try:
            self.policies[name] = Policy.load(record.value)
        except UnreadableRecordError as error:
            _log.warning("policy passed over", policy=name, why=str(error))
        self.policies = dict(sorted(self.policies.items()))


def written(policy: Policy) -> Outgoing:
    """Make the record that puts a policy in force."""
    return Outgoing("policies", 0, policy.name.encode(), policy.dump())


def removed(name: str) -> Outgoing:
    """Make the record that ends a policy."""
    return Outgoing("policies", 0, name.encode(), None)

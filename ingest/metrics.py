"""What operators watch, for Prometheus: base units, bounded labels, one prefix.

`instance` ids are never labels; alert on freshness (`last_success_timestamp_seconds`), not on single errors.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_FAST: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_DELAY: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_SCAN: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60)


def _counter(name: str, doc: str, *labels: str) -> Counter:
    return Counter(f"sluice_{name}", doc, labels)


def _gauge(name: str, doc: str, *labels: str) -> Gauge:
    return Gauge(f"sluice_{name}", doc, labels)


def _histogram(name: str, doc: str, buckets: Sequence[float], *labels: str) -> Histogram:
    return Histogram(f"sluice_{name}", doc, labels, buckets=buckets)


source_requests = _counter("source_requests", "Calls to providers.", "provider", "api", "outcome")
source_seconds = _histogram("source_request_seconds", "How long providers took.", _FAST, "provider", "api")
source_throttled = _counter("source_throttled", "Calls a provider throttled.", "provider", "api")
quota_remaining = _gauge("quota_remaining_ratio", "Budget left, 0 to 1.", "provider", "bucket")
quota_wait = _histogram("quota_wait_seconds", "How long calls waited for budget.", _FAST, "provider")
events_published = _counter("events_published", "Events committed.", "provider", "feed", "topic")
events_duplicate = _counter("events_duplicate", "Events that were published before.", "provider", "feed")
events_recovered = _counter(
    "events_recovered", "Events that polls found and a push should have brought.", "provider", "feed"
)
dead_letters = _counter("dead_letters", "Records that could not be used.", "provider", "feed", "reason")
cursor_age = _gauge("cursor_age_seconds", "How far behind the slowest axis is.", "provider", "feed")
event_delay = _histogram(
    "event_delay_seconds",
    "From occurrence to commit, of each page's oldest and newest.",
    _DELAY,
    "provider",
    "feed",
)
last_success = _gauge(
    "last_success_timestamp_seconds", "When a feed last read to its end.", "provider", "feed"
)
webhook_deliveries = _counter("webhook_deliveries", "Deliveries received.", "provider", "outcome")
subscription_expires = _gauge("subscription_expires_seconds", "Until the next registration ends.", "provider")
transaction_seconds = _histogram("transaction_seconds", "How long transactions took.", _FAST)
transaction_records = _histogram(
    "transaction_records", "Records in a transaction.", (1, 10, 100, 500, 1000, 2000, 5000)
)
fenced = _counter("fenced", "Times another process took over.")
owned = _gauge("owned_partitions", "Partitions this process owns and runs.", "group")
in_flight = _gauge("in_flight_bytes", "Bytes waiting for Kafka.")
connectors = _gauge("connectors", "Connectors this process runs.", "provider", "state")
scan_seconds = _histogram("scan_seconds", "How long a file's scan took.", _SCAN, "status")
governance_actions = _counter("governance_actions", "Actions attempted.", "action", "outcome", "dry_run")


class Worst:
    """A gauge over many axes that shows the worst of them: the last writer must not hide the others.

    It is picked when it is asked for, which is seldom: each poll of each axis notes a value.
    """

    def __init__(self, gauge: Gauge, pick: Callable[[Iterable[float]], float]) -> None:
        self._gauge, self._pick = gauge, pick
        self._values: dict[tuple[str, ...], dict[object, float]] = {}

    def note(self, labels: tuple[str, ...], who: object, value: float) -> None:
        """Note the value of one axis."""
        values = self._values.get(labels)
        if values is None:
            values = self._values[labels] = {}
            self._gauge.labels(*labels).set_function(partial(self._worst, values))
        values[who] = value

    def forget(self, labels: tuple[str, ...], who: object) -> None:
        """Leave an axis out from now on."""
        values = self._values.get(labels, {})
        values.pop(who, None)
        if not values and self._values.pop(labels, None) is not None:
            self._gauge.remove(*labels)

    def _worst(self, values: dict[object, float]) -> float:
        return self._pick(values.values())


worst_cursor_age = Worst(cursor_age, max)
oldest_success = Worst(last_success, min)


class Meter:
    """What the HTTP client and SDK calls of one connector report."""

    def called(self, provider: str, api: str, operation: str, outcome: str, seconds: float) -> None:
        """Count one call; the operation is for logs, not a label."""
        del operation
        source_requests.labels(provider, api, outcome).inc()
        source_seconds.labels(provider, api).observe(seconds)

    def throttled(self, provider: str, api: str, bucket: str) -> None:
        """Count a call that the provider throttled."""
        del bucket
        source_throttled.labels(provider, api).inc()

    def waited(self, provider: str, seconds: float) -> None:
        """Note how long a call waited for its budget."""
        quota_wait.labels(provider).observe(seconds)

    def remaining(self, provider: str, bucket: str, ratio: float) -> None:
        """Note how much of a bucket is left, 0 to 1."""
        quota_remaining.labels(provider, bucket).set(ratio)


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Render all metrics in Prometheus' text format."""
    return generate_latest(registry)

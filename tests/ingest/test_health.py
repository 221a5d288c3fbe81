"""The operator's port, asked over HTTP."""

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest import metrics
from ingest.health import Health


async def ask(health: Health, path: str) -> tuple[int, str, str]:
    """Get a page."""
    async with aiohttp.ClientSession() as http, http.get(health.address + path) as answer:
        return answer.status, await answer.text(), answer.content_type


async def test_alive_ready_and_metrics() -> None:
    """Alive is always; ready only without a reason why not; metrics parse as Prometheus reads them."""
    reasons = ["taking over partitions 1, 2"]
    health = Health(lambda: reasons[-1])
    await health.start()
    try:
        assert health.address.startswith("http://127.0.0.1:")
        assert await ask(health, "/healthz") == (200, "alive\n", "text/plain")
        assert await ask(health, "/readyz") == (503, "taking over partitions 1, 2\n", "text/plain")
        reasons.append("")
        assert await ask(health, "/readyz") == (200, "ready\n", "text/plain")
        metrics.events_duplicate.labels("toy", "f").inc()
        status, text, kind = await ask(health, "/metrics")
        assert (status, kind) == (200, "text/plain")
        families = {one.name: one for one in text_string_to_metric_families(text)}
        assert "sluice_events_duplicate" in families
        assert (await ask(health, "/else"))[0] == 404
    finally:
        await health.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(health, "/healthz")


async def test_a_taken_port_is_an_error() -> None:
    """Two processes on one port: the second does not start silently without."""
    first = Health(lambda: "")
    await first.start()
    second = Health(lambda: "", port=int(first.address.rpartition(":")[2]))
    with pytest.raises(OSError, match="address"):
        await second.start()
    for each in (first, second):
        await each.stop()


async def test_stopping_what_never_started_is_fine() -> None:
    """A role that failed before its port was open stops cleanly."""
    await Health(lambda: "").stop()


def test_metrics_have_one_prefix_and_bounded_labels() -> None:
    """Every metric of ours begins with `sluice_`, and none has an instance, connector or id as label."""
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    ours = [one for one in families if one.name.startswith("sluice_")]
    assert len(ours) > 20
    labels = {label for one in ours for sample in one.samples for label in sample.labels}
    assert not labels & {"instance", "connector", "tenant", "id", "user", "axis"}
    assert all(one.documentation for one in ours)

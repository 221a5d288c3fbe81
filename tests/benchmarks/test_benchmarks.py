"""The benchmarks run: each in small, as a process of its own, printing one JSON document."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(name: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark quickly and read what it prints."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.kafka
def test_publish_compares_three_ways() -> None:
    """Every size of group is written in every way, and the plain batches are the measure."""
    rows = run("publish")["cost"]
    assert [(row["group"], row["CPU, times plain"] == 1.0) for row in rows] == [
        (group, plain) for group in (100, 1000, 2000) for plain in (False, True, False)
    ]
    assert all(row["events/s of wall"] > 0 for row in rows)


@pytest.mark.kafka
def test_poll_commits_what_it_counts() -> None:
    """An independent reader finds as many events as were counted, and the stages add up to the whole."""
    found = run("poll")
    assert found["rates"][0]["events"] == 4000
    assert found["read back by librdkafka"] == 7000
    stages = {row["stage"]: row["share, %"] for row in found["stages"]}
    assert sum(stages.values()) - stages["whole"] == pytest.approx(100.0)


@pytest.mark.kafka
def test_idle_reads_every_axis_and_rests() -> None:
    """Two connectors with ten axes each come to rest."""
    (row,) = run("idle")["idle"]
    assert (row["connectors"], row["axes"]) == (2, 20)
    assert row["RSS, MB"] > 0


@pytest.mark.kafka
def test_receive_compares_three_ways() -> None:
    """Whoever answers has stored, and no stranger is taken."""
    found = run("receive")
    assert found["answered but not stored"] == 0
    assert [row["times the best plain"] > 0 for row in found["rates"]] == [True] * 3
    assert sum(row["strangers taken"] for row in found["delays"]) == 0


@pytest.mark.kafka
def test_nothing_answered_is_lost_while_kafka_is_away() -> None:
    """Frozen or killed, what was answered with success is in the inbox."""
    rows = run("away")["outages"]
    assert [row["Kafka"] for row in rows] == ["frozen", "killed"]
    assert [row["answered but not stored"] for row in rows] == [0, 0]
    assert all(row["answered 200"] > 0 and row["told to come again"] > 0 for row in rows)


@pytest.mark.kafka
def test_peers_store_every_record() -> None:
    """Both read a log to its end; those of others need environments of their own."""
    rows = run("peers")["rates"]
    assert [row["by"] for row in rows] == ["sluice", "plain librdkafka"]
    assert all(row["version"] for row in rows)


def test_quota_is_never_exceeded() -> None:
    """A small org is read without a refusal."""
    rows = run("quota", "--only", "okta")["reads"]
    assert [row["refused"] for row in rows] == [0]


def test_trail_files_differ_in_their_ids_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No id comes twice in two files, and all records have the promised size."""
    monkeypatch.syspath_prepend(FOLDER)
    trail = importlib.import_module("lab.records").Trail(50)
    ids = [record["eventID"] for number in (1, 2) for record in trail.records(number)]
    assert len(set(ids)) == 100
    assert 1100 < trail.size < 1300

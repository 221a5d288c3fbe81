"""The commands that need no Kafka, as a process: what they print, and how they end."""

import asyncio
import base64
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from sluice.__main__ import app

pytestmark = pytest.mark.slow

RECORD = {
    # AWS CloudTrail user guide, "CloudTrail log file examples", IAM, shortened.
    "eventVersion": "1.08", "eventTime": "2023-07-19T21:11:57Z", "eventSource": "iam.amazonaws.com",
    "eventName": "CreateUser", "awsRegion": "us-east-1", "sourceIPAddress": "192.0.2.0",
    "userAgent": "aws-cli/2.13.5", "eventID": "ba0801a1-87ec-4d26-be87-example", "readOnly": False,
    "eventType": "AwsApiCall", "recipientAccountId": "123456789012",
    "userIdentity": {"type": "IAMUser", "principalId": "EXAMPLE6E4XEGITWATV6R", "accountId": "123456789012",
                     "arn": "arn:aws:iam::123456789012:user/Mary_Major", "userName": "Mary_Major"},
    "requestParameters": {"userName": "Richard_Roe"},
    "responseElements": {"user": {"userName": "Richard_Roe", "userId": "EXAMPLEUHNAYWMXTIVNTN",
                                  "arn": "arn:aws:iam::123456789012:user/Richard_Roe"}},
}  # fmt: skip
COMMANDS = (
    "demo", "up", "run", "connect", "disable", "enable", "disconnect", "apply", "status", "providers",
    "normalize", "scan", "act", "undo", "approve", "dead-letters", "topics", "tail", "schemas", "key",
    "doctor",
)  # fmt: skip


async def test_help_lists_every_command_and_is_quick(shell: Any) -> None:
    """The help names all commands; nothing heavy is loaded for it, so even a busy machine shows it soon."""
    began = time.monotonic()
    said = await shell("--help")
    assert said.code == 0
    assert time.monotonic() - began < 2.0
    for name in COMMANDS:
        assert re.search(rf"│ {name} ", said.out), name
    for absent in ("sweep", "replay", "console"):
        assert f"│ {absent} " not in said.out


@pytest.mark.parametrize("name", [*COMMANDS, "topics list", "dead-letters retry", "key rotate"])
def test_every_command_teaches_by_an_example(name: str) -> None:
    """Each command's own help shows a call."""
    said = CliRunner().invoke(app, [*name.split(), "--help"])
    assert said.exit_code == 0
    if name not in {"dead-letters", "topics", "schemas", "key"}:
        assert "Example: " in said.output


async def test_version(shell: Any) -> None:
    """The version is one line."""
    assert re.fullmatch(r"sluice \d+\.\d+\.\d+\n", (await shell("--version")).out)


@pytest.mark.parametrize(
    "call",
    [
        ("frobnicate",),
        ("connect", "aws"),
        ("connect", "aws", "Not A Name", "--settings", "-"),
        ("normalize", "nothing-like-it"),
        ("normalize", "aws", "--feed", "nothing-like-it"),
        ("normalize", "aws"),
        ("scan", "/nowhere/at/all"),
        ("scan", "/etc/hostname", "--fail-on", "extreme"),
        ("run", "nothing-like-it"),
        ("act", "prod", "tear", "page"),
        ("undo", "abc"),
        ("apply", "-"),
        ("disconnect", "prod"),
        ("dead-letters", "discard", "abcd"),
    ],
)
async def test_a_wrong_call_is_2_and_one_message(shell: Any, call: tuple[str, ...]) -> None:
    """What is called wrongly ends with 2 before anything is reached, nothing on stdout."""
    said = await shell(*call, SLUICE_KAFKA="127.0.0.1:1")
    assert (said.code, said.out) == (2, "")
    assert said.err


@pytest.mark.parametrize("call", [("status",), ("topics", "check"), ("tail", "findings"), ("key", "rotate")])
async def test_without_a_kafka_it_says_so(shell: Any, call: tuple[str, ...]) -> None:
    """No Kafka named and none running here: 1, and what to do."""
    said = await shell(*call)
    assert said.code == 1
    assert said.err == "sluice: no Kafka: set SLUICE_KAFKA or start `sluice up`\n"


async def test_a_wrong_setting_is_named_without_its_value(shell: Any, canary: str) -> None:
    """A setting that does not fit ends with 2; its value is not repeated."""
    said = await shell("status", SLUICE_PARTITIONS=canary)
    assert said.code == 2
    assert "SLUICE_PARTITIONS" in said.err


async def test_providers_as_json(shell: Any) -> None:
    """The capability table is one JSON document."""
    said = await shell("providers", "--json")
    rows = {row["provider"]: row for row in json.loads(said.out)}
    assert rows["aws"]["capabilities"]["logons"] == "yes"
    assert (said.code, said.err) == (0, "")


async def test_normalize_makes_valid_events(shell: Any, official: Any) -> None:
    """CloudTrail's documented record becomes an event that OCSF's own schema accepts."""
    said = await shell("normalize", "aws", "--feed", "lookup", given=orjson.dumps(RECORD) + b"\n\n")
    (line,) = said.out.splitlines()
    made = json.loads(line)
    assert official(made) == []
    assert (said.code, said.err) == (0, "")
    assert made["actor"]["user"]["name"] == "Mary_Major"
    again = await shell("normalize", "aws", "--feed", "lookup", given=orjson.dumps(RECORD))
    assert json.loads(again.out)["metadata"]["uid"] == made["metadata"]["uid"]


async def test_normalize_names_bad_records_by_their_line(shell: Any, canary: str) -> None:
    """A record that is no record costs itself alone: its line is named, not its content; 1 at the end."""
    lines = [
        b"{" + canary.encode(),
        orjson.dumps({"secret": canary}),
        orjson.dumps(RECORD),
        b"[1, 2]",
        b'"x"',
    ]
    said = await shell("normalize", "aws", "--feed", "lookup", given=b"\n".join(lines))
    assert said.code == 1
    assert len(said.out.splitlines()) == 1
    assert [line.partition(":")[0] for line in said.err.splitlines()[:-1]] == [
        "line 1", "line 2", "line 4", "line 5",
    ]  # fmt: skip


async def test_scan_finds_and_masks(shell: Any, tmp_path: Path) -> None:
    """A card number (ISO/IEC 7812 check digit) is found in a folder and shown masked; 3 from the level on."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_text("card 4539578763621486\n")
    (tmp_path / "b.txt").write_text("nothing here\n")
    said = await shell("scan", str(tmp_path), "--json", "--fail-on", "high")
    rows = {Path(row["path"]).name: row for row in map(json.loads, said.out.splitlines())}
    assert said.code == 3
    assert rows["b.txt"]["findings"] == []
    (found,) = rows["a.txt"]["findings"]
    assert (found["detector"], found["places"][0]["offset"]) == ("credit_card", 5)
    assert "4539578763621486" not in said.out + said.err
    plain = await shell("scan", str(tmp_path))
    assert plain.code == 0
    assert "4539578763621486" not in plain.out
    assert "a.txt" in plain.out


async def test_scan_survives_hostile_names(shell: Any, tmp_path: Path) -> None:
    """A file's name can't speak to the terminal, be no UTF-8, or lead out of the folder by a link."""
    (tmp_path / "\x1b[31mred.txt").write_text("card 4539578763621486\n")
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("card 4539578763621486\n")
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    for call in (("scan", str(tmp_path)), ("scan", str(tmp_path), "--json")):
        said = await shell(*call)
        assert said.code == 0
        assert "\x1b" not in said.out
        assert "passwd" not in said.out
        assert "red.txt" in said.out


async def test_key_new_is_32_bytes(shell: Any) -> None:
    """A new key is 32 bytes of base64, another each time."""
    keys = {(await shell("key", "new")).out.strip() for _ in range(2)}
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {32}
    assert len(keys) == 2


async def test_topics_list_and_schemas_check(shell: Any) -> None:
    """The table of topics carries the prefix; the published schemas are what the code makes."""
    rows = json.loads((await shell("topics", "list", "--json", SLUICE_PREFIX="x.")).out)
    assert {"x.findings", "x.inbox"} <= {row["topic"] for row in rows}
    assert json.loads((await shell("schemas", "check", "--json")).out) == {"stale": []}


async def test_a_trace_only_when_asked_for(shell: Any) -> None:
    """SLUICE_DEBUG=1 shows where an error comes from; nothing else does (each call of a test looks)."""
    process = await asyncio.create_subprocess_exec(
        *shell.call("status"), env=shell.environment | {"SLUICE_DEBUG": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert b"Traceback" in err
    assert process.returncode == 1


async def test_doctor_says_what_is_missing(shell: Any) -> None:
    """Without a Kafka the doctor checks what there is, and ends with 1."""
    said = await shell("doctor", "--json")
    lines = {line["what"]: line for line in map(json.loads, said.out.splitlines())}
    assert lines["python"]["ok"]
    assert not lines["settings"]["ok"]
    assert "sluice up" in lines["settings"]["told"]
    assert said.code == 1

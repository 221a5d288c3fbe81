"""What a careless or hostile customer's account also holds."""

import gzip
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sandbox.aws import trail as trails
from sandbox.aws.truth import Account
from sandbox.documents import bomb, encrypted_word

if TYPE_CHECKING:
    from sandbox.aws.seed import Clients

BIG = 5 << 30
KEYS = {
    "spaces": "with spaces/and  two .txt",
    "unicode": "ünïcödé/日本語/🙂.txt",
    "parent": "../../etc/passwd",
    "slashes": "//double//slash.txt",
    "control": "control\x01\x1f\x7f.txt",
    "plus": "a+b=c&d?e#f%20.txt",
    "markup": "<script>alert(1)</script>&amp;.txt",
    "long": "x" * 1024,
    "folder": "folder/",
}
STRANGERS = (
    "hello from a stranger",
    "[]",
    "null",
    "42",
    "{",
    '{"Records": "none"}',
    '{"Records": [{"eventSource": "aws:ses"}]}',
    '{"Records": [{"s3": {}}]}',
    '{"Type": "Notification", "Message": "not json"}',
    '{"Type": "Notification", "Message": "{\\"s3Bucket\\": 1, \\"s3ObjectKey\\": null}"}',
    '{"detail-type": "Object Created", "source": "aws.s3", "detail": null}',
)


async def spoil(use: "Clients", truth: Account) -> None:
    """Add an empty bucket, odd keys, unreadable files, broken trail files and strangers' messages."""
    empty = f"example-empty-{truth.id}"
    await use.s3.create_bucket(Bucket=empty)
    truth.hostile["empty bucket"] = (empty, "")
    home = truth.buckets.documents

    async def put(name: str, key: str, body: bytes, **more: object) -> None:
        await use.s3.put_object(Bucket=home, Key=key, Body=body, **more)
        truth.hostile[name] = (home, key)

    for name, key in KEYS.items():
        await put(name, key, b"" if key.endswith("/") else b"nothing to see\n")
    await put("archived", "archive/2019.csv", b"id,name\n", StorageClass="GLACIER")
    await put("big", "backup/huge.bin", b"\0", Metadata={"hollow-size": str(BIG)})
    await put("encrypted", "hr/salaries.docx", encrypted_word())
    await put("bomb", "inbox/bomb.zip", bomb())
    await put("liar", "inbox/not really.pdf", b"PK\x03\x04 this is no pdf")
    await _trails(use, truth)
    await _messages(use, truth)


async def _trails(use: "Clients", truth: Account) -> None:
    """Files that are truncated, not gzip, without records, not JSON; the bucket announces them."""
    bucket = truth.buckets.trail
    whole = trails.packed(list(truth.events.values()))
    bodies = {
        "truncated trail": whole[: len(whole) // 2],
        "plain trail": b'{"Records": []}',
        "trail without records": gzip.compress(b'{"Rows": []}'),
        "trail that is no JSON": gzip.compress(b"\x00\x01{{{"),
    }
    when = datetime(2026, 1, 1, tzinfo=UTC)
    for i, (name, body) in enumerate(bodies.items()):
        key = trails.key(truth.id, truth.region, when, f"{i:016d}")
        await use.s3.put_object(Bucket=bucket, Key=key, Body=body)
        truth.hostile[name] = (bucket, key)


async def _messages(use: "Clients", truth: Account) -> None:
    """Texts that nobody asked for, the test event S3 sends at registration, a file that is not there."""
    test = {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2026-01-01T00:00:00.000Z",
        "Bucket": truth.buckets.trail,
    }
    gone = json.dumps({"s3Bucket": truth.buckets.trail, "s3ObjectKey": ["AWSLogs/gone.json.gz"]})
    bodies = [*STRANGERS, json.dumps(test), json.dumps({"Type": "Notification", "Message": gone})]
    send: Callable[..., Awaitable[object]] = use.sqs.send_message
    for body in bodies:
        await send(QueueUrl=truth.queue_url, MessageBody=body)
    truth.strangers += bodies

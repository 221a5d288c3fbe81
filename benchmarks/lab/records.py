"""Trail files for the benchmarks: 1,000 CloudTrail records of about 1.2 KB each, gzipped, no id twice.

The mix is a busy account's: calls by roles and users, reads of objects, sign-ins, changes of users. Files
differ in their ids alone, so that all cost the same and making them is quick.
"""

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import orjson

from sandbox.aws.records import Json, Records

ACCOUNT: Final = "123456789012"
PAGE: Final = 1000
_PEOPLE: Final = 200
_OBJECTS: Final = 2000
_MARK: Final = "f17e0000"
"""Stands at the start of every id of the template; each file has its own number there."""


class Trail:
    """Makes the files; the seed is fixed, so every run sees the same bytes but for the time."""

    def __init__(self, count: int = PAGE) -> None:
        """Make the template of a file with `count` records, an hour old."""
        self._chance = Random(20261121)
        self._made = Records(ACCOUNT, self._chance)
        began = datetime.now(UTC) - timedelta(hours=1)
        records = [self._record(began + timedelta(milliseconds=300 * n)) for n in range(count)]
        for record in records:
            for name in ("eventID", "requestID"):
                if name in record:
                    record[name] = _MARK + record[name][8:]
        self.count = count
        self._template = orjson.dumps({"Records": records})
        self.size = len(self._template) / count
        """Mean size of a record, in bytes."""

    def text(self, number: int) -> bytes:
        """Give the JSON of a file."""
        return self._template.replace(_MARK.encode(), f"{number:08x}".encode())

    def file(self, number: int) -> bytes:
        """Give a file as it lies in the bucket."""
        return gzip.compress(self.text(number), 6)

    def files(self, first: int, count: int) -> list[tuple[str, bytes]]:
        """Give names, as CloudTrail makes them, and contents."""
        return [(name_of(number), self.file(number)) for number in range(first, first + count)]

    def records(self, number: int) -> Sequence[Json]:
        """Give a file's records, parsed."""
        found: Sequence[Json] = orjson.loads(self.text(number))["Records"]
        return found

    def _record(self, at: datetime) -> Json:
        chance, made = self._chance, self._made
        person, thing = f"person-{chance.randrange(_PEOPLE):03}", chance.randrange(_OBJECTS)
        kind = chance.random()
        if kind < 0.45:
            who = made.session(f"role-{chance.randrange(20):02}", person)
            params = {"instancesSet": {"items": [{"instanceId": f"i-{thing:017x}"}]}, "filterSet": {}}
            return made.call("ec2", "DescribeInstances", who, params, None, at=at, read_only=True)
        if kind < 0.75:
            key = f"reports/2026/{thing:05}/summary-of-the-quarter.pdf"
            record = made.data_event(person, "acme-documents", key, at=at)
            bucket = "arn:aws:s3:::acme-documents"
            return record | {
                "resources": [
                    {"type": "AWS::S3::Object", "ARN": f"{bucket}/{key}"},
                    {"accountId": ACCOUNT, "type": "AWS::S3::Bucket", "ARN": bucket},
                ],
                "additionalEventData": {
                    "SignatureVersion": "SigV4",
                    "CipherSuite": "TLS_AES_128_GCM_SHA256",
                    "bytesTransferredIn": 0,
                    "AuthenticationMethod": "AuthHeader",
                    "bytesTransferredOut": 4096 + thing,
                },
            }
        if kind < 0.85:
            return made.assume_role(person, f"role-{chance.randrange(20):02}", at=at)
        if kind < 0.95:
            return made.console_login(person, ok=chance.random() < 0.9, at=at)
        return made.add_user_to_group("admin", person, f"team-{chance.randrange(30)}", at=at)


def name_of(number: int) -> str:
    """Name a trail file by its bucket and key."""
    day = "2026/11/21"
    return (
        f"acme-trail/AWSLogs/{ACCOUNT}/CloudTrail/us-east-1/{day}/"
        f"{ACCOUNT}_CloudTrail_us-east-1_20261121T0000Z_{number:016X}.json.gz"
    )

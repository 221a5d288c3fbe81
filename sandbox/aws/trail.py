"""Trail files: written where and as CloudTrail writes them, and announced in each of the four ways.

Source: CloudTrail user guide, "CloudTrail log file examples", "Finding your CloudTrail log files",
"Configuring Amazon SNS notifications", "Digest file structure"; S3 user guide, "Event message structure".
"""

import gzip
import hashlib
import json
import string
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

Json: TypeAlias = Any
Shape = Literal["s3", "s3-in-sns", "cloudtrail-sns", "eventbridge"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


def key(
    account: str, region: str, at: datetime, unique: str, *, prefix: str = "", organization: str = ""
) -> str:
    """`[prefix/]AWSLogs/[o-id/]account/CloudTrail/region/YYYY/MM/DD/account_CloudTrail_region_time_unique.json.gz`."""
    start = "".join(f"{part}/" for part in (prefix, "AWSLogs", organization) if part)
    name = f"{account}_CloudTrail_{region}_{at:%Y%m%dT%H%MZ}_{unique}.json.gz"
    return f"{start}{account}/CloudTrail/{region}/{at:%Y/%m/%d}/{name}"


def packed(records: Sequence[Json]) -> bytes:
    """The body of a trail file."""
    return gzip.compress(json.dumps({"Records": list(records)}, separators=(",", ":")).encode(), mtime=0)


class Trail:
    """Writes one account's trail; the bucket announces what is under `AWSLogs/` itself.

    Files that are to be announced otherwise are written under a prefix named after the way, which the
    bucket's notification leaves out.
    """

    def __init__(
        self,
        s3: Json,
        sqs: Json,
        *,
        bucket: str,
        queue_url: str,
        account: str,
        region: str = "us-east-1",
        organization: str = "",
        chance: Random | None = None,
    ) -> None:
        self._s3, self._sqs, self._chance = s3, sqs, chance or Random()
        self.bucket, self.queue_url, self.account, self.region = bucket, queue_url, account, region
        self._organization = organization

    async def write(
        self, records: Sequence[Json], shape: Shape = "s3", *, copies: int = 1, at: datetime | None = None
    ) -> str:
        """Write a file and announce it `copies` times; its key."""
        prefix = "" if shape == "s3" else shape
        unique = "".join(self._chance.choices(string.ascii_letters + string.digits, k=16))
        where = key(
            self.account,
            self.region,
            at or datetime.now(UTC),
            unique,
            prefix=prefix,
            organization=self._organization,
        )
        body = packed(records)
        await self.put(where, body)
        for _ in range(copies - 1 if shape == "s3" else copies):
            await self.say(self.announcement(where, len(body), shape))
        return where

    async def put(self, where: str, body: bytes) -> None:
        """Write an object into the trail's bucket as CloudTrail does."""
        await self._s3.put_object(
            Bucket=self.bucket, Key=where, Body=body, ContentType="application/json", ContentEncoding="gzip"
        )

    async def digest(self, named: Sequence[str] = (), at: datetime | None = None) -> str:
        """Write an hourly digest file, which holds no records; its key."""
        at = at or datetime.now(UTC)
        start = "".join(f"{part}/" for part in ("AWSLogs", self._organization) if part)
        place = f"{self.region}_security_{self.region}"
        name = f"{self.account}_CloudTrail-Digest_{place}_{at:%Y%m%dT%H%M%SZ}.json.gz"
        where = f"{start}{self.account}/CloudTrail-Digest/{self.region}/{at:%Y/%m/%d}/{name}"
        body = {
            "awsAccountId": self.account,
            "digestStartTime": f"{at:%Y-%m-%dT%H:00:00Z}",
            "digestEndTime": f"{at:%Y-%m-%dT%H:59:59Z}",
            "digestS3Bucket": self.bucket,
            "digestS3Object": where,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "previousDigestS3Bucket": None,
            "logFiles": [
                {"s3Bucket": self.bucket, "s3Object": file, "hashAlgorithm": "SHA-256"} for file in named
            ],
        }
        await self.put(where, gzip.compress(json.dumps(body).encode(), mtime=0))
        return where

    async def say(self, body: str) -> None:
        """Put any text into the queue."""
        await self._sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def announcement(self, where: str, size: int, shape: Shape) -> str:
        """The queue message that tells of a file, in one of the four ways."""
        match shape:
            case "s3":
                return json.dumps(self._s3_event(where, size))
            case "s3-in-sns":
                return self._sns(json.dumps(self._s3_event(where, size)), "Amazon S3 Notification")
            case "cloudtrail-sns":
                return self._sns(json.dumps({"s3Bucket": self.bucket, "s3ObjectKey": [where]}))
            case "eventbridge":
                return json.dumps(self._bridge(where, size))

    def _s3_event(self, where: str, size: int) -> Json:
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": f"{datetime.now(UTC).isoformat(timespec='milliseconds')[:-6]}Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "AWS:AROA5TEST2345ABCDEFGH:CloudTrail"},
            "requestParameters": {"sourceIPAddress": "203.0.113.10"},
            "responseElements": {
                "x-amz-request-id": "C3D13FE58DE4C810",
                "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG",
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "trail",
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": {"principalId": self.account},
                    "arn": f"arn:aws:s3:::{self.bucket}",
                },
                "object": {
                    "key": where,
                    "size": size,
                    "eTag": hashlib.md5(where.encode()).hexdigest(),
                    "sequencer": self._sequencer(),
                },
            },
        }
        return {"Records": [record]}

    def _sns(self, message: str, subject: str | None = None) -> str:
        envelope = {
            "Type": "Notification",
            "MessageId": str(self._uuid()),
            "TopicArn": f"arn:aws:sns:{self.region}:{self.account}:trail",
            "Message": message,
            "Timestamp": f"{datetime.now(UTC).isoformat(timespec='milliseconds')[:-6]}Z",
            "SignatureVersion": "1",
            "Signature": "EXAMPLEpH+DcEwjAPg8O9mY8dReBSwksfg2S7WKQcikcNKWLQjwu6A4VbeS0QHVCkhRS7fUQvi2eg=",
            "SigningCertURL": f"https://sns.{self.region}.amazonaws.com/SimpleNotificationService-0000000000000000000000.pem",
            "UnsubscribeURL": f"https://sns.{self.region}.amazonaws.com/?Action=Unsubscribe",
        }
        return json.dumps(envelope | ({"Subject": subject} if subject else {}))

    def _bridge(self, where: str, size: int) -> Json:
        return {
            "version": "0",
            "id": str(self._uuid()),
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": self.account,
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": self.region,
            "resources": [f"arn:aws:s3:::{self.bucket}"],
            "detail": {
                "version": "0",
                "bucket": {"name": self.bucket},
                "object": {
                    "key": where,
                    "size": size,
                    "etag": hashlib.md5(where.encode()).hexdigest(),
                    "sequencer": self._sequencer(),
                },
                "request-id": "N4N7GDK58NMKJ12R",
                "requester": "cloudtrail.amazonaws.com",
                "source-ip-address": "203.0.113.10",
                "reason": "PutObject",
            },
        }

    def _sequencer(self) -> str:
        return f"{self._chance.getrandbits(64):016X}"

    def _uuid(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)

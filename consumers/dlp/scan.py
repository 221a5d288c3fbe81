"""The scan of files that changed, and of those that wait: fetch, scan, publish what was found, remember it.

Both lanes of a partition are worked off by one process: a file is scanned by one task at a time, and live
changes have processes of their own, so that they never wait behind the backlog.
"""

from collections.abc import Sequence
from typing import Any

import structlog

from consumers.connections import Connections
from consumers.dlp.fetch import TooLargeError, fetched
from consumers.dlp.findings import closed, opened, records, strongest
from consumers.dlp.status import Reason, Status, Verdict
from consumers.dlp.workers import Scanners
from consumers.run import Commit, Spec
from ingest import metrics
from ingest.cluster import Cluster
from ingest.consuming import Incoming
from ingest.directory import Directory
from ingest.errors import Changed, Misconfigured, Missing, NotAllowed, Refused, Retry, Unscannable
from ingest.log import redact
from ingest.pace import lane
from ingest.producing import Outgoing
from ingest.reads import Ref
from ingest.windows import now_ms
from schemas.control import Scan, ScanRequest, UnreadableRecordError

_FINAL = frozenset({"complete", "partial", "unscannable"})
_log = structlog.get_logger(part="dlp")


def spec(scanners: int) -> Spec:
    """Describe the consumer: half of the scan processes may work on the backlog, at least one."""
    backlog = max(1, scanners // 2)
    return Spec(
        "dlp", ("scan-live", "scan-backlog"), "scans", {"scan-live": scanners * 2, "scan-backlog": backlog}
    )


class ScanJob:
    """Scans the files of one partition."""

    def __init__(
        self,
        cluster: Cluster,
        directory: Directory,
        connections: Connections,
        scanners: Scanners,
        largest: int,
    ) -> None:
        self._cluster, self._directory, self._connections = cluster, directory, connections
        self._scanners, self._largest = scanners, largest
        self._scans: dict[bytes, Scan] = {}
        self._next: dict[bytes, Scan] = {}

    def take(self, record: Incoming) -> None:
        """Take in the last scan of a file."""
        if record.value is None:
            self._scans.pop(record.key, None)
            return
        try:
            self._scans[record.key] = Scan.load(record.value)
        except UnreadableRecordError as error:
            _log.warning("scan passed over", why=str(error))

    def ready(self, commit: Commit) -> None:
        """Nothing of a scan needs a transaction of its own."""

    def committed(self, record: Incoming) -> None:
        """Remember the scan whose results are written."""
        if (done := self._next.pop(record.key, None)) is not None:
            self._scans[record.key] = done

    async def close(self) -> None:
        """Nothing is held."""

    async def handle(self, record: Incoming) -> Sequence[Outgoing]:
        """Scan one file.

        Raises:
            Retry: The provider asks for patience.
        """
        # Each file is a task of its own, so this holds for what it calls alone.
        lane.set("sweep" if record.topic == "scan-backlog" else "live")
        request = ScanRequest.load(record.value or b"")
        before = self._scans.get(record.key)
        if before is not None and before.incarnation != request.incarnation:
            before = None
        if before is not None and before.status in _FINAL and self._same(before, request):
            return []
        skip = self._skip(request)
        if skip:
            return self._note(
                record, request, _scan(request, "", self._scanners.rules_hash, "skipped", skip), []
            )
        started = now_ms()
        version, verdict = await self._verdict(request)
        now = now_ms()
        metrics.scan_seconds.labels(str(verdict.status)).observe((now - started) / 1000)
        found = strongest(verdict) if verdict.status in {Status.COMPLETE, Status.PARTIAL} else {}
        scan = _scan(request, version, verdict.rules_hash, str(verdict.status), verdict.reason)
        scan = scan.model_copy(
            update={"detectors": {name: one.count for name, one in found.items()}, "at": now}
        )
        again = before is not None and before.version == version
        events = [opened(request, version, verdict, one, again=again, now=now) for one in found.values()]
        if before is not None and verdict.status is Status.COMPLETE:
            gone = before.detectors if not again else before.detectors.keys() - found.keys()
            events += [closed(request, before.version, name, now) for name in gone]
        if scan.status == "unscannable":
            _log.info("not scannable", connector=request.connector, why=scan.reason)
        return self._note(record, request, scan, records(self._cluster, request, events, now))

    def _same(self, before: Scan, request: ScanRequest) -> bool:
        return before.version == request.file.version and before.rules == self._scanners.rules_hash

    def _skip(self, request: ScanRequest) -> str:
        wish = self._directory.wishes.get(request.connector)
        if wish is None or wish.removing or wish.incarnation != request.incarnation:
            return "disconnected"
        return "" if wish.enabled else "disabled"

    def _note(
        self, record: Incoming, request: ScanRequest, scan: Scan, results: list[Outgoing]
    ) -> list[Outgoing]:
        del request
        self._next[record.key] = scan
        return [*results, Outgoing("scans", record.partition, record.key, scan.dump())]

    async def _verdict(self, request: ScanRequest) -> tuple[str, Verdict]:
        """Fetch and scan; what can't be scanned is a verdict too."""
        file = Ref(**request.file.model_dump())
        try:
            async with (
                self._connections.use(request.connector) as provider,
                fetched(provider, file, self._largest) as content,
            ):
                return content.version, await self._scanners.scan(content.path, content.name or file.id)
        except TooLargeError:
            return file.version, self._unscanned(Status.UNSCANNABLE, Reason.SIZE)
        except Unscannable as error:
            return file.version, self._unscanned(Status.UNSCANNABLE, str(error))
        except Missing:
            return file.version, self._unscanned(Status.SKIPPED, "gone")
        except Changed:
            # The change itself asks for a scan of what is there now.
            return file.version, self._unscanned(Status.SKIPPED, "changed")
        except (NotAllowed, Refused) as error:
            return file.version, self._unscanned(
                Status.UNSCANNABLE, f"not allowed: {redact(str(error))[:200]}"
            )
        except Misconfigured as error:
            raise Retry(str(error), after=30.0) from None

    def _unscanned(self, status: Status, reason: Any) -> Verdict:
        return Verdict(
            status=status, reasons=(reason,), kind="", size=0, text_bytes=0, seconds=0.0,
            rules_hash=self._scanners.rules_hash,
        )  # fmt: skip


def _scan(request: ScanRequest, version: str, rules: str, status: str, reason: str) -> Scan:
    return Scan(
        connector=request.connector, incarnation=request.incarnation, version=version, rules=rules,
        status=status, reason=reason, at=now_ms(),
    )  # fmt: skip

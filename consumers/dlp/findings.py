"""From a verdict to events: what was found where, counts and masked forms, never a value."""

from collections.abc import Sequence

from consumers.dlp.status import Finding, Verdict
from ingest.cluster import Cluster
from ingest.producing import Outgoing
from schemas.control import ScanRequest
from schemas.envelope import headers
from schemas.events import Event, Origin, event, stamp, uid
from schemas.validation import encode, validate

PRODUCT = "Sluice"
_PLACES = 5
_SEVERITY = {"credential": 5, "financial": 4, "personal": 3}
_LEVELS = {65: 1, 75: 2, 85: 3}
_CATEGORY = {"personal": 1, "financial": 3, "credential": 6}


def origin(request: ScanRequest) -> Origin:
    """Give where the findings about a connector's files come from: us, at that instance."""
    return Origin(
        tenant=request.tenant, provider=request.provider, instance=request.instance, account_type_id=99,
        account_type=request.provider, product={"name": PRODUCT, "vendor_name": PRODUCT},
    )  # fmt: skip


def finding_uid(request: ScanRequest, version: str, detector: str) -> str:
    """Name a finding: the same file, version and detector have the same, however often it is scanned."""
    return uid(
        "finding", request.tenant, request.provider, request.instance, request.file.id, version, detector
    )


def strongest(verdict: Verdict) -> dict[str, Finding]:
    """Pick each detector's finding of the highest confidence; published example values are no findings."""
    found: dict[str, Finding] = {}
    for one in verdict.findings:
        if not one.test and (one.detector not in found or found[one.detector].confidence < one.confidence):
            found[one.detector] = one
    return found


def opened(
    request: ScanRequest, version: str, verdict: Verdict, one: Finding, *, again: bool, now: int
) -> Event:
    """Make the event of a finding: created, or updated when the version was scanned before."""
    activity = 2 if again else 1
    name = finding_uid(request, version, one.detector)
    file = request.file
    return event(
        2006, activity, now, log_name="findings", source_id=f"{name}/{activity}/{verdict.rules_hash}",
        severity_id=_SEVERITY.get(one.category, 3), status_id=1, confidence_id=_LEVELS[one.confidence],
        confidence_score=one.confidence, is_alert=True, correlation_uid=request.cause,
        finding_info={
            "uid": name, "title": f"{one.title} in {_short(file.id)}", "types": [one.detector],
            "data_sources": [request.connector],
        },
        data_security={
            "detection_system_id": 8, "detection_pattern": one.detector, "total": one.count,
            "category_id": _CATEGORY.get(one.category, 99),
        },
        file={
            "name": _short(file.id), "type_id": 1, "uid": file.id, "version": version, "size": verdict.size,
        },
        resources=[{"uid": file.id, "name": _short(file.id), "type": "file", "data": file.data or {}}],
        unmapped={
            "connector": request.connector,
            "target": {**file.model_dump(), "version": version},
            "detector": one.detector, "count": one.count, "distinct": one.distinct,
            "confidence": one.confidence, "estimated": one.estimated, "reasons": list(one.reasons),
            "status": str(verdict.status), "reason": verdict.reason,
            "places": [
                {"where": place.where, "offset": place.offset, "masked": place.masked}
                for place in one.places[:_PLACES]
            ],
        },
    )  # fmt: skip


def closed(request: ScanRequest, version: str, detector: str, now: int) -> Event:
    """Make the event that ends a finding: the newer version does not have it."""
    name = finding_uid(request, version, detector)
    return event(
        2006, 3, now, log_name="findings", source_id=f"{name}/3", status_id=4,
        finding_info={"uid": name, "title": f"{detector} in {_short(request.file.id)}", "types": [detector]},
        data_security={"detection_system_id": 8, "detection_pattern": detector},
        file={"name": _short(request.file.id), "type_id": 1, "uid": request.file.id, "version": version},
        unmapped={"connector": request.connector, "detector": detector, "status": "closed"},
    )  # fmt: skip


def records(cluster: Cluster, request: ScanRequest, events: Sequence[Event], now: int) -> list[Outgoing]:
    """Stamp, check and address events."""
    made: list[Outgoing] = []
    place = origin(request)
    key = place.key(request.file.id).encode("utf-8", "replace")
    for one in events:
        validate(stamp(one, place, now))
        head = headers(one, place, topic="findings", entity=request.file.id)
        made.append(Outgoing("findings", cluster.partition("findings", key), key, encode(one), head))
    return made


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1] or name

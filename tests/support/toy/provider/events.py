"""The toy's records as events: pure functions."""

from collections.abc import Iterable

from ingest.provider import BadRecord, Event, Instance, Json, Mapped, Ref
from schemas.events import event, millis, present

_ACTIVITIES = {"login": (3002, 1), "logout": (3002, 2)}
_CHANGES = {"created": 1, "activated": 2, "suspended": 5}


def activity(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map what users do: signing in and out."""
    del instance
    if record["type"] not in _ACTIVITIES:
        raise BadRecord(f"activity of an unknown type {record['type'][:40]!r}")
    class_uid, activity_id = _ACTIVITIES[record["type"]]
    yield event(
        class_uid,
        activity_id,
        millis(record["time"]),
        log_name="activity",
        source_id=record["id"],
        user=_user(record["user"]),
        service={"name": "Toy"},
        src_endpoint={"ip": record["ip"]},
        status_id=1 if record.get("ok", True) else 2,
    )


def audit(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map what admins do to accounts."""
    del instance
    yield event(
        3001,
        _CHANGES[record["type"]],
        millis(record["time"]),
        log_name="audit",
        source_id=record["id"],
        actor={"user": _user(record["by"])},
        user=_user(record["user"]),
    )


def user(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map an account of the directory."""
    del instance
    account = {"uid": record["id"], "is_disabled": record["status"] == "suspended"}
    made: Event = event(
        5003,
        2,
        millis(record["changed"]),
        log_name="accounts",
        source_id=record["id"],
        user={**_user(record), "account": account},
    )
    yield made


def file(record: Json, instance: Instance) -> Iterable[Mapped]:
    """Map a file of the listing, and ask for its scan."""
    del instance
    exposure = "public" if record["public"] else "internal"
    resource = {
        "uid": record["id"], "name": record["name"], "type": "file", "version": record["version"],
        "labels": [exposure], "data": {"exposure": exposure, "size": record["size"]},
    }  # fmt: skip
    changed = millis(record["changed"])
    yield event(5023, 2, changed, log_name="files", source_id=record["id"], resources=[resource])
    yield Ref("file", record["id"], record["version"])


def _user(record: Json) -> Json:
    return present(uid=record["id"], name=record.get("name"), email_addr=record.get("email"), type_id=1)

"""Faults on request: what a provider's answer looks like on a bad day."""

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

Kind = Literal[
    "throttle",
    "slowdown",
    "error",
    "unavailable",
    "html",
    "html-ok",
    "truncated",
    "cut",
    "timeout",
    "reset",
    "denied",
    "expired",
]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(slots=True)
class Fault:
    """A failure for calls that match, until it has struck `times` times; `seconds` is for timeouts."""

    service: str
    operation: str
    kind: Kind
    times: int = 1
    skip: int = 0
    seconds: float = 30.0


class Faults:
    """The failures that still wait to strike."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def plan(self, fault: Fault) -> None:
        """Arm one; service and operation may hold `*`."""
        if fault.kind not in KINDS:
            raise ValueError(f"no fault of kind {fault.kind!r}, choose one of {', '.join(KINDS)}")
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Disarm them all."""
        with self._lock:
            self._waiting.clear()

    def strike(self, service: str, operation: str) -> Fault | None:
        """The fault that this call meets, if any; it is spent by that."""
        with self._lock:
            for fault in self._waiting:
                if not (fnmatchcase(service, fault.service) and fnmatchcase(operation, fault.operation)):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None

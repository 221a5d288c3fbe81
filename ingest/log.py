"""Structured logs on stderr: JSON lines unless a person watches. What looks like a secret never gets out."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from pydantic import SecretStr

_NAMES = re.compile(r"(?i)secret|password|passwd|token|authorization|api_?key|private_?key|credential|cookie")
_VALUES = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bxox[a-z]-[\w-]{10,}"
    r"|\bya29\.[\w-]{10,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?<=(?i:bearer) )\S+|(?<=(?i:authorization: basic) )\S+|-----BEGIN[^-]*PRIVATE KEY-----[\s\S]*"
)
_FIELDS = re.compile(
    r"""(?i)((?:secret|passw(?:or)?d|token|api_?key|credential|\bsig|signature)(?:=|["']\s*:\s*["']))[^\s&"']+"""
)
_HIDDEN = "***"


def redact(text: str) -> str:
    """Blank out what has the shape of a credential: for errors that others wrote."""
    return _FIELDS.sub(rf"\1{_HIDDEN}", _VALUES.sub(_HIDDEN, text))


def _clean(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr) or (name and _NAMES.search(name) and not isinstance(value, int | float)):
        return _HIDDEN
    if isinstance(value, str):
        return redact(value)
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _clean(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", inner) for inner in value]
    return value if value is None or isinstance(value, int | float) else redact(repr(value))


def _redacted(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in list(event.items()):
        if not name.startswith("_"):  # structlog's own
            event[name] = _clean(name, value)
    return event


def configure(level: str = "info", *, pretty: bool | None = None) -> None:
    """Set up logging for this process, other libraries' warnings included."""
    person = sys.stderr.isatty() if pretty is None else pretty
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    last: Any = (
        structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(sort_keys=True)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # Kafka being away is reported once by those who notice it, not at every attempt of the client.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Get the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(part=name)
    return logger

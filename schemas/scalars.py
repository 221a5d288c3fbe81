"""The values OCSF events are made of: checked numbers and strings, and one rule about keys.

Source: OCSF 1.8.0, data types and constraints.
"""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Json: TypeAlias = Any
"""What a provider sent, kept as it came."""

Millis = Annotated[int, Field(ge=-62_135_596_800_000, le=253_402_300_799_999)]
"""Milliseconds since 1970, within the years 1 to 9999."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
Kind = TypeVar("Kind", bound=type)


@lru_cache(maxsize=8192)
def _address(text: str) -> str:
    """Refuse what is no IP address; a provider's host name belongs into ``domain`` or ``svc_name``."""
    ip_address(text)
    return text


Ip = Annotated[str, Field(max_length=40), AfterValidator(_address)]
EMAIL = r"^[a-zA-Z0-9!#$%&'*+-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+$"
Email = Annotated[str, Field(pattern=EMAIL)]


def closed(kind: Kind) -> Kind:
    """Mark a typed dictionary as strict and without other keys than its own."""
    hooks: Json = kind
    hooks.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    return kind


def at_least_one(*names: str) -> Callable[[Kind], Kind]:
    """Mark a typed dictionary as closed and needing one of these keys (OCSF's ``at_least_one``)."""
    wanted = frozenset(names)
    complaint = PydanticCustomError("at_least_one", "one of {names} is needed", {"names": ", ".join(names)})

    def check(value: dict[str, Json]) -> dict[str, Json]:
        if wanted.isdisjoint(value):
            raise complaint
        return value

    def core(source: Kind, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner: Json = dict(handler(source))
        # The check must own the reference: pydantic takes a type's second use from there.
        ref = inner.pop("ref", None)
        return core_schema.no_info_after_validator_function(check, inner, ref=ref)

    def mark(kind: Kind) -> Kind:
        hooks: Json = kind
        hooks.__one_of__ = names
        extra: dict[str, Json] = {"anyOf": [{"required": [name]} for name in names]}
        hooks.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, json_schema_extra=extra)
        hooks.__get_pydantic_core_schema__ = core
        return kind

    return mark


def one_of(kind: type) -> tuple[str, ...]:
    """Tell the keys of which a typed dictionary needs one; empty: none in particular."""
    found: tuple[str, ...] = kind.__dict__.get("__one_of__", ())
    return found

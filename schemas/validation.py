"""Events are checked where they are made: strictly, against the type of their class.

A complaint names paths and rules, never values: it ends in logs and dead letters.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar

import msgspec
import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator, core_schema

from schemas.ocsf import CLASSES, NAMES
from schemas.scalars import Json
from schemas.structs import decoder

_SHOWN = 5
_LONGEST = 120
Checked = TypeVar("Checked", bound=Mapping[str, Json])


class InvalidEventError(ValueError):
    """An event that does not fit its class; the message says where and how, without any value."""


@cache
def adapter(class_uid: int) -> TypeAdapter[Json]:
    """Make pydantic's view of a class, once, when it is first needed (about 10 ms each)."""
    return TypeAdapter(CLASSES[class_uid])


def _whole_numbers(schema: Json) -> Json:
    """Put an integer check before each enum: True and 1.0 equal 1, but are other things on the wire."""
    if isinstance(schema, list):
        return [_whole_numbers(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "literal" and isinstance(schema["expected"][0], int):
        return core_schema.chain_schema([core_schema.int_schema(strict=True), schema])
    return {name: _whole_numbers(part) for name, part in schema.items()}


@cache
def _checker(class_uid: int) -> Callable[[Mapping[str, Json]], object]:
    return SchemaValidator(_whole_numbers(adapter(class_uid).core_schema)).validate_python


def _complaint(name: str, error: ValidationError) -> str:
    lines = [
        f"{'.'.join(str(part) for part in item['loc'])[:_LONGEST]}: {item['type']}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{name}: {'; '.join(lines[:_SHOWN])}{more}"


def validate(event: Checked) -> Checked:
    """Check a stamped event and hand it back as it is.

    Raises:
        InvalidEventError: It does not fit its class, or there is no such class.
    """
    class_uid = event.get("class_uid")
    if class_uid.__class__ is not int or class_uid not in CLASSES:
        raise InvalidEventError("class_uid: not one of the classes in schemas.ocsf")
    try:
        _checker(class_uid)(event)
    except ValidationError as error:
        raise InvalidEventError(_complaint(NAMES[class_uid][0], error)) from None
    if event["type_uid"] != class_uid * 100 + event["activity_id"]:
        raise InvalidEventError(f"{NAMES[class_uid][0]}: type_uid: is not class_uid * 100 + activity_id")
    return event


def checked(event: Mapping[str, Json]) -> bytes:
    """Check a stamped event and write it as the bytes of its record, which are what is checked.

    Raises:
        InvalidEventError: It does not fit its class, there is no such class, or JSON cannot hold it.
    """
    class_uid = event.get("class_uid")
    if class_uid.__class__ is int and class_uid in CLASSES:
        raw = encode(event)
        try:
            decoder(class_uid).decode(raw)
        except msgspec.MsgspecError:
            pass  # pydantic says what is wrong
        else:
            if event["type_uid"] == class_uid * 100 + event["activity_id"]:
                return raw
    validate(event)
    return encode(event)


def encode(event: Mapping[str, Json]) -> bytes:
    """Write a checked event as the bytes of its record.

    Raises:
        InvalidEventError: What is kept as it came (`unmapped`, `data`) holds something that JSON cannot.
    """
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError as error:
        raise InvalidEventError(f"{NAMES[event['class_uid']][0]}: {error}") from None

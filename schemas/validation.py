"""Events are checked where they are made: strictly, against the type of their class.

A complaint names paths and rules, never values: it ends in logs and dead letters.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import TypeVar

import msgspec
import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator, core_schema

from schemas.events import Shared
from schemas.ocsf import CLASSES, NAMES
from schemas.scalars import Json
from schemas.structs import AHEAD, decoder

_written = attrgetter("written")
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
    return all_checked((event,))[0]


def all_checked(events: Sequence[Mapping[str, Json]]) -> list[bytes]:
    """Check and write several: to write them all and then read them all is faster than to do so in turns.

    Raises:
        InvalidEventError: One of them is as in `checked`.
    """
    for event in events:
        if event.get("class_uid").__class__ is not int or event["class_uid"] not in CLASSES:
            validate(event)
    made = [encode(event) for event in events]
    for event, raw in zip(events, made, strict=True):
        for name, kind in AHEAD.items():
            part = event.get(name)
            if part.__class__ is not Shared or part.kind is not kind:
                read = decoder(event["class_uid"])
                break
        else:
            read = decoder(event["class_uid"], ahead=True)
        try:
            read.decode(raw)
        except msgspec.MsgspecError:
            validate(event)  # it may be right all the same; else it says what is wrong
        if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
            validate(event)
    return made


def encode(event: Mapping[str, Json]) -> bytes:
    """Write a checked event as the bytes of its record.

    Raises:
        InvalidEventError: What is kept as it came (`unmapped`, `data`) holds something that JSON cannot.
    """
    try:
        return orjson.dumps(event, _written, orjson.OPT_PASSTHROUGH_SUBCLASS)
    except orjson.JSONEncodeError:
        pass  # some other subclass, perhaps
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError as error:
        raise InvalidEventError(f"{NAMES[event['class_uid']][0]}: {error}") from None

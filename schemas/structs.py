"""The event classes once more, as msgspec structs: they check a record's bytes in a third of pydantic's time.

They are made of the same typed dictionaries, and are only ever asked for a yes: what they refuse is put to
pydantic (`schemas.validation`), which has the last word and finds the words. Open places (`unmapped`, `data`)
are skipped over, not read, and so is what was checked ahead (`schemas.events.Shared`).
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Final, Literal, Required, TypeAlias, cast, get_args, get_origin

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import AfterValidator
from pydantic.fields import FieldInfo
from typing_extensions import get_type_hints, is_typeddict

from schemas.ocsf import CLASSES
from schemas.scalars import one_of
from schemas.what import Cloud, Endpoint
from schemas.who import Actor

Hint: TypeAlias = Any
Check: TypeAlias = Callable[[Any], object]
_SHARED: Final = (Actor, Cloud, Endpoint)
_MOST_SHARED: Final = 4096
AHEAD: Final = {"actor": Actor, "src_endpoint": Endpoint, "cloud": Cloud}
"""What may be checked before its event is, and as what."""
_BOUNDS: Final = ("ge", "gt", "le", "lt", "max_length", "pattern")
_OPEN: Final = msgspec.defstruct("Open", [])
"""Any object; nothing in it is looked at."""


@cache
def decoder(class_uid: int, *, ahead: bool = False) -> msgspec.json.Decoder[Any]:
    """Make the reader of a class's records; it raises `msgspec.MsgspecError` where it is not sure.

    Args:
        class_uid: The class.
        ahead: The attributes of `AHEAD` were checked before.
    """
    return msgspec.json.Decoder(_struct(CLASSES[class_uid], frozenset(AHEAD) if ahead else frozenset()))


@cache
def part_decoder(kind: type) -> msgspec.json.Decoder[Any]:
    """Make the reader of a typed dictionary by itself."""
    return msgspec.json.Decoder(_struct(kind))


@cache
def _struct(kind: type, known: frozenset[str] = frozenset()) -> type:
    fields: list[tuple[str, Hint] | tuple[str, Hint, Any]] = []
    checks: list[tuple[str, Check]] = []
    required: frozenset[str] = kind.__required_keys__  # type: ignore[attr-defined]  # a typed dictionary's
    for name, hint in get_type_hints(kind, include_extras=True).items():
        checks += [(name, check) for check in _checks(hint) if name not in known]
        read = _read(hint)
        fields.append((name, read) if name in required else (name, read | UnsetType, UNSET))
    namespace = {"__post_init__": _judge(one_of(kind), checks)} if checks or one_of(kind) else {}
    return msgspec.defstruct(
        kind.__name__, fields, namespace=namespace, forbid_unknown_fields=True, kw_only=True, gc=False
    )


def _checks(hint: Hint) -> list[Check]:
    """Find the functions that a field's value, or each of its items, must pass."""
    origin: object = get_origin(hint)
    parts = get_args(hint)
    if origin is Required:
        return _checks(parts[0])
    if hint in _SHARED:
        return [_remembered(hint)]
    if origin is list:
        return [_each(check) for check in _checks(parts[0])]
    return [cast("Check", part.func) for part in parts if isinstance(part, AfterValidator)]


def _each(check: Check) -> Check:
    return lambda items: [check(item) for item in items]


@cache
def _remembered(kind: type) -> Check:
    """Make the check of an object that many records share: its bytes are read once, not each time."""
    read: Check = part_decoder(kind).decode
    good: set[bytes] = set()

    def check(raw: msgspec.Raw) -> None:
        found = bytes(raw)
        if found not in good:
            read(found)
            if len(good) >= _MOST_SHARED:
                good.clear()
            good.add(found)

    return check


def _judge(wanted: tuple[str, ...], checks: list[tuple[str, Check]]) -> Callable[[Any], None]:
    """Make what a typed dictionary demands beyond its fields' types."""

    def judge(made: Any) -> None:
        for name in wanted:
            if getattr(made, name) is not UNSET:
                break
        else:
            if wanted:
                raise ValueError
        for name, check in checks:
            if (value := getattr(made, name)) is not UNSET:
                check(value)

    return judge


def _read(hint: Hint) -> Hint:  # noqa: PLR0911 a kind of type a line
    """Translate a field's type; what stands in an open place is not looked at.

    Raises:
        TypeError: There is no translation.
    """
    origin: object = get_origin(hint)
    parts = get_args(hint)
    if hint is Any or hint in _SHARED:
        return msgspec.Raw
    if origin is Required:
        return _read(parts[0])
    if origin is Annotated:
        return Annotated[_read(parts[0]), msgspec.Meta(**_bounds(parts[1:]))]
    if origin is list:
        return list[_read(parts[0])]  # type: ignore[misc]  # a type made at run time
    if is_typeddict(hint):
        return _struct(hint)
    if origin is Literal or hint in {str, int, bool}:
        return hint
    if origin is dict and parts == (str, Any):
        return _OPEN
    raise TypeError(f"no reader for {hint}")


def _bounds(marks: tuple[Any, ...]) -> dict[str, Any]:
    found = {
        name: value
        for mark in marks
        if isinstance(mark, FieldInfo)
        for bound in mark.metadata
        for name in _BOUNDS
        if (value := getattr(bound, name, None)) is not None
    }
    for strict, wide, step in (("gt", "ge", 1), ("lt", "le", -1)):  # 2**63 itself is beyond msgspec
        if strict in found:
            found[wide] = found.pop(strict) + step
    if (pattern := found.get("pattern")) is not None:
        # Python's `$` also stands before a last line feed.
        found["pattern"] = pattern.removesuffix("$") + r"\Z"
    return found

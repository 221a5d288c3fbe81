"""Our slim types against the official schema: no word that OCSF does not know, none of its duties missed."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NotRequired, Required, get_args, get_origin

import pytest
from typing_extensions import get_type_hints, is_typeddict

from schemas.ocsf import CLASSES, INVENTORY, NAMES
from schemas.topics import TOPICS

PROFILES = {"cloud", "host"}
FINDING_PROFILES = PROFILES | {"security_control", "incident"}
SCALARS = {str: "string_t", int: "integer_t", bool: "boolean_t", float: "float_t"}


def bare(hint: Any) -> Any:
    """Take Required and Annotated off a type."""
    while get_origin(hint) in (Required, NotRequired, Annotated):
        hint = get_args(hint)[0]
    return hint


def needed(kind: Any) -> set[str]:
    """List the keys of which our type wants one."""
    extra = kind.__pydantic_config__.get("json_schema_extra", {})
    return {name for branch in extra.get("anyOf", []) for name in branch["required"]}


def differences(kind: Any, theirs: dict[str, Any], ocsf: dict[str, Any], profiles: set[str]) -> Iterator[str]:
    """Compare a typed dictionary with an official class or object, and what they contain."""
    where = kind.__name__
    known = {
        name: spec
        for name, spec in theirs["attributes"].items()
        if not spec.get("profiles") or profiles & set(spec["profiles"])
    }
    for name, spec in known.items():
        if spec["requirement"] == "required" and name not in kind.__required_keys__:
            yield f"{where}.{name}: required by OCSF"
    allowed = set((theirs.get("constraints") or {}).get("at_least_one", ()))
    if bool(allowed) != bool(needed(kind)) or not needed(kind) <= allowed:
        yield f"{where}: constraint is {sorted(allowed)}"
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name not in known:
            yield f"{where}.{name}: unknown to OCSF"
        else:
            yield from mismatches(f"{where}.{name}", bare(hint), known[name], ocsf, profiles)


def mismatches(
    where: str, hint: Any, spec: dict[str, Any], ocsf: dict[str, Any], profiles: set[str]
) -> Iterator[str]:
    """Compare one attribute's type with the official one."""
    if (get_origin(hint) is list) != bool(spec.get("is_array")):
        yield f"{where}: list or not"
        return
    hint = bare(get_args(hint)[0]) if get_origin(hint) is list else hint
    if is_typeddict(hint):
        yield from differences(hint, ocsf["objects"][spec["object_type"]], ocsf, profiles)
    elif get_origin(hint) is Literal:
        official = set(spec.get("enum") or map(str, get_args(hint)))
        if where != "Metadata.profiles" and not {str(value) for value in get_args(hint)} <= official:
            yield f"{where}: not in OCSF's enum"
    elif hint in SCALARS:
        types = ocsf["dictionary"]["types"]["attributes"]
        base = types[spec["type"]].get("type", spec["type"])
        base = types[base].get("type", base)
        if base.replace("long_t", "integer_t") != SCALARS[hint]:
            yield f"{where}: is {spec['type']} in OCSF"


@pytest.mark.parametrize("class_uid", sorted(CLASSES))
def test_a_class_says_nothing_that_ocsf_does_not_know(class_uid: int, ocsf: dict[str, Any]) -> None:
    """Every key, enum value and type of ours is official, and every official duty is ours too."""
    name = NAMES[class_uid][0]
    theirs = dict(ocsf["classes"][name])
    if class_uid == 3003:
        theirs["constraints"] = {}  # just_one of two, and our type has only the one.
    profiles = FINDING_PROFILES if class_uid == 2006 else PROFILES
    assert theirs["uid"] == class_uid
    assert set(differences(CLASSES[class_uid], theirs, ocsf, profiles)) == set()


@pytest.mark.parametrize("class_uid", sorted(CLASSES))
def test_activities_are_named_as_ocsf_names_them(class_uid: int, ocsf: dict[str, Any]) -> None:
    """The words in ce_type are the official captions in lower case."""
    name, words = NAMES[class_uid]
    captions = ocsf["classes"][name]["attributes"]["activity_id"]["enum"]
    spelled = {int(number): spec["caption"].lower().replace(" ", "_") for number, spec in captions.items()}
    assert dict(words) == {number: spelled[number] for number in words}
    used = get_args(bare(get_type_hints(CLASSES[class_uid], include_extras=True)["activity_id"]))
    assert set(used) <= set(words)


def test_every_class_has_a_public_topic_and_every_topic_has_types() -> None:
    """The table of topics and the table of classes name the same classes."""
    carried = {number for topic in TOPICS.values() if topic.public for number in topic.classes}
    assert carried == set(CLASSES) == set(NAMES)
    assert set(CLASSES) >= INVENTORY

"""`sluice apply`: a file says what should be connected and governed; the difference is a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from consumers.governance.book import removed, written
from consumers.governance.policies import PolicyError, parse_policies
from ingest.config import ConfigError
from ingest.consuming import Incoming, Place, read_to_end
from ingest.provider import Provider
from schemas.control import Policy, Wish
from sluice.connecting import Asked, admissible, built, complaints, resolved, sign_in, unchanged
from sluice.operate import Desk, Outcome

Verb = Literal["create", "change", "unchanged", "remove"]


class Sheet(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    connectors: tuple[Asked, ...] = ()
    policies: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Change:
    """One line of the plan; `asked` and `made`, or `policy`, say what it is about."""

    verb: Verb
    kind: Literal["connector", "policy"]
    name: str
    asked: Asked | None = None
    made: BaseModel | None = None
    policy: Policy | None = None


@dataclass
class Plan:
    """What is to be done, and what was found when it was planned."""

    changes: list[Change] = field(default_factory=list)
    wishes: dict[str, Wish] = field(default_factory=dict)

    @property
    def work(self) -> list[Change]:
        """The lines that change anything."""
        return [one for one in self.changes if one.verb != "unchanged"]


def parse(
    document: Any, folder: Path, kinds: Mapping[str, type[Provider[Any]]] | None = None
) -> tuple[Sheet, list[Policy]]:
    """Read what `read_document` gave.

    Raises:
        ConfigError: It is not of this shape, a name is there twice, or a policy is wrong.
    """
    try:
        sheet = Sheet.model_validate(document if document is not None else {})
    except ValidationError as error:
        raise ConfigError("the file does not fit:\n  " + "\n  ".join(complaints(error))) from None
    asked = [
        one.model_copy(update={"settings": resolved(one.settings, folder, one.name)})
        for one in sheet.connectors
    ]
    try:
        policies = parse_policies(orjson.dumps(sheet.policies, default=str).decode(), kinds)
    except PolicyError as error:
        raise ConfigError(str(error)) from None
    for what, names in (("connector", [a.name for a in asked]), ("policy", [p.name for p in policies])):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"the {what} {', '.join(twice)} is there twice: keep one")
    if sheet.connectors:
        sheet = sheet.model_copy(update={"connectors": tuple(asked)})
    return sheet, policies


async def plan(desk: Desk, sheet: Sheet, policies: list[Policy], *, prune: bool) -> Plan:
    """Compare with what is there; nobody is signed in to.

    Raises:
        WrongCallError: Something asked for can't be.
        ConfigError: Settings don't fit.
    """
    made = Plan(wishes=(await desk.view()).wishes)
    for asked in sheet.connectors:
        admissible(desk, asked, made.wishes)
        settings = built(desk.kind(asked.provider), asked.settings)
        have = made.wishes.get(asked.name)
        verb: Verb = "create" if have is None else "change"
        if have is not None and unchanged(desk, asked, settings, have):
            verb = "unchanged"
        made.changes.append(Change(verb, "connector", asked.name, asked, settings))
    have_policies = await stored_policies(desk)
    for policy in policies:
        stored = have_policies.get(policy.name)
        verb = "create" if stored is None else "unchanged" if stored == policy.dump() else "change"
        made.changes.append(Change(verb, "policy", policy.name, policy=policy))
    # A section that the file does not have says nothing: only an empty one removes everything.
    if prune and "connectors" in sheet.model_fields_set:
        gone = set(made.wishes) - {asked.name for asked in sheet.connectors}
        made.changes += [Change("remove", "connector", name) for name in sorted(gone)]
    if prune and "policies" in sheet.model_fields_set:
        gone = set(have_policies) - {policy.name for policy in policies}
        made.changes += [Change("remove", "policy", name) for name in sorted(gone)]
    return made


async def stored_policies(desk: Desk) -> Mapping[str, bytes]:
    """Read the policies that are in force, as they are stored."""
    found: dict[str, bytes] = {}

    def take(record: Incoming) -> None:
        name = record.key.decode("utf-8", "replace")
        if record.value is None:
            found.pop(name, None)
        else:
            found[name] = record.value

    await read_to_end(desk.cluster, [Place("policies", 0)], take, 30.0)
    return found


async def carry_out(desk: Desk, made: Plan, one: Change) -> Outcome:
    """Do one line of a plan.

    Raises:
        SourceError, FailedError: As `sign_in` and `Desk.store`.
    """
    if one.kind == "policy":
        await desk.write(written(one.policy) if one.policy else removed(one.name))
        return Outcome(one.name, "stored" if one.policy else "removed")
    if one.asked is None or one.made is None:
        return await desk.disconnect(one.name)
    admissible(desk, one.asked, made.wishes)
    connected = await sign_in(desk, one.asked, one.made, made.wishes)
    made.wishes[one.name] = connected.wish
    return await desk.store(connected.wish)

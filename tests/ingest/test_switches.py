"""A switch goes to one value and back, and never twice."""

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.provider import Action, Capability, Kind, Ref, Refused, Step
from ingest.switches import Switch

Json = Any
Store = dict[str, Json]


class Lamp(Switch[Store]):
    """Sets a lamp to the colour of the option, or off; a broken one is refused."""

    name: ClassVar[str] = "lamp"
    capability: ClassVar[Capability] = "user_governance"
    on: ClassVar[Kind] = "user"
    part: ClassVar[str] = "colour"
    to: ClassVar[Json] = "off"

    async def look(self, p: Store, target: Ref, options: Json) -> Json:
        """Read the lamp."""
        return {"colour": p[target.id], "id": target.id}

    def wanted(self, state: Json, options: Json) -> Json:
        """Take the option."""
        if state["colour"] == "broken":
            raise Refused("broken")
        return (options or {}).get("colour") or super().wanted(state, options)

    def same(self, one: Json, other: Json) -> bool:
        """Compare without regard to case."""
        return str(one).lower() == str(other).lower()

    def step(self, state: Json, value: Json) -> Step:
        """Make it so."""
        return Step("set", f"make {state['id']} {value}", {"colour": value})

    async def do(self, p: Store, target: Ref, step: Step) -> Json:
        """Set it."""
        p[target.id] = step.data["colour"]


class Fuse(Lamp):
    """Blows for good."""

    irreversible: ClassVar[bool] = True


WORDS = st.sampled_from(["off", "red", "RED", "green", None])


@given(WORDS, WORDS)
async def test_there_and_back(first: str | None, wanted: str | None) -> None:
    """What was there comes back; a second plan, and a second way back, are empty."""
    store, lamp = {"l": first}, Lamp()
    action: Action[Store] = lamp
    target, options = Ref("user", "l"), {"colour": wanted}
    before = await action.look(store, target, options)
    for step in action.plan(before, options):
        await action.do(store, target, step)
    now = await action.look(store, target, options)
    assert lamp.same(now["colour"], wanted or "off")
    assert action.plan(now, options) == []
    for step in action.undo(before, now, {}) or []:
        await action.do(store, target, step)
    back = await action.look(store, target, options)
    assert lamp.same(back["colour"], first)
    assert action.undo(before, back, {}) == []


def test_nothing_to_do_is_an_empty_plan() -> None:
    """What means the same is not written again, and the step says what it does."""
    assert Lamp().plan({"colour": "OFF", "id": "l"}, None) == []
    assert Lamp().plan({"colour": "red", "id": "l"}, {}) == [Step("set", "make l off", {"colour": "off"})]


def test_a_refusal_is_the_plans() -> None:
    """Where there is no way, planning says so; the way back is not asked what is wanted."""
    with pytest.raises(Refused, match="broken"):
        Lamp().plan({"colour": "broken", "id": "l"}, None)
    broken = {"colour": "broken", "id": "l"}
    (step,) = Lamp().undo({"colour": "red"}, broken, {}) or []
    assert step.data == {"colour": "red"}


def test_one_without_a_way_back() -> None:
    """It says so by None, whatever the states."""
    assert Fuse().undo({}, {}, {}) is None


def test_it_has_to_say_its_step() -> None:
    """A switch without a step can't be made."""

    class Half(Switch[Store]):
        async def look(self, p: Store, target: Ref, options: Json) -> Json: ...

        async def do(self, p: Store, target: Ref, step: Step) -> Json: ...

    with pytest.raises(TypeError, match="step"):
        Half()  # type: ignore[abstract]

"""Actions that bring one part of a state to a value, and set it back.

Most of governance is of this kind: a status, a list of grants, a policy. Such an action says which part it
means, what that should be and which step brings it there. That a second call finds nothing to do, that
looking again proves it, and the way back to exactly what was there before, follow from these.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from ingest.acts import Action, Step
from ingest.apis import Json

P_contra = TypeVar("P_contra", contravariant=True)


class Switch(Action[P_contra]):
    """Brings one part of the state that `look` reads to the value that is wanted; undone, to the old one.

    Attributes:
        part: Its name in the state; always there.
        to: The value that is wanted, where it is always the same; else `wanted` tells.
    """

    part: ClassVar[str]
    to: ClassVar[Json]

    def wanted(self, state: Json, options: Json) -> Json:
        """Say what the part should be; what it is already, if nothing is to be done.

        Raises:
            Refused: From this state there is no way.
        """
        del state, options
        return self.to

    def same(self, one: Json, other: Json) -> bool:
        """Tell whether two values mean the same."""
        return bool(one == other)

    @abstractmethod
    def step(self, state: Json, value: Json) -> Step:
        """Make the step that brings the part to a value, from any other: it serves both ways."""

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Go to what is wanted."""
        return self._to(state, self.wanted(state, options))

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Go back to what was there before, unless that is so."""
        del done
        return None if self.irreversible else self._to(now, before[self.part])

    def _to(self, state: Json, value: Json) -> list[Step]:
        return [] if self.same(state[self.part], value) else [self.step(state, value)]

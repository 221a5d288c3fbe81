"""The acting half of the provider contract: governance actions, file content, verdicts."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import ClassVar, NamedTuple, Protocol, TypeVar

from ingest.apis import Json
from ingest.reads import Capability, Kind, Ref

P_contra = TypeVar("P_contra", contravariant=True)


class Step(NamedTuple):
    """One idempotent change; `say` is the sentence a dry run prints."""

    do: str
    say: str
    data: Json = None


class Action(Protocol[P_contra]):
    """look → plan → both durable → do each step → look again: an empty plan is the verification.

    `undo` is a plan too; None means there is no way back, and the action then needs `--irreversible`. The
    class says it with `irreversible`, so that a plan can warn before anything was done.
    """

    name: ClassVar[str]
    capability: ClassVar[Capability]
    on: ClassVar[Kind] = "file"
    irreversible: ClassVar[bool] = False

    async def look(self, p: P_contra, target: Ref, options: Json) -> Json:
        """Read the state that matters, as small JSON; it is stored as the prior state."""
        ...

    def plan(self, state: Json, options: Json) -> list[Step]:
        """Say what is left to do from this state."""
        ...

    async def do(self, p: P_contra, target: Ref, step: Step) -> Json:
        """Do one step; called again after a crash, so twice must be as once."""
        ...

    def undo(self, before: Json, now: Json, done: Mapping[str, Json]) -> list[Step] | None:
        """Plan the way back from `now` to `before`; `done` has each step's result by its `do`."""
        del before, now, done
        return None


class Content(NamedTuple):
    """A file's bytes as they stream in; `version` is the one that is really coming."""

    chunks: AsyncIterator[bytes]
    size: int | None = None
    media_type: str = ""
    version: str = ""
    name: str = ""


class Verdicts(Protocol):
    """Mixed in by a provider that can hold files back; `hold` is out `within` that time of delivery."""

    within: ClassVar[timedelta]

    async def hold(self, file: Ref) -> None:
        """Keep the file from its readers while we decide."""
        ...

    async def decide(self, file: Ref, *, allow: bool) -> None:
        """Release or reject it."""
        ...

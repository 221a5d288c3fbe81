"""Groups and who is in them: computed like the people, changes kept apart."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from sandbox.okta import ids
from sandbox.okta.people import DAY, People

Json: TypeAlias = Any
EVERYONE, ADMINISTRATORS = 0, 1
_OWN = 2


class Groups:
    """Number 0 is Everyone, 1 the administrators, each user is in one other; every fifth is an app's."""

    def __init__(self, people: People, size: int) -> None:
        self.people, self.size = people, max(3, size)
        self._added: dict[int, set[int]] = {ADMINISTRATORS: {2, 9}}
        self._removed: dict[int, set[int]] = {}
        self._times: dict[int, float] = {}
        self._made: dict[int, Json] = {}

    def number(self, key: str) -> int | None:
        """The number of a group, None when there is none."""
        found = ids.number("00g", key)
        return found if found is not None and found < self.size else None

    def kind(self, index: int) -> str:
        """BUILT_IN, OKTA_GROUP or APP_GROUP."""
        if index == EVERYONE:
            return "BUILT_IN"
        return "APP_GROUP" if index % 5 == 4 else "OKTA_GROUP"

    def name(self, index: int) -> str:
        """The name of a group."""
        return {EVERYONE: "Everyone", ADMINISTRATORS: "Administrators"}.get(index, f"Team {index:04d}")

    def get(self, index: int) -> Json:
        """A group as the API shows it, links apart."""
        created = self.people.founded + DAY * (index % 100)
        profile = self._made.get(index) or {
            "name": self.name(index),
            "description": None if index else "All users in your organization",
        }
        app = self.kind(index) == "APP_GROUP"
        return {
            "id": ids.make("00g", index),
            "created": ids.stamp(created),
            "lastUpdated": ids.stamp(created),
            "lastMembershipUpdated": ids.stamp(self._times.get(index, created + DAY)),
            "objectClass": ["okta:windows_security_principal" if app else "okta:user_group"],
            "type": self.kind(index),
            "profile": profile,
        }

    def has(self, index: int, user: int) -> bool:
        """Whether a user is in a group."""
        if index == EVERYONE:
            return True
        if user in self._added.get(index, ()):
            return True
        return self._seeded(index, user) and user not in self._removed.get(index, ())

    def _seeded(self, index: int, user: int) -> bool:
        return index >= _OWN and user < self.people.seeded and user % (self.size - _OWN) == index - _OWN

    def members(self, index: int, start: int = 0) -> Iterator[int]:
        """Numbers of the members, from one on."""
        people = self.people
        if index == EVERYONE:
            yield from (
                user for user in range(start, people.size) if people.field(user, "status") is not None
            )
            return
        added = self._added.get(index, set())
        step = self.size - _OWN
        first = index - _OWN
        seeded = range(first, people.seeded, step) if index >= _OWN else range(0)
        gone = self._removed.get(index, set())
        everyone = sorted({*added, *(user for user in seeded if user not in gone)})
        yield from (user for user in everyone if user >= start and people.field(user, "status") is not None)

    def of(self, user: int) -> list[int]:
        """The groups of a user."""
        own = {EVERYONE} | {index for index, added in self._added.items() if user in added}
        if user < self.people.seeded:
            own.add(_OWN + user % (self.size - _OWN))
        return sorted(index for index in own if self.has(index, user))

    def join(self, index: int, user: int, now: float) -> bool:
        """Add a user; False when it was one already."""
        if self.has(index, user):
            return False
        self._removed.get(index, set()).discard(user)
        if not self._seeded(index, user):
            self._added.setdefault(index, set()).add(user)
        self._times[index] = now
        return True

    def leave(self, index: int, user: int, now: float) -> bool:
        """Take a user out; False when it was not in."""
        if not self.has(index, user):
            return False
        self._added.get(index, set()).discard(user)
        if self._seeded(index, user):
            self._removed.setdefault(index, set()).add(user)
        self._times[index] = now
        return True

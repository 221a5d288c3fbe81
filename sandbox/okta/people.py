"""The org's people: computed from their number, so that an org of any size costs no memory.

Only those that were changed since are kept, and what the search index still believes of them.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from zlib import crc32

from sandbox.okta import ids
from sandbox.okta.filters import Combined, Compare, Node, reach

Json: TypeAlias = Any
USER_TYPE = ids.make("oty", 1)
FIRST = [
    "Ada",
    "Ben",
    "Cleo",
    "Dan",
    "Eva",
    "Finn",
    "Gia",
    "Hugo",
    "Ida",
    "Jon",
    "Kim",
    "Leo",
    "Mia",
    "Ned",
    "Ola",
    "Pia",
    "Quin",
    "Rosa",
    "Sam",
    "Tess",
    "Uma",
    "Vic",
    "Wim",
    "Xena",
    "Yara",
    "Zoe",
]
LAST = [
    "Adler",
    "Bauer",
    "Costa",
    "Diaz",
    "Eriksen",
    "Fox",
    "Gruber",
    "Hansen",
    "Ito",
    "Jansen",
    "Kaya",
    "Lopez",
    "Meyer",
    "Novak",
    "Okafor",
    "Perez",
    "Rossi",
    "Silva",
    "Tanaka",
    "Weber",
]
DEPARTMENTS = ("Engineering", "Finance", "Sales", "Support", "People", "Legal")
DAY = 86400.0
ALWAYS_ACTIVE = 12
_SPREAD = (
    ("ACTIVE", 85), ("PROVISIONED", 88), ("STAGED", 90), ("LOCKED_OUT", 92), ("PASSWORD_EXPIRED", 94),
    ("RECOVERY", 95), ("SUSPENDED", 97), ("DEPROVISIONED", 100),
)  # fmt: skip


class People:
    """Users by number; `founded` is when the first was made, `url` tells the org's address.

    `lag` is by how many seconds the search index is behind.
    """

    def __init__(self, seed: int, size: int, founded: float, domain: str) -> None:
        self.seed, self.seeded, self.founded, self.domain = seed, size, founded, domain
        self.size, self.lag = size, 0.0
        self.changed: dict[int, Json] = {}
        self.without_factors: set[int] = set()
        self._behind: dict[int, tuple[float, Json]] = {}

    def number(self, key: str) -> int | None:
        """The number of a user, by id or login; None when there is none."""
        found = ids.number("00u", key)
        if found is not None:
            return found if found < self.size and self.field(found, "status") is not None else None
        for index, user in self.changed.items():
            if user is not None and user["profile"]["login"].lower() == key.lower():
                return index
        digits = key.partition("@")[0].rpartition("-")[2]
        if digits.isdigit() and int(digits) < self.seeded and self.login(int(digits)) == key.lower():
            return int(digits)
        return None

    def login(self, index: int) -> str:
        """The login that a seeded user began with."""
        first, last = self.name(index)
        return f"{first}.{last}-{index}@{self.domain}".lower()

    def name(self, index: int) -> tuple[str, str]:
        """First and last name."""
        mixed = crc32(f"{self.seed}:{index}".encode())
        return FIRST[mixed % len(FIRST)], LAST[mixed // 64 % len(LAST)]

    def _facts(self, index: int) -> dict[str, Json]:
        mixed = crc32(f"{self.seed}.{index}".encode())
        created = self.founded + DAY * 200 * index / max(1, self.seeded)
        updated = created + DAY * 100 * (mixed % 997) / 997
        share = 0 if index < ALWAYS_ACTIVE else mixed // 1000 % 100
        status = next(name for name, below in _SPREAD if share < below)
        return {"status": status, "created": created, "lastUpdated": updated, "mixed": mixed}

    def field(self, index: int, name: str) -> Json:
        """A field that most questions are about, without making the whole user."""
        if index in self.changed:
            user = self.changed[index]
            return None if user is None else user[name]
        if name == "id":
            return ids.make("00u", index)
        value = self._facts(index)[name]
        return value if name == "status" else ids.stamp(value)

    def get(self, index: int) -> Json:
        """A user as the API shows it, links apart; None for one that was deleted."""
        if index in self.changed:
            return self.changed[index]
        facts, (first, last), login = self._facts(index), self.name(index), self.login(index)
        begun, updated = facts["status"] not in {"STAGED", "PROVISIONED"}, ids.stamp(facts["lastUpdated"])
        return {
            "id": ids.make("00u", index),
            "status": facts["status"],
            "created": ids.stamp(facts["created"]),
            "activated": None if facts["status"] == "STAGED" else ids.stamp(facts["created"] + 60),
            "statusChanged": updated,
            "lastLogin": updated if begun else None,
            "lastUpdated": updated,
            "passwordChanged": ids.stamp(facts["created"] + 120) if begun else None,
            "type": {"id": USER_TYPE},
            "profile": {
                "firstName": first,
                "lastName": last,
                "mobilePhone": None,
                "secondEmail": None,
                "login": login,
                "email": login,
                "department": DEPARTMENTS[facts["mixed"] % len(DEPARTMENTS)],
            },
            "credentials": {
                "password": {},
                "emails": [{"value": login, "status": "VERIFIED", "type": "PRIMARY"}],
                "provider": {"type": "OKTA", "name": "OKTA"},
            },
        }

    def change(self, index: int, now: float, **fields: Json) -> Json:
        """Set fields of a user; the index learns of it `lag` seconds later."""
        before = self.get(index)
        if index not in self._behind or self._behind[index][0] <= now:
            self._behind[index] = (now + self.lag, before)
        else:
            self._behind[index] = (now + self.lag, self._behind[index][1])
        self.changed[index] = {**before, **fields, "lastUpdated": ids.stamp(now)}
        if fields.get("status", before["status"]) != before["status"]:
            self.changed[index]["statusChanged"] = ids.stamp(now)
        return self.changed[index]

    def drop(self, index: int, name: str) -> None:
        """Take a field from a user that was changed before."""
        if self.changed.get(index):
            self.changed[index] = {key: value for key, value in self.changed[index].items() if key != name}

    def add(self, first: str, last: str, login: str, now: float, status: str = "STAGED") -> int:
        """Create a user and return the number."""
        index, self.size = self.size, self.size + 1
        made = {
            "id": ids.make("00u", index), "status": status, "created": ids.stamp(now),
            "activated": None if status == "STAGED" else ids.stamp(now), "statusChanged": None,
            "lastLogin": None,
            "lastUpdated": ids.stamp(now), "passwordChanged": None, "type": {"id": USER_TYPE},
            "profile": {"firstName": first, "lastName": last, "mobilePhone": None, "secondEmail": None,
                        "login": login, "email": login},
            "credentials": {"emails": [{"value": login, "status": "VERIFIED", "type": "PRIMARY"}],
                            "provider": {"type": "OKTA", "name": "OKTA"}},
        }  # fmt: skip
        self.changed[index] = made
        self._behind[index] = (now + self.lag, None)
        return index

    def remove(self, index: int, now: float) -> None:
        """Delete a user for good."""
        self._behind[index] = (now + self.lag, self.get(index))
        self.changed[index] = None

    def indexed(self, index: int, now: float) -> Json:
        """What the search index holds of a user: the past, for `lag` seconds."""
        late = self._behind.get(index)
        if late is not None:
            if now < late[0]:
                return late[1]
            del self._behind[index]
        return self.get(index)

    def matching(self, wanted: Node | None, now: float, *, search: bool, start: int = 0) -> Iterator[int]:
        """Numbers of the users that fit, from one on; `search` asks the index instead of the truth."""
        for index in self._candidates(wanted, start):
            if search and index in self._behind:
                user = self.indexed(index, now)
                if user is not None and (wanted is None or wanted.test(_reacher(user))):
                    yield index
            elif self.field(index, "status") is not None and (
                wanted is None or wanted.test(self._cheap(index))
            ):
                yield index

    def _cheap(self, index: int) -> Callable[[str], list[Json]]:
        def look(path: str) -> list[Json]:
            if path in {"id", "status", "created", "lastUpdated"}:
                return [self.field(index, path)]
            return reach(self.get(index), path)

        return look

    def _candidates(self, wanted: Node | None, start: int) -> Iterator[int]:
        """All from `start`; only the changed ones when the question is about a time after the seeding."""
        parts = wanted.parts if isinstance(wanted, Combined) and wanted.kind == "and" else (wanted,)
        latest = ids.stamp(self.founded + DAY * 300)
        for part in parts:
            if not isinstance(part, Compare) or part.path != "lastUpdated":
                continue
            if part.operator in {"gt", "ge"} and part.value > latest:
                return iter(sorted(index for index in {*self.changed, *self._behind} if index >= start))
        return iter(range(start, self.size))


def _reacher(user: Json) -> Callable[[str], list[Json]]:
    return lambda path: reach(user, path)

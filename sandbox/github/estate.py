"""The organisation's repositories: as many as wanted, worked out from their number when looked at."""

from dataclasses import dataclass, field, replace
from random import Random

FIRST = 500_000_001
WORDS = ("ledger", "portal", "billing", "search", "mobile", "data", "infra", "docs", "edge", "auth")
ROLES = ("read", "triage", "write", "maintain", "admin")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository; times are seconds since 1970."""

    id: int
    name: str
    visibility: str
    created: float
    pushed: float
    archived: bool = False
    fork: bool = False
    default_branch: str = "main"


@dataclass(slots=True)
class Estate:
    """`count` repositories by a seed number; only what was changed or added is kept.

    `direct` holds direct collaborators (repository id to user id to role) where they differ from what
    the seed gives; `renamed` old names, which redirect; `gone` are users who lost all direct access.
    """

    count: int = 0
    seed: int = 1
    now: float = 0.0
    changed: dict[int, Repository | None] = field(default_factory=dict)
    direct: dict[int, dict[int, str]] = field(default_factory=dict)
    renamed: dict[str, int] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    outsiders: tuple[int, ...] = ()
    members: tuple[int, ...] = ()

    def ids(self) -> list[int]:
        """The ids of what exists, oldest first."""
        seeded = range(FIRST, FIRST + self.count)
        if not self.changed:
            return list(seeded)
        own = [one for one in seeded if self.changed.get(one, self) is not None]
        return own + sorted(
            one for one, repo in self.changed.items() if repo is not None and one >= FIRST + self.count
        )

    def get(self, repo: int) -> Repository | None:
        """A repository by its id."""
        if repo in self.changed:
            return self.changed[repo]
        return self._seeded(repo) if FIRST <= repo < FIRST + self.count else None

    def find(self, name: str) -> Repository | None:
        """A repository by its present name."""
        if name.lower() in self.named:
            return self.get(self.named[name.lower()])
        number = name.rsplit("-", 1)[-1]
        found = self.get(FIRST + int(number)) if number.isdecimal() else None
        return found if found is not None and found.name == name.lower() else None

    def put(self, repo: Repository) -> None:
        """Add or change one."""
        old = self.get(repo.id)
        if old is not None and old.name != repo.name:
            self.renamed[old.name.lower()] = repo.id
        self.changed[repo.id] = repo
        self.named[repo.name.lower()] = repo.id

    def change(self, repo: Repository, *, visibility: str) -> Repository:
        """Give it another visibility."""
        made = replace(repo, visibility=visibility)
        self.put(made)
        return made

    def collaborators(self, repo: int) -> dict[int, str]:
        """Who was added to it directly: the user's id to the role."""
        if repo not in self.direct:
            chance = Random(self.seed * 7_919 + repo)
            people: dict[int, str] = {}
            if self.members:
                people = {
                    chance.choice(self.members): chance.choice(ROLES) for _ in range(chance.randrange(3))
                }
            if self.outsiders and chance.random() < 0.2:
                people[chance.choice(self.outsiders)] = chance.choice(ROLES[:3])
            self.direct[repo] = {one: role for one, role in people.items() if one not in self.gone}
        return self.direct[repo]

    def _seeded(self, repo: int) -> Repository:
        number = repo - FIRST
        chance = Random(self.seed * 1_000_003 + number)
        age = (self.count - number) * 3_000.0 + chance.random() * 1_000
        return Repository(
            repo,
            f"{WORDS[number % len(WORDS)]}-{number}",
            chance.choices(("private", "internal", "public"), (70, 25, 5))[0],
            self.now - 86_400 * 400 - age,
            self.now - chance.random() * 86_400 * 90,
            archived=chance.random() < 0.05,
            fork=chance.random() < 0.03,
        )

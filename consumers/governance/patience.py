"""How often something is tried again before its failure is the answer."""

from collections import Counter
from typing import Final

from ingest.errors import Retry

_WAITS: Final = 2
_PAUSE: Final = 0.5
_TRIES: Final = 5
_LONGEST: Final = 60.0


class Patience:
    """Counts tries by name; a name that has come to an end is forgotten."""

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()

    def wait(self, name: str, why: str) -> None:
        """Give what this process follows (connectors, policies) a moment to arrive.

        Raises:
            Retry: Twice for a name, half a second each.
        """
        self._count(name, Retry(why, after=_PAUSE), _WAITS + 1)

    def again(self, name: str, error: Exception) -> None:
        """Have a failure tried again, at most a minute later; return when it was the last try.

        Raises:
            Retry: There are tries left.
        """
        after = error.after if isinstance(error, Retry) else None
        self._count(name, Retry(str(error), after=None if after is None else min(after, _LONGEST)), _TRIES)

    def forget(self, name: str) -> None:
        """Begin anew with a name."""
        self._tries.pop(name, None)

    def clear(self) -> None:
        """Begin anew with all."""
        self._tries.clear()

    def _count(self, name: str, error: Retry, most: int) -> None:
        self._tries[name] += 1
        if self._tries[name] < most:
            raise error
        self.forget(name)

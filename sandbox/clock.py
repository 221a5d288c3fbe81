"""A clock that tests may push forward, for what a simulated tenant does with time."""

import time
from datetime import UTC, datetime


class Clock:
    """Wall-clock time plus an offset, in seconds since 1970 (UTC)."""

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = offset

    def now(self) -> float:
        """The present moment as the tenant sees it."""
        return time.time() + self._offset

    def moment(self) -> datetime:
        """The same as an aware UTC datetime."""
        return datetime.fromtimestamp(self.now(), UTC)

    def advance(self, seconds: float) -> None:
        """Let that much time pass at once; it never runs backwards."""
        if seconds < 0:
            raise ValueError(f"a clock can only be advanced, got {seconds} s")
        self._offset += seconds

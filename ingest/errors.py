"""What can go wrong with a provider, each error named by what the core does about it.

    SourceError
    ├── Retry           wait, then go on
    ├── SignInAgain     fetch another token, once
    ├── NotAllowed      rest this feed until its grants change
    ├── CursorLost      begin again at a known place
    ├── BadRecord       one record to the dead letters
    ├── Misconfigured   stop this connector and say what to fix
    ├── Missing         the target is gone
    ├── Changed         the file is another version by now
    ├── Refused         the provider declines an action
    └── Unscannable     the content can't be had

Messages are for operators: they name the thing and the remedy, never a secret or a record's content.
"""

from datetime import datetime, timedelta
from typing import Any


class SourceError(Exception):
    """The root of everything a provider may raise on purpose."""


class Retry(SourceError):
    """The provider asks for patience, or answered with a fault of its own.

    `after` is in seconds; without it the core backs off with jitter. `bucket` names the budget that is
    exhausted; `everywhere` pauses the whole tenant. A throttled call is never an empty success.
    """

    def __init__(
        self, why: str, after: float | None = None, bucket: str = "", *, everywhere: bool = False
    ) -> None:
        super().__init__(why)
        self.after, self.bucket, self.everywhere = after, bucket, everywhere


class SignInAgain(SourceError):
    """The token was refused: a fresh one is fetched, the call repeated once; a second refusal is final."""


class NotAllowed(SourceError):
    """The admin has not granted what this feed needs: it rests, the others go on."""


class CursorLost(SourceError):
    """The provider forgot our position: read on from `cursor` or `since`; `gap`: records may be missing."""

    def __init__(
        self, why: str, cursor: Any = None, since: datetime | timedelta | None = None, *, gap: bool = True
    ) -> None:
        super().__init__(why)
        self.cursor, self.since, self.gap = cursor, since, gap


class BadRecord(SourceError):
    """One record can't be mapped: it becomes a dead letter with its raw form, its neighbours go on."""


class Misconfigured(SourceError):
    """Nothing works until an operator changes the settings: the connector stops and shows the message."""


class Missing(SourceError):
    """The file or target does not exist, or not any more."""


class Changed(SourceError):
    """The file is another version than the one asked for."""


class Refused(SourceError):
    """The provider will not do this action; an outcome, not a failure of ours."""


class Unscannable(SourceError):
    """The content can't be had (archived, under a foreign key, too large); the text is the reason."""

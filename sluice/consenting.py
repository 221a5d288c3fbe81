"""An admin's consent at a terminal: the browser is opened where there is one, the answer may be pasted."""

import asyncio
import os
import stat
import sys
import webbrowser
from collections.abc import Awaitable, Callable

from pydantic import BaseModel
from yarl import URL

from ingest.consent import consent
from ingest.token_endpoint import TokenSet
from schemas.control import Wish
from sluice.connecting import Asked, consent_wanted
from sluice.operate import Desk
from sluice.terminal import interactive, note


async def consented(
    desk: Desk,
    asked: Asked,
    made: BaseModel,
    have: Wish | None,
    *,
    port: int = 0,
    within: float = 600.0,
    pasting: bool = True,
) -> TokenSet | None:
    """Have an admin consent in a browser: this machine's, or another whose last address is pasted.

    Gives None where no consent is needed, or the one that is stored serves.

    Args:
        desk: The deployment.
        asked: What is to be connected.
        made: Its settings.
        have: What is stored of it; None asks for a consent in any case.
        port: The loopback port, where the app wants its redirect address registered.
        within: Seconds the admin has.
        pasting: Whether stdin is free for it.

    Raises:
        NotAllowed: The admin declined.
        Misconfigured: Nothing came in time, or the provider refuses.
    """
    auth = consent_wanted(desk, asked, made, have)
    if auth is None:
        return None
    lines = _typed() if pasting else None
    async with desk.links.session() as session:

        def show(url: str) -> None:
            back = URL(url).query["redirect_uri"]
            note(f"{asked.name} needs an admin's consent. Open this address in a browser:\n\n  {url}\n")
            note(f"The app must have this redirect address registered: {back}")
            if lines:
                note("If the browser can't reach it at the end, paste here the address it stopped at.")
            if interactive() and _has_browser():
                webbrowser.open(url)

        return await consent(auth, session, show, pasted=lines, port=port, within=within)


def _has_browser() -> bool:
    """Whether a browser would open in a window of its own: one in the terminal would take the terminal."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _typed() -> Callable[[], Awaitable[str]] | None:
    """Give stdin's lines without a thread that would hold up our end; None: nothing can be typed there."""
    try:
        number = sys.stdin.fileno()
        kind = os.fstat(number).st_mode
    except (OSError, ValueError, AttributeError):
        return None
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(number)):
        return None
    came: asyncio.Queue[bytes] = asyncio.Queue()
    loop, rest = asyncio.get_running_loop(), bytearray()

    def readable() -> None:
        piece = os.read(number, 65_536)
        rest.extend(piece)
        if not piece:
            loop.remove_reader(number)
        while b"\n" in rest:
            line, _, more = bytes(rest).partition(b"\n")
            rest[:] = more
            came.put_nowait(line)

    async def line() -> str:
        return (await came.get()).decode(errors="replace")

    loop.add_reader(number, readable)
    return line

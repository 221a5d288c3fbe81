"""Starting and ending what runs beside us, without mistaking its cancellation for ours."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def ended(task: "asyncio.Task[Any]", seconds: float | None = None) -> None:
    """Cancel a task and wait for its end, at most so long; what it ended with is not ours to raise.

    Suppressing CancelledError around `await task` would swallow a cancellation of the caller as well.
    """
    task.cancel()
    await asyncio.wait({task}, timeout=seconds)
    if task.done() and not task.cancelled():
        task.exception()


async def bounded(ending: Coroutine[Any, Any, object], seconds: float) -> None:
    """Wait for an end that may hang, or end in a CancelledError that is a library's and not ours."""
    task = asyncio.ensure_future(ending)
    await asyncio.wait({task}, timeout=seconds)
    if task.done() and not task.cancelled():
        task.exception()
    task.cancel()


async def whole(start: Coroutine[Any, Any, object]) -> None:
    """Start a client; a cancellation waits for its end, as aiokafka would leave a connection open."""
    starting = asyncio.ensure_future(start)
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting}, timeout=2.0)
        if starting.done() and not starting.cancelled():
            starting.exception()
        starting.cancel()
        raise


def asked_to_stop() -> bool:
    """Tell whether the current task was really cancelled, or awaits something that was."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

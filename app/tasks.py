"""Tasks that must not end, and how to tell a cancellation that was asked for from one that nobody asked for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Job = Callable[[], Coroutine[Any, Any, None]]


def is_cancelled() -> bool:
    """Whether somebody cancelled the current task. A library may raise CancelledError all the same."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def lasting(job: Job) -> None:
    """Run a job that lasts until it is cancelled; RuntimeError if it ends before.

    A TaskGroup passes over a task that ends with CancelledError, so that nobody would notice it.
    """
    try:
        await job()
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise RuntimeError(f"{job.__qualname__} ended with a cancellation that nobody asked for") from error
    raise RuntimeError(f"{job.__qualname__} ended")

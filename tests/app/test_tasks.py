"""A job that must last: whatever ends it is an error, unless somebody cancelled it."""

import asyncio

import pytest

from app.tasks import Job, is_cancelled, lasting


async def gives_up() -> None:
    """As a library may that cancels only itself."""
    raise asyncio.CancelledError


async def returns() -> None:
    pass


async def fails() -> None:
    raise ValueError("why it failed")


@pytest.mark.parametrize(
    ("job", "message"), [(gives_up, "gives_up ended with a cancellation that nobody asked for"), (returns, "returns")]
)
async def test_a_job_that_ends_by_itself_is_an_error(job: Job, message: str) -> None:
    """A TaskGroup would pass over the first, and go on without it."""
    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lasting(job))
    assert message in str(raised.value.exceptions[0])


async def test_a_job_that_fails_says_why() -> None:
    with pytest.raises(ValueError, match="why it failed"):
        await lasting(fails)


async def waits() -> None:
    await asyncio.Event().wait()


async def test_a_job_that_is_cancelled_ends_in_peace() -> None:
    task = asyncio.create_task(lasting(waits))
    await asyncio.sleep(0)
    assert not is_cancelled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

"""How clients stop; the fetcher is aiokafka's own."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher

from app.kafka import client


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """Started as far as its fetcher: one failed fetch waits to be tried again, and another for its answer."""

    def __init__(self) -> None:
        self._closed = False
        self._coordinator = None
        tasks = {asyncio.ensure_future(asyncio.Event().wait()) for _ in range(2)}
        fetch_task = asyncio.ensure_future(asyncio.Event().wait())
        fetcher = SimpleNamespace(_fetch_task=fetch_task, _fetch_waiters=set(), _pending_tasks=tasks)
        fetcher.close = lambda: Fetcher.close(cast(Any, fetcher))
        self._fetcher = fetcher
        self._client = SimpleNamespace(close=self._close)
        self.is_open = True
        self.tasks = {fetch_task, *tasks}

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def _close(self) -> None:
        self.is_open = False


async def ended(tasks: set[Any]) -> bool:
    await asyncio.wait(tasks)
    return all(task.cancelled() for task in tasks)


async def test_a_consumer_is_stopped_while_a_fetch_waits_to_be_tried_again() -> None:
    consumer = Consumer()
    async with client.started(consumer):
        pass
    assert not consumer.is_open
    assert await ended(consumer.tasks)


async def test_the_error_of_the_block_is_the_one_that_is_raised() -> None:
    consumer = Consumer()
    with pytest.raises(OSError, match="of the block"):
        async with client.started(consumer):
            raise OSError("of the block")
    assert not consumer.is_open


async def test_a_cancellation_that_was_asked_for_ends_the_task() -> None:
    consumer = Consumer()

    async def hold() -> None:
        async with client.started(consumer):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(hold())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not consumer.is_open
    assert await ended(consumer.tasks)

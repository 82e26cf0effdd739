"""Publishes records by a producer of its own, for what must not wait behind a worker's changelogs, nor hold them up."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from app import private_names
from app.config.settings import Kafka
from app.kafka import client
from app.kafka.encoding import encoded

ANSWER_MS = 4500
BATCH_BYTES = 256 * 1024


class DirectPublisher:
    """A queue of records to publish. The producer is started by the first record; KafkaError if no broker answers."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._queue: list[Callable[[], Awaitable[Any]]] = []

    def put(self, topic: str, key: str, value: msgspec.Struct) -> None:
        """Queue one record as JSON; one that no broker would accept is counted and dropped."""
        if (record := encoded(topic, value)) is not None:
            self._queue.append(partial(self._send, topic, key.encode(), record))

    def take(self) -> list[Callable[[], Awaitable[Any]]]:
        """Return all queued sends, and empty the queue: await each, and then what it returns for the confirmation."""
        queue, self._queue = self._queue, []
        return queue

    async def close(self) -> None:
        """Send what the producer still has, and close it."""
        if self._producer is not None:
            await self._producer.stop()

    async def _send(self, topic: str, key: bytes, value: bytes) -> Awaitable[Any]:
        async with self._starting:
            if self._producer is not None and has_ended(self._producer):
                ended, self._producer = self._producer, None
                await ended.stop()
            if self._producer is None:
                self._producer = await self._started()
        confirmed: Awaitable[Any] = await self._producer.send(topic, value, key=key)
        return confirmed

    async def _started(self) -> AIOKafkaProducer:
        options = {"linger_ms": 5, "max_batch_size": BATCH_BYTES, "request_timeout_ms": ANSWER_MS}
        producer = client.producer(self._kafka, **options)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer


def has_ended(producer: AIOKafkaProducer) -> bool:
    """Whether a producer will never send again: an error that aiokafka does not know ended its task."""
    task: asyncio.Task[None] = private_names.sender_of(producer).sender_task
    return task.done()

"""The one door to Kafka: every consumer, producer and admin client of the product is made here, Faust's included.

The settings' `kafka` table says how to reach the broker. The caller says what a client is for and how long it waits.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    BrokerResponseError,
    CommitFailedError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
)

from app.config.settings import Kafka
from app.kafka.bounded import bound_consumers
from app.tasks import is_cancelled

C = TypeVar("C", AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)
MEANINGS: dict[type[Exception], str] = {
    KafkaConnectionError: "no connection",
    NodeNotReadyError: "no connection",
    KafkaTimeoutError: "no answer in time",
    TimeoutError: "no answer in time",
    CommitFailedError: "the group changed before the commit",
}


def consumer(kafka: Kafka, **options: Any) -> AIOKafkaConsumer:
    """A consumer, not started, that commits nothing by itself; `options` are aiokafka's own."""
    bound_consumers()
    return AIOKafkaConsumer(**_connection(kafka), enable_auto_commit=False, **options)


def producer(kafka: Kafka, **options: Any) -> AIOKafkaProducer:
    """A producer, not started, whose records are confirmed by all replicas in sync; `options` are aiokafka's own."""
    return AIOKafkaProducer(**_connection(kafka), acks="all", **options)


def admin(kafka: Kafka, answer_s: float = 40.0) -> AIOKafkaAdminClient:
    """An admin client, not started; each answer must come within `answer_s` seconds."""
    return AIOKafkaAdminClient(**_connection(kafka), request_timeout_ms=int(answer_s * 1000))


@asynccontextmanager
async def started(client: C) -> AsyncIterator[C]:
    """Start the client, and stop it whatever happens; KafkaError if no broker answers."""
    try:
        await client.start()
        yield client
    finally:
        if isinstance(client, AIOKafkaConsumer):
            await _stop(client)
        else:
            await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer and close its connections, also while a failed fetch of it waits to be tried again.

    aiokafka 0.14 lets the cancellation of that fetch out of `stop`, as if somebody had cancelled who waits for it, and
    leaves the connections open.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        fetcher: Any = consumer._fetcher
        for fetch in fetcher._pending_tasks:
            fetch.cancel()
        kafka_client: Any = consumer._client
        await kafka_client.close()
        if is_cancelled():
            raise


def describe(error: Exception) -> str:
    """What a failed request means, for people: aiokafka's own texts show Python objects."""
    for kind, meaning in MEANINGS.items():
        if isinstance(error, kind):
            return meaning
    name = type(error).__name__
    if isinstance(error, BrokerResponseError):
        return f"{name}: {error.description}"
    return str(error).removeprefix("KafkaError: ") or name


def _connection(kafka: Kafka) -> dict[str, Any]:
    """The options by which every client reaches the broker."""
    return {"bootstrap_servers": kafka.broker}

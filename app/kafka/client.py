"""The one door to Kafka: every consumer, producer and admin client of the product is made here, Faust's included.

How the broker is reached stands in `kafka` of the settings. What a client is for, and how patient it is, its user says.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from app.config.settings import Kafka

C = TypeVar("C", AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)


def consumer(kafka: Kafka, **options: Any) -> AIOKafkaConsumer:
    """A consumer, not started, that commits nothing by itself; `options` are aiokafka's own."""
    return AIOKafkaConsumer(**_connection(kafka), enable_auto_commit=False, **options)


def producer(kafka: Kafka, **options: Any) -> AIOKafkaProducer:
    """A producer, not started, whose records are confirmed by all replicas in sync; `options` are aiokafka's own."""
    return AIOKafkaProducer(**_connection(kafka), acks="all", **options)


def admin(kafka: Kafka, answer_s: float = 40.0) -> AIOKafkaAdminClient:
    """An administrator's client, not started; each answer must come within `answer_s` seconds."""
    return AIOKafkaAdminClient(**_connection(kafka), request_timeout_ms=int(answer_s * 1000))


@asynccontextmanager
async def started(client: C) -> AsyncIterator[C]:
    """Start the client, and stop it whatever happens; KafkaError where no broker answers."""
    stop = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    try:
        await client.start()
        yield client
    finally:
        await stop()


def _connection(kafka: Kafka) -> dict[str, Any]:
    """How any client reaches the broker."""
    return {"bootstrap_servers": kafka.broker}

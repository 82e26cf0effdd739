"""A Kafka consumer for as long as a block lasts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer


@asynccontextmanager
async def consuming(broker: str, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """It reads nothing and commits nothing by itself."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()

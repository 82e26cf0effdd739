"""What a topic holds, read until a condition is met."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.patience import PATIENCE_S

Record = dict[str, Any]


async def records_until(
    broker: str, topic: str, enough: Callable[[list[Record]], bool], within_s: float = PATIENCE_S
) -> list[Record]:
    """Every JSON record of the topic from its start, as soon as they are `enough`; TimeoutError when they never are."""
    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        found: list[Record] = []
        async with asyncio.timeout(within_s):
            while not enough(found):
                for message in (await consumer.getmany(partition, timeout_ms=100)).get(partition, ()):
                    found += [json.loads(line) for line in message.value.splitlines() if line]
        return found
    finally:
        await consumer.stop()

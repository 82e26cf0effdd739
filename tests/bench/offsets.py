"""Where topics end and groups stand, asked from the outside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tests.consumers import consuming


class Offsets:
    """Of partition 0 of topics, for the groups of one broker."""

    def __init__(self, broker: str, admin: AIOKafkaAdminClient) -> None:
        self._broker = broker
        self._admin = admin

    @classmethod
    @asynccontextmanager
    async def of(cls, broker: str) -> AsyncIterator[Self]:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        try:
            yield cls(broker, admin)
        finally:
            await admin.close()

    async def committed(self, group: str, topic: str) -> int:
        """The next offset that a group will read; -1 where it has committed none."""
        offsets: Any = await self._admin.list_consumer_group_offsets(group)
        found = offsets.get(TopicPartition(topic, 0))
        return -1 if found is None else int(found.offset)

    async def end(self, topic: str) -> int:
        """One more than the offset of the last record."""
        partition = TopicPartition(topic, 0)
        async with consuming(self._broker) as consumer:
            return int((await consumer.end_offsets([partition]))[partition])

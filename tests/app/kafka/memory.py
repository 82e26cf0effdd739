"""A broker in memory, for whoever reads topics by `app.kafka.read`; it answers in small batches."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import TopicPartition

BATCH = 300


class Record(NamedTuple):
    """What a consumer gives, as far as we look."""

    topic: str
    value: bytes
    key: bytes | None = None
    offset: int = 0
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


class MemoryConsumer:
    """A consumer of these topics, each a list of records by offset; `fetched` counts the records given out."""

    def __init__(self, topics: Mapping[str, Sequence[Record]]) -> None:
        self.fetched = 0
        self._topics = topics
        self._at: dict[str, int] = {}

    async def topics(self) -> set[str]:
        return set(self._topics)

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._at = {partition.topic: 0 for partition in partitions}

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self._topics[partition.topic]) for partition in partitions}

    async def offsets_for_times(self, since_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        return {
            partition: next(
                (
                    record._replace(offset=offset)
                    for offset, record in enumerate(self._topics[partition.topic])
                    if record.timestamp >= at_ms
                ),
                None,
            )
            for partition, at_ms in since_ms.items()
        }

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._at[partition.topic] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self._at[partition.topic]

    async def getmany(self, partition: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        at = self._at[partition.topic]
        batch = self._topics[partition.topic][at : at + BATCH]
        self._at[partition.topic] += len(batch)
        self.fetched += len(batch)
        return {partition: [record._replace(offset=at + index) for index, record in enumerate(batch)]}


def consuming_from(consumer: Callable[[], MemoryConsumer]) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """What stands in for `app.kafka.read._consumer`."""

    @asynccontextmanager
    async def open_one(*_: object) -> AsyncIterator[MemoryConsumer]:
        yield consumer()

    return open_one

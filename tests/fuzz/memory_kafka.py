"""Topics in memory, for all that reads them by app/kafka/client.py."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import TopicPartition


class MemoryRecord(NamedTuple):
    """As much of a ConsumerRecord as is used."""

    topic: str
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = 0


class MemoryTopics:
    """Topics by name; `consumer` stands in for app.kafka.client.consumer."""

    def __init__(self, names: Iterable[str]) -> None:
        self.records: dict[str, list[MemoryRecord]] = {name: [] for name in names}

    def add(self, topic: str, key: bytes | None, value: bytes | None, at_s: float) -> None:
        """Append a record."""
        records = self.records[topic]
        records.append(MemoryRecord(topic, len(records), key, value, int(at_s * 1000)))

    def consumer(self, *_: object, **__: object) -> "MemoryConsumer":
        """A consumer of these topics."""
        return MemoryConsumer(self.records)


class MemoryConsumer:
    """As much of aiokafka's consumer as our readers use."""

    def __init__(self, records: Mapping[str, list[MemoryRecord]]) -> None:
        self._records = records
        self._positions: dict[TopicPartition, int] = {}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def topics(self) -> set[str]:
        return set(self._records)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    async def seek_to_beginning(self, partition: TopicPartition) -> None:
        self._positions[partition] = 0

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self._records[partition.topic]) for partition in partitions}

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        firsts = {
            partition: next((one for one in self._records[partition.topic] if one.timestamp >= since_ms), None)
            for partition, since_ms in times.items()
        }
        return firsts

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[MemoryRecord]]:
        found = {}
        for partition in partitions or list(self._positions):
            if new := self._records[partition.topic][self._positions[partition] :]:
                found[partition] = new
                self._positions[partition] += len(new)
        return found

"""Follows the output topics without a consumer group: first their history, then every new record.

Of some topics the last records are read, or all, however old they are: the oldest may be the one in force.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from app.clock import Clock
from app.config.settings import Kafka
from app.kafka import client
from app.kafka.unreadable import Unreadable
from app.logs import OFTEN

RETRY_S = 2.0
POLL_MS = 500
LAST = 10  # offsets at the end of a topic that are read however old they are; some may have no record

log = logging.getLogger(__name__)
Take = Callable[[bytes | None, bytes | None, float], None]


class TopicsReader:
    """Passes key, value and Kafka time of every record to its topic's `take`.

    Sets `caught_up` when the history has been read. `last` is how many of the last records of a topic are read besides
    its history, LAST by default; None means all. Whatever `take` raises is the record's fault: the record is counted as
    unreadable, and reading goes on.
    """

    def __init__(
        self,
        kafka: Kafka,
        takes: Mapping[str, Take],
        history_s: float,
        clock: Clock,
        last: Mapping[str, int | None] | None = None,
    ) -> None:
        self.caught_up = False
        self.unreadable = Unreadable()
        self._kafka = kafka
        self._takes = takes
        self._history_s = history_s
        self._last = last or {}
        self._clock = clock
        self._next: dict[TopicPartition, int] = {}

    @property
    def topics(self) -> Collection[str]:
        """The topics that are read."""
        return self._takes.keys()

    async def run(self) -> None:
        """Read until cancelled; when the broker is unreachable, retry and go on where reading stopped."""
        while True:
            try:
                await self._follow()
            except KafkaError as error:
                reason = client.why(self._kafka, error)
                log.warning("broker %s: %s; trying again", self._kafka.broker, reason, extra=OFTEN)
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        # A new broker with an empty log is read from the beginning.
        async with client.started(client.consumer(self._kafka, auto_offset_reset="earliest")) as consumer:
            ends = await self._assign(consumer)
            while True:
                for partition, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                    for record in self.unreadable.without_refused(records):
                        self._take(partition.topic, record.offset, record.key, record.value, record.timestamp / 1000)
                    self._next[partition] = records[-1].offset + 1
                if not self.caught_up:
                    self.caught_up = all([await consumer.position(tp) >= end for tp, end in ends.items()])

    async def _assign(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Assign partition 0 of each topic, seek to where reading starts, and return the current ends."""
        existing = await consumer.topics()
        if missing := self._takes.keys() - existing:
            raise KafkaError(f"no topic {', '.join(sorted(missing))}; does `autopilot check` pass?")
        partitions = [TopicPartition(topic, 0) for topic in self._takes]
        consumer.assign(partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        since_ms = int((self._clock.now_s() - self._history_s) * 1000)
        firsts = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for partition in partitions:
            # The last records are read however old they are: the newest decision may be the one in force.
            count = self._last.get(partition.topic, LAST)
            last = begins[partition] if count is None else max(begins[partition], ends[partition] - count)
            since = firsts[partition].offset if firsts[partition] and firsts[partition].offset >= 0 else last
            consumer.seek(partition, self._next.get(partition, min(since, last)))
        return dict(ends)

    def _take(self, topic: str, offset: int, key: bytes | None, value: bytes | None, at_s: float) -> None:
        try:
            self._takes[topic](key, value, at_s)
        except Exception as error:
            self.unreadable.note(topic, f"the record at offset {offset}", str(error) or type(error).__name__)

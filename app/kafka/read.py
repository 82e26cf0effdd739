"""Reads our own output topics for the command line and the demo's score, without a consumer group.

Batches that cannot be read are logged and left out.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from app.config.settings import Kafka
from app.contract.decoding import Read
from app.errors import DaemonError
from app.kafka import client
from app.kafka.bounded import refusal_of
from app.kafka.unreadable import Unreadable, decoded

T = TypeVar("T")
TIMEOUT_MS = 10_000
POLL_MS = 500
BACK_STEP, BACK_MAX = 500, 100_000  # records


async def read_topic(
    kafka: Kafka, topic: str, last: int | None = None, since_s: float | None = None
) -> list[ConsumerRecord]:
    """The records that partition 0 of a topic holds now: all, the `last` ones, or those from a Unix time on.

    DaemonError, with what to check, if the broker does not answer or lacks the topic.
    """
    async with _consumer(kafka) as consumer:
        ((partition, end),) = (await _assign(kafka, consumer, {topic: last})).items()
        if since_s is not None:
            first = (await consumer.offsets_for_times({partition: int(since_s * 1000)}))[partition]
            consumer.seek(partition, end if first is None else first.offset)
        return await _read_to(consumer, partition, end)


async def read_newest(
    kafka: Kafka, topic: str, read: Read[T], key_of: Callable[[T], str], wanted: Collection[str]
) -> dict[str, T]:
    """The newest record of each key of `wanted`, which what has fallen silent shares with those that go on writing.

    Reading goes back until each is found, at most over BACK_MAX records: a key that is left out was not seen in them.
    DaemonError as for `read_topic`.
    """
    newest: dict[str, T] = {}
    async with _consumer(kafka) as consumer:
        ((partition, end),) = (await _assign(kafka, consumer, {topic: 1})).items()
        begin, step = max((await consumer.beginning_offsets([partition]))[partition], end - BACK_MAX), BACK_STEP
        while end > begin and not newest.keys() >= set(wanted):
            start = max(begin, end - step)
            consumer.seek(partition, start)
            records = await _read_to(consumer, partition, end)
            newest = {key_of(value): value for _, value in decoded(records, read)} | newest
            end, step = start, 2 * step
    return {key: newest[key] for key in wanted if key in newest}


async def _read_to(consumer: AIOKafkaConsumer, partition: TopicPartition, end: int) -> list[ConsumerRecord]:
    records: list[ConsumerRecord] = []
    unreadable = Unreadable()
    while await consumer.position(partition) < end:
        for batch in (await consumer.getmany(partition, timeout_ms=TIMEOUT_MS)).values():
            records.extend(record for record in unreadable.without_refused(batch) if record.offset < end)
    return records


async def unreadable_batches(kafka: Kafka, wanted: Collection[str]) -> dict[str, str]:
    """Why the newest batch of a topic cannot be read, for those of these topics, all with records, where it cannot.

    A broker may hand batches out in any codec: that of the writer, or the topic's `compression.type`.
    """
    reasons: dict[str, str] = {}
    async with _consumer(kafka) as consumer:
        ends = await _assign(kafka, consumer, dict.fromkeys(wanted, 1))
        begins = await consumer.beginning_offsets(list(ends))
        for partition, end in ends.items():
            while begins[partition] < end and await consumer.position(partition) < end:
                for batch in (await consumer.getmany(partition, timeout_ms=POLL_MS)).values():
                    reasons |= {record.topic: reason for record in batch if (reason := refusal_of(record)) is not None}
    return reasons


async def follow(kafka: Kafka, wanted: Mapping[str, int | None]) -> AsyncGenerator[ConsumerRecord, None]:
    """Yield the last `wanted[topic]` records (None: all) of partition 0 of each topic, then every new one."""
    unreadable = Unreadable()
    async with _consumer(kafka) as consumer:
        await _assign(kafka, consumer, wanted)
        while True:
            for batch in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in unreadable.without_refused(batch):
                    yield record


async def _assign(
    kafka: Kafka, consumer: AIOKafkaConsumer, wanted: Mapping[str, int | None]
) -> dict[TopicPartition, int]:
    """Seek to `wanted[topic]` records (None: all) before the end of each topic; return the ends."""
    if missing := wanted.keys() - await consumer.topics():
        raise DaemonError(f"broker {kafka.broker}: no topic {', '.join(sorted(missing))}; does `autopilot check` pass?")
    partitions = {TopicPartition(topic, 0): last for topic, last in wanted.items()}
    consumer.assign(list(partitions))
    begins = await consumer.beginning_offsets(list(partitions))
    ends: dict[TopicPartition, int] = await consumer.end_offsets(list(partitions))
    for partition, last in partitions.items():
        begin = begins[partition]
        consumer.seek(partition, begin if last is None else max(begin, ends[partition] - last))
    return ends


@asynccontextmanager
async def _consumer(kafka: Kafka) -> AsyncIterator[AIOKafkaConsumer]:
    try:
        async with client.started(client.consumer(kafka, request_timeout_ms=TIMEOUT_MS)) as consumer:
            yield consumer
    except KafkaError as error:
        raise DaemonError(client.unreachable(kafka, error)) from error

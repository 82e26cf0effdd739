"""Reading our own output topics from the outside: the command line and the demo's score. No consumer group."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from app.errors import DaemonError

TIMEOUT_MS = 10_000


async def read_topic(broker: str, topic: str, last: int | None = None) -> list[ConsumerRecord]:
    """The records that partition 0 of a topic holds now, or the `last` of them; DaemonError says what to check."""
    partition = TopicPartition(topic, 0)
    async with _consumer(broker) as consumer:
        if topic not in await consumer.topics():
            raise DaemonError(f"{broker}: no topic {topic}; does `autopilot check` pass?")
        consumer.assign([partition])
        begin = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, begin if last is None else max(begin, end - last))
        records: list[ConsumerRecord] = []
        while await consumer.position(partition) < end:
            for batch in (await consumer.getmany(partition, timeout_ms=TIMEOUT_MS)).values():
                records.extend(record for record in batch if record.offset < end)
        return records


@asynccontextmanager
async def _consumer(broker: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, request_timeout_ms=TIMEOUT_MS)
    try:
        await consumer.start()
        yield consumer
    except KafkaError as error:
        raise DaemonError(f"{broker}: {error}; is the broker running there, is kafka.broker right?") from error
    finally:
        await consumer.stop()

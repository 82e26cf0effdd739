"""Topics for the benchmark: flows as sfacctd's producer packs them, routes, and counters of the same traffic."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from app.contract import topics
from tests.bench import network
from tests.bench.traffic import REFRESH_S, Message, Plan, Traffic

BATCH_BYTES = 900_000  # librdkafka fills a batch up to a megabyte while a purge lasts
INFLIGHT = 8


@asynccontextmanager
async def _producer(broker: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks=1, max_batch_size=BATCH_BYTES, linger_ms=5)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def fill(broker: str, pop: str, plan: Plan, capacity_bps: float) -> Traffic:
    """Fill the three input topics of a PoP; what its flows must add up to."""
    traffic = Traffic(plan)
    async with _producer(broker) as producer:
        await _send(producer, topics.FLOWS.for_pop(pop), traffic.messages())
        at_ms = plan.start_s * 1000
        await _send(producer, topics.BMP.for_pop(pop), (Message(value, at_ms) for value in network.bmp_messages()))
        await _send(producer, topics.COUNTERS.for_pop(pop), _counters(traffic, capacity_bps))
    return traffic


def _counters(traffic: Traffic, capacity_bps: float) -> Iterable[Message]:
    """Every link's octets at the beginning, at each purge, and some time after the last."""
    rows = [[0] * network.LINKS, *traffic.octets, *[traffic.octets[-1]] * 2]
    for number, octets in enumerate(rows):
        at_s = traffic.plan.start_s + number * REFRESH_S
        for link, carried in enumerate(octets):
            yield Message(network.counters(link, at_s, carried, capacity_bps), at_s * 1000)


async def _send(producer: AIOKafkaProducer, topic: str, messages: Iterable[Message]) -> None:
    answers, batch = [], producer.create_batch()
    for message in messages:
        if batch.append(key=None, value=message.value, timestamp=message.at_ms) is None:
            answers.append(await producer.send_batch(batch, topic, partition=0))
            batch = producer.create_batch()
            assert batch.append(key=None, value=message.value, timestamp=message.at_ms) is not None, "too long"
            if len(answers) > INFLIGHT:
                await answers.pop(0)
    answers.append(await producer.send_batch(batch, topic, partition=0))
    for answer in answers:
        await answer

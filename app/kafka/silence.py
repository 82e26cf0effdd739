"""Which topics nobody writes to at the moment, by Kafka's times of their records. Nothing is fetched for it."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from app.clock import Clock
from app.config.settings import Kafka, Settings
from app.contract import topics
from app.errors import DaemonError
from app.kafka import client
from app.logs import OFTEN

POLL_S = 10.0
RETRY_S = 2.0
ANSWER_MS = 10_000
MARKERS_S = 30.0  # sfacctd writes purge markers every refresh, which is 2 s by default
AHEAD_MAX_S = 60.0  # a record that is further ahead would hide a silence until its time has come
GROWS_S = 20.0  # longer than any collector is silent, as above
BMP_S = 30.0  # routers send BMP statistics every 10 s

log = logging.getLogger(__name__)


def watched(settings: Settings, pops: Collection[str]) -> dict[str, float]:
    """The topics of these PoPs that collectors keep writing to, and how long each may be without a record."""
    markers_s = max(MARKERS_S, 3.0 * settings.windows.refresh_s)
    flows = {topics.FLOWS.for_pop(pop): markers_s for pop in pops}
    return flows | {topics.BMP.for_pop(pop): BMP_S for pop in pops}


async def silent_topics(kafka: Kafka, quiet_s: Mapping[str, float], now_s: float) -> frozenset[str]:
    """The topics without a record in the last `quiet_s[topic]` seconds; DaemonError if the broker does not answer."""
    try:
        async with client.started(client.consumer(kafka, request_timeout_ms=ANSWER_MS)) as consumer:
            return await _silent(consumer, quiet_s, now_s)
    except KafkaError as error:
        raise DaemonError(client.unreachable(kafka, error)) from error


class SilenceWatch:
    """Asks every POLL_S seconds which topics are silent, and passes them on."""

    def __init__(
        self, kafka: Kafka, quiet_s: Mapping[str, float], clock: Clock, take: Callable[[frozenset[str]], None]
    ) -> None:
        self._kafka = kafka
        self._quiet_s = quiet_s
        self._clock = clock
        self._take = take

    async def run(self) -> None:
        """Ask until cancelled. While the broker is away nothing is passed on: what is silent is unknown."""
        while True:
            try:
                async with client.started(client.consumer(self._kafka)) as consumer:
                    while True:
                        self._take(await _silent(consumer, self._quiet_s, self._clock.now_s()))
                        await asyncio.sleep(POLL_S)
            except KafkaError as error:
                reason = client.why(self._kafka, error)
                log.warning("broker %s: %s; trying again", self._kafka.broker, reason, extra=OFTEN)
                await asyncio.sleep(RETRY_S)


async def _silent(consumer: AIOKafkaConsumer, quiet_s: Mapping[str, float], now_s: float) -> frozenset[str]:
    """Nobody writes to a topic that does not exist either."""
    existing = await consumer.topics()
    since_ms = {TopicPartition(topic, 0): int((now_s - s) * 1000) for topic, s in quiet_s.items() if topic in existing}
    absent = quiet_s.keys() - existing
    if not since_ms:
        return frozenset(absent)
    consumer.assign(list(since_ms))
    firsts = await consumer.offsets_for_times(since_ms)
    silent = {partition.topic for partition in since_ms if firsts.get(partition) is None}
    ahead = [each for each, first in firsts.items() if first and first.timestamp > (now_s + AHEAD_MAX_S) * 1000]
    return frozenset(absent | silent | await _not_growing(consumer, ahead))


async def _not_growing(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> set[str]:
    """The topics that get no record for GROWS_S. Their times say nothing: a clock is or was ahead."""
    if not partitions:
        return set()
    before = await consumer.end_offsets(partitions)
    await asyncio.sleep(GROWS_S)
    after = await consumer.end_offsets(partitions)
    return {each.topic for each in partitions if after[each] <= before[each]}

"""Asks the broker for its time: of a topic with `message.timestamp.type=LogAppendTime` each confirmation says it."""

import asyncio
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from app.clock import BrokerClock, BrokerTime, Clock
from app.config.settings import Kafka
from app.contract.topics import CLOCK
from app.errors import DaemonError
from app.kafka import client

ASK_EVERY_S, RETRY_S = 10.0, 2.0
ANSWER_MS = 10_000
WARN_S = 5.0
ASKED_AT_FIRST = 3  # the first answer waits for connections
BY_BROKER = 1  # timestamp_type of LogAppendTime

log = logging.getLogger(__name__)


async def host_ahead_s(kafka: Kafka, clock: Clock) -> float:
    """How far this host's clock is ahead of the broker's, in seconds; DaemonError if the broker does not say."""
    broker = BrokerClock(clock)
    try:
        async with client.started(client.producer(kafka, request_timeout_ms=ANSWER_MS)) as producer:
            await _ask(producer, broker)
    except KafkaError as error:
        raise DaemonError(f"broker {kafka.broker}: topic {CLOCK.name}: {client.why(kafka, error)}") from error
    assert broker.host_ahead_s is not None, "it was asked"
    return broker.host_ahead_s


def warning(ahead_s: float) -> str | None:
    """What people should know of a host whose clock is `ahead_s` seconds ahead of the broker's; None if it is right."""
    if abs(ahead_s) <= WARN_S:
        return None
    way = "ahead of" if ahead_s > 0 else "behind"
    return f"the clock of this host is {abs(ahead_s):.1f} s {way} the broker's; see `chronyc tracking`"


class ClockWatch:
    """Keeps a BrokerClock right, and warns once if the host's own clock is not."""

    def __init__(self, kafka: Kafka, clock: BrokerClock) -> None:
        self._kafka = kafka
        self._clock = clock
        self._said: str | None = None

    async def run(self) -> None:
        """Ask until cancelled. While no broker answers, the clock goes on as it was last set."""
        while True:
            try:
                async with client.started(client.producer(self._kafka, request_timeout_ms=ANSWER_MS)) as producer:
                    while True:
                        await _ask(producer, self._clock)
                        self._warn()
                        await asyncio.sleep(ASK_EVERY_S)
            except Exception as error:  # whatever it is, a clock is no reason to end a worker
                self._say(f"the broker's time is not known: {client.why(self._kafka, error)}")
                await asyncio.sleep(RETRY_S)

    def _warn(self) -> None:
        ahead_s = self._clock.host_ahead_s or 0.0
        text = warning(ahead_s)
        if text is None:
            self._said = None
        elif self._said is None or not self._said.startswith("the clock"):
            self._say(f"{text}. Until it is right, what this process does goes by the broker's time")

    def _say(self, text: str) -> None:
        if text != self._said:
            log.warning("%s", text)
            self._said = text


async def _ask(producer: AIOKafkaProducer, clock: BrokerClock) -> None:
    """Take some answers; KafkaError if none comes, DaemonError if they do not have the broker's time."""
    for _ in range(ASKED_AT_FIRST if clock.host_ahead_s is None else 1):
        asked_s = clock.monotonic_s()
        answer = await producer.send_and_wait(CLOCK.name, b"", partition=0)
        answered_s = clock.monotonic_s()
        if answer.timestamp_type != BY_BROKER:
            change = f"kafka-configs --alter --topic {CLOCK.name} --add-config message.timestamp.type=LogAppendTime"
            raise DaemonError(f"topic {CLOCK.name} has the time of its writers; use `{change}`")
        clock.take(BrokerTime(asked_s, answer.timestamp / 1000, answered_s))

"""Sends records in order whenever the broker can take them, for callers that must not wait for it."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from aiokafka.errors import (
    AuthenticationFailedError,
    BrokerNotAvailableError,
    ClusterAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    ProducerClosed,
    ReplicaNotAvailableError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from app import metrics
from app.contract import topics
from app.contract.schemas import Actuation, ActuatorStatus
from app.kafka import client
from app.logs import OFTEN

SEND_WITHIN_S = 10.0
WAITING_MAX = 100_000  # a halt of 10,000 overrides on two routers is 20,000 records
BATCH = 500
BATCH_EVERY_S = 0.5  # while more than a batch waits: to act comes first, and the routers that follow
RETRY_S = 1.0

Send = Callable[[], Awaitable[Any]]
# What the broker lacks, or our right to write; no record is to blame, though aiokafka does not call these retriable.
OF_THE_BROKER = (
    AuthenticationFailedError,
    BrokerNotAvailableError,
    ClusterAuthorizationFailedError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    OSError,  # a TimeoutError, too
    ProducerClosed,
    ReplicaNotAvailableError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

log = logging.getLogger(__name__)


class OutboxPublisher(Protocol):
    """Where an outbox sends its records (app/kafka/direct.py)."""

    def put(self, topic: str, key: str, value: Actuation | ActuatorStatus) -> None:
        """Queue one record."""

    def take(self) -> Sequence[Send]:
        """Return all queued sends, and empty the queue."""

    async def close(self) -> None:
        """Send what is on its way, and close the connection."""


class Outbox:
    """Records on their way to Kafka, in order. An unreachable broker delays the records, never the caller of `put`.

    At most WAITING_MAX wait behind the batch that is being sent; each further record replaces the oldest.
    """

    def __init__(self, publisher: OutboxPublisher) -> None:
        self._publisher = publisher
        self._waiting: deque[Send] = deque(maxlen=WAITING_MAX)
        self._statuses: dict[str, ActuatorStatus] = {}
        self._has_records = asyncio.Event()
        self._is_drained = asyncio.Event()
        self._is_drained.set()
        self._lost = 0

    def put(self, record: Actuation) -> None:
        """Queue one record; if WAITING_MAX are waiting already, the oldest is lost."""
        self._publisher.put(topics.ACTUATIONS.name, record.pop, record)
        if len(self._waiting) == WAITING_MAX:
            self._lose()
        self._waiting.extend(self._publisher.take())
        self._is_drained.clear()
        self._has_records.set()

    def report(self, status: ActuatorStatus) -> None:
        """Queue a sign of life: the newest of each PoP is sent once, between batches; a lost one is not repeated."""
        self._statuses[status.pop] = status
        self._has_records.set()

    async def drained(self) -> None:
        """Wait until the broker has confirmed every record."""
        await self._is_drained.wait()

    async def run(self) -> None:
        """Send until cancelled, and then what still waits, all at once, if the broker answers.

        Unconfirmed records are sent again; readers drop repeats by their ids.
        """
        try:
            await self._run()
        except asyncio.CancelledError:
            if (error := await self._error(list(self._waiting))) is not None:
                log.error("actuations: %d records are lost: %s", len(self._waiting), client.describe(error))
                metrics.UNPUBLISHED.labels(topics.ACTUATIONS.name).inc(len(self._waiting))
            await self._publisher.close()
            raise

    async def _run(self) -> None:
        while True:
            await self._has_records.wait()
            self._has_records.clear()
            while self._waiting:
                if len(self._waiting) > BATCH:
                    await asyncio.sleep(BATCH_EVERY_S)
                await self._send([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])
                await self._send_statuses()
            self._is_drained.set()
            await self._send_statuses()

    async def _send_statuses(self) -> None:
        statuses, self._statuses = self._statuses, {}
        for status in statuses.values():
            self._publisher.put(topics.ACTUATOR_STATUS.name, status.pop, status)
        await self._error(self._publisher.take())

    async def _send(self, batch: Sequence[Send]) -> None:
        """Send until the broker confirms it; a record that can never be sent is dropped, the others are not."""
        while (error := await self._error(batch)) is not None:
            if not is_of_record(error):
                waiting, reason = len(batch) + len(self._waiting), client.describe(error)
                log.warning("actuations: %s; %d records wait, %d were lost", reason, waiting, self._lost, extra=OFTEN)
                await asyncio.sleep(RETRY_S)
            elif len(batch) > 1:
                for send in batch:
                    await self._send([send])
                return
            else:
                log.error("actuations: a record is dropped: %s", client.describe(error))
                self._lose()
                return

    async def _error(self, batch: Sequence[Send]) -> Exception | None:
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                await asyncio.gather(*[await send() for send in batch])
        except Exception as error:  # whatever a record does to an encoder or a client, the next ones have to go out
            return error
        return None

    def _lose(self) -> None:
        self._lost += 1
        metrics.UNPUBLISHED.labels(topics.ACTUATIONS.name).inc()


def is_of_record(error: Exception) -> bool:
    """Whether an error of sending a record will come again each time, however long the broker is given."""
    if isinstance(error, KafkaError) and (error.retriable or type(error) is KafkaError):  # of no kind: its sender ended
        return False
    return not isinstance(error, OF_THE_BROKER)

"""Records that leave in order, whenever the broker can take them: for who must not wait for it."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

from app.contract import topics
from app.contract.schemas import Actuation
from app.stream.publish import Publisher

SEND_WITHIN_S = 10.0
WAITING_MAX = 10_000
BATCH = 500
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Outbox:
    """Records on their way to Kafka, in order. A broker that is away delays them, and never who puts them.

    At most WAITING_MAX wait behind the batch on its way; what comes then takes the place of the oldest.
    """

    def __init__(self, publisher: Publisher, broker_answers: Callable[[], bool]) -> None:
        self._publisher = publisher
        self._broker_answers = broker_answers
        self._waiting: deque[Callable[[], Awaitable[Any]]] = deque(maxlen=WAITING_MAX)
        self._some = asyncio.Event()
        self._lost = 0

    def put(self, record: Actuation) -> None:
        """Queue one record; the oldest of WAITING_MAX makes room for it."""
        self._publisher.put(topics.ACTUATIONS.name, record.pop, record)
        if len(self._waiting) == WAITING_MAX:
            self._lost += 1
        self._waiting.extend(self._publisher.take())
        self._some.set()

    async def run(self) -> None:
        """Until cancelled. What was not confirmed is sent again: ids tell repeats apart."""
        while not self._broker_answers():  # Faust's producer, once it failed to start, never does
            await asyncio.sleep(RETRY_S)
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                while not await self._sent(batch):
                    await asyncio.sleep(RETRY_S)

    async def _sent(self, batch: Sequence[Callable[[], Awaitable[Any]]]) -> bool:
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                await asyncio.gather(*[await send() for send in batch])
        except (KafkaError, FaustError, TimeoutError) as error:
            waiting = len(batch) + len(self._waiting)
            log.warning(
                "actuations: %d records wait, %d were lost, %s", waiting, self._lost, error or type(error).__name__
            )
            return False
        return True

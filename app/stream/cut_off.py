"""What a worker does that must not die with its broker: it stops reading, and ends itself when the broker answers.

Until then everything in it that needs no broker goes on. To go on reading after a failed write could lose data.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

from app.config.settings import Kafka
from app.kafka import client
from app.stream.fence import die

LOOK_EVERY_S = 1.0
DRAIN_S = 10.0  # not longer: nothing renews a lease meanwhile

log = logging.getLogger(__name__)


class CutOff:
    """Called with the reason why an agent cannot go on; that agent must not do anything any more.

    `drained` waits until the broker has what was done meanwhile.
    """

    def __init__(self, kafka: Kafka, drained: Callable[[], Awaitable[None]], end: Callable[[str], None] = die) -> None:
        self._kafka = kafka
        self._drained = drained
        self._end = end
        self._reason = ""
        self._is_cut_off = asyncio.Event()

    def __call__(self, reason: str) -> None:
        if not self._is_cut_off.is_set():
            log.critical("this process reads nothing any more: %s; it ends itself when the broker answers", reason)
            self._reason = reason
            self._is_cut_off.set()

    async def run(self) -> None:
        """Wait until an agent cannot go on, then for the broker."""
        await self._is_cut_off.wait()
        while not await self._answers():
            await asyncio.sleep(LOOK_EVERY_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained(), DRAIN_S)
        self._end(self._reason)

    async def _answers(self) -> bool:
        answer_s = self._kafka.answer_s
        try:
            async with asyncio.timeout(answer_s), client.started(client.admin(self._kafka, answer_s)) as admin:
                await admin.list_topics()
        except (KafkaError, TimeoutError, OSError):
            return False
        return True

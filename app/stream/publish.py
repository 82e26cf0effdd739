"""The records to publish: queued while records are applied, sent and awaited by the next flush."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import faust
import msgspec
from faust.types import TP

from app import metrics
from app.clock import Clock, utc
from app.contract import topics
from app.contract.decoding import Rejected
from app.contract.schemas import DeadLetter
from app.kafka.encoding import encoded
from app.stream.fetching import Hole, Record


class Publisher:
    """One agent's queue of records to publish."""

    def __init__(self, app: faust.App, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._channels: dict[str, Any] = {}
        self._queue: list[Callable[[], Awaitable[Any]]] = []

    def put(self, topic: str, key: str, value: msgspec.Struct, sent: Callable[[], None] | None = None) -> None:
        """Queue one record as JSON; the next flush sends it and then calls `sent`.

        A record that no broker would accept is not queued: it would end each worker that meets it again.
        """
        if (record := encoded(topic, value)) is None:
            return
        channel = self._channels.get(topic) or self._channels.setdefault(topic, self._app.topic(topic))
        send = partial(channel.send, key=key.encode(), value=record)
        self._queue.append(send if sent is None else partial(_send, send, sent))

    def dead_letter(self, tp: TP, record: Record | Hole, rejected: Rejected) -> None:
        """Queue a dead letter: the bytes that could not be used, why, and where they came from."""
        letter = DeadLetter(
            topic=tp.topic,
            partition=tp.partition,
            offset=record.offset,
            index=rejected.index,
            records=rejected.records,
            reason=rejected.reason,
            at=utc(self._clock.now_s()),
            raw=rejected.raw,
        )
        metrics.DEAD_LETTERS.labels(tp.topic).inc(rejected.records)
        self.put(topics.DEAD_LETTERS.name, tp.topic, letter)

    def take(self) -> list[Callable[[], Awaitable[Any]]]:
        """Return all queued sends, which the caller must await, and empty the queue."""
        queue, self._queue = self._queue, []
        return queue

    def drop(self) -> None:
        """Empty the queue without sending: it belongs to records that will be read again."""
        self._queue.clear()


async def _send(send: Callable[[], Awaitable[Any]], sent: Callable[[], None]) -> Any:
    answer = await send()
    sent()
    return answer

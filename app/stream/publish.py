"""The records to publish: queued as bytes while records are applied, sent and awaited by the next flush."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import faust
import msgspec
from faust.types import TP

from app import metrics
from app.clock import utc
from app.contract import topics
from app.contract.decoding import Rejected
from app.contract.schemas import DeadLetter, Signed
from app.contract.signing import Signer
from app.kafka.encoding import encoded
from app.stream.fetching import Hole, Record


class Queued(NamedTuple):
    """A record to publish. `sent` is called when it was sent, which only this process needs to know."""

    topic: str
    key: str
    value: bytes
    sent: Callable[[], None] = lambda: None


class Publisher:
    """A queue of records to publish. Those that move traffic are signed, if there is a key."""

    def __init__(self, app: faust.App, signer: Signer | None = None) -> None:
        self._app = app
        self._signer = signer
        self._channels: dict[str, Any] = {}
        self._queue: list[Queued] = []

    def put(self, topic: str, key: str, value: msgspec.Struct, sent: Callable[[], None] = lambda: None) -> None:
        """Queue one record as JSON; the next flush sends it and then calls `sent`.

        A record that no broker would accept is not queued: it would end each worker that meets it again.
        """
        if (record := encoded(topic, value)) is not None:
            if self._signer is not None and isinstance(value, Signed):
                record = self._signer.sign(topic, key, record)
            self._queue.append(Queued(topic, key, record, sent))

    def dead_letter(self, tp: TP, record: Record | Hole, rejected: Rejected) -> None:
        """Queue a dead letter: the bytes that could not be used, why, and where they came from.

        Its time is that of the record in Kafka, so a repeat after a restart is the same letter.
        """
        letter = DeadLetter(
            topic=tp.topic,
            partition=tp.partition,
            offset=record.offset,
            index=rejected.index,
            records=rejected.records,
            reason=rejected.reason,
            at=utc(record.timestamp_s),
            raw=rejected.raw,
        )
        metrics.DEAD_LETTERS.labels(tp.topic).inc(rejected.records)
        self.put(topics.DEAD_LETTERS.name, tp.topic, letter)

    def take(self) -> list[Callable[[], Awaitable[Any]]]:
        """Return all queued sends, which the caller must await, and empty the queue."""
        return [self.sending(record) for record in self.take_records()]

    def take_records(self) -> list[Queued]:
        """Return all queued records, and empty the queue."""
        queue, self._queue = self._queue, []
        return queue

    def sending(self, record: Queued) -> Callable[[], Awaitable[Any]]:
        """Return what sends a record; its result is the broker's answer, which the caller must await."""
        topic = record.topic
        channel = self._channels.get(topic) or self._channels.setdefault(topic, self._app.topic(topic))
        return partial(_send, channel, record)

    def drop(self) -> None:
        """Empty the queue without sending: it belongs to records that will be read again."""
        self._queue.clear()


async def _send(channel: Any, record: Queued) -> Any:
    answer = await channel.send(key=record.key.encode(), value=record.value)
    record.sent()
    return answer

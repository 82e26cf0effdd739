"""One Faust event per fetched batch: 12 times the throughput of an event per message.

Faust spends four tasks and eleven loop turns on each message. This consumer yields, for each source partition of a
fetch, one message that carries the *last* offset and the list of records (app/stream/fetching.py) as its value. Faust's
own gap list turns the skipped offsets into acknowledged ones together with the batch. Changelogs stay message by
message.

Leans on private names of faust-streaming 0.15.3 (`_wait_next_records`, `_getmany`, `_to_message`, `_add_gap`,
`_new_consumer_thread`, `_create_consumer`, `_assignor`) and of aiokafka 0.14 (`_fetcher`, `_client`, `_check_crcs`,
`_fetch_max_wait_ms`): the versions are pinned and a test names them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import ensure_TP
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP, ConsumerMessage, Message

from app.kafka import client
from app.stream.app import exact
from app.stream.checksums import check_answers
from app.stream.fetching import Fetched, Record, gather_records

__all__ = ["MAX_FETCH_BYTES", "BatchConsumer", "ConsumerThread", "Record", "is_full"]

MAX_FETCH_BYTES = 4 * 1024 * 1024  # of a partition: an event of 16 MiB blocks the loop


# aiokafka has one fetch under way at each broker. While records of one partition wait to be taken, it is for the other
# partitions only, and where these have nothing new it lasts as long as this. Faust's own 1500 ms cost nine tenths of
# the speed of a worker that catches up. Who keeps up has time, and asks less often.
BEHIND_WAIT_MS, WAIT_MS = 5, 100
BEHIND_BYTES = MAX_FETCH_BYTES // 2  # so much in one fetch of a partition: more is there


class ConsumerThread(AIOKafkaConsumerThread):
    """As Faust's, but its fetches are short, and a commit names the incarnation of its topic (incarnations.py)."""

    async def on_start(self) -> None:
        await super().on_start()
        ours: Any = self.consumer
        theirs: Any = self._ensure_consumer()
        gather_records(theirs._fetcher, lambda tp: not ours._is_changelog_tp(tp))
        if not theirs._check_crcs:
            check_answers(theirs._client)

    def fetch_for(self, wait_ms: int) -> None:
        """How long the next fetches last at most; may be called from any thread."""
        fetcher: Any = self._ensure_consumer()._fetcher
        fetcher._fetch_max_wait_ms = wait_ms

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        """With the settings that `create_app` gives the app, and how the broker is reached from app/kafka."""
        app = exact(self.app)
        conf, self._assignor = app.conf, app.assignor
        consumer: Any = client.consumer(
            app.kafka,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[app.assignor],
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=WAIT_MS,
            check_crcs=conf.broker_check_crcs,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
        )
        commit, ids = consumer.commit, app.inputs.ids

        async def marked(offsets: Mapping[Any, OffsetAndMetadata]) -> None:
            await commit({tp: OffsetAndMetadata(one.offset, ids.get(tp.topic, "")) for tp, one in offsets.items()})

        consumer.commit = marked
        return consumer


class BatchConsumer(Consumer):
    """The aiokafka driver's consumer, yielding batches for sources and single messages for changelogs."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Fetch once, and yield what came; stops early when the flow stops or the group changes generation.

        What is fetched and not yielded must be fetched again, or the next batch begins behind a hole.
        """
        generation = self.app.consumer_generation_id
        records_by_tp, active = await self._wait_next_records(timeout)
        fetched = records_by_tp or {}
        thread = cast(ConsumerThread, self._thread)
        thread.fetch_for(BEHIND_WAIT_MS if any(map(is_full, fetched.values())) else WAIT_MS)
        for tp, records in fetched.items():
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            for message in self._messages(tp, records):
                if self.should_stop or self.app.consumer_generation_id != generation:
                    return  # a rebalance seeks
                if not self.flow_active:
                    await self.perform_seek()
                    return
                yield tp, message

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """As Faust's, but where rows are behind what is committed the records between come again."""
        offsets = dict(await super().seek_to_committed())
        read = exact(self.app).inputs
        again = {tp: at for tp, at in offsets.items() if at is not None and read.first.get(tp.topic, at) < at}
        for tp in again:
            offsets[tp] = read.first[tp.topic]
            await self.seek(ensure_TP(tp), offsets[tp])
        kept_from = await self.earliest_offsets(*again) if again else {}
        for tp in offsets:
            read.begin(tp.topic, again[tp] if tp in again and kept_from[tp] < again[tp] else 0)
        return offsets

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        """As Faust's, but `wait_for_stopped_flow` waits for it: Faust sets the event where it means to clear it."""
        self.not_waiting_next_records.clear()
        try:
            return await super()._getmany(active_partitions, timeout)
        finally:
            self.not_waiting_next_records.set()

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Without the offset of the message that came, which Faust counts into the gap before it.

        Twice in the list of what is acknowledged it ends a run of offsets, so that a commit went one batch further,
        however many were done: once a second, while ten came (seen: 50 records a second of 1000 committed). Where gaps
        overlap, after a seek, Faust merges them; by building its tree anew, else 7 % of a worker's time.
        """
        committed = self._committed_offset[tp]
        begin = offset_from if committed is None else max(offset_from, committed + 1)
        if self._gap[tp].overlaps(begin, offset_to):
            await super()._add_gap(tp, begin, offset_to - 1)
        elif begin < offset_to:
            self._gap[tp].addi(begin, offset_to)

    def _messages(self, tp: TP, fetched: Sequence[Any]) -> list[Message]:
        return [self._batch(tp, one) if isinstance(one, Fetched) else self._to_message(tp, one) for one in fetched]

    def _batch(self, tp: TP, fetched: Fetched) -> ConsumerMessage:
        last, records = fetched.records[-1], cast(Any, fetched.records)
        return ConsumerMessage(
            *tp,
            last.offset,
            last.timestamp_s,
            timestamp_type=0,
            headers=None,
            key=None,
            value=records,
            checksum=None,
            serialized_value_size=fetched.size_bytes,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )


def is_full(fetched: Sequence[Any]) -> bool:
    """So much that a partition surely has more."""
    return sum(map(size_of, fetched)) >= BEHIND_BYTES


def size_of(fetched: Any) -> int:
    """Bytes of a source's batch, or of a changelog's message."""
    return fetched.size_bytes if isinstance(fetched, Fetched) else len(fetched.value or b"")

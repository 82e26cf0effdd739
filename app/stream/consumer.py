"""One Faust event per fetched batch: 12 times the throughput of an event per message.

Faust spends four tasks and eleven loop turns on each message. For each source partition of a fetch, this consumer
yields one message, which carries the *last* offset and has the list of records (app/stream/fetching.py) as its value.
Faust's own gap list acknowledges the skipped offsets together with the batch. A message whose value is a Hole stands
for offsets without a record. Changelogs are still read message by message.

Records of a transaction are read when it was committed, and then only (`read_committed`): a mirror that writes in
transactions writes the records of an aborted one again, and they would count twice.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import ensure_TP
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP, ConsumerMessage, Message

from app import private_names
from app.kafka import client
from app.private_names import ConsumerNames, ConsumerThreadNames
from app.stream.app import exact, full
from app.stream.checksums import check_answers
from app.stream.fetching import Fetched, Hole, Record, gather_records
from app.stream.joined import Reach

__all__ = ["MAX_FETCH_BYTES", "BatchConsumer", "ConsumerThread", "Record", "is_full"]

MAX_FETCH_BYTES = 4 * 1024 * 1024  # per partition: an event of 16 MiB blocks the loop


# aiokafka has one fetch under way at each broker. While records of one partition wait to be taken, that fetch is only
# for the other partitions, and if these have nothing new it lasts this long. Faust's own 1500 ms took nine tenths of
# the speed of a worker that catches up. A worker that keeps up is in no hurry and asks less often.
BEHIND_WAIT_MS, WAIT_MS = 5, 100
FULL_LOOK_S = 0.05  # how often to look whether a partition that was not fetched may be fetched again
READ_COMMITTED = "read_committed"
BEHIND_BYTES = MAX_FETCH_BYTES // 2  # if one fetch of a partition brings this much, there is more


class ConsumerThread(ConsumerThreadNames, AIOKafkaConsumerThread):
    """Faust's consumer thread with short fetches, and commits that name the topic's incarnation (incarnations.py)."""

    async def on_start(self) -> None:
        await super().on_start()
        faust_consumer: Any = self.consumer
        kafka_consumer = private_names.kafka_consumer_of(self)
        fetcher = private_names.fetcher_of(kafka_consumer)
        gather_records(fetcher, lambda tp: not private_names.is_changelog(faust_consumer, tp))
        if not private_names.checks_checksums(kafka_consumer):
            check_answers(private_names.connections_of(kafka_consumer))
        exact(self.app).membership.watch(private_names.coordinator_of(kafka_consumer))

    def fetch_for(self, wait_ms: int) -> None:
        """Limit how long the next fetches wait for records, in ms; may be called from any thread."""
        fetcher = private_names.fetcher_of(private_names.kafka_consumer_of(self))
        private_names.limit_fetch_wait(fetcher, wait_ms)

    def highwater(self, tp: TP) -> int:
        """Where the records end that can be read now: before those of an open transaction."""
        end: int = private_names.kafka_consumer_of(self).last_stable_offset(tp)
        return end

    def new_consumer(self) -> Any:
        """Make the aiokafka consumer from the settings that `create_app` gave the app, by app/kafka/client.py."""
        app = exact(self.app)
        conf = app.conf
        consumer: Any = client.consumer(
            app.kafka,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[app.assignor],
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=WAIT_MS,
            isolation_level=READ_COMMITTED,
            check_crcs=conf.broker_check_crcs,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
        )
        commit, ids = consumer.commit, app.inputs.ids

        async def marked(offsets: Mapping[Any, OffsetAndMetadata]) -> None:
            await commit({tp: OffsetAndMetadata(entry.offset, ids.get(tp.topic, "")) for tp, entry in offsets.items()})

        consumer.commit = marked
        return consumer


class BatchConsumer(ConsumerNames, Consumer):
    """Faust's aiokafka consumer, which yields batches from sources and single messages from changelogs."""

    def new_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Fetch once and yield the messages; stop early when the flow stops or the group's generation changes.

        Records that were fetched but not yielded must be fetched again, or the next batch begins behind a hole.
        """
        generation = self.app.consumer_generation_id
        records_by_tp, active = await private_names.records_fetched(self, timeout)
        fetched = records_by_tp or {}
        thread = cast(ConsumerThread, private_names.thread_of(self))
        thread.fetch_for(BEHIND_WAIT_MS if any(map(is_full, fetched.values())) else WAIT_MS)
        for tp, records in fetched.items():
            if active is not None and tp not in active and tp not in private_names.buffered_partitions(self):
                continue
            for message in self._messages(tp, records):
                if self.should_stop or self.app.consumer_generation_id != generation:
                    return  # the rebalance seeks back
                if not self.flow_active:
                    await self.perform_seek()
                    return
                yield tp, message

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek as Faust does, but further back if rows lack records that were committed: the rows are believed.

        So nothing is lost where the commit is ahead of the rows: an administrator set it, or a changelog lost its end.
        Without a commit Faust does not seek: what was fetched since the assignment, and dropped, would be a hole.
        """
        offsets = dict(await super().seek_to_committed())
        app = exact(self.app)
        inputs, reached = app.inputs, dict[str, Reach]()
        sources = [tp for tp in map(ensure_TP, offsets) if not private_names.is_changelog(self, tp)]
        earliest, ends = await self.earliest_offsets(*sources), await self.highwaters(*sources)
        for tp in sources:
            committed = offsets[tp] or 0
            included = inputs.first.get(tp.topic, committed)
            first = max(min(committed, included), earliest[tp], inputs.incarnations_begin.get(tp.topic, 0))
            if first != committed or not committed:
                offsets[tp] = first
                await self.seek(tp, first)
            inputs.begins[tp.topic] = first, range(included, first) if 0 < included < first else range(0)
            leads = tp.topic in inputs.leading
            reached[tp.topic] = Reach(first, backlog=ends[tp] if leads else 0, by_time=not leads)
        app.joined.begin(reached)
        return offsets

    async def fetch(self, active_partitions: Any, timeout_s: float) -> Any:
        """Fetch as Faust does, but not the partitions that are full (waiting.py), so that none stands in the way.

        Also let `wait_for_stopped_flow` wait for it: Faust sets the event that it means to clear.
        """
        waiting = full(exact(self.app).readers)
        self.not_waiting_next_records.clear()
        try:
            if not waiting:
                return await super().fetch(active_partitions, timeout_s)
            if due := active_partitions - waiting:
                return await super().fetch(due, FULL_LOOK_S)
            return await asyncio.sleep(FULL_LOOK_S, {})
        finally:
            self.not_waiting_next_records.set()

    async def add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Note acknowledged offsets without that of the message itself, which Faust counts into the gap before it.

        An offset that is acknowledged twice ends a run of offsets, so each commit advanced by one batch, however many
        were done: one batch a second while ten arrived (seen: 50 of 1000 records a second were committed). Only if gaps
        overlap, after a seek, does Faust merge them: it rebuilds its tree, which otherwise took 7 % of a worker's time.
        """
        committed, gap = private_names.committed_offsets(self)[tp], private_names.gaps(self)[tp]
        begin = offset_from if committed is None else max(offset_from, committed + 1)
        if gap.overlaps(begin, offset_to):
            await super().add_gap(tp, begin, offset_to - 1)
        elif begin < offset_to:
            gap.addi(begin, offset_to)

    def _messages(self, tp: TP, fetched: Sequence[Any]) -> list[Message]:
        return [
            self._batch(tp, item) if isinstance(item, Fetched | Hole) else private_names.message_of(self, tp, item)
            for item in fetched
        ]

    def _batch(self, tp: TP, fetched: Fetched | Hole) -> ConsumerMessage:
        value: Any
        if isinstance(fetched, Hole):
            offset, timestamp_s, value = fetched.next_offset - 1, fetched.timestamp_s, fetched
        else:
            offset, timestamp_s, value = fetched.records[-1].offset, fetched.records[-1].timestamp_s, fetched.records
        return ConsumerMessage(
            *tp,
            offset,
            timestamp_s,
            timestamp_type=0,
            headers=None,
            key=None,
            value=value,
            checksum=None,
            serialized_value_size=size_of(fetched),
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )


def is_full(fetched: Sequence[Any]) -> bool:
    """Whether a fetch of a partition brought so much that the partition must have more."""
    return sum(map(size_of, fetched)) >= BEHIND_BYTES


def size_of(fetched: Any) -> int:
    """Size in bytes of a source's batch or of a changelog's message; a hole has none."""
    if isinstance(fetched, Hole):
        return 0
    return fetched.size_bytes if isinstance(fetched, Fetched) else len(fetched.value or b"")

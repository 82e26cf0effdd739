"""Turns what aiokafka fetched into one list of our records per source partition.

For each message aiokafka makes a record of eleven fields, in Python, within two iterators: two fifths of the cost of
reading a message of one record. Here the records are made directly from its parsed batches, in the thread that fetches.

Not every offset of a topic has a record. Those without one are named, so that only what is missing is a loss: markers
that end a transaction, records of a transaction that was aborted, and batches that cannot be read.

Every time is one that a calendar has: producers write what they like into a record, such as microseconds, or nothing.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from faust.types import TP

from app import metrics
from app.contract.decoding import Rejected, rejected
from app.errors import ExactnessError
from app.kafka.bounded import CODEC, IS_CONTROL, IS_TRANSACTIONAL, BoundedBatch, BoundedBatches
from app.private_names import FetchedPartition, replace_fetched

UNUSUAL = CODEC | IS_CONTROL | IS_TRANSACTIONAL  # flags of a batch that is not read as it is

EARLIEST_S, LATEST_S = 946_684_800.0, 4_102_444_800.0  # 2000 and 2100, in Unix seconds

log = logging.getLogger(__name__)


class Record(msgspec.Struct, gc=False):
    """One Kafka record; `timestamp_s` is the broker's or the producer's time. For `base` see incarnations.py."""

    offset: int
    timestamp_s: float
    key: bytes | None
    value: bytes
    base: int = 0

    @property
    def position(self) -> int:
        """The offset as rows count it: positions go on rising when the topic is recreated."""
        return self.base + self.offset


class Fetched(msgspec.Struct, gc=False):
    """Records of one partition with consecutive offsets, at least one; `size_bytes` is that of their fetch."""

    records: list[Record]
    size_bytes: int


class Hole(msgspec.Struct, gc=False):
    """Offsets without a record, from `offset` to before `next_offset`; `rejected` says why a batch cannot be read.

    If it `is_missing`, there were records, which are gone before anybody had read them. How many is known if retention
    removed them (`is_counted`), and not if the topic was deleted, or lost its end.
    """

    offset: int
    next_offset: int
    timestamp_s: float
    rejected: Rejected | None = None
    base: int = 0
    is_missing: bool = False
    is_counted: bool = True

    @property
    def position(self) -> int:
        """The last offset, as rows count it (incarnations.py)."""
        return self.base + self.next_offset - 1


class Times:
    """The last time of each partition that a calendar has: it stands in for those that are none.

    It is 0 before the first. What is of another time than its records then is refused, rather than believed.
    """

    def __init__(self) -> None:
        self._last_s: dict[TP, float] = {}
        self._undated: set[TP] = set()

    def correct(self, tp: TP, content: list[Record] | Hole) -> None:
        """Give what was fetched times that can be; count and name the others."""
        items = content if isinstance(content, list) else [content]
        wrong = [item.timestamp_s for item in items if not EARLIEST_S <= item.timestamp_s < LATEST_S]
        if wrong:
            for item in items:
                if EARLIEST_S <= item.timestamp_s < LATEST_S:
                    self._last_s[tp] = item.timestamp_s
                else:
                    item.timestamp_s = self._last_s.get(tp, 0.0)
            metrics.UNDATED.labels(tp.topic).inc(len(wrong))
            if tp not in self._undated:
                log.warning("%s: %d records with impossible times, such as %r s", tp.topic, len(wrong), wrong[0])
                self._undated.add(tp)
        elif items:
            self._last_s[tp] = items[-1].timestamp_s
            self._undated.discard(tp)


class SourceRecords:
    """Stands in for aiokafka's PartitionRecords: iterates over what it fetched in as few items as possible."""

    def __init__(self, partition_records: Any, times: Times) -> None:
        self._times = times
        self._fetched = FetchedPartition(partition_records)
        self.next_fetch_offset = self._fetched.next_fetch_offset  # aiokafka reads it before and after
        self._batches: BoundedBatches = self._fetched.batches

    def __iter__(self) -> Iterator[Fetched | Hole]:
        size_bytes, records = self._batches.size_in_bytes(), list[Record]()
        for index, batch in enumerate(iter(MemoryRecords(self._batches.fetched).next_batch, None)):
            if self._fetched.checks_checksums and not batch.validate_crc():
                raise CorruptRecordException(f"{self._fetched.tp}: a batch has a wrong checksum")
            content = self._content(batch, index)
            self._times.correct(self._fetched.tp, content)
            if isinstance(content, list):
                records += content
            elif content.offset < content.next_offset:
                if records:
                    yield Fetched(records, size_bytes)
                    records = []
                yield content
            self.next_fetch_offset = batch.next_offset
            if self._batches.has_enough():
                break
        if records:
            yield Fetched(records, size_bytes)

    def _content(self, batch: Any, index: int) -> list[Record] | Hole:
        """The records of a batch from the fetch offset on, or the offsets that it takes without a record for us."""
        if batch.attributes & UNUSUAL:
            return self._unusual(self._batches.batch(index))
        try:
            return self._due(_records_of(batch))
        except Exception:
            return self._unusual(self._batches.batch(index))

    def _unusual(self, batch: BoundedBatch) -> list[Record] | Hole:
        try:
            if batch.flags & (IS_TRANSACTIONAL | IS_CONTROL) and self._fetched.is_passed_over(batch):
                return self._hole(batch, None)
            batch.open()
            try:
                return self._due(_records_of(batch.inner))
            except Exception:
                return self._due(_records_of(batch.without_headers()))
        except Exception as error:
            reason = f"offsets {batch.base_offset} to {batch.next_offset - 1}: {error}"
            log.error("%s: %s", self._fetched.tp.topic, reason)
            records = max(1, batch.next_offset - batch.base_offset)
            return self._hole(batch, rejected(batch.head, ValueError(reason), records))

    def _due(self, records: list[Record]) -> list[Record]:
        """The records without those before the fetch offset: the broker sends whole batches."""
        due = self.next_fetch_offset
        if records and records[0].offset < due:
            return [record for record in records if record.offset >= due]
        return records

    def _hole(self, batch: BoundedBatch, why: Rejected | None) -> Hole:
        first = max(batch.base_offset, self.next_fetch_offset)
        return Hole(first, batch.next_offset, batch.max_timestamp / 1000.0, why)


def _records_of(batch: Iterable[Any]) -> list[Record]:
    """Our records; raises whatever aiokafka raises when it reads them."""
    return [Record(r.offset, r.timestamp / 1000.0, r.key, r.value or b"") for r in batch]


def gather_records(fetcher: Any, is_source: Callable[[TP], bool]) -> None:
    """Make an aiokafka fetcher deliver Fetched and Hole for its source partitions."""
    times = Times()
    replace_fetched(fetcher, lambda tp, theirs: SourceRecords(theirs, times) if is_source(tp) else theirs)


def in_order(tp: TP, batch: Sequence[Record], due: int) -> list[Record]:
    """The records of a batch from offset `due` on, without repeats; ExactnessError if an offset is missing."""
    new = []
    for record in batch:
        if record.offset > due:
            raise ExactnessError(f"{tp.topic}: offset {record.offset} came where {due} was due")
        if record.offset == due:
            new.append(record)
            due += 1
    return new

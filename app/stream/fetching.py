"""Turns what aiokafka fetched into one list of our records per source partition.

For each message aiokafka makes a record of eleven fields, in Python, within two iterators: two fifths of the cost of
reading a message of one record. Here the records are made directly from its parsed batches, in the thread that fetches.

Relies on private names of aiokafka 0.14 (`_proc_fetch_request` and `_records` of a Fetcher; `_partition_records` of a
FetchResult; `_tp`, `_records`, `_records_iterator` and `_check_crcs` of PartitionRecords): the version is pinned and a
test names them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from faust.types import TP


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
    """The records that one fetch brought from one partition, at least one, and their size in bytes as received."""

    records: list[Record]
    size_bytes: int


class SourceRecords:
    """Stands in for aiokafka's PartitionRecords: iterates over at most one item, which has all fetched records."""

    def __init__(self, partition_records: Any) -> None:
        self.next_fetch_offset: int = partition_records.next_fetch_offset  # aiokafka reads it before and after
        self._tp: TP = partition_records._tp
        self._batches = partition_records._records
        self._checked: bool = partition_records._check_crcs
        partition_records._records_iterator = None  # a reference cycle: the fetch would stay until the collector runs

    def __iter__(self) -> Iterator[Fetched]:
        due, size_bytes = self.next_fetch_offset, self._batches.size_in_bytes()
        records: list[Record] = []
        for batch in iter(self._batches.next_batch, None):
            if self._checked and not batch.validate_crc():
                raise CorruptRecordException(f"{self._tp}: a batch has a wrong checksum")
            if not batch.is_control_batch:
                records += [Record(r.offset, r.timestamp / 1000.0, r.key, r.value or b"") for r in batch]
            self.next_fetch_offset = batch.next_offset
        if records and records[0].offset < due:  # the broker sends whole batches
            records = [record for record in records if record.offset >= due]
        if records:
            yield Fetched(records, size_bytes)


def gather_records(fetcher: Any, is_source: Callable[[TP], bool]) -> None:
    """Make an aiokafka fetcher, which also reads uncommitted records, deliver Fetched for its source partitions."""
    process = fetcher._proc_fetch_request

    async def processed(*request: Any) -> Any:
        has_new = await process(*request)
        for tp, result in fetcher._records.items():
            if type(result) is FetchResult and type(result._partition_records) is PartitionRecords and is_source(tp):
                result._partition_records = SourceRecords(result._partition_records)
        return has_new

    fetcher._proc_fetch_request = processed

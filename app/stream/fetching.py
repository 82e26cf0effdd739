"""What a fetch is when it leaves aiokafka: one list of our records for each partition of a source.

For each message aiokafka makes a record of eleven fields, in Python, within two iterators: two fifths of what reading a
message of one record cost. Here the records are made of its parsed batches at once, in the thread that fetches.

Leans on private names of aiokafka 0.14 (`_proc_fetch_request` and `_records` of a Fetcher; `_partition_records` of a
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
    """One Kafka record of a batch; `timestamp_s` is the broker's or producer's time. `base`: see incarnations.py."""

    offset: int
    timestamp_s: float
    key: bytes | None
    value: bytes
    base: int = 0

    @property
    def position(self) -> int:
        """The number that rows remember: it goes on where a topic was recreated."""
        return self.base + self.offset


class Fetched(msgspec.Struct, gc=False):
    """The records that one fetch brought of one partition, never none, and their bytes as they came."""

    records: list[Record]
    size_bytes: int


class SourceRecords:
    """In place of aiokafka's PartitionRecords: iterates over one item, all that was fetched."""

    def __init__(self, theirs: Any) -> None:
        self.next_fetch_offset: int = theirs.next_fetch_offset  # aiokafka reads it before and after
        self._tp: TP = theirs._tp
        self._batches = theirs._records
        self._checked: bool = theirs._check_crcs
        theirs._records_iterator = None  # it holds what holds it: the fetch would stay until the collector comes

    def __iter__(self) -> Iterator[Fetched]:
        due, size_bytes = self.next_fetch_offset, self._batches.size_in_bytes()
        found: list[Record] = []
        for batch in iter(self._batches.next_batch, None):
            if self._checked and not batch.validate_crc():
                raise CorruptRecordException(f"{self._tp}: a batch has a wrong checksum")
            if not batch.is_control_batch:
                found += [Record(r.offset, r.timestamp / 1000.0, r.key, r.value or b"") for r in batch]
            self.next_fetch_offset = batch.next_offset
        if found and found[0].offset < due:  # the broker sends whole batches
            found = [record for record in found if record.offset >= due]
        if found:
            yield Fetched(found, size_bytes)


def gather_records(fetcher: Any, is_source: Callable[[TP], bool]) -> None:
    """Let a fetcher of aiokafka, which reads uncommitted records too, give out Fetched for its source partitions."""
    process = fetcher._proc_fetch_request

    async def processed(*request: Any) -> Any:
        has_new = await process(*request)
        for tp, result in fetcher._records.items():
            if type(result) is FetchResult and type(result._partition_records) is PartitionRecords and is_source(tp):
                result._partition_records = SourceRecords(result._partition_records)
        return has_new

    fetcher._proc_fetch_request = processed
